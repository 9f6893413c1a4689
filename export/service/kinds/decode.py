"""Files of a request to pixels: no more of them than the limits allow, and what is wrong with one said by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ImageDependencyError, ImageError
from medzoo.data.images.frames import open_image
from medzoo.data.images.pixels import MAX_PIXELS
from medzoo.data.images.planes.read import plane_pixels
from medzoo.data.images.thumbnail import thumbnail
from medzoo.export.service.limits import Held, Limits, RefusedError
from medzoo.export.service.sent import Upload

PREVIEW_SIDE = 512
"""Pixels of the longer side of what is shown of an image."""


def decoded(
    upload: Upload, preprocess: Mapping[str, Any], read: Callable[[Any], NDArray[Any]], limits: Limits, held: Held,
    planes: bool = False
) -> NDArray[Any]:  # fmt: skip
    """Return the pixels of a file.

    Args:
        upload: The file, or an array.
        preprocess: Of the model: `size`, `channels`, `dtype`.
        read: Turns its bytes into pixels as the graph takes them.
        limits: Of the service.
        held: What the request holds of the memory; the pixels are taken from it before they are decoded.
        planes: The model reads a file's planes as the channels of one image.

    Raises:
        RefusedError: One line that names the file.
    """
    name, given = upload.name, upload.data
    each = int(preprocess["channels"]) * np.dtype(preprocess["dtype"]).itemsize
    dimensions = len(preprocess["size"])
    try:
        count = limits.pixels if isinstance(given, bytes) else int(np.prod(given.shape[:dimensions]))
        if isinstance(given, bytes) and planes and dimensions == 2:
            count = plane_pixels(given) or count
        elif isinstance(given, bytes) and dimensions == 2:
            opened = open_image(given, MAX_PIXELS)
            if opened.count > 1 and not opened.first_is_the_image:
                raise RefusedError(422, f"{name}: holds {opened.count} {opened.what}; send one of them as a file of its own")
            count = int(np.prod(opened.sides(0)))
        _check_count(name, count, limits)
        held.take(count * each)
        pixels = read(given)
    except ImageError as error:
        raise RefusedError(415 if isinstance(error, ImageDependencyError) else 422, _renamed(name, given, error)) from None
    _check_count(name, pixels.size // pixels.shape[-1], limits)  # of a volume no header was asked
    return pixels


def preview_of(pixels: NDArray[Any]) -> str:
    """Return a small PNG, in base64, of pixels as the graph takes them."""
    return thumbnail(np.moveaxis(pixels, -1, 0), PREVIEW_SIDE)


def _check_count(name: str, count: int, limits: Limits) -> None:
    if count > limits.pixels:
        raise RefusedError(413, f"{name}: {count:,} pixels are more than the {limits.pixels:,} that are taken; shrink it")


def _renamed(name: str, given: Any, error: ImageError) -> str:
    said = str(error).replace(f"image bytes ({len(given)} bytes)", name)
    return said if name in said else f"{name}: {said}"
