"""A region of one image as a mask: of a box, or of a file. NumPy and an image reader alone, as the runtime has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ConfigError, DatasetError, ImageError
from medzoo.data.images.decode import read_image
from medzoo.data.images.pillow import is_transparent, turn_of
from medzoo.data.images.tiff.read import upright

Mask = NDArray[np.bool_]
AXES = {2: (("y", "height"), ("x", "width")), 3: (("z", "depth"), ("y", "height"), ("x", "width"))}
"""Columns of a box, corner and length, for each axis of an image or a volume."""


def filled(box: Mapping[str, Any], frame: tuple[int, ...], size: tuple[int, ...], whose: str) -> Mask:
    """Return a box as a mask: a pixel whose centre lies in the box belongs to it.

    Args:
        box: The columns of `AXES`, in pixels of `frame`.
        frame: Size of the image that the numbers are of.
        size: Of the mask, (H, W) or (D, H, W).
        whose: Names the image in a message.

    Raises:
        DatasetError: If the box leaves the image.
    """
    mask = np.zeros(size, dtype=bool)
    place = []
    for (corner, length), whole, side in zip(AXES[len(size)], frame, size, strict=True):
        first, last = float(box[corner]), float(box[corner]) + float(box[length])
        if not 0 <= first < last <= whole:
            raise DatasetError(f"a box of {whose!r} spans {first:g} to {last:g} in {corner}, the image 0 to {whole}")
        scale = side / whole
        # A box thinner than a pixel still marks the pixel it lies in.
        start = min(int(np.ceil(first * scale - 0.5)), side - 1)
        place.append(slice(start, max(start + 1, int(np.ceil(last * scale - 0.5)))))
    mask[tuple(place)] = True
    return mask


def box_mask(box: Sequence[float], size: tuple[int, ...]) -> Mask:
    """Return a box as a mask of an image: [x, y, width, height], of volumes [x, y, z, width, height, depth].

    Raises:
        ConfigError: If it is not so many numbers.
        DatasetError: If it leaves the image.
    """
    axes = AXES[len(size)][::-1]
    if len(box) != 2 * len(axes):
        wanted = [*(corner for corner, _ in axes), *(length for _, length in axes)]
        raise ConfigError(f"a box of this image is [{', '.join(wanted)}], not {len(box)} numbers")
    named = {corner: box[place] for place, (corner, _) in enumerate(axes)}
    named |= {length: box[len(axes) + place] for place, (_, length) in enumerate(axes)}
    return filled(named, size, size, "this image")


def file_mask(path: Path, size: tuple[int, ...], name: str | None = None, image: Path | None = None) -> Mask:
    """Return the mask that a file holds, an image or a volume in which every value above 0 belongs to the region.

    Where the image's file says to turn it (EXIF) and the mask's own does not, the mask is taken to be of the upright image, or of
    the stored pixels, and turned along, if its proportions are theirs alone.

    Args:
        path: Of the file.
        size: Of the image, (H, W) or (D, H, W); a copy of it of another size has the same mask.
        name: What messages call the file; None: its path.
        image: The image's file; None: nobody knows it.

    Raises:
        DatasetError: If it cannot be read, is of other proportions, or is transparent in part: its alpha may be the mask.
    """
    file = str(path) if name is None else name
    try:
        if len(size) == 2 and is_transparent(path):
            raise DatasetError(f"the mask {file} is transparent in part; save it without alpha, black but for the region")
        # Colours as they are, since their gray may be rounded to black; of a window of 1 the values of label images are white.
        pixels = read_image(path, channels=3 if len(size) == 2 else 1, dtype="float32", dimensions=len(size), window=(0, 1))
        mask: Mask = np.any(pixels > 0, axis=-1)
    except (ImageError, OSError) as error:
        raise DatasetError(f"the mask {file} cannot be read: {error}") from error
    if (
        image is not None
        and len(size) == 2
        and not _fits(mask.shape, size)
        and _fits(mask.shape, size[::-1])
        and turn_of(path) == 1
    ):
        turn = turn_of(image)
        mask = upright(mask, turn) if turn >= 5 else mask  # those that make rows columns
    if not _fits(mask.shape, size):
        given, own = ("x".join(map(str, sides)) for sides in (mask.shape, size))
        raise DatasetError(
            f"the mask {file} has {given} pixels, its image {own}: of other proportions; save it for the image as it is read, "
            "turned as its EXIF says"
        )
    scales = [given / side for given, side in zip(mask.shape, size, strict=True)]
    nearest = [((np.arange(side) + 0.5) * scale).astype(np.int64) for side, scale in zip(size, scales, strict=True)]
    return mask[np.ix_(*nearest)]


def _fits(shape: tuple[int, ...], size: tuple[int, ...]) -> bool:
    """Whether a shape has the proportions of a size: as a copy of it has, each side rounded by up to a pixel."""
    scale = shape[0] / size[0]
    return all(abs(side * scale - given) <= max(1.0, scale) for given, side in zip(shape, size, strict=True))
