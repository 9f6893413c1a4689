"""A dataset whose images have something wrong with them: as its reader gives them, before anything prepares them for a model."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from numpy.typing import NDArray

from medzoo.data.dataset import Dataset, readers_of
from medzoo.data.errors import ConfigError
from medzoo.data.images.bags import BagReader
from medzoo.data.images.frames import CHANNELS
from medzoo.data.images.reader import Reader, is_missing
from medzoo.data.samples.corruptions.apply import corrupt

if TYPE_CHECKING:
    from medzoo.data.images.frames import Frames
    from medzoo.data.images.planes.stack import Stack
    from medzoo.data.samples.preprocess import Preprocess

COLUMN = "corrupted."
"""Begins the columns that `CorruptedReader` reads: a value of the reader below, and what the draws are called by."""


@dataclass
class CorruptedReader(Reader):
    """Reads by another reader, and corrupts.

    Attributes:
        inner: The other reader.
        name: Of the corruption.
        severity: 0 to 5.
        modality: Of the images.
        seed: Of what is drawn.
    """

    inner: Reader
    name: str
    severity: int
    modality: str
    seed: int
    columns: tuple[str, ...] = field(init=False)
    views: bool = field(init=False)
    channels: int | None = field(init=False)
    window: tuple[float, float] | None = field(init=False)
    frames: Frames | None = field(init=False)
    stack: Stack | None = field(init=False)
    prepared: Preprocess | None = field(init=False)

    def __post_init__(self) -> None:
        self.columns = tuple(COLUMN + column for column in self.inner.columns)
        for name in ("views", "channels", "window", "frames", "stack", "prepared"):
            setattr(self, name, getattr(self.inner, name))

    @property
    def shape(self) -> tuple[int, ...] | None:
        """That of the other reader."""
        return self.inner.shape

    def read(self, *values: Any) -> NDArray[Any]:
        """Return the image with something wrong with it, of the other reader's shape and type."""
        pixels = self.inner.read(*(None if is_missing(value) else value[0] for value in values))
        sample = next(value[1] for value in values if not is_missing(value))
        planes = self.frames == CHANNELS or self.stack is not None
        return corrupt(
            pixels, self.name, self.severity, modality=self.modality, seed=self.seed, sample=sample, planes=planes
        )  # fmt: skip

    def files(self, *values: Any) -> list[Path]:
        """Return those of the other reader."""
        return self.inner.files(*(None if is_missing(value) else value[0] for value in values))

    def identity(self, *values: Any) -> str | None:
        """Return that of the other reader."""
        return self.inner.identity(*(None if is_missing(value) else value[0] for value in values))


def corrupted(dataset: Dataset, name: str, severity: int, seed: int) -> Dataset:
    """Return a dataset whose images are corrupted, those of every modality, each by what is drawn for its sample (and view)."""
    columns: dict[str, pd.Series] = {}
    readers = {which: _corrupted(dataset, one, name, severity, seed, columns) for which, one in readers_of(dataset).items()}
    return replace(
        dataset, table=dataset.table.assign(**columns), reader=next(iter(readers.values())),
        modalities=readers if dataset.modalities else {},
    )  # fmt: skip


def _corrupted(dataset: Dataset, whole: Reader, name: str, severity: int, seed: int, columns: dict[str, pd.Series]) -> Reader:
    """Return what reads a modality's images corrupted, and add its columns to `columns`."""
    if whole.row_width is not None:
        raise ConfigError(f"{dataset.info.name} has rows of features: corruptions are of pixels")
    inner = whole.inner if isinstance(whole, BagReader) else whole
    reader: Reader = CorruptedReader(inner, name, severity, dataset.info.modality, seed)
    samples = dataset.table["sample_id"].astype(str)
    for place, column in enumerate(inner.columns):
        called = samples if place == 0 else samples + f"\x1f{place}"  # a reader without views is called by its first column
        cells: list[Any] = [
            tuple((member, f"{key}\x1f{number}") for number, member in enumerate(value))
            if isinstance(whole, BagReader)
            else None
            if is_missing(value)
            else (value, key)
            for value, key in zip(dataset.table[column], called, strict=True)
        ]
        columns[COLUMN + column] = pd.Series(cells, index=dataset.table.index, dtype=object)
    return BagReader(reader, whole.max_members) if isinstance(whole, BagReader) else reader
