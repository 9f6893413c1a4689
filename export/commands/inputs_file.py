"""A CSV file of what stands beside images: a column that names the image, and one for each input, text and further image."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.images.given import Modalities
from medzoo.data.images.planes.stack import Stack

IMAGE = "image"


def with_inputs(
    found: Sequence[tuple[str, Any]], table: Path, modalities: Modalities | None, stack: Stack | None = None
) -> list[tuple[str, dict[str, Any]]]:
    """Return name and sample of each image, with the values and further images that a file's row for it has.

    The file's column `image`, or of the first modality's name, names the image as it was given, relative to the file's folder, or
    by its file name alone. Other columns are inputs and texts, by name, and other modalities and further views of one
    (`image_2`), their paths relative to the file's folder; an empty cell is missing. Of images that are the channels of one, the
    first channel's are given and the columns are the others.

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
    indexed, samples = by_image(rows, own), []
    for name, source in found:
        row = row_of(indexed, own, name, source, table)
        sample: dict[str, Any] = {first: source}
        sample |= {other: table.parent / row[other] for other in others if row.get(other)}
        sample |= {text: row[text] for text in texts if row.get(text)}
        if values:
            sample["inputs"] = {one: row[one] for one in values if row.get(one)}
        samples.append((name, sample))
    return samples


def by_image(rows: Sequence[dict[str, str]], own: str) -> dict[str, list[dict[str, str]]]:
    """Return rows by what their column `own` says of the image: as it stands there, and its file name."""
    found: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        for key in {row[own], Path(row[own]).name}:
            found.setdefault(key, []).append(row)
    return found


def row_of(rows: dict[str, list[dict[str, str]]], own: str, name: str, source: Any, table: Path) -> dict[str, str]:
    """Return the row of an image, named as it was given, relative to the table's folder, or by its file name.

    Raises:
        ConfigError: If it has none, or two.
    """
    matching = next((rows[key] for key in _keys(name, source, table) if key in rows), [])
    if len(matching) != 1:
        what = "no row" if not matching else f"{len(matching)} rows"
        raise ConfigError(f"{table} has {what} for {name} in its column {own!r}; each image needs one")
    return matching[0]


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
    """Return the rows of a CSV file, column → cell; ConfigError, which names the option, if it cannot be read or is empty."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, strict=True)
            rows = [{key.strip(): (cell or "").strip() for key, cell in row.items() if key is not None} for row in reader]
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigError(f"{option} {table} cannot be read ({error})") from None
    if not rows:
        raise ConfigError(f"{option} {table} has no row")
    return rows
