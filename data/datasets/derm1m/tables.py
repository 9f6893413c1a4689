"""The files of Derm1M, as its authors distribute them: two CSV files of twelve columns, and the ontology.

Columns and sentinels are those of the dataset card (Hugging Face redlessone/Derm1M) and of SiyuanYan1/Derm1M @92d8fa9.
The CSV files are read by pyarrow, threads and all; a bad row is then looked for again, slowly, to name its line.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv as arrow_csv

from medzoo.data.errors import DatasetError, nearest

NAME = "derm1m"
HOMEPAGE = "https://huggingface.co/datasets/redlessone/Derm1M"
COLUMNS = (
    "filename", "caption", "truncated_caption", "source", "source_type", "disease_label", "hierarchical_disease_label",
    "skin_concept", "body_location", "symptoms", "age", "gender",
)  # fmt: skip
SENTINELS: Mapping[str, str] = {
    "disease_label": "No definitive diagnosis",
    "hierarchical_disease_label": "No definitive diagnosis",
    "skin_concept": "No visual concepts",
    "body_location": "No body location information",
    "symptoms": "No symptom information",
    "age": "No age information",
    "gender": "No gender information",
}
"""Column → text that says there is nothing, in any case of letters."""

# NaN stands beside the sentinels in the authors' tables; these are the ways pandas writes or reads it.
_EMPTY = ["", "NaN", "nan", "NA", "N/A", "n/a", "<NA>", "NULL", "null", "None"]
_LEAVES_ROOT = r"^(?:[/\\]|[A-Za-z]:)|(?:^|[/\\])\.\.(?:[/\\]|$)"


@dataclass(frozen=True)
class Ontology:
    """Which disease names there are and which lie below which; names are compared in any case of letters.

    Attributes:
        nodes: Every name.
        steps: Every (parent, child).
    """

    nodes: frozenset[str]
    steps: frozenset[tuple[str, str]]


def read_rows(path: Path) -> pd.DataFrame:
    """Read one CSV file as text.

    Args:
        path: The file; with or without a byte-order mark, line ends of either kind, quoted cells of several lines.

    Returns:
        The twelve columns, missing where a cell is empty, NaN or its column's sentinel; indexed by record, the first
        after the header being 1.

    Raises:
        DatasetError: If the file is missing or cannot be read, lacks a column (the nearest is named), or has a row of
            another length, without a file name, or whose file name leaves the dataset's folder; names the line.
    """
    header, line = read_header(path)
    for column in COLUMNS:
        if header.count(column) != 1:
            near = nearest(column, [name for name in header if name], 1)
            hint = f"the nearest is {near[0]!r}" if near else f"it has {', '.join(filter(None, header)) or 'none'}"
            what = "several columns" if column in header else "no column"
            raise DatasetError(f"{NAME}: {path.name} has {what} {column!r}; {hint}")
    # Columns without a name, as commas at the ends of lines make them, must be empty.
    names = [name or f"unnamed {place}" for place, name in enumerate(header)]
    unnamed = [name for name, given in zip(names, header, strict=True) if not given]
    rows = _read(path, names, line, [*COLUMNS, *unnamed])
    if not len(rows):
        raise DatasetError(f"{NAME}: {path.name} has no row below its header; download it again")
    rows.index = pd.RangeIndex(1, len(rows) + 1)
    for column in unnamed:
        refuse_rows(path, rows[column].notna(), rows[column], "has a cell beyond the header,")
    filename = rows["filename"]
    refuse_rows(path, filename.isna(), rows["caption"], "has no filename; its caption is")
    leaves = filename.str.contains(_LEAVES_ROOT, regex=True).astype(bool)
    refuse_rows(path, leaves, filename, "has the filename", ", which leaves the dataset's folder; it must lie below it")
    rows = rows[list(COLUMNS)]
    return rows.assign(**{column: by_text(rows[column], partial(_said, nothing)) for column, nothing in SENTINELS.items()})


def read_header(path: Path) -> tuple[list[str], int]:
    """Return the column names of a CSV file and their line; a name more, empty, if the first row ends with a comma too many.

    Raises:
        DatasetError: If the file is missing or cannot be read.
    """
    if not path.is_file():
        what = f"{path} is not there" if path.parent.is_dir() else f"no folder at {path.parent}"
        raise DatasetError(f"{NAME}: {what}; ask for access at {HOMEPAGE}, or set data.root to the folder that has the files")
    try:
        records = _records(path)
        (line, header), (_, first) = next(records, (0, list[str]())), next(records, (0, list[str]()))
    except (OSError, csv.Error) as error:
        raise _unreadable(path, error) from None
    header = [name.strip() for name in header]
    return ([*header, ""] if len(first) == len(header) + 1 and not first[-1] else header), line


def read_filenames(path: Path) -> pd.Series:
    """Return column `filename` of a CSV file whose other columns are not known.

    Raises:
        DatasetError: If it cannot be read or has no such column.
    """
    header, line = read_header(path)
    if header.count("filename") != 1:
        raise DatasetError(f"{NAME}: {path.name} has no column 'filename'; it has {', '.join(header) or 'none'}")
    names = [name if name == "filename" else f"column {place}" for place, name in enumerate(header)]
    return _read(path, names, line, ["filename"])["filename"]


def read_ontology(path: Path) -> Ontology | None:
    """Return the ontology, or None where there is no such file.

    Raises:
        DatasetError: If it is not a JSON object of node → list of children.
    """
    if not path.is_file():
        return None
    try:
        tree = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    if not isinstance(tree, dict):
        raise DatasetError(f"{NAME}: {path.name} is a JSON {type(tree).__name__}, not an object of node → list of children")
    for node, children in tree.items():
        if not isinstance(children, list) or not all(isinstance(child, str) for child in children):
            raise DatasetError(f"{NAME}: {path.name} has under {node!r} no list of names; download it again")
    steps = {(node.casefold(), child.casefold()) for node, children in tree.items() for child in children}
    return Ontology(frozenset(node.casefold() for node in tree) | {child for _, child in steps}, frozenset(steps))


def by_text(values: pd.Series, change: Callable[[str], Any]) -> pd.Series:
    """Apply a function once to each distinct text: a column of 413,000 rows has few.

    Args:
        values: Text or missing.
        change: Text → new value, or None for missing.

    Returns:
        The new values as objects, None where missing; index kept.
    """
    codes, texts = pd.factorize(values)
    changed = np.empty(len(texts) + 1, dtype=object)  # the last, which code -1 picks, stays None
    changed[:-1] = [change(str(text)) for text in texts]
    return pd.Series(changed[codes], index=values.index, dtype=object)


def refuse_rows(path: Path, bad: pd.Series, values: pd.Series, problem: str, remedy: str = "") -> None:
    """Stop at the first bad row.

    Args:
        path: The file, read once more to find the line.
        bad: Which rows are bad, indexed by record.
        values: What the message shows of a row, indexed likewise.
        problem: What is wrong, before the value.
        remedy: What to do, after it.

    Raises:
        DatasetError: If any row is bad.
    """
    if bad.any():
        value = str(values[bad].iloc[0])[:80]
        more = f" ({int(bad.sum())} such rows)" if bad.sum() > 1 else ""
        raise DatasetError(f"{NAME}: {path.name} line {_line(path, int(bad.index[bad][0]))} {problem} {value!r}{remedy}{more}")


def _said(nothing: str, text: str) -> str | None:
    text = text.strip()
    return None if not text or text.casefold() == nothing.casefold() else text


def _read(path: Path, names: list[str], header_line: int, wanted: list[str]) -> pd.DataFrame:
    """Return columns as text, missing where empty."""
    try:
        table = arrow_csv.read_csv(
            path,
            read_options=arrow_csv.ReadOptions(column_names=names, skip_rows=header_line, block_size=8 << 20),
            parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(
                include_columns=wanted,
                column_types={name: pa.large_string() for name in wanted},
                null_values=_EMPTY,
                strings_can_be_null=True,
            ),
        )
    except (OSError, pa.ArrowException) as error:
        raise _bad_line(path, len(names)) or _unreadable(path, error) from None
    frame: pd.DataFrame = table.to_pandas(self_destruct=True, split_blocks=True)
    pa.default_memory_pool().release_unused()  # the parser's buffers: as much again as the table
    return frame


def _bad_line(path: Path, width: int) -> DatasetError | None:
    """Return what is wrong with the first line that is not UTF-8 or row that is too long or short; None: nothing seen."""
    with path.open("rb") as file:
        for line, content in enumerate(file, start=1):
            try:
                content.decode("utf-8")
            except UnicodeDecodeError as error:
                return DatasetError(f"{NAME}: {path.name} line {line} is not UTF-8 text ({error.reason}); download it again")
    try:
        for place, (line, cells) in enumerate(_records(path)):
            if len(cells) != width and place > 0:
                return DatasetError(
                    f"{NAME}: {path.name} line {line} has {len(cells)} cells, not {width} as the header; it begins "
                    f"{cells[0][:80]!r}: correct the line or download the file again"
                )
    except csv.Error as error:
        return _unreadable(path, error)
    return None


def _line(path: Path, record: int) -> int:
    """Return the line of the file on which a record begins; the header is record 0."""
    return next(line for place, (line, _) in enumerate(_records(path)) if place == record)


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield each record with the line it begins on: a quoted cell may span several lines, and blank lines are no records."""
    csv.field_size_limit(1 << 30)  # a caption may be longer than the 128 KiB that Python allows
    # Bytes that are no UTF-8 are named elsewhere, with their line.
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader, line = csv.reader(file), 1
        for cells in reader:
            if cells:
                yield line, cells
            line = reader.line_num + 1


def _unreadable(path: Path, error: Exception) -> DatasetError:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return DatasetError(f"{NAME}: {path} cannot be read ({reason}); download it again")
