"""CSV files read as text, strictly: what is wrong with a row, and on which line.

A file whose rows are all as wide as its header is read by pyarrow, threads and all. Any other is read record by record, which
knows what is wrong and where. A quoted cell may span several lines, so records cannot be counted for lines.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv as arrow_csv

from medzoo.data.errors import DatasetError
from medzoo.data.tables.text_file import TextFile
from medzoo.data.tables.words import clean

SHOWN = 80
"""Characters of a cell that a message shows."""

_END = "\x00 the end of the file"  # follows the last line: a quote that is not closed swallows it


@dataclass(frozen=True)
class Header:
    """The header of a CSV file.

    Attributes:
        cells: Column names; empty where a column has none, as those of commas at the ends of lines, or the first one that
            pandas and R write: the names of rows.
        record: Which record it is, from 0.
        line: The line on which it ends, from 1.
        longer: Whether the first row has more cells, the last ones empty: then every row must have them.
    """

    cells: list[str]
    record: int
    line: int
    longer: bool

    @property
    def first(self) -> int:
        """Place of the first column that has a name; those before it hold the names of rows."""
        return next((place for place, name in enumerate(self.cells) if name), len(self.cells))


def read_header(file: TextFile) -> Header | None:
    """Return the header of a CSV file, None of a file without one; raises one of `UNREADABLE` if it cannot be read."""
    numbered = enumerate(records(file))
    for number, (_, line, cells) in numbered:
        if any(clean(cell) for cell in cells) and not (number == 0 and file.separator.join(cells).lower().startswith("sep=")):
            names = [clean(cell) for cell in cells]
            begins, first = next(((end, row) for _, (_, end, row) in numbered if any(row)), (0, []))
            if len(first) == len(names) + 1 and first[-1] and all(names) and _names_rows(file, number, begins, len(first)):
                return Header(["", *names], number, line, False)
            beyond = [""] * (len(first) - len(names))
            return Header([*names, *beyond], number, line, bool(beyond))
    return None


def _names_rows(file: TextFile, header: int, begins: int, width: int) -> bool:
    """Return whether every row begins with its number, for which the header has no cell, as R writes tables.

    A comma that is not quoted in every row looks alike: quotes around the number, or tabs, tell.
    """
    with file.text() as stream:
        first = next(line for number, line in enumerate(stream, start=1) if number == begins) if begins else ""
    if file.separator != "\t" and not first.startswith('"'):
        return False
    rows = [row for number, (_, _, row) in enumerate(records(file)) if number > header and any(row)]
    if not all(len(row) == width and row[0].isascii() and row[0].isdigit() for row in rows):
        return False
    return all(int(row[0]) < int(after[0]) for row, after in pairwise(rows))


def read_columns(source: TextFile, header: Header, places: Mapping[str, int], file: str, *, pad: bool) -> pd.DataFrame:
    """Read columns of a CSV file; blank lines are left out.

    Args:
        source: The file.
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
    rows = _read_even(source, header, places) if source.plain else None
    if rows is not None:
        return rows
    width, last = len(header.cells), max(places.values(), default=0)
    columns: dict[str, list[str]] = {name: [] for name in places}
    index = []
    mark = {",": "comma", ";": "semicolon", "\t": "tab"}.get(source.separator, source.separator)
    for number, (line, _, cells) in enumerate(records(source)):
        if number <= header.record or not any(cells):
            continue
        begins = f"it begins {cells[0][:SHOWN]!r}"
        stray = [cell for place, cell in enumerate(cells) if place >= width or (not header.cells[place] and place > header.first)]
        if len(cells) > width or any(stray):
            named, shown = sum(map(bool, header.cells)), next(filter(None, stray), "")[:SHOWN]
            what = f"has cells beyond the {named} columns of the header ({shown!r})"
            raise DatasetError(f"{file} line {line}: {what}; is a {mark} not quoted? {begins}")
        if not pad and (len(cells) <= last or (header.longer and len(cells) < width)):
            raise DatasetError(f"{file} line {line}: is cut short, with {len(cells)} cells of {width}; {begins}")
        index.append(number)
        for name, place in places.items():
            columns[name].append(cells[place] if place < len(cells) else "")
    return pd.DataFrame(columns, index=pd.Index(index, dtype=np.int64), dtype=str)


def records(file: TextFile) -> Iterator[tuple[int, int, list[str]]]:
    """Yield the lines on which each record of a CSV file begins and ends, and its cells; of a blank line none.

    Raises:
        UNREADABLE: One of them, if the file cannot be read.
    """
    csv.field_size_limit(1 << 30)  # a caption may be longer than the 128 KiB that Python allows
    with file.text() as stream:
        reader, line = csv.reader(chain(stream, [_END]), delimiter=file.separator), 1
        for cells in reader:
            if cells and cells[-1].endswith(_END):
                if cells != [_END]:
                    raise csv.Error(f"a quote that opens on line {line} or below is not closed")
                return
            yield line, reader.line_num, cells
            line = reader.line_num + 1


def why_unreadable(file: TextFile | None, error: Exception) -> str:
    """Return what one of `UNREADABLE` says; of bytes that are not UTF-8, their line."""
    if isinstance(error, UnicodeDecodeError) and file is not None and file.plain:
        with file.binary() as stream:
            for line, content in enumerate(stream, start=1):
                try:
                    content.decode("utf-8")
                except UnicodeDecodeError:
                    return f"line {line} is not UTF-8 text: {error.reason}"
    if isinstance(error, UnicodeError) and file is not None:
        return f"it is not {file.encoding} text: {getattr(error, 'reason', error)}"
    return (str(error) or type(error).__name__).splitlines()[0]


def _read_even(file: TextFile, header: Header, places: Mapping[str, int]) -> pd.DataFrame | None:
    """Return columns as text, indexed by record; None of a file that must be read record by record."""
    with file.binary() as stream:
        # An odd number of quotes: one may not be closed, which pyarrow does not mind in the last row.
        if sum(part.count(b'"') for part in iter(lambda: stream.read(1 << 24), b"")) % 2:
            return None
    names = [str(place) for place in range(len(header.cells))]
    unnamed = [names[place] for place, name in enumerate(header.cells) if not name and place > header.first]
    wanted = [names[place] for place in places.values()]
    text = {name: pa.large_string() for name in names}
    reading = arrow_csv.ReadOptions(column_names=names, skip_rows=header.line, block_size=8 << 20)
    parsing = arrow_csv.ParseOptions(delimiter=file.separator, newlines_in_values=True, ignore_empty_lines=False)
    options = arrow_csv.ConvertOptions(include_columns=[*wanted, *unnamed], column_types=text, strings_can_be_null=False)
    try:
        with file.binary() as stream:
            table = arrow_csv.read_csv(stream, reading, parsing, options)
    except (OSError, ValueError, pa.ArrowException):
        return None
    rows: pd.DataFrame = table.to_pandas(self_destruct=True, split_blocks=True)
    pa.default_memory_pool().release_unused()  # the parser's buffers: as much again as the table
    if (rows[unnamed] != "").any(axis=None) or (rows[wanted] == "").all(axis=1).any():
        return None
    rows = rows[wanted].set_axis(list(places), axis=1)
    rows.index = pd.RangeIndex(header.record + 1, header.record + 1 + len(rows))
    return rows
