"""Boxes or masks of a user's own: a second table, one row a region."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medzoo.data.datasets.table.paths import Places, named_paths
from medzoo.data.datasets.table.reading import BOXES, read_table
from medzoo.data.errors import DatasetError, UnknownNameError
from medzoo.data.images.kinds import is_file
from medzoo.data.options import local_path
from medzoo.data.regions.marked import BoxRegions, MaskRegions, Regions
from medzoo.data.tables.words import clean, identifier, plain_number

SAMPLE, LABEL, MASK = "sample_id", "label", "mask"
FLAT, DEEP = ("x", "y", "width", "height"), ("z", "depth")


def read_boxes(
    file: str | Path | None, samples: Sequence[str], names: Sequence[str], places: Places | None = None
) -> Regions | None:
    """Read a table of boxes: columns `sample_id`, `label`, `x`, `y`, `width`, `height`, of volumes `z` and `depth` too.

    Or of masks: `sample_id`, `label` and `mask`, a file, relative to the table's own folder. Samples and labels may be written
    in every way in which the table of samples may write them: 3.0 for 3, ./a.png for a.png.

    Args:
        file: The table, of any format that a table of samples may have; None: there is none.
        samples: Names of the dataset's samples; boxes of others are refused.
        names: Its labels and concepts.
        places: Where the files lie, whose paths are the samples' names; None: the names are of a column.

    Raises:
        DatasetError: If the file or a column is missing, or a row is no box of a sample and a label; names the line.
    """
    if file is None:
        return None
    source = local_path(file, "boxes")
    rows, _ = read_table(source, owner=BOXES)
    masks, numbers = MASK in rows.rows.columns, tuple[str, ...]()
    if not masks:
        numbers = (*FLAT, *(DEEP if all(column in rows.rows.columns for column in DEEP) else ()))
    elif boxes := [column for column in (*FLAT, *DEEP) if column in rows.rows.columns]:
        raise DatasetError(f"{source.name}: it has both {MASK!r} and {boxes[0]!r}; a table is of boxes or of masks")
    for column in (SAMPLE, LABEL, *numbers):
        _ = rows[column]  # one that is not there is named
    called = rows[SAMPLE].map(identifier) if places is None else named_paths(rows[SAMPLE], places)
    called = rows[SAMPLE].where(rows[SAMPLE].isin(set(samples)), called)
    remedy = f"name samples {'as data.id does' if places is None else 'by the path of their image'}"
    rows.refuse(~called.isin(set(samples)), SAMPLE, "no sample of the dataset", remedy)
    known = {**{plain_number(clean(name)): name for name in names}, **{name: name for name in names}}
    labels = rows[LABEL].map(lambda word: known.get(word, known.get(plain_number(word))))
    for place, label in rows[LABEL][labels.isna()].items():
        raise rows.error(place, UnknownNameError("label or concept", str(label), names))
    table = pd.DataFrame({SAMPLE: called, LABEL: labels})
    if masks:
        table[MASK] = rows[MASK]
        there = rows[MASK].map(lambda name: name != "" and is_file(source.parent / name))
        rows.refuse(~there.astype(bool), MASK, f"no file in {source.parent}")
        return MaskRegions(table.reset_index(drop=True), source.parent, source.name)
    for column in numbers:
        rows.refuse(rows[column] == "", column)
        table[column] = rows.numbers(column)
        least = np.nextafter(0, 1) if column in ("width", "height", "depth") else 0
        rows.refuse(~(table[column] >= least), column, "no length above 0" if least else "left of the image or above it")
    return BoxRegions(table.reset_index(drop=True), source=source.name)
