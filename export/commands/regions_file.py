"""Regions on the command line: one for all images, or a CSV file with one for each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.regions.evidence import GivenRegion, GivenRegions
from medzoo.export.commands.inputs_file import IMAGE, rows_for, rows_of

KINDS, ONLY = ("remove", "within"), "only"


def regions_of(found: Sequence[tuple[str, Any]], given: str | None, only: Sequence[str] | None) -> GivenRegions | None:
    """Return what `--regions` and `--only` say of the images.

    Args:
        found: Name and source of each image.
        given: `remove=X,Y,WIDTH,HEIGHT`, `within=mask.png`, or a CSV file: its column `image` names the image as that of
            `--inputs` does, its columns `remove` and `within` hold a box or a mask's file beside the table, one of them a row, or
            neither where nothing is taken away; `only` concepts, separated by semicolons. None: there are no regions.
        only: Concepts that are meant; None: all.

    Raises:
        ConfigError: If it is neither, the file cannot be read, an image has no row or two, or a row says two things.
        UnknownNameError: If the file has a column that means nothing.
    """
    if given is None:
        if only:
            raise ConfigError("--only names the concepts that --regions is for; give both, or leave it out")
        return None
    kind, sign, value = given.partition("=")
    if sign and kind in KINDS:
        return {kind: _place(value, Path()), ONLY: list(only) if only else None}
    table = Path(given)
    if table.suffix.lower() != ".csv":
        raise ConfigError(f"--regions {given} is not remove=X,Y,WIDTH,HEIGHT, within=..., remove=mask.png, or a CSV file")
    rows = rows_of(table, "--regions")
    for column in rows[0]:
        if column not in (IMAGE, *KINDS, ONLY):
            raise UnknownNameError("column", column, (IMAGE, *KINDS, ONLY), where=f" in {table}")
    if IMAGE not in rows[0]:
        raise ConfigError(f"{table} has no column {IMAGE!r} that names the image")
    return [_region(row, table, only) for row in rows_for(found, rows, IMAGE, table)]


def _region(row: dict[str, str], table: Path, only: Sequence[str] | None) -> GivenRegion | None:
    said = {kind: _place(row[kind], table.parent) for kind in KINDS if row.get(kind)}
    if not said:
        return None
    named = [name.strip() for name in row.get(ONLY, "").split(";") if name.strip()]
    return {**said, ONLY: named or (list(only) if only else None)}


def _place(text: str, folder: Path) -> list[float] | Path:
    """Return a box of `x,y,width,height`, also with spaces, or the path of a mask."""
    try:
        return [float(part) for part in text.replace(",", " ").split()]
    except ValueError:
        return folder / text
