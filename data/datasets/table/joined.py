"""What a table says in several files: columns of further tables put beside its rows, and which of the rows are taken."""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pandas as pd

from medzoo.data.datasets.table.reading import TEXT, Owner, read_table
from medzoo.data.errors import ConfigError, DatasetError, UnknownNameError
from medzoo.data.options import one_text, text_list
from medzoo.data.tables import TextTable
from medzoo.data.tables.text_file import PACKED, UNREADABLE, is_encoding, kind_of, says_unicode
from medzoo.data.tables.text_table import Beside
from medzoo.data.tables.words import Merged, alike_key, clean, identifier, plain_number, with_point


@dataclass(frozen=True)
class Join:
    """A further table.

    Attributes:
        file: Its name, in the folder of the first one, or an absolute path.
        by: Columns that both have and that say which rows belong together.
        encoding: Of its text; None: UTF-8 where it says so, else that of the first table.
        sheet: Of a workbook; None: the only one that holds anything.
    """

    file: str
    by: tuple[str, ...]
    encoding: str | None = None
    sheet: str | None = None


FURTHER = Owner(
    "{}: {} in its entry of data.join",
    "text in another encoding needs encoding: cp1252, say, in its entry of data.join",
    "name one as sheet: {} in its entry of data.join",
)
KEYS = tuple(field.name for field in fields(Join))


def join_option(value: Any) -> list[Join]:
    """Return the option `join`, a list of `{file: ..., by: [...]}`; raises ConfigError if it is something else."""
    if value is None:
        return []
    if isinstance(value, str | Mapping) or not isinstance(value, Sequence):
        raise ConfigError(f"data.join={value} is no list of tables, [{{file: labels.csv, by: [patient]}}]")
    found = []
    for one in value:
        if not isinstance(one, Mapping) or not {"file", "by"} <= set(one) or not isinstance(one["file"], str):
            raise ConfigError(f"data.join holds {one}, which is no table and its columns, {{file: labels.csv, by: [patient]}}")
        for key in one:
            if key not in KEYS:
                raise UnknownNameError("key", str(key), KEYS, where=f" of {one['file']} in data.join")
        by = [one["by"]] if isinstance(one["by"], str) else text_list(one["by"], "join.by")
        if not by:
            raise ConfigError(f"data.join: say which columns of {one['file']} the table has too, by: [patient]")
        encoding, sheet = (one_text(one.get(key), f"join.{key}") for key in ("encoding", "sheet"))
        if encoding is not None and not is_encoding(encoding):
            said = f"encoding: {encoding} of {one['file']} in data.join"
            raise ConfigError(f"{said} is no known encoding; cp1252, utf-16 and latin-1 are some")
        found.append(Join(one["file"], tuple(map(clean, by)), encoding, sheet))
    return found


