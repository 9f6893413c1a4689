"""A CSV file of what stands beside images: a column that names the image, and one for each input, text and further image."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.images.given import Modalities
from medzoo.data.images.planes.stack import Stack
from medzoo.data.tables.first_bytes import misnamed, unmarked_utf16
from medzoo.data.tables.text_file import UNREADABLE, TextFile, kind_of

IMAGE = "image"
NO_TEXT = (".xlsx", ".xlsm", ".parquet", ".jsonl", ".ndjson")
"""Tables that a model may learn from, and that need libraries which a deployment has not."""
_MARKS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}


def with_inputs(
    found: Sequence[tuple[str, Any]], table: Path, modalities: Modalities | None, stack: Stack | None = None
) -> list[tuple[str, dict[str, Any]]]:
    """Return name and sample of each image, with the values and further images that a file's row for it has.

    The file's column `image`, or of the first modality's name, names the image as it was given, relative to the file's folder, or
    by its file name alone where the cell has no folder. Other columns are inputs and texts, by name, and other modalities and
    further views of one (`image_2`), their paths relative to the file's folder; an empty cell is missing. Of images that are the
    channels of one, the first channel's are given and the columns are the others.

    Args:
        found: Name and source of each image.
        table: The file.
        modalities: Of the model; None: it takes single images.
        stack: Which images are the channels of one, of a model that takes such; None: it takes others.

    Raises:
        ConfigError: If the model takes images alone, the file cannot be read, an image has no row or two, or a column is missing.
        UnknownNameError: If a column is none of the model's.
    """
    if modalities is None and stack is None:
        raise ConfigError(f"--inputs {table}: this model takes images alone; leave it out")
    names = stack.names if stack is not None else modalities.names if modalities is not None else ()
    first, rows = names[0], rows_of(table, "--inputs")
    own = next((column for column in (first, IMAGE) if column in rows[0]), None)
    if own is None:
        raise ConfigError(f"{table} has no column {first!r} that names the image")
    values = () if modalities is None or modalities.inputs is None else modalities.inputs.names
    others = [view for view in (names if modalities is None else modalities.shown) if view != first]
    texts = [] if modalities is None else list(modalities.texts)
    for column in rows[0]:
        if column not in (own, first, *others, *texts, *values):
            raise UnknownNameError("column", column, [own, *others, *texts, *values], where=f" in {table}")
    samples = []
    for (name, source), row in zip(found, rows_for(found, rows, own, table), strict=True):
        sample: dict[str, Any] = {first: source}
        sample |= {other: table.parent / row[other] for other in others if row.get(other)}
        sample |= {text: row[text] for text in texts if row.get(text)}
        if values:
            sample["inputs"] = {one: row[one] for one in values if row.get(one)}
        samples.append((name, sample))
    return samples


def rows_for(
    found: Sequence[tuple[str, Any]], rows: Sequence[dict[str, str]], own: str, table: Path
) -> list[dict[str, str]]:  # fmt: skip
    """Return the row of each image: its cell `own` is how the image was given, or its path from the table's folder.

    A cell without a folder is the file name of an image in whatever folder.

    Args:
        found: Name and source of each image.
        rows: As `rows_of` returns them.
        own: Column that names the image.
        table: The file, for messages.

    Raises:
        ConfigError: If an image has no row or two, or a file name is that of two images.
    """
    indexed: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        indexed.setdefault(row[own], []).append(row)
    taken: dict[str, str] = {}
    chosen = []
    for name, source in found:
        key = next((key for key in _keys(name, source, table) if key in indexed), None)
        matching = [] if key is None else indexed[key]
        if key is None or len(matching) != 1:
            what = "no row" if not matching else f"{len(matching)} rows"
            raise ConfigError(f"{table} has {what} for {name} in its column {own!r}; each image needs one")
        other = taken.setdefault(key, str(source))
        if other != str(source):
            raise ConfigError(f"{table}: {key} in column {own!r} may be {other} or {source}; write it with its folder")
        chosen.append(matching[0])
    return chosen


def _keys(name: str, source: Any, table: Path) -> list[str]:
    keys = [name]
    if isinstance(source, str | Path):
        path = Path(source)
        keys.append(str(path))
        if path.absolute().is_relative_to(table.parent.absolute()):
            keys.append(path.absolute().relative_to(table.parent.absolute()).as_posix())
        keys.append(path.name)
    return keys


def rows_of(table: Path, option: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file, column → cell, without blank ones.

    Args:
        table: The file, written as tables that are learnt from may be: commas, semicolons or tabs between cells, UTF-8, or UTF-16
            by its mark, packed or not. A last column that is empty, name and all, is left out, and so is a first one without a
            name, of pandas.
        option: What it was given for; begins messages.

    Raises:
        ConfigError: If it cannot be read, has no row, a column twice or without a name, or a row of more or fewer cells than the
            header; names the line.
    """
    if (kind := kind_of(table)) in NO_TEXT:
        raise ConfigError(f"{option} {table}: a CSV file is read here, and {kind} is none; save it as CSV")
    if (told := misnamed(table, ".csv")) is not None:
        raise ConfigError(f"{option} {table} cannot be read ({told.partition(';')[0]}); save it as CSV")
    try:
        if (unmarked := unmarked_utf16(table)) is not None:
            raise ConfigError(f"{option} {table} is {unmarked.upper()} text without a byte-order mark; save it as UTF-8")
        file = TextFile.find(table)
        with file.text() as stream:
            reader = csv.reader(stream, strict=True, delimiter=file.separator)
            lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except UnicodeError:
        raise ConfigError(f"{option} {table} cannot be read (it is not UTF-8 text); save it as UTF-8") from None
    except UNREADABLE as error:
        raise ConfigError(f"{option} {table} cannot be read ({error})") from None
    if lines and file.separator.join(lines[0][1]).lower().startswith("sep="):
        del lines[0]
    filled = [(line, cells) for line, cells in lines if any(cells)]
    if len(filled) < 2:
        raise ConfigError(f"{option} {table} has no row")
    width = max(len(cells) if cells[-1] else len(cells) - 1 for _, cells in filled)  # a comma may end each line
    if not filled[0][1][0] and any(filled[0][1]):  # the names of rows, as pandas writes them
        filled, width = [(line, cells[1:]) for line, cells in filled], width - 1
    header = filled[0][1][:width]
    rows = []
    for line, cells in filled:
        if len(cells[:width]) != len(header):
            mark = _MARKS.get(file.separator, file.separator)
            said = f"{len(cells)} cells, and the header has {len(header)}; quote a {mark}"
            raise ConfigError(f"{option} {table}, line {line}: {said}")
        rows.append(dict(zip(header, cells, strict=False)))
    for column in header:
        if not column or header.count(column) > 1:
            what = f"has the column {column!r} {header.count(column)} times" if column else "has a column without a name"
            raise ConfigError(f"{option} {table} {what}; rename one")
    return rows[1:]
