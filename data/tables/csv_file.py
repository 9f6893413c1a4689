"""CSV files read as text, strictly: what is wrong with a row, and on which line.

A file whose rows are all as wide as its header is read by pyarrow, threads and all. Any other is read record by record, which
knows what is wrong and where. A quoted cell may span several lines, so records cannot be counted for lines.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, cast

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv as arrow_csv

from medzoo.data.errors import DatasetError

UNREADABLE = (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error)
SHOWN = 80
"""Characters of a cell that a message shows."""

_END = "\x00 the end of the file"  # follows the last line: a quote that is not closed swallows it


@dataclass(frozen=True)
class Header:
    """The header of a CSV file.

    Attributes:
        cells: Column names; empty where a column has none, as those of commas at the ends of lines.
        record: Which record it is, from 0.
        line: The line on which it ends, from 1.
        longer: Whether the first row has more cells, the last ones empty: then every row must have them.
    """

    cells: list[str]
    record: int
    line: int
    longer: bool


def read_header(path: Path) -> Header | None:
    """Return the header of a CSV file, None of a file without one; raises one of `UNREADABLE` if it cannot be read."""
    numbered = enumerate(records(path))
    for number, (_, line, cells) in numbered:
        if any(cell.strip() for cell in cells):
            first = next((row for _, (_, _, row) in numbered if any(row)), [])
            beyond = [""] * (len(first) - len(cells))
            return Header([*(cell.strip() for cell in cells), *beyond], number, line, bool(beyond))
    return None


def read_columns(path: Path, header: Header, places: Mapping[str, int], file: str, *, pad: bool) -> pd.DataFrame:
    """Read columns of a CSV file; blank lines are left out.

    Args:
        path: The file.
        header: Its header.
        places: Name → which cell of a row.
        file: Name for messages.
        pad: Whether a row may end before the last of them: what it lacks is empty.

    Returns:
        Text, empty where a cell is; the index counts records as `records` does.

    Raises:
        DatasetError: If a row is cut short or longer than the header; names the line.
        UNREADABLE: One of them, if the file cannot be read.
    """
    rows = _read_even(path, header, places)
    if rows is not None:
        return rows
    width, last = len(header.cells), max(places.values(), default=0)
    columns: dict[str, list[str]] = {name: [] for name in places}
    index = []
    for number, (line, _, cells) in enumerate(records(path)):
        if number <= header.record or not any(cells):
            continue
        begins = f"it begins {cells[0][:SHOWN]!r}"
        stray = [cell for place, cell in enumerate(cells) if place >= width or not header.cells[place]]
        if len(cells) > width or any(stray):
            named, shown = sum(map(bool, header.cells)), next(filter(None, stray), "")[:SHOWN]
            what = f"has cells beyond the {named} columns of the header ({shown!r})"
            raise DatasetError(f"{file} line {line}: {what}; is a comma not quoted? {begins}")
        if not pad and (len(cells) <= last or (header.longer and len(cells) < width)):
            raise DatasetError(f"{file} line {line}: is cut short, with {len(cells)} cells of {width}; {begins}")
        index.append(number)
        for name, place in places.items():
            columns[name].append(cells[place] if place < len(cells) else "")
    return pd.DataFrame(columns, index=pd.Index(index, dtype=np.int64), dtype=str)


def records(path: Path) -> Iterator[tuple[int, int, list[str]]]:
    """Yield the lines on which each record of a CSV file begins and ends, and its cells; of a blank line none.

    Raises:
        UNREADABLE: One of them, if the file cannot be read.
    """
    csv.field_size_limit(1 << 30)  # a caption may be longer than the 128 KiB that Python allows
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8-sig", newline="") as stream:
        reader, line = csv.reader(chain(stream, [_END]), delimiter=_separator(path)), 1
        for cells in reader:
            if cells and cells[-1].endswith(_END):
                if cells != [_END]:
                    raise csv.Error(f"a quote that opens on line {line} or below is not closed")
                return
            yield line, reader.line_num, cells
            line = reader.line_num + 1


def why_unreadable(path: Path, error: Exception) -> str:
    """Return what one of `UNREADABLE` says; of bytes that are not UTF-8, their line."""
    if isinstance(error, UnicodeDecodeError):
        with _opened(path) as stream:
            for line, content in enumerate(stream, start=1):
                try:
                    content.decode("utf-8")
                except UnicodeDecodeError:
                    return f"line {line} is not UTF-8 text: {error.reason}"
    return (str(error) or type(error).__name__).splitlines()[0]


def _read_even(path: Path, header: Header, places: Mapping[str, int]) -> pd.DataFrame | None:
    """Return columns as text, indexed by record; None of a file that must be read record by record."""
    with _opened(path) as stream:
        # An odd number of quotes: one may not be closed, which pyarrow does not mind in the last row.
        if sum(part.count(b'"') for part in iter(lambda: stream.read(1 << 24), b"")) % 2:
            return None
    names = [str(place) for place in range(len(header.cells))]
    unnamed = [names[place] for place, name in enumerate(header.cells) if not name]
    wanted = [names[place] for place in places.values()]
    text = {name: pa.large_string() for name in names}
    reading = arrow_csv.ReadOptions(column_names=names, skip_rows=header.line, block_size=8 << 20)
    parsing = arrow_csv.ParseOptions(delimiter=_separator(path), newlines_in_values=True, ignore_empty_lines=False)
    options = arrow_csv.ConvertOptions(include_columns=[*wanted, *unnamed], column_types=text, strings_can_be_null=False)
    try:
        table = arrow_csv.read_csv(path, reading, parsing, options)
    except (OSError, pa.ArrowException):
        return None
    rows: pd.DataFrame = table.to_pandas(self_destruct=True, split_blocks=True)
    pa.default_memory_pool().release_unused()  # the parser's buffers: as much again as the table
    if (rows[unnamed] != "").any(axis=None) or (rows[wanted] == "").all(axis=1).any():
        return None
    rows = rows[wanted].set_axis(list(places), axis=1)
    rows.index = pd.RangeIndex(header.record + 1, header.record + 1 + len(rows))
    return rows


def _opened(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb"))


def _separator(path: Path) -> str:
    return "\t" if path.name.lower().removesuffix(".gz").endswith(".tsv") else ","
