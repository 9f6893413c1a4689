"""Patients that a network has learnt from are not patients to test it on, whichever run it learnt in.

A run directory keeps a record of the samples and groups of its training and validation, its own and those of the runs it started
from, as hashes: it names no patient, and needs no earlier data to be there. Names are hashed within their population
(`DatasetInfo.population`), those of a user's own tables and folders within where they lie and what they hold (`populations`).
Image files are also known by where they lie, whatever table lists them. Equal names in other data give a note.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medzoo.data.dataset import Dataset, readers_of
from medzoo.data.errors import CheckpointError, DatasetError
from medzoo.data.images.reader import Reader
from medzoo.data.info import NO_PATIENT
from medzoo.data.seeding import stable_hash

FILE = "learnt_from.safetensors"
"""Name of the record among a run's assets."""
BLOCK = 65_536
"""Rows whose names are spelt out at a time."""
NOT_RECORDED = (
    "the run it started from does not say which patients it has learnt from (an earlier medzoo wrote it): nothing was compared"
)

Keys = NDArray[np.uint64]


@dataclass(frozen=True)
class LearntFrom:
    """What a network has learnt from.

    Attributes:
        train: (n,) sorted unique hashes of samples and groups that were trained on.
        val: (m,) the same of those that chose an epoch or a setting.
        complete: Whether every run in the chain had a record.
    """

    train: Keys
    val: Keys
    complete: bool = True

    def __or__(self, other: LearntFrom) -> LearntFrom:
        both = self.complete and other.complete
        return LearntFrom(np.union1d(self.train, other.train), np.union1d(self.val, other.val), both)

    def to_bytes(self) -> bytes:
        """Return the record as a safetensors file."""
        from safetensors.numpy import save

        return save({"train": self.train, "val": self.val, "complete": np.array([self.complete], np.uint8)})

    @classmethod
    def from_bytes(cls, data: bytes) -> LearntFrom:
        """Read `to_bytes` back; raises CheckpointError if the record is damaged."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            found = load(data)
            return cls(found["train"], found["val"], bool(found["complete"].all()))
        except (SafetensorError, KeyError, ValueError) as error:
            raise CheckpointError(f"{FILE} is damaged ({error}); take another copy of the run") from error


NOTHING = LearntFrom(np.empty(0, np.uint64), np.empty(0, np.uint64))


def read_record(run: str | Path) -> LearntFrom:
    """Return what the network of a run, or of one of its checkpoint folders, has learnt from.

    Args:
        run: Its directory. One without a record gives an empty, incomplete one.

    Raises:
        CheckpointError: If the record is damaged.
    """
    folder = Path(run).expanduser().resolve()
    for place in (folder, folder.parent.parent):
        if (place / "assets" / FILE).is_file():
            return LearntFrom.from_bytes((place / "assets" / FILE).read_bytes())
    return replace(NOTHING, complete=False)


def record(dataset: Dataset) -> LearntFrom:
    """Return what a network learns from that is trained on a dataset's train split and validated on its val split."""
    found = []
    for split in ("train", "val"):
        rows = dataset.rows(split)
        blocks = [rows.iloc[start : start + BLOCK] for start in range(0, max(len(rows), 1), BLOCK)]  # names of all weigh more
        found.append(np.unique(np.concatenate([np.append(_keys(dataset, part).ravel(), _names(part)) for part in blocks])))
    train, val = found
    return LearntFrom(train, val)


