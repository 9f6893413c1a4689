"""A table whose rows know where they stand in their file, so that a bad one is named by its line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from medzoo.data.dataset import UnknownColumnError
from medzoo.data.errors import DatasetError
from medzoo.data.tables.csv_file import SHOWN, read_columns, read_header, records, why_unreadable
from medzoo.data.tables.text_file import UNREADABLE, TextFile
from medzoo.data.tables.words import real_text

Columns = Sequence[str] | Mapping[str, Sequence[str]]
Mask = pd.Series | NDArray[np.bool_]
_SHORT: dict[int, type[np.floating[Any]]] = {2: np.float16, 4: np.float32}
"""Bytes → types of real numbers shorter than Python's, in which Parquet keeps columns."""
LIST, OBJECT, BYTES = "a list", "an object", "bytes"
_NESTED = {
    LIST: "of all columns, findings alone may be lists: say data.separator='[]' with data.names",
    OBJECT: "a cell is a word or a number: give its fields columns of their own",
    BYTES: "a cell is a word or a number: write images as files, and name their paths",
}
"""What a cell of JSON or Parquet may be that is no word → what to do; its text as Python writes it would be one."""


@dataclass(frozen=True)
class Beside:
    """Where a column comes from that was put beside a table's own.

    Attributes:
        table: The table that has it.
        rows: Label of a row → that of the other table's row which belongs to it; without the rows that have none there.
    """

    table: TextTable
    rows: pd.Series


