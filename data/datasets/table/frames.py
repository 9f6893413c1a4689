"""Rows of a table that are frames of files, or become them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medzoo.data.errors import ConfigError, DatasetError
from medzoo.data.images.files import Missing, with_frames
from medzoo.data.images.frames import CHANNELS
from medzoo.data.images.kinds import is_file
from medzoo.data.tables import TextTable


def check_frames(frames: str | None, frame: str | None, images: int, rule: int, series: str | None = None) -> None:
    """Refuse options of frames that contradict each other, or the others.

    Args:
        frames: What becomes of files of several frames.
        frame: The column with the number of a row's frame.
        images: Columns with images.
        rule: The split rule.
        series: The column with which series of a directory a row is.

    Raises:
        ConfigError: If they do.
    """
    if frame is not None and frames is not None:
        raise ConfigError(f"data.frame_number={frame} says which frame a row is: leave data.frames={frames} out")
    if frame is not None and rule == 1:
        raise ConfigError("data.frame_number needs data.split_rule=2: rule 1 reads a table as a medzoo without frames did")
    if series is not None and (frames is not None or frame is not None or images > 1):
        raise ConfigError(f"data.series_uid={series} is of one image column of directories: leave frames and further columns out")
    if images > 1 and (frame is not None or frames == "members"):
        raise ConfigError("views of one case are files of one frame each: data.image is one column where rows are frames")


def check_volumes(volume: bool, channels: int, frames: str | None, frame: str | None) -> None:
    """Refuse colours and frames of NIfTI volumes, where a table has some; ConfigError."""
    if frames == CHANNELS:
        return
    if volume and channels != 1:
        raise ConfigError("NIfTI volumes have one channel: set data.channels=1, or to the number that the files hold")
    if volume and (frames is not None or frame is not None):
        raise ConfigError("NIfTI files are volumes already, turned alike: leave data.frames and data.frame_number out")


def frame_numbers(rows: TextTable, column: str) -> pd.Series:
    """Return a column's frame numbers, from 0, as int64; raises DatasetError on another cell, which names its line."""
    rows.refuse(rows[column] == "", column, remedy="every row needs the number of its frame, from 0")
    numbers = rows.numbers(column)
    whole = (numbers >= 0) & (numbers == np.floor(numbers)) & (numbers < 2**31)
    rows.refuse(~whole, column, "no frame's number", "frames count from 0")
    return numbers.astype(np.int64)


def file_parts(rows: TextTable, frame: str | None, series: str | None) -> pd.Series | None:
    """Return which part of its path each row is: the number of its frame, or the series of a directory; None: all of it."""
    if frame is not None:
        return frame_numbers(rows, frame)
    return None if series is None else rows[series]


def frame_rows(
    table: pd.DataFrame, folder: Path, present: Sequence[str], missing: Missing
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Give each frame of a table's files a row of its own, as `with_frames`.

    Args:
        table: With one image a row.
        folder: That paths are relative to.
        present: Files that are there.
        missing: `ignore`: nobody looked.

    Raises:
        DatasetError: If nobody looked, and a file is not there whose frames would have to be counted.
    """
    if missing == "ignore":
        absent = [path for path in table["path"].unique() if not is_file(folder / str(path))]
        if absent:
            raise DatasetError(
                f"{folder / absent[0]} is not there ({len(absent)} such files), and data.frames=members counts its frames; name "
                "each frame in the table instead (data.frame_number=<column>)"
            )
    return with_frames(table, folder)