def where_option(value: Any, decimal: str = ".") -> dict[str, list[str]]:
    """Return the option `where`, column → words; raises ConfigError if it is something else.

    Args:
        value: What the user gave, or None.
        decimal: What stands before the fraction of the table's numbers.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigError(f"data.where={value} is no mapping; give a column and its words, data.where={{view: [PA, AP]}}")
    given = {clean(str(column)): text_list(words, f"where.{column}") or [] for column, words in value.items()}
    return {column: [with_point(clean(word), decimal) for word in words] for column, words in given.items()}


def join_tables(
    rows: TextTable, joins: Sequence[Join], folder: Path, *, encoding: str | None, decimal: str, rule: int
) -> tuple[TextTable, dict[str, Merged], tuple[str, ...]]:
    """Put the columns of further tables beside a table's rows; cells are empty where the other one has no such row.

    Args:
        rows: The table.
        joins: The further ones, in turn.
        folder: That their names are relative to.
        encoding: Of the first one's text, and of theirs that does not say that it is UTF-8.
        decimal: What stands before the fraction of a number.
        rule: See `read_table`.

    Returns:
        The wider table; column → writings that became one word, of the columns that are new; and notes on rows without another.

    Raises:
        DatasetError: If a table is not there, lacks a column, repeats a key, has a column that the first one has too, or has
            no row that belongs to one of the first.
    """
    merged: dict[str, Merged] = {}
    notes: list[str] = []
    for join in joins:
        file = _find(folder, join.file)
        own = join.encoding or _shared(file, encoding)
        other, more = read_table(file, sheet=join.sheet, encoding=own, decimal=decimal, rule=rule, owner=FURTHER)
        theirs, ours = _keys(other, join.by), _keys(rows, join.by)
        what = ", ".join(map(repr, join.by))
        remedy = f"which of them belongs to a row of {rows.file}? Give data.join.by more columns"
        other.refuse_repeats(theirs[theirs != ""], what, remedy)
        twice = sorted(set(other.rows.columns) & set(rows.rows.columns) - set(join.by))
        if twice:
            raise DatasetError(
                f"{rows.file} and {other.file} both have a column {twice[0]!r}; rename one, or name it in data.join.by if it "
                "says which rows belong together"
            )
        new = [column for column in other.rows.columns if column not in join.by]
        wider = other.rows[new].set_axis(theirs.to_numpy(), axis=0)
        found = ours.isin(set(theirs) - {""})
        if not found.any():
            plain = f" (such as {ours.iloc[0]!r} and {theirs.iloc[0]!r}): are both of one dataset?"
            raise DatasetError(f"no row of {rows.file} is in {other.file} by {what}{_alike(ours, theirs) or plain}")
        wider = wider[~wider.index.duplicated()].reindex(ours.to_numpy()).fillna("").set_axis(ours.index, axis=0)
        wider = wider.where(found, "")
        labels = pd.Series(other.rows.index, index=theirs.to_numpy())
        beside = Beside(other, ours[found].map(labels[~labels.index.duplicated()]))
        rows = replace(rows, rows=pd.concat([rows.rows, wider], axis=1), beside={**rows.beside, **dict.fromkeys(new, beside)})
        merged |= {column: one for column, one in more.items() if column in new}
        if lost := int((~found).sum()):
            said = f"{lost} of {len(rows)} rows have none in {other.file}: what stands there is missing for them"
            notes.append(said + _alike(ours[~found], theirs))
    return rows, merged, tuple(notes)


def take_where(rows: TextTable, where: Mapping[str, Sequence[str]]) -> tuple[TextTable, tuple[str, ...]]:
    """Take the rows whose cells are among some words, and say how many.

    Args:
        rows: The table.
        where: Column → words; 1 is 1.0.

    Raises:
        DatasetError: If no row is left, or the table lacks a column.
    """
    if not where:
        return rows, ()
    taken = pd.Series(True, index=rows.rows.index)
    for column, words in where.items():
        taken &= rows[column].map(plain_number).isin([plain_number(clean(word)) for word in words])
    if not taken.any():
        column, words = next(iter(where.items()))
        held = ", ".join(map(repr, sorted(set(rows[column]))[:6]))
        raise DatasetError(f"data.where leaves no row of {rows.file}: {column!r} holds {held}, not {', '.join(words)}")
    said = "; ".join(f"{column}: {', '.join(words)}" for column, words in where.items())
    note = f"{int(taken.sum())} of {len(rows)} rows are taken (data.where: {said})"
    return replace(rows, rows=rows.rows[taken]), (note,)


def _keys(rows: TextTable, by: Sequence[str]) -> pd.Series:
    """Return what says to which row of the other table each belongs; empty where a cell is."""
    cells = [rows[column].map(identifier) for column in by]
    empty = pd.concat([cell == "" for cell in cells], axis=1).any(axis=1)
    if len(cells) == 1:
        return cells[0].astype(str)
    # In quotes: a comma of a cell does not part it.
    text = pd.Series([", ".join(map(repr, row)) for row in zip(*cells, strict=True)], index=rows.rows.index, dtype=str)
    return text.where(~empty, "")


def _alike(lost: pd.Series, theirs: pd.Series) -> str:
    """Return how many keys that the other table lacks look like one it has (zeros before them were lost), or nothing."""
    keys = {alike_key(key): key for key in theirs.unique() if key}
    near = [(key, keys[alike]) for key in lost if key and (alike := alike_key(key)) in keys]
    if not near:
        return ""
    return f"; {len(near)} of them look like one there (such as {near[0][0]!r} and {near[0][1]!r}): write the keys alike in both"


def _shared(file: Path, encoding: str | None) -> str | None:
    """Return the first table's encoding for a further one that is text of it; None for one that is read as it says itself."""
    if encoding is None or kind_of(file) not in TEXT or codecs.lookup(encoding).name in ("utf-8", "utf-8-sig"):
        return None
    try:
        return None if says_unicode(file) else encoding
    except UNREADABLE:
        return None  # which reading it says


def _find(folder: Path, name: str) -> Path:
    """Return where a further table lies, as it was packed or unpacked."""
    path = folder / Path(name).expanduser()
    if not path.is_file():
        plain = path.with_suffix("") if path.suffix.lower() in PACKED else path
        near = next((one for one in (plain, *(plain.with_name(plain.name + ending) for ending in PACKED)) if one.is_file()), None)
        if near is None:
            raise DatasetError(f"no table at {path}, whose columns data.join asks for")
        return near
    return path
