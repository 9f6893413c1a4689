"""Several images a row, each of its own kind and with a column of its own, and values beside them that are words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.images.files import SAY_FRAMES, FileReader
from medzoo.data.images.frames import CHANNELS, VOLUME, Frames
from medzoo.data.images.kinds import VOLUME_SUFFIXES
from medzoo.data.images.modalities import ONE, RESERVED, is_name
from medzoo.data.options import choice, image_channels, low_high, one_text, text_list
from medzoo.data.tables.words import clean

KEYS = ("column", "channels", "window", "frames")


@dataclass(frozen=True)
class Modality:
    """How one of a row's images is found and read.

    Attributes:
        name: What it is called.
        column: The column with its path.
        channels: 1 (gray) or 3 (RGB); with `channels` as frames the planes of a file.
        window: (low, high) that become black and white.
        frames: `volume`: all frames of a file are one volume; `channels`; None: files of several are refused.
    """

    name: str
    column: str
    channels: int
    window: tuple[float, float] | None
    frames: Frames | None

    @property
    def path(self) -> str:
        """The column of the dataset's table with its path."""
        return f"path_{self.name}"

    def reader(self, folder: Path, paths: pd.Series, dtype: Literal["uint8", "float32"]) -> FileReader:
        """Return what reads it below a folder; ConfigError if its files are volumes and it has colours or frames."""
        volumes = paths.dropna().astype(str).str.lower().str.endswith(VOLUME_SUFFIXES)
        if volumes.any() and self.frames != CHANNELS and (self.channels != 1 or self.frames is not None):
            raise ConfigError(
                f"data.modalities: {self.name!r} has NIfTI volumes, of one channel and no frames: "
                f"{self.name}: {{column: {self.column}, channels: 1}}"
            )
        return FileReader(folder, (self.path,), self.channels, dtype, self.window, False, self.frames, SAY_FRAMES)


def modalities_option(given: Any, image: Any, channels: int, window: Any) -> list[Modality]:
    """Return the option `modalities`: name → the column with paths, or {column, channels, window, frames}; empty without.

    Args:
        given: What the user gave, or None.
        image: The option `image`, which is for one image a sample.
        channels: Of modalities that say none.
        window: Of modalities that say none.

    Raises:
        ConfigError: If it is not of that form, or `image` is given, too.
        UnknownNameError: If a key is not known.
    """
    if given is None:
        return []
    if not isinstance(given, Mapping) or not given:
        raise ConfigError(
            f"data.modalities={given} is no mapping of names to columns, such as {{fundus: fundus_path, oct: oct_path}}"
        )
    if image != "image":
        raise ConfigError(f"data.image={image} names the one image of a sample, and data.modalities several; give one of the two")
    found = []
    for place, (name, asked) in enumerate(given.items()):
        if not is_name(name) or (place and name == ONE):
            raise ConfigError(
                f"data.modalities: {name!r} is no name: letters, digits and '_', not {', '.join(RESERVED)}, {ONE!r} only first"
            )
        about = asked if isinstance(asked, Mapping) else {"column": asked}
        for key in about:
            if key not in KEYS:
                raise UnknownNameError("key", str(key), KEYS, where=f" of data.modalities.{name}")
        column = one_text(about.get("column"), f"modalities.{name}")
        if column is None:
            raise ConfigError(f"data.modalities.{name} names no column; give {name}: <column with paths>")
        frames = about.get("frames")
        if frames is not None:
            choice(f"modalities.{name}.frames", frames, (VOLUME, CHANNELS))
        own = low_high(about.get("window", window), f"modalities.{name}.window")
        planes, frames = image_channels(about.get("channels", channels), frames)
        found.append(Modality(name, clean(column), planes, own, frames))
    columns = [one.column for one in found]
    if len(set(columns)) < len(columns):
        raise ConfigError(f"data.modalities names column {next(c for c in columns if columns.count(c) > 1)!r} twice")
    return found


def texts_option(given: Any, others: Sequence[str]) -> dict[str, str]:
    """Return the option `texts`: name → the column that holds it; empty without.

    Args:
        given: A list of columns, whose names they are called by; a mapping of names to columns; or None.
        others: Names of the images.

    Raises:
        ConfigError: If it is neither, or a name cannot be one.
    """
    if given is None:
        return {}
    if isinstance(given, Mapping):
        asked = {str(name): one_text(column, f"texts.{name}") or "" for name, column in given.items()}
    else:
        asked = {name: name for name in text_list(given, "texts") or []}
    for name, column in asked.items():
        if not is_name(name) or name == ONE:
            raise ConfigError(
                f"data.texts: {name!r} is no name: letters, digits and '_', not {', '.join((*RESERVED, ONE))}; give one to its "
                f"column, data.texts={{report: {column}}}"
            )
        if name in others:
            raise ConfigError(f"data.texts: {name!r} is an image of data.modalities; give the text another name")
        if not column:
            raise ConfigError(f"data.texts.{name} names no column; give {name}: <column with text>")
    return {name: clean(column) for name, column in asked.items()}
