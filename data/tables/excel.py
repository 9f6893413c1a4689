"""Excel workbooks as text: one sheet, the values its cells show, rows counted as Excel counts them.

A cell merged over several rows stands in each of them. A time at midnight is written as its date alone, unless its format shows
hours and another time of its column is not at midnight: one column has one form.
"""

from __future__ import annotations

import datetime
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from medzoo.data.errors import DatasetError, MissingDependencyError
from medzoo.data.tables.words import KeptReal, clean, real_text

SUFFIXES = (".xlsx", ".xlsm")
_ZEROS = re.compile("0{2,20}")
_NO_PARTS = re.compile(r'"[^"]*"|\\.|\[(?!h+\])[^\]]*\]', re.IGNORECASE)
"""What of a number's format is text, a colour or a locale."""
_MERGED = re.compile(rb"""mergeCell [^>]{0,100}?ref=["']([A-Z]{1,3})([0-9]{1,7}):([A-Z]{1,3})([0-9]{1,7})["']""")


def read_workbook(path: Path, sheet: str | None = None, remedy: str = "name one as data.sheet={}") -> pd.DataFrame:
    """Return the rows below the header, as text, indexed by Excel's row numbers; rows without any value are left out.

    Args:
        path: The workbook.
        sheet: The sheet's name; None: the only one that holds anything.
        remedy: What to do about several sheets, {} for the name of one.

    Raises:
        DatasetError: If it cannot be read, several sheets hold something and none is named, a column's name stands twice, a
            value stands beside the columns that have names, or a cell is a formula whose value the file does not keep.
        MissingDependencyError: If openpyxl is not installed.
    """
    values, name = _rows(path, sheet, remedy)
    header_row, header = next(((row, cells) for row, cells in values if any(map(clean, cells))), (0, ()))
    if not header:
        raise DatasetError(f"{path}: sheet {name!r} is empty; {remedy.format('<another one>')}")
    columns = [clean(cell) for cell in header]
    first = next(place for place, column in enumerate(columns) if column)
    twice = sorted({column for column in columns if column and columns.count(column) > 1})
    if twice:
        raise DatasetError(f"{path.name} has several columns {twice[0]!r}; keep one")
    records, index = [], []
    for row, cells in values:
        if row <= header_row or not any(cells):
            continue
        unnamed = (place for place in range(first, len(cells)) if place >= len(columns) or not columns[place])
        stray = [cells[place] for place in unnamed if cells[place]]
        if stray:
            raise DatasetError(f"{path.name} row {row}: {stray[0][:80]!r} stands in a column without a name; name or empty it")
        records.append([*cells, *[""] * (len(columns) - len(cells))][: len(columns)])
        index.append(row)
    frame = pd.DataFrame(records, columns=range(len(columns)), index=pd.Index(index, dtype="int64"), dtype=object)
    frame = frame[[place for place, column in enumerate(columns) if column]].set_axis([c for c in columns if c], axis=1)
    if (frame == "").any(axis=None):
        _refuse_formulas(path, name, frame, columns)
    return frame


def _rows(
    path: Path, sheet: str | None, remedy: str = "", *, formulas: bool = False
) -> tuple[list[tuple[int, tuple[str, ...]]], str]:
    try:
        import openpyxl
        from openpyxl.utils.exceptions import InvalidFileException
    except ModuleNotFoundError:
        raise MissingDependencyError(f"{path} needs openpyxl: pip install 'medzoo[excel]', or save it as CSV") from None
    try:
        # The warnings are of styles and the like, which no value depends on.
        with warnings.catch_warnings(action="ignore"), path.open("rb") as stream:
            # openpyxl tells merged cells only of a workbook that it holds whole.
            book = openpyxl.load_workbook(stream, read_only=True, data_only=not formulas, keep_links=False)
            sheets = {found.title: found for found in book.worksheets}
            if sheet is not None and sheet not in sheets:
                raise DatasetError(f"{path} has no sheet {sheet!r}; it has {', '.join(sheets) or 'none'}")
            filled = {}
            for title in sheets if sheet is None else [sheet]:
                sheets[title].reset_dimensions()  # what the file says of its size may be wrong
                filled[title] = list(_texts(sheets[title], _merged_areas(path, sheets[title])))
            book.close()
    except (DatasetError, MemoryError):
        raise
    except (InvalidFileException, zipfile.BadZipFile, OSError, EOFError) as error:
        raise DatasetError(f"{path} cannot be read ({_first_line(error)})") from None
    except Exception as error:  # openpyxl lets out whatever a damaged part of the archive makes it meet
        raise DatasetError(f"{path} cannot be read: damaged, or no workbook ({_first_line(error)})") from None
    some = [title for title, rows in filled.items() if any(any(cells) for _, cells in rows)] or list(filled)[:1]
    if not some:
        raise DatasetError(f"{path} has no sheet of cells")
    if len(some) > 1:
        raise DatasetError(f"{path} has {len(some)} sheets ({', '.join(some)}); {remedy.format(some[0])}")
    return filled[some[0]], some[0]