@dataclass(frozen=True)
class TextTable:
    """Rows of a file, which know where they stand in it.

    Attributes:
        file: The file's name, for messages.
        rows: Text, empty where a cell is empty, without blank lines. The index tells a row's place in the file: what keeps it
            (some of the rows, a column made of them) can be refused by line.
        dataset: Name that messages begin with; empty for a user's own table.
        unit: What places are counted in: lines from 1, rows from 0 in a file without lines, or samples.
        names: Column → what the file calls it, where that differs.
        source: Of a CSV file, whose index counts records; None: the index is the place.
        remedy: What to do about a wrong file; ends the messages that have no remedy of their own.
        pointed: Column → cells that are numbers with a point, by their labels, of a file whose numbers have a comma; what such
            a cell says is only known of words.
        beside: Column → where it comes from, of those of further tables: their bad cells are named by the lines there.
        nested: Column → which of its cells, by their labels, are a list, an object or bytes in the file: a column that has
            some is not read as words, but by `lists`.
    """

    file: str
    rows: pd.DataFrame
    dataset: str = ""
    unit: Literal["line", "row", "sample"] = "line"
    names: Mapping[str, str] = field(default_factory=dict)
    source: TextFile | None = None
    remedy: str = ""
    pointed: Mapping[str, pd.Series] = field(default_factory=dict)
    beside: Mapping[str, Beside] = field(default_factory=dict)
    nested: Mapping[str, pd.Series] = field(default_factory=dict)

    @classmethod
    def read(
        cls, path: Path, columns: Columns | None = None, *, dataset: str = "", remedy: str = "", pad: bool = False,
        encoding: str | None = None,
    ) -> TextTable:  # fmt: skip
        """Read a CSV file as text.

        A byte-order mark, UTF-16, semicolons, tabs, line ends of any kind, quoted cells of several lines, blank lines, a
        first column without a name (of pandas or R), and a comma at the end of every row are simply read; `.gz`, `.bz2`, `.xz`
        and `.zip` are unpacked.

        Args:
            path: The file.
            columns: Those to read, by name; or name wanted → the names it may have in the file. None: all that have a name.
            dataset: Name that messages begin with.
            remedy: What to do about a file that is not there, damaged or another one; ends messages.
            pad: Whether a row may end before the last column that is read, as some spreadsheets leave out empty cells; else
                it is cut short.
            encoding: Of its text; None: UTF-8, or as its mark says.

        Raises:
            UnknownColumnError: If a column is not there; names the nearest that is.
            DatasetError: If the file is not there or cannot be read, has no rows or a column twice, or a row is cut short or
                longer than the header; names the line.
        """
        who, end = f"{dataset}: " * bool(dataset), f"; {remedy}" * bool(remedy)
        if not path.is_file():
            raise DatasetError(f"{who}{path} is not there{end}")
        file = None
        try:
            file = TextFile.find(path, encoding)
            header = read_header(file)
            if header is None:
                raise DatasetError(f"{who}{path} is empty{end}")
            places = _find(f"{who}{path.name}", header.cells, columns, remedy)
            rows = read_columns(file, header, places, f"{who}{path.name}", pad=pad)
        except UNREADABLE as error:
            raise DatasetError(f"{who}{path} cannot be read ({why_unreadable(file, error)}){end}") from None
        if not len(rows):
            raise DatasetError(f"{who}{path.name} has no rows{end}")
        names = {name: header.cells[place] for name, place in places.items()}
        return cls(path.name, rows, dataset, names=names, source=file, remedy=remedy)

    def __getitem__(self, column: str) -> pd.Series:
        if column not in self.rows.columns:
            raise UnknownColumnError(self._called, column, list(self.rows.columns))
        self._refuse_nested(column, _NESTED)
        return self.rows[column]

    def lists(self, column: str) -> pd.Series:
        """Return a column whose cells may be lists, as Python writes them; raises as that of words does else."""
        if column in self.rows.columns:
            self._refuse_nested(column, (OBJECT, BYTES))
            return self.rows[column]
        return self[column]

    def __len__(self) -> int:
        return len(self.rows)

    def places(self, index: Iterable[Any]) -> list[int]:
        """Return the lines, or rows in a file without, of some entries of the index, in the order of the file."""
        wanted = {int(label) for label in index}
        if self.source is None:
            return sorted(wanted)
        return [line for number, (line, _, _) in enumerate(records(self.source)) if number in wanted]

    def error(self, label: Any, problem: str | Exception, column: str | None = None) -> DatasetError:
        """Return an error that names the line of an entry of the index, there or in the further table that the column is of."""
        origin = self._origin(column, label)
        if origin is not None:
            return origin.table.error(origin.rows[label], problem, column)
        (place,) = self.places([label])
        return DatasetError(f"{self._called} {self.unit} {place}: {problem}")

    def refuse(self, bad: Mask, column: str | Sequence[str], problem: str = "", remedy: str = "") -> None:
        """Stop at the first bad row.

        Args:
            bad: Which rows are bad: of all, or with the index of those that were looked at.
            column: The column whose cell the message shows, or several.
            problem: What is wrong with what is shown; a cell that must not be empty needs none.
            remedy: What to do; ends the message. Empty: what there is to do about the file.

        Raises:
            DatasetError: If any row is bad; names the file, the line, what stands there and how many such rows there are.
        """
        labels = (bad.index if isinstance(bad, pd.Series) else self.rows.index)[np.asarray(bad, dtype=bool)]
        if not len(labels):
            return
        columns = [column] if isinstance(column, str) else column
        origins = [self._origin(name, labels[0]) for name in columns]
        first = origins[0]
        alone = first if first is not None and all(one is not None and one.table is first.table for one in origins) else None
        shown = []
        for name in columns:
            cell = str(self.rows.at[labels[0], name]).strip()[:SHOWN]
            other = self.beside.get(name)
            called = (self if other is None else other.table).names.get(name, name)
            where = f" of {other.table.file}" if other is not None and alone is None else ""
            shown.append(f"{called!r}{where} is {repr(cell) if cell else 'empty'}")
        count = len(labels) if alone is None else alone.rows.reindex(labels).nunique()
        more = f" ({count} such {(self if alone is None else alone.table).unit}s)" if count > 1 else ""
        remedy = remedy or self.remedy
        parts = ", ".join([*shown, *([problem] if problem else [])])
        raise self.error(labels[0], f"{parts}{more}" + f"; {remedy}" * bool(remedy), columns[0] if alone is not None else None)

    def refuse_others(self, column: str, known: Iterable[str]) -> None:
        """Stop at the first cell that holds none of the known words; the empty text among them is said as nothing.

        Raises:
            DatasetError: If there is one.
        """
        known = list(known)
        words = ", ".join(word or "nothing" for word in known)
        self.refuse(~self[column].isin(known), column, f"not one of {words}")

    def refuse_repeats(self, values: pd.Series, what: str, remedy: str) -> None:
        """Stop where a value stands in several rows.

        Args:
            values: Of rows, with their index.
            what: What a value is.
            remedy: What to do; ends the message.

        Raises:
            DatasetError: If one does; names the value and its first lines.
        """
        repeated = values.duplicated(keep=False)
        if repeated.any():
            first = values[repeated].iloc[0]
            places = self.places(values.index[values == first][:3])
            raise DatasetError(
                f"{self._called}: {what} {first!r} stands on {self.unit}s {' and '.join(map(str, places))}; {remedy}"
            )

    def refuse_points(self, column: str, read: pd.Series) -> None:
        """Stop at a cell with a point, of a column of numbers that have a comma before the fraction: it may part the thousands.

        Args:
            column: Its name.
            read: Which cells are read as numbers.

        Raises:
            DatasetError: If there is one.
        """
        pointed = self._pointed(column)
        if len(pointed):
            bad = read & (self[column].str.strip() == pointed.reindex(read.index))
            remedy = "write it without the point, or with a comma before its fraction"
            self.refuse(bad, column, "a number with a point beside data.decimal=','", remedy)

    def numbers(self, column: str, missing: pd.Series | None = None, remedy: str = "") -> pd.Series:
        """Return a column as float64, NaN where missing.

        Args:
            column: Its name.
            missing: Which cells are missing; None: the empty ones.
            remedy: What to do about another cell; ends the message.

        Raises:
            DatasetError: If another cell is not a finite number, or has a point where numbers have a comma.
        """
        text = self[column].str.strip()
        missing = text == "" if missing is None else missing
        self.refuse_points(column, ~missing)
        values = pd.to_numeric(text.where(~missing), errors="coerce").astype(np.float64)
        self.refuse(~missing & ~np.isfinite(values), column, "not a number", remedy)
        self.refuse(values.abs() > np.finfo(np.float32).max, column, "too large a number", remedy)
        return values

    def _refuse_nested(self, column: str, kinds: Iterable[str]) -> None:
        held = self._nested(column)
        for kind in kinds if len(held) else ():
            self.refuse((held == kind) & held.index.isin(self.rows.index), column, kind, _NESTED[kind])

    def _nested(self, column: str) -> pd.Series:
        """Return what `nested` says of a column, be it a further table's."""
        other = self.beside.get(column)
        if other is None:
            return self.nested.get(column, pd.Series(dtype=object))
        return other.rows.map(other.table._nested(column)).dropna()

    def _pointed(self, column: str) -> pd.Series:
        """Return what `pointed` says of a column, be it a further table's."""
        other = self.beside.get(column)
        if other is None:
            return self.pointed.get(column, pd.Series(dtype=object))
        return other.rows.map(other.table._pointed(column)).dropna()

    def _origin(self, column: str | None, label: Any) -> Beside | None:
        """Return the further table that a cell comes from; None of one of its own, or where the other table has no such row."""
        other = None if column is None else self.beside.get(column)
        return other if other is not None and label in other.rows.index else None

    @property
    def _called(self) -> str:
        return f"{self.dataset}: " * bool(self.dataset) + self.file


