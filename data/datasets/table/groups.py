"""Who the samples of a table are, and whose: names, groups, splits."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pandas as pd

from medzoo.data.dataset import SPLIT_WORDS
from medzoo.data.datasets.table.paths import Places
from medzoo.data.images.frames import frame_name
from medzoo.data.images.listing import same_files
from medzoo.data.splits.groups import merge_groups
from medzoo.data.splits.patterns import groups_by_pattern
from medzoo.data.tables import TextTable
from medzoo.data.tables.cells import refuse_nobody
from medzoo.data.tables.words import identifier, refuse_nobodies, unify


def sample_names(
    rows: TextTable, paths: pd.DataFrame, images: Sequence[str], column: str | None, rule: int, frames: pd.Series | None = None,
    bags: pd.Series | None = None, series: str | None = None,
) -> pd.Series:  # fmt: skip
    """Return each sample's name: that of a column, or its first image's path, with the frame's number where rows are frames.

    Args:
        rows: The table.
        paths: Of the images.
        images: Their columns.
        column: The one with names, or None.
        rule: 1 for names as they are written.
        frames: Numbers of the frames, where rows are frames.
        bags: Names of the bags that rows are members of: a name is one member's in its bag alone.
        series: Column with what tells the members of one path apart.

    Raises:
        DatasetError: If a row has none, or two have one name; names the lines.
    """
    rows.refuse(paths.isna().all(axis=1), images, "so no image is named")
    if column is None:
        ids: pd.Series = paths.bfill(axis=1).iloc[:, 0]
        ids = ids if rule == 1 else ids.map(lambda path: path if path.isascii() else unicodedata.normalize("NFC", path))
        if frames is not None:
            ids = pd.Series(list(map(frame_name, ids, frames)), index=ids.index, dtype=object)
        what, remedy = "image" if frames is None else "frame", "name a column with unique names as data.id"
        if bags is None:
            rows.refuse_repeats(ids, what, remedy)
            return ids
        known = [bags, ids, *([] if series is None else [rows[series]])]
        repeated = pd.concat(known, axis=1, keys=range(len(known))).duplicated(keep=False)
        if repeated.any():
            name = bags[repeated].iloc[0]
            again = ids[repeated & (bags == name)]
            rows.refuse_repeats(again, what, f"a member stands once in its bag ({name!r}): leave the other rows of it out")
        return ids
    rows.refuse(rows[column] == "", column, remedy="every sample needs a name")
    ids = rows[column] if rule == 1 else unify(rows[column], identifier)[0]
    rows.refuse_repeats(ids, column, "every sample needs a name of its own")
    return ids


Ungrouped = Literal["error", "alone"]


def group_names(
    rows: TextTable, ids: pd.Series, paths: pd.DataFrame, column: str | None, pattern: str | None, ungrouped: Ungrouped = "error",
    rule: int = 2, places: Places | None = None
) -> tuple[pd.Series, tuple[str, ...]]:  # fmt: skip
    """Return each sample's group, and notes on what was read as one.

    Rows of one image are of one group, whatever the table says.

    Args:
        rows: The table.
        ids: Names of the samples; of members, of their bags.
        paths: Of their images.
        column: The one with groups, or None.
        pattern: What finds the group in the cell, or without a column in the name of the (first) image's file; None: all of it.
        ungrouped: `alone`: a sample whose cell of the column is empty is a group of its own; `error`: there must be none.
        rule: The split rule; 1: a group is its cell, as medzoo read it at first.
        places: Where the files lie: paths that links to folders lead to one file are of one image. None: nobody looks.

    Raises:
        DatasetError: If a cell names nobody, or the pattern finds nothing in a name; names the line.
    """
    notes: tuple[str, ...] = ()
    if rule == 1:
        if column is not None:
            rows.refuse(rows[column] == "", column, remedy="every sample needs its group")
        return ids if column is None else rows[column], notes
    alone = pd.Series(False, index=ids.index)
    if column is not None:
        alone = (rows[column] == "") & (ungrouped == "alone")
        refuse_nobody(replace(rows, rows=rows.rows[~alone]), column)
    if pattern is not None:
        names = paths.bfill(axis=1).iloc[:, 0] if column is None else rows[column][~alone]
        groups = pd.Series(groups_by_pattern(list(names.astype(str)), pattern, column=column), index=names.index, dtype=str)
        refuse_nobodies(list(groups), pattern)
    else:
        groups = ids if column is None else rows[column][~alone]
    if column is not None or pattern is not None:
        groups, merged = unify(groups, identifier)
        notes = () if merged is None else (merged.note(f"groups of {column!r}" if column is not None else "groups"),)
    if alone.any():
        own = ids[alone].map(lambda name: f"alone: {name}")
        groups = pd.concat([groups, own]).reindex(ids.index)
        notes = (*notes, f"{own.nunique()} samples have no {column!r}: each is a group of its own (data.ungrouped)")
    shared = _rows_by_image(paths if places is None or places.files is None else _by_file(paths, places.folder))
    if not shared:
        return groups, notes
    joined = pd.Series(merge_groups(list(groups), shared), index=groups.index, dtype=str)
    some = sum(map(len, shared))
    if column is None and pattern is None:
        return joined, (*notes, f"{len(shared)} images stand in several rows ({some} in all): the rows of one are one group")
    moved = int((joined != groups).sum())
    if moved:
        said = f"{len(shared)} images stand in several rows, some in rows of several groups: {moved} rows joined another group"
        notes = (*notes, said)
    return joined, notes


def split_words(rows: TextTable, column: str) -> pd.Series:
    """Return train, val or test for each row; raises DatasetError on any other word, which names its line."""
    words = rows[column].str.lower()
    rows.refuse(~words.isin(list(SPLIT_WORDS)), column, "not train, val or test")
    return words.map(SPLIT_WORDS)


def _by_file(paths: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Return paths, one alone of each file that several lead to."""
    stands = same_files(folder, (str(path) for column in paths for path in paths[column].dropna()))
    return paths.apply(lambda column: column.map(lambda path: stands.get(path, path))) if stands else paths


def _rows_by_image(paths: pd.DataFrame) -> list[list[int]]:
    """Return the positions of the rows of each image that stands in several."""
    long = pd.concat([paths[column].reset_index(drop=True) for column in paths]).dropna()
    long = long[long.duplicated(keep=False)]
    found = [sorted(set(map(int, group.index))) for _, group in long.groupby(long, sort=True)]
    return [places for places in found if len(places) > 1]
