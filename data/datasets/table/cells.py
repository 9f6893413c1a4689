"""A user's own table in any common format, as text, and what its cells say."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from medzoo.data.errors import DatasetError
from medzoo.data.tables import TextTable, as_text

FORMATS = (".csv", ".tsv", ".txt", ".parquet", ".jsonl", ".ndjson")
YES = ("1", "1.0", "true", "yes", "y", "positive", "present")
NO = ("0", "0.0", "false", "no", "n", "negative", "absent")
_DECIMAL = re.compile(r"([+-]?\d+\.\d*?)0*")


def read_table(path: Path) -> TextTable:
    """Read a user's own table as text, without spaces around it.

    Args:
        path: A file of one of `FORMATS`.

    Raises:
        DatasetError: If the file is missing, damaged, empty or of another kind, repeats a column, or has a row that is too
            long; names the line.
    """
    kind = path.suffix.lower()
    if kind not in FORMATS:
        raise DatasetError(f"{path}: not a table of a known kind ({', '.join(FORMATS)})")
    if not path.is_file():
        raise DatasetError(f"no table at {path}; set data.file")
    if kind in (".csv", ".tsv", ".txt"):
        table = TextTable.read(path, pad=True)
    else:
        try:
            rows = pd.read_parquet(path).reset_index(drop=True) if kind == ".parquet" else _read_jsonl(path)
        except (OSError, EOFError, ValueError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise DatasetError(f"{path} cannot be read ({reason})") from None
        if not len(rows):
            raise DatasetError(f"{path.name} has no rows")
        table = TextTable(path.name, rows.rename(columns=str), unit="row" if kind == ".parquet" else "line")
    return replace(table, rows=as_text(table.rows))


def plain_number(word: str) -> str:
    """Return a number without zeros at the end of its fraction (`-1.0` is `-1`, `0.50` is `0.5`); any other word as it is."""
    decimal = _DECIMAL.fullmatch(word)  # pandas writes a column of whole numbers as 0.0, 1.0 as soon as one cell is missing
    return word if decimal is None else decimal[1].removesuffix(".")


def is_missing(column: pd.Series, empty_words: Sequence[str]) -> pd.Series:
    """Return which cells are empty or hold a word that means missing; case does not count, nor whether -1 is written -1.0."""
    empty = {"", *(plain_number(word.strip().lower()) for word in empty_words)}
    return column.str.strip().str.lower().map(plain_number).isin(list(empty))


def read_yes_no(table: TextTable, column: str, empty_words: Sequence[str] = ()) -> pd.Series:
    """Return 1, 0 or NaN (empty) for each cell, as float32; raises DatasetError on any other word, which names its line."""
    missing = is_missing(table[column], empty_words)
    known = {**dict.fromkeys(NO, 0.0), **dict.fromkeys(YES, 1.0)}
    values = table[column].str.strip().str.lower().map(known).astype(np.float32)
    remedy = "name words that mean missing in data.empty_words"
    table.refuse(values.isna() & ~missing, column, "neither 0, 1 nor empty", remedy)
    return values.mask(missing)


def _read_jsonl(path: Path) -> pd.DataFrame:
    """Return the records, indexed by line."""
    records = {}
    with path.open(encoding="utf-8-sig") as stream:  # splitlines() would part a text at more than the ends of lines
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError as error:
                raise DatasetError(f"{path.name} line {number}: is not JSON ({error})") from None
            if not isinstance(record, dict):
                raise DatasetError(f"{path.name} line {number}: is not a JSON object")
            records[number] = record
    return pd.DataFrame.from_records(list(records.values()), index=list(records))
