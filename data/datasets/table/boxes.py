"""Boxes or masks of a user's own: a second table, one row a region."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from medzoo.data.datasets.table.absent import Named
from medzoo.data.datasets.table.paths import named_paths
from medzoo.data.datasets.table.reading import BOXES, read_table
from medzoo.data.errors import DatasetError, UnknownNameError
from medzoo.data.images.kinds import is_file
from medzoo.data.options import local_path
from medzoo.data.regions.marked import BoxRegions, MaskRegions, Regions
from medzoo.data.tables.words import clean, identifier, plain_number

SAMPLE, LABEL, MASK = "sample_id", "label", "mask"
FLAT, DEEP = ("x", "y", "width", "height"), ("z", "depth")


def read_boxes(
    file: str | Path | None, table: pd.DataFrame, paths: Sequence[str], names: Sequence[str], of: Named, by: str | None
) -> Regions | None:
    """Read a table of boxes: columns `sample_id`, `label`, `x`, `y`, `width`, `height`, of volumes `z` and `depth` too.

    Or of masks: `sample_id`, `label` and `mask`, a file, relative to the table's own folder. Samples and labels may be written
    in every way in which the table of samples may write them: 3.0 for 3, ./a.png for a.png.

    Args:
        file: The table, of any format that a table of samples may have; None: there is none.
        table: Of the dataset's samples; boxes of rows that were left out (`data.where`, `data.missing=skip`) go with them, and
            those of others are refused.
        paths: Its columns of paths of images.
        names: Its labels and concepts.
        of: All rows of the table of samples, and where their files lie.
        by: Its column with the samples' names; None: they are the paths of their images.

    Raises:
        DatasetError: If the file or a column is missing, or a row is no box of a sample and a label; names the line.
    """
    if file is None:
        return None
    source, samples = local_path(file, "boxes"), set(table["sample_id"])
    rows, _ = read_table(source, owner=BOXES)
    masks, numbers = MASK in rows.rows.columns, tuple[str, ...]()
    if not masks:
        numbers = (*FLAT, *(DEEP if all(column in rows.rows.columns for column in DEEP) else ()))
    elif boxes := [column for column in (*FLAT, *DEEP) if column in rows.rows.columns]:
        raise DatasetError(f"{source.name}: it has both {MASK!r} and {boxes[0]!r}; a table is of boxes or of masks")
    for column in (SAMPLE, LABEL, *numbers):
        _ = rows[column]  # one that is not there is named
    called = rows[SAMPLE].map(identifier) if by is not None else named_paths(rows[SAMPLE], of.places)
    called = rows[SAMPLE].where(rows[SAMPLE].isin(samples), called)
    if not called.isin(samples).all():
        left_out = called.isin(_named(of, by) - samples)
        rows, called = replace(rows, rows=rows.rows[~left_out]), called[~left_out]
    remedy = f"name samples {'as data.id does' if by is not None else 'by the path of their image'}"
    rows.refuse(~called.isin(samples), SAMPLE, "no sample of the dataset", remedy)
    known = {**{plain_number(clean(name)): name for name in names}, **{name: name for name in names}}
    labels = rows[LABEL].map(lambda word: known.get(word, known.get(plain_number(word))))
    for place, label in rows[LABEL][labels.isna()].items():
        raise rows.error(place, UnknownNameError("label or concept", str(label), names))
    regions = pd.DataFrame({SAMPLE: called, LABEL: labels})
    if masks:
        regions[MASK] = rows[MASK]
        there = rows[MASK].map(lambda name: name != "" and is_file(source.parent / name))
        rows.refuse(~there.astype(bool), MASK, f"no file in {source.parent}")
        own = table[table["sample_id"].isin(set(called))].dropna(subset=[paths[0]]) if len(paths) == 1 else table[:0]
        images = {str(name): of.places.folder / path for name, path in zip(own["sample_id"], own[paths[0]], strict=True)}
        return MaskRegions(regions.reset_index(drop=True), source.parent, source.name, images)
    for column in numbers:
        rows.refuse(rows[column] == "", column)
        regions[column] = rows.numbers(column)
        least = np.nextafter(0, 1) if column in ("width", "height", "depth") else 0
        rows.refuse(~(regions[column] >= least), column, "no length above 0" if least else "left of the image or above it")
    return BoxRegions(regions.reset_index(drop=True), source=source.name)


def _named(of: Named, by: str | None) -> set[str]:
    """Return the names of all samples that a table has, taken or not."""
    if by is not None:
        return set(of.rows[by].map(identifier))
    try:
        return {unicodedata.normalize("NFC", path) for path in of.paths().dropna()}
    except DatasetError:
        return set()  # of a row that is not taken, whose path is none