def _texts(sheet: Any, areas: Mapping[int, list[tuple[int, int]]]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield each row's number and what its cells show; in those that a merged one of a row above covers, what that one shows."""
    below: dict[int, tuple[int, str]] = {}  # place → the last row it stands in, and what
    header = False
    for number, shown in enumerate(_shown_rows(sheet), start=1):
        for place, (last, text) in list(below.items()):
            if number > last:
                del below[place]
                continue
            shown += [""] * (place + 1 - len(shown))
            shown[place] = text
        if header:  # a header that is merged names its column once
            below |= {place: (last, shown[place]) for place, last in areas.get(number, ()) if place < len(shown)}
        header = header or any(map(clean, shown))
        yield number, tuple(text if text.strip() else "" for text in shown)


def _shown_rows(sheet: Any) -> list[list[str]]:
    """Return what each row's cells show."""
    rows: list[list[str]] = []
    midnights: list[tuple[int, int, datetime.datetime]] = []  # row, place: cells that show hours
    timed: set[int] = set()
    for cells in sheet.iter_rows():
        for place, cell in enumerate(cells):
            if isinstance(cell.value, datetime.datetime):
                if cell.value.time() != datetime.time():
                    timed.add(place)
                elif "h" in _NO_PARTS.sub("", cell.number_format or "").lower():
                    midnights.append((len(rows), place, cell.value))
        rows.append([_shown(cell) for cell in cells])
    for row, place, value in midnights:
        if place in timed:
            rows[row][place] = str(value)
    return rows


def _shown(cell: Any) -> str:
    """Return what a cell shows: its value, and a whole number by a format of zeros alone (`000`) as long as it says."""
    if isinstance(getattr(cell.value, "ref", None), str):  # a formula of several cells
        return f"={getattr(cell.value, 'text', None) or ''}".replace("==", "=")
    text = cell_text(cell.value)
    if isinstance(cell.value, int | float) and text.isdigit() and _ZEROS.fullmatch(cell.number_format or ""):
        return text.zfill(len(cell.number_format))
    return text


def _merged_areas(path: Path, sheet: Any) -> dict[int, list[tuple[int, int]]]:
    """Return row → (place of a column, last row) of the cells merged downwards from it, as the sheet's own part lists them.

    openpyxl tells them only of a workbook that it holds whole, with an object for each cell of the sheet's extent. A cell merged
    over columns belongs to the first of them.
    """
    found: dict[int, list[tuple[int, int]]] = {}
    with zipfile.ZipFile(path) as archive, archive.open(sheet._worksheet_path) as part:
        before = b""
        while block := part.read(1 << 20):
            for area in _MERGED.finditer(before + block):
                first, last = int(area[2]), int(area[4])
                entry = (_column(area[1]) - 1, last)
                if last > first and entry not in found.setdefault(first, []):
                    found[first].append(entry)
            before = block[-200:]
    return found


def _column(letters: bytes) -> int:
    """Return a column's number of its letters: A is 1, AA 27."""
    number = 0
    for letter in letters:
        number = 26 * number + letter - 64
    return number


def cell_text(value: Any) -> str:
    """Return a value of any type as a table's text: whole numbers without a point, truth as 1 and 0, nothing as nothing."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        if value != value:
            return ""
        return KeptReal(real_text(value))
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    return str(value)


def _refuse_formulas(path: Path, sheet: str, frame: pd.DataFrame, columns: list[str]) -> None:
    """Refuse an empty cell that is a formula: programs other than Excel write formulas without their values."""
    for row, cells in _rows(path, sheet, formulas=True)[0]:
        if row not in frame.index:
            continue
        for column, cell in zip(columns, cells, strict=False):
            if column and cell.startswith("=") and frame.at[row, column] == "":
                raise DatasetError(
                    f"{path.name} row {row}: {column!r} is a formula ({cell[:40]}) whose value the file does not keep; open it "
                    "in Excel and save it, or save it as CSV"
                )


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
