"""Which rows of a dataset none of several runs has learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medzoo.data.dataset import Dataset
from medzoo.data.errors import DatasetError
from medzoo.data.splits.learnt_from import NOTHING, LearntFrom, read_record, refuse_learnt_from


@dataclass(frozen=True)
class Rows:
    """A dataset, and which of its splits may be reported.

    Attributes:
        dataset: With a note of what could not be compared.
        splits: Of val and test, those that no run has learnt from.
        learnt: What all runs have learnt from.
        val_refused: Why val is not among the splits; empty where it is.
        notes: On what was left out.
    """

    dataset: Dataset
    splits: tuple[str, ...]
    learnt: LearntFrom
    val_refused: str
    notes: tuple[str, ...]


def unseen_rows(dataset: Dataset, runs: Sequence[Path]) -> Rows:
    """Hold a dataset's val and test rows against what each run has learnt from.

    Folds of one dataset have each learnt from the others' val rows: val is then left out, and said.

    Raises:
        DatasetError: If a run has learnt from test rows; names it.
    """
    learnt, refused, splits = NOTHING, "", ["val", "test"]
    title = dataset.info
    for run in runs:
        own = read_record(run)
        learnt = learnt | own
        try:
            dataset = refuse_learnt_from(dataset, own, ["test"])
        except DatasetError as error:
            raise DatasetError(f"{run} cannot be judged here: {error}") from error
        try:
            dataset = refuse_learnt_from(dataset, own, ["val"])
        except DatasetError:
            refused = refused or f"{run} has learnt from rows of it"
    found = tuple(split for split in splits if len(dataset.rows(split)) and not (split == "val" and refused))
    if not found:
        raise DatasetError(f"{title.name} has no rows left to judge the members on: test is empty and {refused or 'val, too'}")
    noted = replace(dataset, info=replace(dataset.info, notes=tuple(dict.fromkeys(dataset.info.notes))))
    notes = (f"val is left out: {refused}",) if refused else ()
    return Rows(noted, found, learnt, refused, notes)
