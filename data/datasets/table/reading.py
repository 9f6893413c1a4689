"""A user's own table in any common format, as text."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from medzoo.data.errors import ConfigError, DatasetError
from medzoo.data.tables import TextTable, as_text
from medzoo.data.tables.excel import SUFFIXES as EXCEL
from medzoo.data.tables.excel import cell_text, read_workbook
from medzoo.data.tables.first_bytes import misnamed, unmarked_utf16
from medzoo.data.tables.json_record import json_fields
from medzoo.data.tables.text_file import UNREADABLE, TextFile, kind_of
from medzoo.data.tables.text_table import nested_kind
from medzoo.data.tables.words import KeptReal, Merged, clean, unify, with_point

TEXT = (".csv", ".tsv", ".txt")
LINES = (".jsonl", ".ndjson")
FORMATS = (*TEXT, *LINES, ".parquet", *EXCEL)
_BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
_NO_TEXT = re.compile(r" is not \S+ text: ")
_POINT = re.compile(r"[+-]?(?:\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?\d{1,3}(?:\.\d{3})+(?:,\d+)?")
_REMEDIES = {
    ".xls": "save it as .xlsx or CSV", ".ods": "save it as .xlsx or CSV", ".xlsb": "save it as .xlsx or CSV",
    ".json": "write one object a line, as .jsonl", ".feather": "save it as .parquet", ".pkl": "save it as .parquet",
}  # fmt: skip


@dataclass(frozen=True)
class Owner:
    """What says how a table is read, and what messages advise there.

    Attributes:
        option: How an option is written, {} for its name and its value.
        encoding: What to do about text that is not of the encoding it was read in.
        sheet: What to do about several sheets, {} for the name of one.
    """

    option: str
    encoding: str
    sheet: str


FIRST = Owner("data.{}={}", "text in an encoding other than UTF-8 needs data.encoding=cp1252, say", "name one as data.sheet={}")
"""Of the table that `data.file` names."""
BOXES = Owner("{}={}", "save it as UTF-8", "save one alone as a workbook")
"""Of a table that no option is about."""


def read_table(
    path: Path, *, sheet: str | None = None, encoding: str | None = None, decimal: str = ".", rule: int = 2, owner: Owner = FIRST
) -> tuple[TextTable, Mapping[str, Merged]]:
    """Read a user's own table as text.

    Args:
        path: A file of one of `FORMATS`; text may be packed (.gz, .bz2, .xz, .zip).
        sheet: Of a workbook.
        encoding: Of text; None: UTF-8, or as its mark says.
        decimal: What stands before the fraction of a number.
        rule: 1 for words as medzoo read them before `clean`.
        owner: Whose table it is, for messages.

    Returns:
        The table, its words read by `clean`; and column → writings that became one word by that.

    Raises:
        ConfigError: If an option does not fit the file.
        DatasetError: If the file is missing, damaged, empty or of another kind, repeats a column, or has a row that is too
            long; names the line.
    """
    kind = kind_of(path)
    if kind not in FORMATS:
        remedy = _REMEDIES.get(kind)
        raise DatasetError(f"{path}: not a table of a known kind ({', '.join(FORMATS)})" + f"; {remedy}" * bool(remedy))
    if decimal not in (".", ","):
        raise ConfigError(f"data.decimal={decimal} is neither . nor ,")
    if sheet is not None and kind not in EXCEL:
        said = owner.option.format("sheet", sheet)
        raise ConfigError(f"{said} is for workbooks ({', '.join(EXCEL)}), and {path.name} is none; leave it out")
    if encoding is not None and not isinstance(encoding, str):
        raise ConfigError(f"data.encoding={encoding!r} is no name of an encoding; cp1252, utf-16 and latin-1 are some")
    if encoding is not None and kind not in TEXT:
        said = owner.option.format("encoding", encoding)
        raise ConfigError(f"{said} is for text ({', '.join(TEXT)}), and {path.name} is none; leave it out")
    if not path.is_file():
        raise DatasetError(f"no table at {path}; set data.file")
    if (told := misnamed(path, kind)) is not None:
        raise DatasetError(f"{path} is not what its name says: {told}")
    if kind in (*TEXT, *LINES) and encoding is None:
        _refuse_unmarked(path, kind, owner)
    if kind in TEXT:
        try:
            table = TextTable.read(path, pad=True, encoding=encoding)
        except DatasetError as error:
            advised = encoding is None or owner is not FIRST
            raise DatasetError(f"{error}; {owner.encoding}" if advised and _NO_TEXT.search(str(error)) else str(error)) from None
    else:
        rows, no_words = _read_rows(path, kind, sheet, owner)
        if not len(rows):
            raise DatasetError(f"{path.name} has no rows")
        names = [str(column) if rule == 1 else clean(str(column)) for column in rows.columns]
        twice = [name for name in names if names.count(name) > 1] if len(set(names)) < len(names) else []
        if twice:
            raise DatasetError(f"{path.name} has several columns {twice[0]!r}; keep one")
        nested = {name: no_words[one] for name, one in zip(names, rows.columns, strict=True) if len(no_words.get(one, ()))}
        table = TextTable(path.name, rows.set_axis(names, axis=1), unit="line" if kind in LINES else "row", nested=nested)
    pointed = _with_points(table.rows) if decimal == "," else {}
    text = table.rows.copy() if kind in TEXT and rule != 1 else as_text(table.rows, strip=rule == 1)
    if rule == 1:
        return replace(table, rows=text), {}
    merged: dict[str, Merged] = {}
    for column in text.columns:
        text[column], found = unify(text[column], clean)
        merged |= {} if found is None else {column: found}
        if decimal == ",":
            text[column] = text[column].map(lambda word: with_point(word, decimal)).astype(text[column].dtype)
    return replace(table, rows=text, pointed=pointed), merged


def _refuse_unmarked(path: Path, kind: str, owner: Owner) -> None:
    """Refuse text that is UTF-16 and does not say so: read as UTF-8, its names have a zero after each letter."""
    try:
        found = unmarked_utf16(path)
    except UNREADABLE:
        return  # which reading it says
    if found is not None:
        remedy = owner.encoding.replace("cp1252, say,", found).replace("cp1252, say", found)
        remedy = remedy if kind in TEXT else "save it as UTF-8"
        raise DatasetError(f"{path} is {found.upper()} text without a byte-order mark; {remedy}")


def _with_points(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """Return the cells that are text and a number with a point, of each column that has some."""
    found = {}
    for column in rows.columns:
        if not pd.api.types.is_numeric_dtype(rows[column]):
            words = rows[column].map(lambda cell: clean(cell) if isinstance(cell, str) and not isinstance(cell, KeptReal) else "")
            found[column] = words[words.map(lambda word: _POINT.fullmatch(word) is not None)]
    return {column: words for column, words in found.items() if len(words)}


def _read_rows(path: Path, kind: str, sheet: str | None, owner: Owner) -> tuple[pd.DataFrame, dict[str, pd.Series]]:
    """Return the rows, and column → which cells are no words (`nested_kind`)."""
    if kind in EXCEL:
        return read_workbook(path, sheet, owner.sheet), {}
    try:
        return _read_parquet(path) if kind == ".parquet" else _read_jsonl(path)
    except (*UNREADABLE, ValueError, pa.ArrowException) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DatasetError(f"{path} cannot be read ({reason})") from None


def _read_parquet(path: Path) -> tuple[pd.DataFrame, dict[str, pd.Series]]:
    """Return the columns, an index of pandas among them, and what is no word; long whole numbers do not become fractions."""
    table = parquet.ParquetFile(path).read()
    names = table.column_names
    if len(set(names)) < len(names):
        raise DatasetError(f"{path.name} has several columns {next(n for n in names if names.count(n) > 1)!r}; keep one")
    columns: dict[str, pd.Series] = {}
    nested: dict[str, pd.Series] = {}
    for name in names:
        column = table.column(name)
        if any(is_one(column.type) for is_one in _BYTES):  # text of a writer that did not say so, or no text at all
            with suppress(pa.ArrowException):
                column = column.cast(pa.large_binary()).cast(pa.large_string())
        if pa.types.is_nested(column.type) or any(is_one(column.type) for is_one in _BYTES):
            values = column.to_pylist()
            nested[name] = pd.Series(list(map(nested_kind, values)), dtype=object).dropna()
            columns[name] = pd.Series([None if value is None else str(value) for value in values], dtype=object)
            continue
        if pa.types.is_boolean(column.type):  # as numbers, because pandas keeps words beside a missing one: True, False, None
            column = column.cast(pa.int8()).cast(pa.float32())
        if pa.types.is_decimal(column.type):  # without an exponent, which Python writes of a zero of many places
            columns[name] = pd.Series([None if v is None else KeptReal(f"{v:f}") for v in column.to_pylist()], dtype=object)
            continue
        numbers = pa.types.is_floating(column.type) or pa.types.is_date(column.type)
        columns[name] = column.to_pandas() if numbers else pd.Series(column.to_pylist(), dtype=object)
    return pd.DataFrame(columns, index=pd.RangeIndex(table.num_rows)), nested


def _read_jsonl(path: Path) -> tuple[pd.DataFrame, dict[str, pd.Series]]:
    """Return the records, indexed by line; and what is no word."""
    records: dict[int, dict[str, str]] = {}
    nested: dict[str, dict[int, str]] = defaultdict(dict)
    with TextFile(path).text() as stream:  # splitlines() would part a text at more than the ends of lines
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            record = json_fields(line, partial("{} line {}:".format, path.name, number))
            records[number] = {name: cell_text(value) for name, value in record.items()}
            for name, value in record.items():
                if (of := nested_kind(value)) is not None:
                    nested[name][number] = of
    frame = pd.DataFrame(list(records.values()), index=list(records), dtype=object)  # else pandas forgets which are KeptReal
    return frame.where(frame.notna(), ""), {name: pd.Series(held, dtype=object) for name, held in nested.items()}
