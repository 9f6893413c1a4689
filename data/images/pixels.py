"""Arrays of pixels: their channels, types, ranges and sizes."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ImageError

PixelType = Literal["uint8", "float32"]
MAX_PIXELS = 89_478_485
"""Pillow's own limit, 256 MiB of RGB: 9,459 pixels square."""
SMALLER = "save a smaller copy, or tiles of it, which data.bag makes one sample"
"""What is to be done about an image that is too large; ends the message."""
MAX_CHANNELS = 32
"""Most channels of an image."""


def as_channels(image: NDArray[Any], channels: int) -> NDArray[Any]:
    """Bring pixels to 1 or 3 channels; any other number they must have already.

    Args:
        image: (..., C), C in 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha); uint8, or float32 in 0..1.
        channels: 1, 3, or the C that the image has: planes that mean no colour, and that nothing is made of or dropped from.

    Returns:
        (..., channels), same type: gray is repeated; RGB becomes gray by ITU-R BT.601 luma, in uint8 with Pillow's whole-number
        formula; alpha is dropped.

    Raises:
        ImageError: On any other number of channels.
    """
    have = image.shape[-1]
    if channels not in (1, 3):
        if have == channels:
            return np.ascontiguousarray(image)
        raise ImageError(f"has {have} channels (shape {list(image.shape)}), and {channels} are asked for: no channel is made up")
    if have not in (1, 2, 3, 4):
        raise ImageError(f"cannot bring {have} channels (shape {list(image.shape)}) to {channels}; use 1, 2, 3 or 4 channels")
    if have in (2, 4):
        image = image[..., : have - 1]
        have -= 1
    if have == channels:
        return np.ascontiguousarray(image)
    if have == 1:
        return np.repeat(image, 3, axis=-1)
    if image.dtype == np.uint8:
        r, g, b = (image[..., i].astype(np.uint32) for i in range(3))
        gray = ((19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16).astype(np.uint8)
    else:
        gray = np.clip(image @ np.array([0.299, 0.587, 0.114], dtype=np.float32), 0, 1)
    return np.ascontiguousarray(gray[..., None])


def as_native(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array in this machine's byte order: files keep either, and the same numbers are of the same type."""
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def as_dtype(image: NDArray[Any], dtype: PixelType) -> NDArray[Any]:
    """Convert between uint8 (0..255) and float32 (0..1).

    Args:
        image: uint8, or float32 in 0..1.
        dtype: The type wanted.

    Returns:
        The image itself if it has the type already; x / 255; or x · 255 rounded half up.

    Raises:
        ImageError: If the image is of another type, or a float lies outside 0..1; nothing is rescaled silently.
    """
    check_pixels(image)
    if image.dtype == dtype:
        return image
    if dtype == "float32":
        return image.astype(np.float32) / np.float32(255)
    levels: NDArray[Any] = np.floor(image * np.float32(255) + np.float32(0.5)).astype(np.uint8)
    return levels


def conformed(pixels: NDArray[Any], channels: int, dtype: PixelType) -> NDArray[Any]:
    """Return (C, ...) pixels, of an image or a volume, with other channels and of another type, as `as_channels` and `as_dtype`.

    Channels and type know no depth: slices one above the other are an image like any other.
    """
    last = np.moveaxis(pixels, 0, -1)
    flat = as_dtype(as_channels(last.reshape(-1, *last.shape[-2:]), channels), dtype)
    return np.moveaxis(flat.reshape(*last.shape[:-1], channels), -1, 0)


def check_pixels(image: NDArray[Any], name: str = "image") -> None:
    """Refuse pixels that are neither uint8 nor float32 in 0..1.

    Raises:
        ImageError: One line that names `name`, what is wrong and how to mend it.
    """
    if image.size == 0:
        raise ImageError(f"{name}: shape {list(image.shape)} has no pixels")
    if image.dtype == np.uint8:
        return
    if image.dtype != np.float32:
        raise ImageError(f"{name}: pixels are {image.dtype}; give uint8 (0..255) or float32 (0..1)")
    low, high = float(image.min()), float(image.max())
    if not (low >= 0 and high <= 1):  # also true of NaN
        raise ImageError(f"{name}: float32 pixels must lie within 0..1, these span {low:g}..{high:g}; scale them first")


def scale_window(values: NDArray[Any], low: float, high: float) -> NDArray[np.float32]:
    """Map low..high to 0..1 as float32, clipped; computed in float64 so that the same file gives the same pixels."""
    scaled = (values.astype(np.float64) - low) / (high - low)
    return np.clip(scaled, 0, 1).astype(np.float32)


def no_range(name: str, kind: str, low: float, high: float) -> ImageError:
    """Return the error of an image whose values have no declared range, and that no window was given for."""
    return ImageError(
        f"{name}: {kind} values of {low:g}..{high:g} have no declared range; give window=[low, high] (data.window when training, "
        "which a model keeps)"
    )


def refuse_not_finite(values: NDArray[Any], name: str) -> None:
    """Refuse stored values of which some are no numbers, such as the background of SPM's maps: which grey that is, nobody knows.

    Raises:
        ImageError: Counts them, and says what to do.
    """
    if values.dtype.kind != "f" or (finite := np.isfinite(values)).all():
        return
    raise ImageError(
        f"{name}: {values.size - int(finite.sum())} of its {values.size} values are NaN or infinite; save a copy with numbers in "
        "their place, such as the ends of data.window: numpy.nan_to_num(values, nan=low, neginf=low, posinf=high)"
    )


class SeveralFramesError(ImageError):
    """A file that holds several images, read where one is wanted and nobody said what becomes of them.

    Args:
        name: The file's, for the message.
        count: How many it holds.
        what: What they are called in it.
        remedy: Ends the message.

    Attributes:
        count: How many it holds.
    """

    def __init__(self, name: str, count: int, what: str = "frames", remedy: str = "save each as a file of its own") -> None:
        super().__init__(f"{name}: holds {count} {what}; {remedy}")
        self.count = count


def check_size(height: int, width: int, max_pixels: int, name: str) -> None:
    """Refuse an image that is too large to decode, from its header alone.

    Raises:
        ImageError: If height × width is above the limit.
    """
    if height * width > max_pixels:
        raise ImageError(f"{name}: {width} x {height} pixels are more than the limit of {max_pixels:,}; {SMALLER}")
