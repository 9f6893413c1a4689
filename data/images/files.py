"""Images in files below one root: finding them, saying which are missing, reading them.

Tables hold paths relative to the root, with forward slashes. A path that leaves the root is refused when the table is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medzoo.data.errors import DatasetError, ImageError, UnknownNameError
from medzoo.data.images.decode import decode_frames, decode_image
from medzoo.data.images.dicom.decode import range_of, unpixelled
from medzoo.data.images.dicom.series import NUMBER, Series, read_series, slice_files, sorted_by_number
from medzoo.data.images.frames import CHANNELS, MEMBERS, VOLUME, Frame, Frames, count_frames, frame_name
from medzoo.data.images.kinds import HEAD, VOLUME_SUFFIXES, is_folder, kind_of
from medzoo.data.images.listing import RealPaths
from medzoo.data.images.listing import list_files as list_files
from medzoo.data.images.nifti import decode_nifti
from medzoo.data.images.pixels import PixelType
from medzoo.data.images.planes.read import read_planes
from medzoo.data.images.reader import Reader, is_missing

Missing = Literal["error", "skip", "ignore"]
PEEKED = 8
"""How many files are opened before training to see whether they say their range."""
NAMED = 3
"""How many of the missing files a message names."""
SAVE_EACH = "save each as a file of its own"
SAY_FRAMES = "data.frames=members makes each an image, data.frames=volume all of them one volume"
"""What is to be done about a file of several frames: where a dataset has no option for it, and where it has."""
SERIES = "series_uid"
"""The table's column with which series of a directory a row is, where a table says it."""
FRAME = "frame"
"""The table's column with the number of the frame, from 0, where frames are members."""


@dataclass(frozen=True)
class FileReader(Reader):
    """Reads one image file below a root.

    Attributes:
        root: Folder that the paths of the table are relative to.
        columns: Table columns that hold paths: one, or with `views` several photographs of one case.
        channels: 1 for gray sources, 3 for colour; with `frames=channels` the planes of a file.
        dtype: `uint8`, or `float32` (0..1) for sources of more than 8 bits; the dataset's `value_type`.
        window: (low, high) that become 0 and 1, for sources of more than 8 bits; see `medzoo.data.images.decode.decode_image`.
        views: Whether the columns are views of one case: `read` is then called for each that is not missing.
        frames: What becomes of files of several frames: `members`, the frame's number then stands in a second column; `volume`;
            `channels`; None: they are refused.
        remedy: What to do about a refused one; ends the message.
        series: Whether a second column says which series of a directory is read.
    """

    root: Path
    columns: tuple[str, ...] = ("path",)
    channels: int = 3
    dtype: PixelType = "uint8"
    window: tuple[float, float] | None = None
    views: bool = False
    frames: Frames | None = None
    remedy: str = SAVE_EACH
    series: bool = False

    def read(self, *values: Any) -> NDArray[Any]:
        """Return (C, H, W) pixels of the file at one relative path, of its frame of a number that follows it; or a volume.

        That is (1, D, H, W) voxels of a NIfTI file, or (C, D, H, W) of the frames of another, of a file of channels, or of a
        directory of DICOM slices, of the series that follows it.

        Raises:
            ImageError: If it is missing or cannot be decoded; names the file.
        """
        path = self.root / str(values[0])
        if is_folder(path):
            series = self.series_of(*values)
            volume = read_series(series, channels=self.channels, dtype=self.dtype, window=self.window)
            return np.ascontiguousarray(np.moveaxis(volume, -1, 0))
        if self.frames == CHANNELS:
            return np.moveaxis(read_planes(path, channels=self.channels, dtype=self.dtype, window=self.window), -1, 0)
        if path.name.lower().endswith(VOLUME_SUFFIXES):
            return decode_nifti(path, dtype=self.dtype, window=self.window)[None]
        if self.frames == VOLUME:
            volume = decode_frames(path, channels=self.channels, dtype=self.dtype, window=self.window)
            return np.ascontiguousarray(np.moveaxis(volume, -1, 0))
        source = Frame(path, int(values[1])) if self.frames == MEMBERS else path
        pixels = decode_image(source, channels=self.channels, dtype=self.dtype, window=self.window, remedy=self.remedy)
        return np.moveaxis(pixels, -1, 0)

    def images(self, *values: Any) -> dict[int, tuple[Any, ...]]:
        """Return the views that are there, of one image it alone; none where its path is missing."""
        return super().images(*values) if self.views or not is_missing(values[0]) else {}

    def files(self, *values: Any) -> list[Path]:
        """Return the file at one relative path; the files of several joined by `|`, the slices of a directory."""
        return [file for path in self._paths(*values) for file in (slice_files(path) if is_folder(path) else [path])]

    def _paths(self, *values: Any) -> list[Path]:
        given = values[:1] if self.series else values
        return [self.root / path for joined in given if isinstance(joined, str) for path in joined.split("|")]

    def sorted_by(self, *values: Any) -> str | None:
        """Return what a directory's slices are sorted by where they have no positions; what is wrong with it, reading says."""
        is_series = is_folder(self.root / str(values[0]))
        return NUMBER if is_series and sorted_by_number(self.series_of(*values)) else None

    def series_of(self, *values: Any) -> Series:
        """Return which series of a directory the values name."""
        uid = values[1] if self.series and len(values) > 1 and not is_missing(values[1]) else None
        return Series(self.root / str(values[0]), uid)

    def assumed(self, *values: Any) -> str | None:
        """Return what range was taken for a DICOM file that says none, where no window was declared."""
        if self.window is not None or self.frames == CHANNELS:
            return None
        frame = None if self.frames == VOLUME else int(values[1]) if self.frames == MEMBERS and len(values) > 1 else 0
        paths = [file for path in self._paths(*values) for file in (slice_files(path)[:PEEKED] if is_folder(path) else [path])]
        ranges = {range_taken(path, frame) for path in paths} - {None}
        return " and ".join(sorted(str(one) for one in ranges)) or None

    def held(self, *values: Any) -> int:
        """Return how many frames the file holds, by its header; of several files the most. Channels are no frames."""
        paths = [] if self.frames == CHANNELS else self._paths(*values)
        return max((count_frames(path) for path in paths if not is_folder(path)), default=1)

    def identity(self, *values: Any) -> str | None:
        """Return where the file lies, links to its folders followed; None where the path is missing.

        Frames of one file are alike: a model that has seen one is not to be tested on the next.
        """
        if not isinstance(values[0], str):
            return None
        first, *others = values[0].split("|")
        return "|".join([self._real_paths(first), *(self._relative(path) for path in others)])

    def _relative(self, path: str) -> str:
        return self._real_paths(path).removeprefix(f"{self._real_paths.root}/")

    @cached_property
    def _real_paths(self) -> RealPaths:
        return RealPaths(self.root)