def _find(file: str, header: list[str], columns: Columns | None, remedy: str) -> dict[str, int]:
    """Return the place of each column that is wanted."""
    named = [name for name in header if name]
    if not isinstance(columns, Mapping):
        columns = {name: (name,) for name in (named if columns is None else columns)}
    places = {}
    for wanted, known in columns.items():
        found = [place for place, name in enumerate(header) if name in known]
        if not found:
            raise UnknownColumnError(file, known[0], named, known[1:], remedy)
        if len(found) > 1:
            raise DatasetError(f"{file} has several columns {' or '.join(map(repr, known))}; keep one")
        places[wanted] = found[0]
    return places


def nested_kind(value: object) -> str | None:
    """Return what a value of JSON or Parquet is that is no word, None of one that is."""
    if isinstance(value, Mapping):
        return OBJECT
    return LIST if isinstance(value, list | tuple) else BYTES if isinstance(value, bytes | bytearray) else None


def as_text(rows: pd.DataFrame, *, strip: bool = True) -> pd.DataFrame:
    """Return columns of any type as text: whole numbers without a point, missing values empty, no spaces around if `strip`."""
    text = {column: _as_text(rows[column], not strip) for column in rows.columns}
    return pd.DataFrame({name: column.str.strip() if strip else column for name, column in text.items()}, index=rows.index)


def leaves_root(paths: pd.Series) -> pd.Series:
    """Return which relative paths are absolute or leave the folder they are relative to; missing ones do not."""
    return paths.fillna("").astype(str).str.contains(r"^(?:[/\\]|[A-Za-z]:)|(?:^|[/\\])\.\.(?:[/\\]|$)", regex=True)


def count_note(which: ArrayLike, text: str) -> tuple[str, ...]:
    """Return the note that so many of all rows are of one kind; none where there is no such row."""
    rows = np.asarray(which, dtype=bool)
    return (f"{int(rows.sum())} of {len(rows)} {text}",) * bool(rows.any())


def _as_text(column: pd.Series, exponent: bool) -> pd.Series:
    """Return a column as text: whole numbers without a point, missing values empty; `exponent` as `real_text`'s."""
    if pd.api.types.is_bool_dtype(column):
        return column.map({True: "1", False: "0"}).fillna("")
    if pd.api.types.is_float_dtype(column):
        places, values = pd.factorize(column.to_numpy(dtype=np.float64, na_value=np.nan))
        stored = _SHORT.get(getattr(column.dtype, "itemsize", 8), np.float64) if exponent else np.float64
        text = [real_text(float(v), exponent, stored) for v in values]
        return pd.Series(np.array([*text, ""], dtype=object)[places], index=column.index, dtype=str)  # place -1 is missing
    return column.astype(object).where(column.notna(), "").astype(str)
