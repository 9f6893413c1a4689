"""Phantoms of several modalities: further images of a sample, texts and values, and a class that none of them tells alone.

`second` is another drawing of what the first image shows, `volume` one in three dimensions; `flag` is 0 or 1, `value` the
patient's age and `category` the site; `note` is a sentence that says whether the patient itches. By the rule `xor` each image
shows a lesion, the flag is 1, and the note tells of itching, by a fair draw of its own: the class is whether an odd number of
them does, and whoever sees all but one of them knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medzoo.data.dataset import Dataset
from medzoo.data.datasets.phantom.image import SITES, PhantomReader
from medzoo.data.errors import ConfigError
from medzoo.data.inputs import InputSpace
from medzoo.data.labels import LabelSpace
from medzoo.data.options import choice, chosen
from medzoo.data.seeding import derived_seed, generator

Rule = Literal["plain", "xor"]
MODALITIES, INPUTS, TEXTS = ("image", "second", "volume"), ("flag", "value", "category"), ("note",)
ITCHES = ("The patient reports itching for weeks.", "Itching, worse at night.", "She has had an itch since May.")
WELL = ("The patient reports no complaints.", "Nothing was noticed.", "Comes for a routine visit, feels well.")
PARITY = LabelSpace("multiclass", ("even", "odd"))
VOLUME = 16
"""Voxels a side of a `volume` beside flat images."""
AGREES = 0.8
"""How often the flag, or the note, says by the rule `plain` whether there is a lesion."""


def with_beside(
    dataset: Dataset, reader: PhantomReader, modalities: Any, inputs: Any, texts: Any, rule: str, absent: float, missing: float
) -> Dataset:
    """Return a phantom with further images, inputs, texts and another rule, where any is asked for.

    Args:
        dataset: Of one image a sample.
        reader: What draws it.
        modalities: Some of `MODALITIES`, the first of them first, or None.
        inputs: Some of `INPUTS`, or None.
        texts: Some of `TEXTS`, or None.
        rule: One of `Rule`.
        absent: Share of each that is missing.
        missing: Share of labels that are missing.

    Raises:
        ConfigError: If an option is out of range, or the rule has nothing to combine.
        UnknownNameError: If a name is not known.
    """
    choice("rule", rule, Rule)
    images = chosen(modalities, "modalities", MODALITIES) or []
    names, told = chosen(inputs, "inputs", INPUTS) or [], chosen(texts, "texts", TEXTS) or []
    if images and images[0] != MODALITIES[0]:
        raise ConfigError(f"data.modalities={images}: the first is {MODALITIES[0]}")
    if not isinstance(absent, int | float) or isinstance(absent, bool) or not 0 <= absent <= 0.99:
        raise ConfigError(f"phantom: absent={absent!r} is not a number from 0 to 0.99")
    if absent and not images and not names and not told:
        raise ConfigError(
            "phantom: absent is a share of modalities, texts and inputs; name them, data.modalities=[image, second]"
        )
    if rule == "xor" and max(1, len(images)) + ("flag" in names) + len(told) < 2:
        raise ConfigError(
            "data.rule=xor needs two that it combines: data.modalities=[image, second], data.texts=[note] or data.inputs=[flag]"
        )
    if not images and not names and not told:
        return dataset
    table = dataset.table.copy()
    shows = _shown(table, reader.seed, images or [MODALITIES[0]], [*names, *told], rule)
    readers: dict[str, Any] = {name: _reader(reader, name) for name in images}
    for name, own in readers.items():
        table[own.columns[-2]] = _drawn(table["drawn"], shows[name], rule)
        table[own.columns[-1]] = np.where(
            shows[name] & (table["diameter"] == 0), _diameters(table, reader.seed), table["diameter"]
        )
    if rule == "xor" and not images:
        table["diameter"] = np.where(shows["image"] & (table["diameter"] == 0), _diameters(table, reader.seed), table["diameter"])
        table["drawn"] = _drawn(table["drawn"], shows["image"], rule)
    columns = {"flag": shows.get("flag"), "value": table["age"], "category": table["site"].map(SITES.index)}
    for name in names:
        table[f"input.{name}"] = np.asarray(columns[name], dtype=np.float32)
    for name in told:
        table[f"text.{name}"] = _sentences(table["sample_id"], shows[name], reader.seed)
    _leave_out(table, readers, [*(f"input.{name}" for name in names), *(f"text.{name}" for name in told)], absent, reader.seed)
    space = InputSpace(tuple(names), {"category": SITES} if "category" in names else {}) if names else None
    first = readers.get(MODALITIES[0], dataset.reader)
    if rule == "plain":
        return replace(dataset, table=table, reader=first, modalities=readers, inputs=space, texts=tuple(told))
    odd = np.sum(list(shows.values()), axis=0) % 2
    gaps = np.array([generator(reader.seed, "missing parity", s).random() for s in table["sample_id"]]) < missing
    table = table[[c for c in table.columns if c not in ("target", "caption") and not c.startswith(("target.", "concept."))]]
    table = table.assign(target=np.where(gaps, np.nan, odd).astype(np.float32))
    info = replace(
        dataset.info,
        name="phantom/xor",
        title="Phantom, parity of what is shown (synthetic images)",
        labels=PARITY,
        concepts=None,
    )
    return replace(
        dataset,
        info=info,
        table=table,
        reader=first,
        labels=PARITY,
        concepts=None,
        regions=None,
        modalities=readers,
        inputs=space,
        texts=tuple(told),
    )


def _shown(
    table: pd.DataFrame, seed: int, images: Sequence[str], beside: Sequence[str], rule: str
) -> dict[str, NDArray[np.bool_]]:
    """Return image, `flag` or `note` → (N,) whether it shows something: the image's own lesion, or by `xor` its own draw."""
    lesion = (table["drawn"].to_numpy(dtype=np.int64) & 1).astype(bool)
    found = {}
    for name in [*images, *(name for name in ("flag", *TEXTS) if name in beside)]:
        draws = np.array([generator(seed, "shows", name, sample).random() for sample in table["sample_id"]])
        found[name] = draws < 0.5 if rule == "xor" else lesion if name in images else lesion == (draws < AGREES)
    return found


