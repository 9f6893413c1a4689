"""The text files of NIH ChestX-ray14: found under their several names, read as text, the lists held against the table.

Everything stays text here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medzoo.data.errors import DatasetError
from medzoo.data.tables import TextTable

NAME = "chestxray14"
# The order of the paper's tables, of CheXNet and of ChestMNIST; the first eight are ChestX-ray8.
FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip
HOMEPAGE = "https://nihcc.app.box.com/v/ChestXray-NIHCC"
METADATA = tuple(f"Data_Entry_2017{version}.csv{packed}" for version in ("_v2020", "") for packed in ("", ".gz"))
"""Names of the table of all films, the newest release first."""
_LISTS = {split: (f"{stem}.txt", f"{stem}_NIH.txt") for split, stem in (("train", "train_val_list"), ("test", "test_list"))}


def find_file(folder: Path, names: Sequence[str]) -> tuple[Path, tuple[str, ...]]:
    """Return the first of several names that is a file in a folder (DatasetError if none is), and a note if others are too."""
    there = [name for name in names if (folder / name).is_file()]
    if not there:
        what = f"{folder} has none of {', '.join(names)}" if folder.is_dir() else f"no folder at {folder}"
        raise DatasetError(f"{NAME}: {what}; get the files from {HOMEPAGE}, or set data.root to the folder that has them")
    unread = (f"{there[0]} was read; {', '.join(there[1:])} beside it not",) if there[1:] else ()
    return folder / there[0], unread


def read_rows(path: Path, columns: Mapping[str, Sequence[str]]) -> TextTable:
    """Read columns of one of the CSV files: name wanted → the names it may have in the file's header.

    Raises:
        DatasetError: If the file cannot be read, lacks a column, or has a row that is too long or cut short; names the line.
    """
    return TextTable.read(path, columns, dataset=NAME, remedy=f"download it again from {HOMEPAGE}")


def read_split(films: TextTable, folder: Path) -> tuple[pd.Series, tuple[str, ...]]:
    """Return the official split of each image.

    Args:
        films: The table, with column `image`.
        folder: Where the two lists lie, each one file name a line.

    Returns:
        `train` (the list holds val as well) or `test`, indexed as the table; and notes.

    Raises:
        DatasetError: If a list is missing or cannot be read, an image is listed twice, or lists and table differ.
    """
    images = films["image"]
    lists, files, notes = [], {}, tuple[str, ...]()
    for split, names in _LISTS.items():
        path, more = find_file(folder, names)
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DatasetError(f"{NAME}: {path} cannot be read ({error}); download it again") from None
        columns = {"image": [line.strip() for line in lines], "split": split, "line": np.arange(1, len(lines) + 1)}
        lists.append(pd.DataFrame(columns))
        files[split], notes = path.name, notes + more
    listed = pd.concat(lists, ignore_index=True)
    listed = listed[listed["image"] != ""]
    repeated = listed["image"].duplicated(keep=False)
    if repeated.any():
        twice = listed[listed["image"] == listed.loc[repeated, "image"].iloc[0]]
        places = " and ".join(f"line {line} of {files[split]}" for split, line in zip(twice["split"], twice["line"], strict=True))
        raise DatasetError(f"{NAME}: image {twice['image'].iloc[0]!r} is listed on {places}; an image belongs in one place")
    split_of = images.map(listed.set_index("image")["split"])
    neither = f"which is in neither {' nor '.join(files.values())}"
    films.refuse(split_of.isna(), "image", neither, "get the lists of the same release")
    strange = ~listed["image"].isin(images)
    if strange.any():
        image, split, line = listed.loc[strange, ["image", "split", "line"]].iloc[0]
        raise DatasetError(
            f"{NAME}: image {image!r} on line {line} of {files[split]} is not in {films.file} ({int(strange.sum())} such "
            "images); is it complete, and of the same release?"
        )
    return split_of, notes
