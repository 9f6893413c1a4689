"""A directory of DICOM files of one slice each as one volume: sorted by where they lie, refused where they are no stack.

Slices are sorted by ImagePositionPatient along the normal of ImageOrientationPatient (PS3.3 C.7.6.2.1.1), ascending, so that an
axial series goes towards the head, as NIfTI is read. A series without positions is sorted by InstanceNumber. Files that are no
DICOM images (DICOMDIR, notes) are passed over.
"""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ImageError
from medzoo.data.images.dicom.decode import DicomFile
from medzoo.data.images.dicom.header import numbers, open_header, whole, word
from medzoo.data.images.kinds import HEAD, is_file, is_folder, kind_of
from medzoo.data.images.pixels import MAX_PIXELS, PixelType, as_channels, as_dtype

EVEN = 0.05
"""Share of the usual gap by which a gap between slices may differ from it: headers round."""
TURNED = 1e-3
"""By how much the cosines of an orientation may differ within a series."""
POSITION, NUMBER = "ImagePositionPatient (0020,0032)", "InstanceNumber (0020,0013)"
"""What slices are sorted by."""
SHOWN = 4


@dataclass(frozen=True)
class Series:
    """One series of a directory, which may be given wherever a volume is.

    Attributes:
        folder: The directory.
        uid: Its SeriesInstanceUID; None: the directory holds one series.
    """

    folder: str | Path
    uid: str | None = None

    def __str__(self) -> str:
        return f"{self.folder}" if self.uid is None else f"{self.folder} (series {self.uid})"


@dataclass(frozen=True)
class Slice:
    """A file of a series.

    Attributes:
        path: Where it lies.
        place: Millimetres along the normal, or its InstanceNumber.
        shape: Rows and columns.
    """

    path: Path
    place: float
    shape: tuple[int, int]