def refuse_learnt_from(
    dataset: Dataset, learnt: LearntFrom, splits: Iterable[str], *, own: bool = False, options: str = "data"
) -> Dataset:
    """Hold a dataset's splits against what a network has learnt from before.

    What chose an epoch before (val) may choose one again, but not be tested on.

    Args:
        dataset: What the network is validated or tested on now.
        learnt: What it has learnt from.
        splits: Those that are looked at: val, test.
        own: The network is trained on this dataset: what its splits share with one another is looked at first.
        options: Where the dataset's options are given, for the remedy.

    Returns:
        The dataset; where `data.allow_shared_groups=true` allows it, or nothing could be compared, with a note for reports.

    Raises:
        DatasetError: If a sample or its group was learnt from before and that is not allowed.
    """
    notes = [] if learnt.complete else [NOT_RECORDED]
    unit, allowed = dataset.info.split_unit, dataset.options.get("allow_shared_groups")
    itself = record(dataset) if own else NOTHING
    for split in splits:
        if split not in ("val", "test"):
            continue
        rows = dataset.rows(split)
        keys, names = _keys(dataset, rows, earlier=True), rows["group"].to_numpy()
        shared = np.isin(keys, _seen(itself, split)).any(axis=1)
        known = np.isin(keys, _seen(learnt, split)).any(axis=1) & ~shared
        namesakes = np.isin(_names(rows), _seen(learnt, split)) & ~shared & ~known
        if shared.any():
            what = f"{_named(unit, split, names[shared])} have a sample, group or image in a split that is learnt from, too"
            if not allowed:
                raise DatasetError(
                    f"{dataset.info.name}: {what}; name what no split may cut (such as data.group), or allow it by name with "
                    "data.allow_shared_groups=true"
                )
            notes.append(f"{what}: results are optimistic")
        if known.any():
            what = _named(unit, split, names[known])
            if not allowed:
                raise DatasetError(
                    f"{dataset.info.name}: the network has learnt from {what} before; take the split options that it was trained "
                    f"with, or allow it by name with {options}.allow_shared_groups=true"
                )
            notes.append(f"the network has learnt from {what} before: results are optimistic")
        if namesakes.any() and unit != "image" and dataset.info.populations:
            what = _named(unit, split, names[namesakes])
            notes.append(f"{what} bear names that the network has learnt from in other data: are they the same?")
    if not notes:
        return dataset
    return replace(dataset, info=replace(dataset.info, notes=(*dataset.info.notes, *notes)))


def _seen(learnt: LearntFrom, split: str) -> Keys:
    """Return what must not stand in a split: what chose an epoch may choose one again."""
    return learnt.train if split == "val" else np.union1d(learnt.train, learnt.val)


def _named(unit: str, split: str, groups: NDArray[np.object_]) -> str:
    found = sorted(set(groups))
    return f"{len(found)} {unit} groups of the {split} split (such as {found[0]!r})"


def _names(rows: pd.DataFrame) -> Keys:
    """Return (N,) hashes of the groups' names, whosever they are."""
    return _hashes([f"\x1fname\x1f{group}" for group in rows["group"]])


def _keys(dataset: Dataset, rows: pd.DataFrame, *, earlier: bool = False) -> Keys:
    """Return (N, J) hashes by which rows are known: their group, their name, and what makes their images the same.

    Args:
        dataset: Whose rows they are.
        rows: Of its table.
        earlier: As an earlier medzoo recorded them, too: a user's own data by the name of the file or folder alone.
    """
    info = dataset.info
    population = info.population or str(dataset.options.get("name", info.name))
    groups, samples = rows["group"], rows["sample_id"]
    names = []
    for key in info.populations:
        # Rows of two tables in one folder may bear the same numbers: their images tell them apart, and their patients.
        if not key.startswith("root/"):
            names.append([f"{key}\x1fsample\x1f{sample}" for sample in samples])
        if info.split_unit not in NO_PATIENT or not key.startswith("root/"):
            names.append([f"{key}\x1fgroup\x1f{group}" for group in groups])
    if earlier or not info.populations:
        names.append([f"{population}\x1fgroup\x1f{group}" for group in groups])
        names.append([f"{population}\x1fsample\x1f{sample}" for sample in samples])
    whose = info.populations[-1] if info.populations else population
    own = [f"{whose}\x1fsample\x1f{sample}" for sample in samples]
    for reader in readers_of(dataset).values():
        for places in _places(reader, rows):
            # A view that is not there is known by its sample.
            names.append([sample if place is None else place for place, sample in zip(places, own, strict=True)])
    return np.stack([_hashes(part) for part in names], axis=1)


def _places(reader: Reader, rows: pd.DataFrame) -> Iterator[list[str | None]]:
    """Yield what makes images of rows the same: of each view, of each file that is a channel of one; None where there is none."""
    seen = [reader.images(*values) for values in zip(*(rows[column] for column in reader.columns), strict=True)]
    for view in range(max((1 + max(images) for images in seen if images), default=1)):
        found = [reader.identities(*images[view]) if view in images else () for images in seen]
        for part in range(max(map(len, found), default=0)):
            places = [one[part] if part < len(one) else None for one in found]
            if any(place is not None for place in places):
                yield places


def _hashes(names: list[str]) -> Keys:
    places, unique = pd.factorize(np.array(names, dtype=object))
    return np.array([stable_hash(name) for name in unique], dtype=np.uint64)[places]