def _sentences(samples: pd.Series, shown: NDArray[np.bool_], seed: int) -> list[str]:
    """Return one of several ways to say it, a sample."""
    return [
        str(generator(seed, "note", sample).choice(ITCHES if itches else WELL))
        for sample, itches in zip(samples, shown, strict=True)
    ]


def _drawn(bits: pd.Series, shown: NDArray[np.bool_], rule: str) -> NDArray[np.float64]:
    """Return what an image draws: by `xor` a plain lesion or none, beside whatever else is there."""
    own = bits.to_numpy(dtype=np.int64)
    return (own if rule == "plain" else (own & ~0b1111) | shown).astype(np.float64)


def _diameters(table: pd.DataFrame, seed: int) -> NDArray[np.float64]:
    return np.array([round(generator(seed, "diameter", sample).uniform(20, 40), 2) for sample in table["sample_id"]])


def _reader(reader: PhantomReader, name: str) -> PhantomReader:
    columns = ("sample_id", "group", "site", f"{name}_drawn", f"{name}_diameter")
    own = reader.seed if name == MODALITIES[0] else derived_seed(reader.seed, "modality", name)
    flat = name != "volume" or reader.dims == 3
    return PhantomReader(own, reader.size if flat else VOLUME, reader.dims if flat else 3, reader.channels, reader.noise, columns)


def _leave_out(table: pd.DataFrame, readers: dict[str, Any], beside: Sequence[str], absent: float, seed: int) -> None:
    """Let a share of each image, input and text be missing; a sample of which nothing would be left keeps its first one."""
    columns = [*(own.columns[-2] for own in readers.values()), *beside]
    gone = np.stack(
        [[generator(seed, "absent", column, sample).random() < absent for sample in table["sample_id"]] for column in columns],
        axis=1,
    )
    if readers:
        gone[gone.all(axis=1), 0] = False
    for place, column in enumerate(columns):
        table[column] = table[column].mask(gone[:, place])
