"""The planes of one file as the channels of one image, in the file's order: nothing is taken for a colour, an alpha or a page.

A TIFF (OME-TIFF among them) has its pages' samples, page after page; a `.npy` file is an array (C, H, W) or (C, D, H, W); a NIfTI
file has a fourth dimension. No pickle is read.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ImageError
from medzoo.data.images.frames import read_bytes
from medzoo.data.images.kinds import HEAD, described, kind_of
from medzoo.data.images.nifti import MAX_VOXELS, decode_nifti, is_nifti
from medzoo.data.images.pixels import (
    MAX_PIXELS,
    PixelType,
    as_dtype,
    as_native,
    check_size,
    no_range,
    refuse_not_finite,
    scale_window,
)
from medzoo.data.images.tiff.header import CMYK, RGB, TiffHeader
from medzoo.data.images.tiff.read import TiffFile, stored_samples, upright

SUFFIX = ".npy"
"""Ending of an array of planes."""
_GRAY = (0, 1)
_SAMPLES = (*_GRAY, RGB, CMYK)
"""TIFF's photometric interpretations whose samples are planes of their own: of others only colours together mean something."""


def read_planes(
    source: str | Path | bytes, *, channels: int, dtype: PixelType, window: tuple[float, float] | None = None,
    max_pixels: int = MAX_PIXELS, max_voxels: int = MAX_VOXELS
) -> NDArray[Any]:  # fmt: skip
    """Read a file whose planes are the channels of one image.

    Args:
        source: A TIFF, `.npy` or NIfTI file, or its bytes.
        channels: How many it holds, C.
        dtype: `uint8` or `float32`.
        window: (low, high) of the stored values that become 0 and 1 in every channel; needed for signed and 32-bit whole
            numbers, for floats of TIFF and NIfTI, and for those of arrays that are not within 0..1. Not for 8 bits.
        max_pixels: Height × width above which nothing is decoded.
        max_voxels: Numbers of a volume above which nothing is decoded.

    Returns:
        (H, W, C), or of NIfTI and arrays of four dimensions (D, H, W, C), contiguous.

    Raises:
        ImageError: If it holds another number of channels, planes of several sizes, or cannot be read; names the file.
        ImageDependencyError: If the library that reads it is not installed.
    """
    name = f"image bytes ({len(source)} bytes)" if isinstance(source, bytes) else str(source)
    data = source if isinstance(source, bytes) else read_bytes(Path(source), name)
    if is_nifti(source, data[:HEAD]):
        given = source if isinstance(source, bytes) else Path(source)
        return decode_nifti(given, dtype=dtype, window=window, max_voxels=max_voxels, channels=channels)
    if not data:
        raise ImageError(f"{name}: the file is empty (0 bytes)")
    kind = kind_of(data[:HEAD])
    if kind == "npy":
        values = _array(data, name, channels, max_pixels, max_voxels)
        return as_dtype(np.ascontiguousarray(np.moveaxis(_scaled(values, window, name), 0, -1)), dtype)
    if kind != "TIFF":
        what = f"is {kind}" if kind is not None else described(data[:HEAD], name)
        raise ImageError(f"{name}: {what}; {channels} channels (data.channels) are read from TIFF, .npy and NIfTI files")
    return _tiff(TiffFile(data, name, max_pixels), data, channels, dtype, window)


def plane_pixels(data: bytes) -> int | None:
    """Return height × width of a file's first plane as its header says, undecoded; None where it does not tell.

    Raises:
        ImageError: If it is damaged at its start.
    """
    name, kind = f"image bytes ({len(data)} bytes)", kind_of(data[:HEAD])
    if kind == "npy":
        return int(np.prod(_shape(data, name)[0][-2:]))
    return int(np.prod(TiffFile(data, name, MAX_PIXELS).sides(0))) if kind == "TIFF" else None


