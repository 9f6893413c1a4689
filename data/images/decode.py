"""Bytes to pixels: the one place, used in training and by the torch-free runtime, so that both see identical arrays.

What a file is, its content says (`medzoo.data.images.kinds`). PNG, JPEG, TIFF, BMP, WebP, GIF, JPEG 2000 and PNM are Pillow's,
those TIFFs that it does not read rightly tifffile's (`medzoo.data.images.tiff`), DICOM pydicom's (`medzoo.data.images.dicom`).
The camera's EXIF turn is applied, palettes are looked up, alpha is dropped as Pillow's `convert` drops it (the colours under it
stay). Gray images of more than 8 bits keep them, scaled from the declared range (12 bits: 0..4095) to 0..1; colours of 16 bits a
channel, and gray beside an alpha in PNG, are read as their upper 8 bits.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medzoo.data.errors import ImageError
from medzoo.data.images.dicom import decode_dicom
from medzoo.data.images.kinds import HEAD, VOLUME_SUFFIXES, kind_of
from medzoo.data.images.kinds import SUFFIXES as SUFFIXES
from medzoo.data.images.nifti import decode_nifti, is_nifti
from medzoo.data.images.pillow import FORMATS, decode_pillow, opened_pixels
from medzoo.data.images.pixels import MAX_PIXELS as MAX_PIXELS
from medzoo.data.images.pixels import PixelType, as_channels, as_dtype, check_pixels, check_size, one_page
from medzoo.data.images.tiff.header import read_header
from medzoo.data.images.tiff.read import read_tiff

Source = str | Path | bytes
ImageInput = Source | NDArray[Any] | Image.Image
"""What a user may give for an image: a path, encoded bytes, pixels, or a Pillow image."""


def decode_image(
    source: Source,
    *,
    channels: Literal[1, 3],
    dtype: PixelType,
    window: tuple[float, float] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> NDArray[Any]:
    """Decode one image.

    Args:
        source: A file's path, or its bytes.
        channels: 1 (gray) or 3 (RGB); see `as_channels`.
        dtype: `uint8` (0..255) or `float32` (0..1); see `as_dtype`.
        window: (low, high): the values that become 0 and 1, in the file's own units (Hounsfield units for a CT), for
            sources of more than 8 bits; what lies outside is clipped. Without it a 16-bit image is scaled from 0..65535 and
            a DICOM file by its own window (else by the full range of its stored bits); a float image must have it.
        max_pixels: Height × width above which nothing is decoded.

    Returns:
        (H, W, channels) of the type asked for, contiguous.

    Raises:
        ImageError: One line naming the file, if it is missing, empty, truncated, too large or not an image, or holds
            several images, or needs a window.
        MissingDependencyError: For a DICOM file, if pydicom is not installed.
    """
    if window is not None and not window[0] < window[1]:
        raise ImageError(f"window {list(window)} is not [low, high] with low < high")
    name = f"image bytes ({len(source)} bytes)" if isinstance(source, bytes) else str(source)
    data = source if isinstance(source, bytes) else _read(Path(source), name)
    if not data:
        raise ImageError(f"{name}: the file is empty (0 bytes)")
    return as_dtype(as_channels(_decode(data, name, window, max_pixels), channels), dtype)


def read_image(
    image: ImageInput, *, channels: int, dtype: PixelType, dimensions: int = 2, window: tuple[float, float] | None = None
) -> NDArray[Any]:
    """Return what a user gives as an image, in the form a model takes.

    Args:
        image: A path, encoded bytes (of volumes NIfTI), an array (H, W) or (H, W, C), for volumes (D, H, W) or (D, H, W, C),
            uint8 in 0..255 or float32 in 0..1 (nothing is rescaled), or a Pillow image, which is treated as its file would be.
        channels: 1 or 3.
        dtype: `uint8` or `float32`.
        dimensions: 2 for images, 3 for volumes.
        window: For files and Pillow images, as `decode_image`: the one the model was trained with.

    Returns:
        (H, W, channels) or (D, H, W, channels), contiguous.

    Raises:
        ImageError: If it cannot be read or has the wrong shape, type or range.
    """
    if not isinstance(image, np.ndarray):
        if not isinstance(image, str | Path | bytes | Image.Image):
            raise ImageError(f"a {type(image).__name__} is no image; give a path, bytes, a NumPy array or a Pillow image")
        if dimensions == 3:
            return _read_volume(image, channels, dtype, window)
        if isinstance(image, Image.Image):
            name = f"Pillow image ({image.mode}, {image.width} x {image.height})"
            return as_dtype(as_channels(opened_pixels(image, name, window, MAX_PIXELS), channels), dtype)
        return decode_image(image, channels=1 if channels == 1 else 3, dtype=dtype, window=window)
    if image.ndim == dimensions:
        image = image[..., None]
    if image.ndim != dimensions + 1 or 0 in image.shape:
        raise ImageError(f"an array of shape {list(image.shape)} is not an image of this model ({dimensions}D, channels last)")
    flat = image.reshape(-1, *image.shape[-2:])
    check_pixels(flat)
    flat = as_dtype(as_channels(flat, channels), dtype)
    return np.ascontiguousarray(flat.reshape(*image.shape[:-1], channels))


def _read_volume(
    image: Source | Image.Image, channels: int, dtype: PixelType, window: tuple[float, float] | None
) -> NDArray[Any]:
    """Return (D, H, W, channels) of a NIfTI file or its bytes, turned as in training."""
    if isinstance(image, Image.Image):
        raise ImageError("this model takes volumes; give NIfTI files or arrays (D, H, W), not images of one plane")
    path = None if isinstance(image, bytes) else Path(image)
    if path is None or not str(path).lower().endswith(VOLUME_SUFFIXES):
        name = f"image bytes ({len(image)} bytes)" if isinstance(image, bytes) else str(image)
        data = image if isinstance(image, bytes) else _read(Path(image), name)
        if not is_nifti(image, data[:HEAD]):
            raise ImageError(f"{name}: no NIfTI volume, and this model takes volumes; give NIfTI files or arrays (D, H, W)")
        voxels = decode_nifti(data, dtype=dtype, window=window)
    else:
        voxels = decode_nifti(path, dtype=dtype, window=window)
    return as_channels(voxels[..., None], channels)


def require_several(images: Any, dimensions: int) -> None:
    """Refuse a single image, whose rows or characters would be taken for images.

    Args:
        images: What was given for a list of images, or an array of them.
        dimensions: 2 for a model of images, 3 of volumes.

    Raises:
        ImageError: If it is one.
    """
    if isinstance(images, str | Path | bytes | Image.Image):
        raise ImageError("this is one image, not several; put it into a list")
    if not isinstance(images, np.ndarray):
        return
    if images.ndim <= dimensions or (images.ndim == dimensions + 1 and images.shape[-1] in (1, 3, 4)):
        raise ImageError(
            f"an array of shape {list(images.shape)} is one image, not several; put it into a list (many gray "
            "ones so narrow: give them a last axis of 1)"
        )


def pixel_count(source: Source) -> int | None:
    """Return height × width from an image file's header, undecoded; None where Pillow's does not tell: DICOM, or no image."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as opened:
                return opened.height * opened.width
    except Exception:  # a parser fed with hostile bytes may raise anything; decoding says what is wrong
        return None