def slice_files(folder: Path) -> list[Path]:
    """Return the DICOM images that lie in a directory itself, sorted by name; none where it cannot be read."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and _is_dicom(path))
    except OSError:
        return []


def ordered(series: Series, max_pixels: int = MAX_PIXELS) -> tuple[list[Slice], str]:
    """Return the slices of a series in order, and what they were sorted by, `POSITION` or `NUMBER`.

    Args:
        series: A directory, and which of its series.
        max_pixels: Rows × columns above which nothing is read.

    Raises:
        ImageError: One line naming the directory or file: no such directory or series, several and none is chosen, slices of
            several sizes or orientations, localizers, files of several frames, positions that are missing, taken twice or
            unevenly spaced.
        ImageDependencyError: If pydicom is not installed.
    """
    folder = Path(series.folder)
    if not is_folder(folder):
        raise ImageError(f"{folder}: there is no such directory")
    headers = [(path, open_header(path.read_bytes(), str(path), pixels=False)) for path in slice_files(folder)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's remarks on values: what is wrong with one is said where it is used
        chosen = _of_one_series(headers, series)
        _check_alike(chosen, folder)
        slices, by = _placed(chosen)
    slices.sort(key=lambda one: one.place)
    _check_gaps(slices, by, folder)
    height, width = slices[0].shape
    if height * width > max_pixels:
        raise ImageError(f"{slices[0].path}: {width} x {height} pixels are more than the limit of {max_pixels:,}; shrink it")
    return slices, by


def sorted_by_number(series: Series) -> bool:
    """Whether the slices of a series are sorted by InstanceNumber, for want of positions; of one that cannot be read no."""
    try:
        return ordered(series)[1] == NUMBER
    except ImageError:
        return False


def read_series(
    series: Series, *, channels: int, dtype: PixelType, window: tuple[float, float] | None = None, max_pixels: int = MAX_PIXELS,
    max_voxels: int = 512**3
) -> NDArray[Any]:  # fmt: skip
    """Read a series as one volume, each slice rescaled and windowed as a file of its own; nothing is turned or resampled.

    Args:
        series: A directory, and which of its series.
        channels: 1 (gray) or 3 (RGB).
        dtype: `uint8` or `float32`.
        window: (low, high) in rescaled values that become 0 and 1; None: each slice's own window.
        max_pixels: Rows × columns above which nothing is read.
        max_voxels: Slices × rows × columns × channels above which nothing is read.

    Returns:
        (D, H, W, channels) of the type asked for, contiguous.

    Raises:
        ImageError: As `ordered`, and as a DICOM file of its own.
        ImageDependencyError: As a DICOM file of its own.
    """
    slices, _ = ordered(series, max_pixels)
    height, width = slices[0].shape
    if len(slices) * height * width * channels > max_voxels:
        raise ImageError(
            f"{series}: {len(slices)} slices of {width} x {height} pixels are more than {max_voxels:,} voxels; resample it"
        )
    volume = np.empty((len(slices), height, width, channels), dtype)
    for place, one in enumerate(slices):
        pixels = DicomFile(one.path.read_bytes(), str(one.path), max_pixels).pixels(0, window)
        volume[place] = as_dtype(as_channels(pixels, channels), dtype)
    return volume


def _is_dicom(path: Path) -> bool:
    if not is_file(path):
        return False
    if path.name.lower().endswith((".dcm", ".dicom")):
        return True  # one that is damaged is told, not passed over
    with path.open("rb") as file:
        return kind_of(file.read(HEAD)) == "DICOM"


def _of_one_series(headers: list[tuple[Path, Any]], series: Series) -> list[tuple[Path, Any]]:
    if not headers:
        raise ImageError(f"{series.folder}: no DICOM image lies in this directory")
    counts = Counter(word(header, "SeriesInstanceUID") for _, header in headers)
    if series.uid is not None:
        found = [(path, header) for path, header in headers if word(header, "SeriesInstanceUID") == series.uid.strip().upper()]
        if not found:
            raise ImageError(f"{series.folder}: no series {series.uid}; it holds {_said(counts)}")
        return found
    if len(counts) > 1:
        raise ImageError(
            f"{series.folder}: holds {len(counts)} series, {_said(counts)}; choose one (data.series_uid=<column> of a table, "
            "--series UID of medzoo predict), or give each a directory"
        )
    return headers


def _said(counts: Counter[str]) -> str:
    shown = [f"{uid or 'one without a UID'} of {count} files" for uid, count in counts.most_common(SHOWN)]
    return ", ".join(shown) + ", ..." * (len(counts) > SHOWN)


def _check_alike(headers: list[tuple[Path, Any]], folder: Path) -> None:
    """Refuse localizers, files of several frames, and slices of another size or orientation than the first."""
    first: tuple[int, int] | None = None
    turned: list[float] = []
    for path, header in headers:
        name = str(path)
        if "LOCALIZER" in word(header, "ImageType"):  # one of several values
            raise ImageError(f"{name}: is a localizer (ImageType (0008,0008)), no slice of a volume; take it out of {folder}")
        if (frames := whole(header, "NumberOfFrames", name, usual=1)) > 1:
            raise ImageError(f"{name}: holds {frames} frames, and a series is files of one slice; data.frames=volume reads it")
        shape = whole(header, "Rows", name), whole(header, "Columns", name)
        orientation = _vector(header, "ImageOrientationPatient", 6, name)
        first, turned = first or shape, turned or orientation
        if shape != first:
            raise ImageError(f"{name}: {shape[1]} x {shape[0]} pixels, the first slice of its series has {first[1]} x {first[0]}")
        if orientation and np.abs(np.subtract(orientation, turned)).max() > TURNED:
            raise ImageError(f"{name}: is turned otherwise than the first slice of its series (ImageOrientationPatient differs)")


def _placed(headers: list[tuple[Path, Any]]) -> tuple[list[Slice], str]:
    """Return the slices with their places, and what these are."""
    positions = [_vector(header, "ImagePositionPatient", 3, str(path)) for path, header in headers]
    orientations = [_vector(header, "ImageOrientationPatient", 6, str(path)) for path, header in headers]
    known = [bool(position and orientation) for position, orientation in zip(positions, orientations, strict=True)]
    shapes = [(whole(header, "Rows", str(path)), whole(header, "Columns", str(path))) for path, header in headers]
    paths = [path for path, _ in headers]
    if all(known):
        normal = np.cross(orientations[0][:3], orientations[0][3:])
        if not np.isclose(np.linalg.norm(normal), 1, atol=0.01):
            raise ImageError(f"{paths[0]}: its ImageOrientationPatient (0020,0037) {orientations[0]} are no two right angles")
        return list(map(Slice, paths, map(float, np.array(positions) @ normal), shapes)), POSITION
    if any(known):
        lacking = paths[known.index(False)]
        raise ImageError(f"{lacking}: has no position ({POSITION}), and others of its series have; take it out of the directory")
    places = [numbers(header, "InstanceNumber", str(path)) for path, header in headers]
    for path, place in zip(paths, places, strict=True):
        if len(place) != 1 and len(paths) > 1:
            raise ImageError(f"{path}: has neither a position nor an {NUMBER}: nothing says which slice of its series it is")
    return list(map(Slice, paths, (place[0] if place else 0.0 for place in places), shapes)), NUMBER


def _vector(header: Any, keyword: str, count: int, name: str) -> list[float]:
    """Return an element's numbers, none where it is missing; ImageError if there are others than so many."""
    found = numbers(header, keyword, name)
    if len(found) not in (0, count):
        raise ImageError(f"{name}: its {keyword} has {len(found)} numbers, not {count}")
    return found


def _check_gaps(slices: list[Slice], by: str, folder: Path) -> None:
    """Refuse two slices at one place, and gaps that are not the usual one."""
    gaps = [(after.place - before.place, before, after) for before, after in pairwise(slices)]
    if not gaps:
        return
    usual, unit = median(gap for gap, _, _ in gaps), " mm" if by == POSITION else ""
    for gap, before, after in gaps:
        if gap <= EVEN * usual or gap == 0:
            raise ImageError(
                f"{folder}: {before.path.name} and {after.path.name} lie at one place, {before.place:g}{unit} ({by}); "
                "take one out, or give each time or echo a directory"
            )
    for gap, before, after in gaps:
        if abs(gap - usual) > EVEN * usual:
            raise ImageError(
                f"{folder}: {before.path.name} and {after.path.name} lie {gap:g}{unit} apart and the other slices "
                f"{usual:g}{unit} ({by}): slices are missing, or of two stacks"
            )