@dataclass(frozen=True)
class StackReader(FileReader):
    """Reads one volume from several image files below a root, one a slice.

    The table column (of several views: columns) holds the paths of the slices in order, joined by `|`.
    """

    columns: tuple[str, ...] = ("paths",)
    channels: int = 1

    def read(self, *values: Any) -> NDArray[Any]:
        """Return (C, D, H, W) pixels of the slices at relative paths joined by `|`.

        Raises:
            ImageError: If a slice is missing, cannot be decoded or differs in size from the first; names the file.
        """
        slices: list[NDArray[Any]] = []
        for name in str(values[0]).split("|"):
            pixels = decode_image(self.root / name, channels=self.channels, dtype=self.dtype, window=self.window)
            if slices and pixels.shape != slices[0].shape:
                size, first = (f"{s[1]} x {s[0]}" for s in (pixels.shape, slices[0].shape))
                raise ImageError(f"{self.root / name}: {size} pixels, the first slice of its volume has {first}")
            slices.append(pixels)
        return np.ascontiguousarray(np.moveaxis(np.stack(slices), -1, 0))


def with_frames(table: pd.DataFrame, root: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Give each frame of a table's files a row of its own, with its file's label and group.

    Args:
        table: With `sample_id`, `path` and `group`. What is not there, or damaged, keeps its row: reading it says what is wrong.
        root: That paths are relative to.

    Returns:
        The table with column `frame`, frames of files of several named `sample[0]`, `sample[1]`, ...; and a note on them.
    """
    by_path = {path: count_frames(root / str(path)) for path in table["path"].unique()}
    counts = table["path"].map(by_path).to_numpy(dtype=np.int64)
    longer = table.iloc[np.repeat(np.arange(len(table)), counts)].reset_index(drop=True)
    longer[FRAME] = np.concatenate([np.arange(count, dtype=np.int64) for count in counts])
    several = np.repeat(counts > 1, counts)
    names = [
        frame_name(str(name), number) if of_several else name
        for name, number, of_several in zip(longer["sample_id"], longer[FRAME].tolist(), several, strict=True)
    ]
    longer["sample_id"] = names
    held = sum(count > 1 for count in by_path.values())
    note = f"{held} files hold several frames: each is a sample (data.frames=members), and no split parts those of one file"
    return longer, (note,) if held else ()


def range_taken(path: Path, frame: int | None = 0) -> str | None:
    """Return in words what range a DICOM file without a window is scaled from; None where it has one, or is no DICOM file.

    Args:
        path: The file.
        frame: Which is asked about, from 0; None: all of them.
    """
    try:
        status = path.stat()
        header = _header_of(path, status.st_mtime_ns, status.st_size)
    except (OSError, ValueError):  # a name with a zero byte is no file's
        return None
    return None if header is None else range_of(header, str(path), frame)


@lru_cache(maxsize=4)
def _header_of(path: Path, changed: int, size: int) -> Any:
    """Return a DICOM file's data set without pixels, read once for all its frames; None if it is no such file."""
    with path.open("rb") as file:
        head = file.read(HEAD)
        return unpixelled(head + file.read(), str(path)) if kind_of(head) == "DICOM" else None


def range_notes(reader: Reader, paths: Iterable[str]) -> tuple[str, ...]:
    """Return notes for the results if one of the first files says no range, and none was declared; `medzoo verify` reads all.

    Likewise where slices of a directory have no positions to be sorted by.

    Args:
        reader: What reads them.
        paths: Relative to its root, in the table's order.
    """
    ranges: list[str] = []
    orders: list[str] = []
    for path in islice(paths, PEEKED):
        if not ranges and (taken := reader.assumed(path)) is not None:
            ranges.append(f"images have no window, such as {path}: range {taken} was taken; say it with data.window=[low,high]")
        if not orders and (by := reader.sorted_by(path)) is not None:
            orders.append(f"slices have no positions, such as those of {path}: they are sorted by {by}")
    return (*ranges, *orders)


def with_folders(paths: Sequence[str]) -> list[str]:
    """Return the paths of files and, behind them, of the directories that may be series, as the names in them have it."""
    split = (path.rpartition("/") for path in paths)
    return [*paths, *sorted({folder for folder, _, name in split if folder and _may_be_slice(name)})]


def _may_be_slice(name: str) -> bool:
    """Whether a name is one of those that DICOM files have: with an ending of theirs, or none, or a UID."""
    _, dot, ending = name.lower().rpartition(".")
    return not dot or ending in ("dcm", "dicom", "ima") or ending.isdigit()


def paths_by_name(paths: Iterable[str], wanted: set[str], dataset: str) -> dict[str, str]:
    """Return wanted file name → relative path, where a table knows names alone; raises DatasetError if one lies in two places."""
    places: dict[str, str] = {}
    for path in paths:
        name = path.rpartition("/")[2]
        if name not in wanted:
            continue
        if name in places:
            raise DatasetError(f"{dataset}: file {name!r} lies in two places ({places[name]} and {path}); remove one")
        places[name] = path
    return places


def with_files(
    table: pd.DataFrame, present: Iterable[str], columns: Sequence[str], missing: Missing, dataset: str
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Hold a table against the files that are there.

    Args:
        table: Rows whose `columns` hold relative paths, or a missing value where a view does not exist.
        present: Relative paths that are there, as `list_files` returns them.
        columns: The path columns; a row is kept while one of its files is there (others become missing values).
        missing: `error` stops, `skip` leaves rows without any file out and says so, `ignore` does not look.
        dataset: Name for messages.

    Returns:
        The table (index kept), and a note for the results if files are missing.

    Raises:
        DatasetError: If files are missing and `missing` is `error`, or no row is left.
        UnknownNameError: If `missing` is none of the three.
    """
    if missing not in get_args(Missing):
        raise UnknownNameError("choice of data.missing", missing, get_args(Missing))
    if missing == "ignore":
        return table, ()
    there = set(present)
    known = pd.DataFrame({c: table[c].isna() | table[c].isin(there) for c in columns}, index=table.index)
    absent = [str(p) for c in columns for p in table.loc[~known[c], c]]
    if not absent:
        return table, ()
    named = ", ".join(sorted(set(absent))[:NAMED]) + (", ..." if len(set(absent)) > NAMED else "")
    if missing == "error":
        raise DatasetError(
            f"{dataset}: {len(set(absent))} image files are not there ({named}); complete the download, or train without them "
            "with data.missing=skip"
        )
    table = table.copy()
    for column in columns:
        table[column] = table[column].where(known[column], None)
    kept = table[table[list(columns)].notna().any(axis=1)]
    if not len(kept):
        raise DatasetError(f"{dataset}: none of its {len(table)} samples has its image file there ({named}); set data.root")
    left_out = f"{len(table) - len(kept)} of {len(table)} samples left out"
    return kept, (f"{len(set(absent))} image files are missing ({named}): {left_out}",)
