"""Rows of a table that are members of one sample: a slide's tiles, a study's films, the files of a patient's features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from medzoo.data.errors import ConfigError, DatasetError
from medzoo.data.images.rows import SUFFIXES, RowsReader, read_rows, row_names
from medzoo.data.tables import TextTable
from medzoo.data.tables.cells import ask_about_empty_words, is_missing
from medzoo.data.tables.words import identifier, unify

BAG = "bag"
"""The table's column with the name of a row's bag, until its rows are one."""


def check_bags(
    bag: str | None, features: str | None, max_members: object, view: str | None, alone: dict[str, object], columns: int
) -> int | None:
    """Refuse options that bags do not go with; returns `data.max_members` as a whole number.

    Args:
        bag: Column with the name of a row's bag.
        features: Column with paths of files of features.
        max_members: Most members in a step of training.
        view: Column with what a member shows.
        alone: Options that bags do not have: name → value, None where not given.
        columns: Columns with images.

    Raises:
        ConfigError: If they do not go together.
    """
    if max_members is not None:
        if bag is None and features is None:
            raise ConfigError(f"data.max_members={max_members} is of bags: give data.bag or data.features, or leave it out")
        if not isinstance(max_members, int) or isinstance(max_members, bool) or max_members < 1:
            raise ConfigError(f"data.max_members={max_members} is no whole number of at least 1")
    if view is not None and (bag is None or features is not None):
        raise ConfigError(f"data.view={view} says what the images of a bag show: give data.bag, without data.features")
    if bag is not None and columns > 1:
        raise ConfigError("data.bag makes one sample of several rows, and several data.image columns of one: give one of the two")
    if bag is None and features is None:
        return None
    if given := [name for name, value in alone.items() if value]:
        raise ConfigError(f"data.{given[0]} is not for {'bags' if features is None else 'rows of features'}; leave it out")
    return max_members if isinstance(max_members, int) else None


def bag_names(rows: TextTable, column: str) -> pd.Series:
    """Return the name of each row's bag; DatasetError on an empty cell, which names its line."""
    rows.refuse(rows[column] == "", column, remedy="every row needs the name of its bag")
    return unify(rows[column], identifier)[0]


def member_views(rows: TextTable, column: str, empty_words: Sequence[str]) -> pd.Series:
    """Return what each row's member shows, as words of one spelling, None where it is missing; DatasetError if all are."""
    missing = is_missing(rows[column], empty_words)
    ask_about_empty_words(rows, column, missing)
    if missing.all():
        raise DatasetError(f"data.view={column} is empty in all {len(missing)} rows; leave it out")
    words = unify(rows[column], identifier)[0].astype(object)
    return words.where(~missing, None)


def rows_reader(table: pd.DataFrame, folder: Path) -> RowsReader:
    """Return what reads a table's files of features, as wide as the first of them; ImageError if that cannot be read.

    The first file that names its features says in which order all others that do are read.
    """
    paths = table["path"].dropna().astype(str)
    first, named = paths.iloc[0], paths[paths.str.lower().str.endswith(".parquet")]
    if not first.lower().endswith(SUFFIXES):
        raise ConfigError(f"data.features names {first}, which is none of {', '.join(SUFFIXES)}")
    return RowsReader(folder, read_rows(folder / first).shape[1], row_names(folder / named.iloc[0]) if len(named) else None)


def bag_rows(table: pd.DataFrame, members: Sequence[str], name: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Make one row of the rows of each bag.

    Args:
        table: One row a member, with column `BAG`.
        members: Columns that say which member: they become tuples, in the table's order.
        name: Of the column that bags are named in, for messages.

    Returns:
        One row a bag, in order of first appearance, named by it; and a note.

    Raises:
        DatasetError: If rows of a bag differ in what a sample has one of: patient, split, truth, a column of text; names them.
    """
    codes, names = pd.factorize(table[BAG])
    first = ~pd.Series(codes, index=table.index).duplicated()
    made = table[first].drop(columns=[BAG]).copy()
    for column in (str(name) for name in table.columns):
        if column in (BAG, "sample_id", *members):
            continue
        known = table[column].notna()
        of_bag = table[column][known].groupby(codes[known.to_numpy()])
        settled = of_bag.first()
        if (several := of_bag.nunique() > 1).any():
            code = int(several.index[several][0])
            rows = table[(codes == code) & known.to_numpy()]
            other = rows[rows[column] != settled[code]].iloc[0]
            raise DatasetError(
                f"bag {names[code]!r} of {name!r} has {_two(column)}: {rows['sample_id'].iloc[0]} has {settled[code]}, "
                f"{other['sample_id']} has {other[column]} ({int(several.sum())} such bags); a bag is one sample"
            )
        values = settled.reindex(range(len(names)))
        made[column] = values.to_numpy() if str(values.dtype) == str(table[column].dtype) else values.astype(object).to_numpy()
        if made[column].dtype != table[column].dtype:
            made[column] = made[column].astype(table[column].dtype)
    for column in members:
        cells = table[column].groupby(codes).agg(tuple)
        made[column] = pd.Series([cells[code] for code in range(len(names))], index=made.index, dtype=object)
    made["sample_id"] = names
    counts = pd.Series(codes).value_counts()
    note = f"{len(table)} rows are {len(made)} bags (data.bag={name}) of {counts.min()} to {counts.max()} members"
    return made, (note,)


def _two(column: str) -> str:
    told = {"group": "members of two patients (data.group)", "split": "members in two splits", "target": "two truths"}
    return told.get(column) or ("two truths" if column.startswith("target.") else f"two values of {column!r}")