def _tiff(opened: TiffFile, data: bytes, channels: int, dtype: PixelType, window: tuple[float, float] | None) -> NDArray[Any]:
    opened.check()
    name, headers = opened.name, [opened.header(page) for page in range(opened.count)]
    held = sum(header.samples for header in headers)
    if held != channels:
        pages = "one page" if opened.count == 1 else f"{opened.count} pages"
        raise ImageError(f"{name}: holds {held} channels ({pages}), and {channels} are asked for (data.channels)")
    found: list[NDArray[Any]] = []
    for page, header in enumerate(headers):
        called = opened.called(page)
        if header.photometric not in _SAMPLES:
            raise ImageError(
                f"{called}: its samples are no planes (photometric interpretation {header.photometric}); save it gray"
            )
        if header.samples == 1:
            plane = opened.pixels(page, window)
        else:
            check_size(header.height, header.width, opened.max_pixels, called)
            plane = _page(data, header, window, called)
        if found and plane.shape[:2] != found[0].shape[:2]:
            (h, w), (first_h, first_w) = plane.shape[:2], found[0].shape[:2]
            raise ImageError(f"{called}: {w} x {h} pixels, the first of its channels has {first_w} x {first_h}")
        found.append(as_dtype(plane, dtype))
    return np.ascontiguousarray(np.concatenate(found, axis=-1))


def _page(data: bytes, header: TiffHeader, window: tuple[float, float] | None, name: str) -> NDArray[Any]:
    """Return (H, W, samples) of a page, uint8 or float32 in 0..1, upright."""
    if len(set(header.bits)) > 1 or len(set(header.sample_format)) > 1 or header.kind not in (1, 2, 3):
        raise ImageError(f"{name}: a TIFF of {header.bits} bits in sample formats {header.sample_format} is not read")
    values = stored_samples(data, header, name)
    if header.kind == 1 and header.depth < 8:
        pixels: NDArray[Any] = np.round(values * (255 / (2**header.depth - 1))).astype(np.uint8)
    elif header.kind == 1 and header.depth < 32 and window is None:
        pixels = values if header.depth == 8 else scale_window(values, 0, 2**header.depth - 1)
    else:
        pixels = _scaled(values, window, name, whole=False)
    if header.photometric == 0:
        pixels = 255 - pixels if pixels.dtype == np.uint8 else 1 - pixels
    return upright(pixels, header.orientation)


def _scaled(values: NDArray[Any], window: tuple[float, float] | None, name: str, whole: bool = True) -> NDArray[Any]:
    """Return numbers as uint8 or float32 in 0..1: bytes as they are, else by the window, else by the range that their type has.

    `whole`: floats within 0..1 and the types of 16 bits are taken as they are, as in arrays.
    """
    if values.dtype == np.uint8:
        return values
    refuse_not_finite(values, name)
    if window is not None:
        return scale_window(values, *window)
    low, high = float(values.min()), float(values.max())
    if whole and values.dtype == np.uint16:
        return scale_window(values, 0, 65535)
    if whole and values.dtype.kind == "f" and 0 <= low <= high <= 1:
        return values.astype(np.float32)
    raise no_range(name, str(values.dtype), low, high)


def _array(data: bytes, name: str, channels: int, max_pixels: int, max_voxels: int) -> NDArray[Any]:
    shape, kind = _shape(data, name)
    if len(shape) not in (3, 4) or 0 in shape or kind.kind not in "biuf":
        raise ImageError(f"{name}: an array of {kind} {list(shape)}, not of numbers [channels, (depth,) height, width]")
    if shape[0] != channels:
        turned = f"; channels come first: np.moveaxis(array, -1, 0) has {channels}" if shape[-1] == channels else ""
        raise ImageError(f"{name}: holds {shape[0]} channels, and {channels} are asked for (data.channels){turned}")
    check_size(shape[-2], shape[-1], max_pixels, name)
    if int(np.prod(shape)) > max_voxels and len(shape) == 4:
        raise ImageError(f"{name}: {'x'.join(map(str, shape))} voxels are more than {max_voxels}; resample it first")
    try:
        values: NDArray[Any] = np.load(BytesIO(data), allow_pickle=False)
    except Exception as error:  # a parser fed with hostile bytes may raise anything
        raise ImageError(f"{name}: cannot be read as an array ({error or type(error).__name__})") from None
    return values.astype(np.uint8) * 255 if values.dtype == bool else as_native(values)


def _shape(data: bytes, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return what an array's header says of it; ImageError if it is damaged, or says more than the file holds."""
    stream = BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, kind = read(stream)
    except Exception as error:
        raise ImageError(f"{name}: a damaged array ({error or type(error).__name__})") from None
    if kind.hasobject or stream.tell() + int(np.prod(shape, dtype=object)) * kind.itemsize > len(data):
        raise ImageError(f"{name}: an array cut short, or of no numbers ({kind} {list(shape)})")
    return tuple(int(side) for side in shape), kind
