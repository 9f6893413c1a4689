"""Images that their files say to turn (EXIF, TIFF), and regions drawn on them: of which pixels these are, nothing says."""

from __future__ import annotations

import pandas as pd

from medzoo.data.images.pillow import turn_of
from medzoo.data.images.reader import Reader
from medzoo.data.regions.marked import Regions


def turned_note(regions: Regions | None, table: pd.DataFrame, reader: Reader) -> str | None:
    """Return a note that counts the images that are turned and have regions; None if there is none.

    Args:
        regions: Of a dataset.
        table: Its rows, or some of them.
        reader: What reads their images.
    """
    if regions is None or not regions.sample_ids:
        return None
    rows = table[table["sample_id"].isin(list(regions.sample_ids))]
    cells = zip(rows["sample_id"], *(rows[column] for column in reader.columns), strict=True)
    turned = [str(name) for name, *values in cells if any(turn_of(file) > 1 for file in reader.files(*values))]
    if not turned:
        return None
    return (
        f"{len(turned)} images are turned by EXIF and have regions (such as {turned[0]}): regions are taken to be of the upright "
        "image, and a mask is turned along where only the stored pixels have its proportions; look whether they lie right"
    )
