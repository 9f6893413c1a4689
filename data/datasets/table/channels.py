"""Several images a row that are the channels of one: the sequences of an MR study, the stains of a slide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd

from medzoo.data.errors import ConfigError, DatasetError
from medzoo.data.images.files import SAY_FRAMES, FileReader
from medzoo.data.images.frames import VOLUME, Frames
from medzoo.data.images.pixels import PixelType
from medzoo.data.images.planes.reader import StackedReader
from medzoo.data.images.planes.stack import Stack
from medzoo.data.options import choice, image_channels, text_list
from medzoo.data.tables import TextTable

MissingChannels = Literal["error", "zeros"]


@dataclass(frozen=True)
class Channels:
    """Which columns are the channels of one image.

    Attributes:
        columns: With paths, in the order of the channels.
        zeros: Whether one that is missing is filled with zeros.
    """

    columns: tuple[str, ...]
    zeros: bool

    def reader(
        self, folder: Path, paths: Sequence[str], dtype: PixelType, window: tuple[float, float] | None, frames: Frames | None
    ) -> StackedReader:
        """Return what reads them below a folder."""
        one = FileReader(folder, ("path",), 1, dtype, window, False, frames, SAY_FRAMES)
        return StackedReader(one, tuple(paths), Stack(self.columns, self.zeros))


def channels_option(columns: Any, missing: object, channels: int, alone: Mapping[str, object]) -> Channels | None:
    """Return the options `channel_columns` and `missing_channels`; None where no column is named.

    Args:
        columns: What the user gave, or None.
        missing: `error` or `zeros`.
        channels: The option `channels`; 3, its default, or the number of columns.
        alone: Options that do not go with it: name → value, None or false where not given.

    Raises:
        ConfigError: If they do not go together, or columns are fewer than two or named twice.
        UnknownNameError: If `missing` is none of the two.
    """
    choice("missing_channels", missing, get_args(MissingChannels))
    names = text_list(columns, "channel_columns")
    if names is None:
        if missing != "error":
            raise ConfigError(f"data.missing_channels={missing} is of data.channel_columns, which is not given")
        return None
    if len(names) < 2 or len(set(names)) < len(names):
        raise ConfigError(f"data.channel_columns=[{', '.join(names)}] are not two or more columns, each named once")
    if channels not in (3, len(names)):
        raise ConfigError(f"data.channels={channels}, and data.channel_columns are {len(names)}: leave data.channels out")
    if given := [name for name, value in alone.items() if value]:
        raise ConfigError(f"data.{given[0]} does not go with data.channel_columns, which are one image; leave it out")
    return Channels(tuple(names), missing == "zeros")


def planes_or_frames(stack: Channels | None, channels: int, frames: Frames | None) -> tuple[int, Frames | None]:
    """Return the options `channels` and `frames` as a table's files are read by them.

    Raises:
        ConfigError: If they do not go together, or with channels that are files of their own.
    """
    if stack is None:
        return image_channels(channels, frames)
    if frames not in (None, VOLUME):
        raise ConfigError(f"data.channel_columns are files of one channel each: leave data.frames={frames} out")
    return 1, frames


def check_channels(stack: Channels | None, rows: TextTable, columns: Sequence[str]) -> None:
    """Refuse empty cells of the columns that are channels, unless they are filled; DatasetError names the line."""
    for column in () if stack is None or stack.zeros else columns:
        remedy = "data.missing_channels=zeros fills it with zeros"
        rows.refuse(rows[column] == "", column, "so a channel is missing", remedy)


def whole_stacks(stack: Channels | None, table: pd.DataFrame, paths: Sequence[str]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the rows whose channels are all there, or are filled; and a note on the others.

    Raises:
        DatasetError: If no row is left.
    """
    there = None if stack is None else table[list(paths)].notna().all(axis=1)
    if stack is None or there is None or there.all():
        return table, ()
    lacking = f"{int((~there).sum())} of {len(table)} samples lack"
    if stack.zeros:
        return table, (f"{lacking} a channel: it is filled with zeros (data.missing_channels)",)
    if not there.any():
        raise DatasetError(f"{lacking} the file of a channel: none is left; data.missing_channels=zeros fills it with zeros")
    return table[there], (f"{lacking} the file of a channel and are left out (data.missing=skip)",)
