"""Another dataset's files, read as those that a model was trained on: as a file is read by whoever is served by the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from medzoo.data.dataset import Dataset
from medzoo.data.errors import ConfigError
from medzoo.data.images.bags import BagReader
from medzoo.data.images.frames import CHANNELS, MEMBERS
from medzoo.data.images.planes.reader import StackedReader
from medzoo.data.images.reader import Reader
from medzoo.store.spec import ModelSpec

PLANES = (1, 3)
"""Gray and colour: channels that any image can be read as."""


def as_the_model_reads(spec: ModelSpec, dataset: Dataset, option: str) -> Dataset:
    """Return a dataset whose readers take the model's window, and gray or colour as its training did; a note says what changed.

    Images that are arrays already, and rows of features, stay as they are.

    Args:
        spec: The model's.
        dataset: Another one than it was trained on.
        option: What options of the dataset begin with: `on` or `data`.

    Raises:
        ConfigError: If model and dataset have a window each, and they differ.
    """
    notes: list[str] = []
    cards = spec.data.get("modalities") or {}
    if dataset.modalities:
        modalities = {
            name: _read_by(reader, cards.get(name, spec.data), spec.preprocess_of(name).channels, option, notes)
            if name in cards or reader is dataset.reader else reader
            for name, reader in dataset.modalities.items()
        }  # fmt: skip
        changed = replace(dataset, modalities=modalities, reader=next(iter(modalities.values())))
    else:
        changed = replace(dataset, reader=_read_by(dataset.reader, spec.data, spec.preprocess.channels, option, notes))
    told = tuple(note for note in dict.fromkeys(notes) if note not in dataset.info.notes)
    return replace(changed, info=replace(dataset.info, notes=(*dataset.info.notes, *told))) if told else changed


def read_otherwise(one: ModelSpec, other: ModelSpec) -> list[tuple[str, Any, Any]]:
    """Return what two models' trainings read files differently in: the option's name, the first's, the second's."""
    return [
        (f"data.{name}", kept, given)
        for name, kept, given in zip(("window", "channels", "frames", "stack"), _reading(one), _reading(other), strict=True)
        if kept != given
    ]


def _reading(spec: ModelSpec) -> tuple[Any, ...]:
    card = spec.data
    frames = card.get("frames") if card.get("frames") != MEMBERS else None  # each is an image, as any other
    return card.get("window"), card.get("channels") or spec.preprocess.channels, frames, card.get("stack")


def _read_by(reader: Reader, card: Mapping[str, Any], channels: int, option: str, notes: list[str]) -> Reader:
    """Return a reader of files that reads as a card says; `notes` are added to."""
    if reader.shape is not None or reader.row_width is not None or "window" not in card:
        return reader
    wanted = None if card["window"] is None else (float(card["window"][0]), float(card["window"][1]))
    if reader.window is not None and wanted is None:
        notes.append(
            f"images are read by {option_text(f'{option}.window', reader.window)}, and the model was trained without a window: a "
            "file of more than 8 bits that it is given itself is read without one"
        )
    elif reader.window is not None and wanted is not None and reader.window != wanted:
        raise ConfigError(
            f"{option_text(f'{option}.window', reader.window)}: the model was trained on images that were read by "
            f"{option_text('data.window', wanted)}, and so reads every file that it is given; leave {option}.window out, and "
            "convert the files where their values mean others"
        )
    if wanted is not None and reader.window is None and (found := _with(reader, window=wanted)) is not None:
        reader = found
        notes.append(
            f"images are read as the model's own: {option_text('window', wanted)} of the values in files of more than 8 bits"
        )
    gray = card.get("channels") or channels
    if {gray, reader.channels} == set(PLANES) and reader.frames != CHANNELS:
        found = _with(reader, channels=gray)
        if found is not None and gray == 1:
            notes.append("images are read as the model's own: colours as gray")
        reader = found or reader
    return reader


def option_text(name: str, window: tuple[float, float]) -> str:
    """Return `name=[low, high]` as it is written on the command line."""
    return f"{name}=[{window[0]:g}, {window[1]:g}]"


def _with(reader: Reader, **changes: Any) -> Reader | None:
    """Return a reader that reads so; None where it knows no such choice."""
    if isinstance(reader, BagReader):
        inner = _with(reader.inner, **changes)
        return None if inner is None else replace(reader, inner=inner)
    if isinstance(reader, StackedReader):
        one = None if "channels" in changes else _with(reader.one, **changes)
        return None if one is None else replace(reader, one=one)
    if not is_dataclass(reader) or not set(changes) <= {field.name for field in fields(reader) if field.init}:
        return None
    return replace(reader, **changes)  # type: ignore[return-value]
