"""The text files of NIH ChestX-ray14: found under their several names, read as text, the lists held against the table.

Everything stays text here, indexed by its line in the file, so that a bad row can be named by its line.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medzoo.data.errors import DatasetError, nearest

NAME = "chestxray14"
HOMEPAGE = "https://nihcc.app.box.com/v/ChestXray-NIHCC"
METADATA = tuple(f"Data_Entry_2017{version}.csv{packed}" for version in ("_v2020", "") for packed in ("", ".gz"))
"""Names of the table of all films, the newest release first."""
_LISTS = {split: (f"{stem}.txt", f"{stem}_NIH.txt") for split, stem in (("train", "train_val_list"), ("test", "test_list"))}
_WIDEST = 32  # cells; the widest of these files has 12, for some copies end lines with a comma, with or without one in the header


def find_file(folder: Path, names: Sequence[str]) -> tuple[Path, tuple[str, ...]]:
    """Return the first of several names that is a file in a folder, and a note if others are there too.

    Raises:
        DatasetError: If none is there.
    """
    there = [name for name in names if (folder / name).is_file()]
    if not there:
        what = f"{folder} has none of {', '.join(names)}" if folder.is_dir() else f"no folder at {folder}"
        raise DatasetError(f"{NAME}: {what}; get the files from {HOMEPAGE}, or set data.root to the folder that has them")
    unread = (f"{there[0]} was read; {', '.join(there[1:])} beside it not",) if there[1:] else ()
    return folder / there[0], unread


def read_rows(path: Path, columns: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Read columns of a CSV file by name, as text.

    Args:
        path: The file; `.gz` is unpacked.
        columns: Name wanted → the names it may have in the file's header.

    Returns:
        The columns under the names wanted, empty cells as `""`, indexed by line number in the file; blank lines left out.

    Raises:
        DatasetError: If the file cannot be read, lacks a column (the nearest is named), or has a row that is too long or cut
            short.
    """
    try:
        cells = pd.read_csv(
            path,
            encoding="utf-8-sig",
            dtype=str,
            keep_default_na=False,
            skip_blank_lines=False,
            header=None,
            names=range(_WIDEST),
        )
    except (OSError, EOFError, ValueError, zlib.error) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DatasetError(f"{NAME}: {path} cannot be read ({reason}); download it again") from None
    cells.index = pd.RangeIndex(1, len(cells) + 1)
    if cells.empty:
        raise DatasetError(f"{NAME}: {path} is empty; download it again")
    header, rows = [str(name) for name in cells.iloc[0]], cells[1:]
    chosen = {}
    for wanted, names in columns.items():
        places = [place for place, name in enumerate(header) if name in names]
        if len(places) != 1:
            near = nearest(names[0], [name for name in header if name], 1)
            hint = f"the nearest is {near[0]!r}" if near else f"it has {', '.join(filter(None, header)) or 'none'}"
            what = "several columns" if places else "no column"
            raise DatasetError(f"{NAME}: {path.name} has {what} {' or '.join(map(repr, names))}; {hint}")
        chosen[places[0]] = wanted
    beyond = rows[[place for place, name in enumerate(header) if not name]]
    refuse_rows(path.name, (beyond != "").any(axis=1), rows[0], "has cells beyond the header; it begins")
    rows = rows[~(rows == "").all(axis=1)]
    # A line cut short reads as empty cells to its end; where a wanted column is among them, that is no row.
    last = max(place for place, name in enumerate(header) if name)
    before_last = [place for place in chosen if place < last]
    if before_last:
        refuse_rows(path.name, (rows.loc[:, max(before_last) :] == "").all(axis=1), rows[0], "is cut short; it begins")
    return rows[list(chosen)].rename(columns=chosen)


def refuse_rows(file: str, bad: pd.Series, values: pd.Series, problem: str, remedy: str = "") -> None:
    """Stop at the first bad row.

    Args:
        file: Name for the message.
        bad: Which rows are bad, indexed by line number.
        values: What the message shows of a row, indexed likewise.
        problem: What is wrong, before the value.
        remedy: What to do, or what was expected; after the value.

    Raises:
        DatasetError: If any row is bad.
    """
    if bad.any():
        line, value = bad.index[bad][0], str(values[bad].iloc[0])
        more = f" ({int(bad.sum())} such lines)" if bad.sum() > 1 else ""
        raise DatasetError(f"{NAME}: {file} line {line} {problem} {value!r}{remedy}{more}")


def read_split(images: pd.Series, file: str, folder: Path) -> tuple[pd.Series, tuple[str, ...]]:
    """Return the official split of each image.

    Args:
        images: File names of the table, indexed by line number.
        file: The table's name, for messages.
        folder: Where the two lists lie, each one file name a line.

    Returns:
        `train` (the list holds val as well) or `test`, indexed as `images`; and notes.

    Raises:
        DatasetError: If a list is missing or cannot be read, an image is listed twice, or lists and table differ.
    """
    lists, files, notes = [], {}, tuple[str, ...]()
    for split, names in _LISTS.items():
        path, more = find_file(folder, names)
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DatasetError(f"{NAME}: {path} cannot be read ({error}); download it again") from None
        names_listed = [line.strip() for line in lines]
        lists.append(pd.DataFrame({"image": names_listed, "split": split, "line": np.arange(1, len(lines) + 1)}))
        files[split], notes = path.name, notes + more
    listed = pd.concat(lists, ignore_index=True)
    listed = listed[listed["image"] != ""]
    repeated = listed["image"].duplicated(keep=False)
    if repeated.any():
        twice = listed[listed["image"] == listed.loc[repeated, "image"].iloc[0]]
        places = " and ".join(f"line {line} of {files[split]}" for split, line in zip(twice["split"], twice["line"], strict=True))
        raise DatasetError(f"{NAME}: image {twice['image'].iloc[0]!r} is listed on {places}; an image belongs in one place")
    split_of = images.map(listed.set_index("image")["split"])
    neither = f", which is in neither {' nor '.join(files.values())}; get the lists of the same release"
    refuse_rows(file, split_of.isna(), images, "has the image", neither)
    strange = ~listed["image"].isin(images)
    if strange.any():
        image, split, line = listed.loc[strange, ["image", "split", "line"]].iloc[0]
        raise DatasetError(
            f"{NAME}: image {image!r} on line {line} of {files[split]} is not in {file} ({int(strange.sum())} such images); "
            "is it complete, and of the same release?"
        )
    return split_of, notes