def same_shape_batches(images: Sequence[NDArray[Any]], batch_size: int) -> Iterator[list[int]]:
    """Yield positions of images that can be stacked, at most `batch_size` at a time."""
    places: dict[tuple[int, ...], list[int]] = {}
    for index, image in enumerate(images):
        places.setdefault(image.shape, []).append(index)
    for indices in places.values():
        for start in range(0, len(indices), batch_size):
            yield indices[start : start + batch_size]


def _read(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{name}: there is no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte
        raise ImageError(f"{name}: cannot be read ({getattr(error, 'strerror', None) or error})") from None


def _decode(data: bytes, name: str, window: tuple[float, float] | None, max_pixels: int) -> NDArray[Any]:
    """Return (H, W, C), uint8 or float32, of encoded bytes, by the library that reads their kind."""
    kind = kind_of(data[:HEAD])
    if kind in ("DICOM", "DICOM without pixels") or (kind is None and name.lower().endswith((".dcm", ".dicom"))):
        return decode_dicom(data, name, window, max_pixels)
    header = None
    if kind == "TIFF":
        header = read_header(data, name)
        check_size(header.height, header.width, max_pixels, name)
        if header.pages > 1:
            raise one_page(name, header.pages)
        if not header.by_pillow:
            return read_tiff(data, header, window, name)
    return decode_pillow(data, name, window, max_pixels, header)
