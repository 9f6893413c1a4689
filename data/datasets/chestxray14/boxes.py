"""The boxes of NIH ChestX-ray14: 984 drawn by a radiologist on 880 films of the test split, for eight of the findings.

Wang et al. 2017, CVPR, 3462-3471, section 3.2; `BBox_List_2017.csv`, an optional file beside `Data_Entry_2017[_v2020].csv`.
The boxes are a table of their own, any number a film, joined to a dataset by `sample_id`:

    boxes = load_boxes(root)
    boxes[boxes["sample_id"].isin(dataset.table["sample_id"])]
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from medzoo.data.datasets.chestxray14.tables import FINDINGS, METADATA, NAME, find_file, read_rows
from medzoo.data.errors import UnknownNameError

FILES = ("BBox_List_2017.csv", "BBox_List_2017.csv.gz")
SIDE = 1024
"""Pixels a side of the published films, in which the boxes are given; a smaller copy of a film needs them scaled."""
BOXED = {"Infiltrate" if finding == "Infiltration" else finding: finding for finding in FINDINGS[:8]}
"""The file's word for a finding → the dataset's: they differ in one."""

# The header is `Image Index,Finding Label,Bbox [x,y,w,h],,,`: the commas within the brackets part it like the others.
_COLUMNS = {"image": "Image Index", "label": "Finding Label", "x": "Bbox [x", "y": "y", "width": "w", "height": "h]"}
_NUMBERS = ("x", "y", "width", "height")


def load_boxes(root: str | Path = "~/data/chestxray14") -> pd.DataFrame:
    """Load the boxes of all films, whether their images are there or not.

    Args:
        root: Folder with `BBox_List_2017.csv` (may be `.csv.gz`) and `Data_Entry_2017[_v2020].csv`; `~` is understood.

    Returns:
        One row a box, in the file's order: `sample_id` as in the dataset's table (a film may have several boxes), `label`
        one of the eight findings of ChestX-ray8 (the file's `Infiltrate` is `Infiltration`), and float64 `x`, `y` of the
        upper left corner, `width`, `height`, in pixels of the 1024 x 1024 original.

    Raises:
        DatasetError: If a file or column is missing, a row names an image or a finding that is not known, its numbers are not
            a box within the film, or it stands there twice; names the line.
    """
    folder = Path(root).expanduser()
    source, _ = find_file(folder, FILES)
    rows = read_rows(source, {name: (column,) for name, column in _COLUMNS.items()})
    metadata, _ = find_file(folder, METADATA)
    known = read_rows(metadata, {"image": ("Image Index",)})["image"]
    rows.refuse(~rows["image"].isin(known), "image", f"which is not in {metadata.name}")
    for place, label in rows["label"].items():
        if label not in BOXED:
            raise rows.error(place, UnknownNameError("finding", label, BOXED))
    boxes = pd.DataFrame({"sample_id": f"{NAME}/" + rows["image"].str[:-4], "label": rows["label"].map(BOXED)})
    for name in _NUMBERS:
        rows.refuse(rows[name] == "", name)
        boxes[name] = rows.numbers(name)
    x, y, width, height = (boxes[name] for name in _NUMBERS)
    inside = (x >= 0) & (y >= 0) & (width > 0) & (height > 0) & (x + width <= SIDE) & (y + height <= SIDE)
    rows.refuse(~inside, _NUMBERS, f"a box that is empty or leaves the {SIDE} x {SIDE} film")
    rows.refuse(boxes.duplicated(), ["image", *_NUMBERS], "as on an earlier line", "remove one of the two lines")
    return boxes.reset_index(drop=True)
