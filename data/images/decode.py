"""Bytes to pixels: the one place, used in training and by the torch-free runtime, so that both see identical arrays.

PNG, JPEG, TIFF, BMP (Pillow) and DICOM (`medzoo.data.images.dicom`). The camera's EXIF turn is applied, palettes are looked up,
alpha is dropped as Pillow's `convert` drops it (the colours under it stay). Gray images of more than 8 bits keep them,
scaled from a declared range to 0..1; colour PNGs of 16 bits a channel are read by Pillow as their upper 8 bits.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from medzoo.data.errors import ImageError
from medzoo.data.images.dicom import decode_dicom
from medzoo.data.images.pixels import PixelType, as_channels, as_dtype, check_pixels, check_size, scale_window

Source = str | Path | bytes
ImageInput = Source | NDArray[Any] | Image.Image
"""What a user may give for an image: a path, encoded bytes, pixels, or a Pillow image."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".dcm", ".dicom")
MAX_PIXELS = 89_478_485
"""Pillow's own limit, 256 MiB of RGB: 9,459 pixels square."""

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
_FIRST_IS_THE_IMAGE = ("PNG", "MPO")
"""Formats whose further pictures are an animation, or a camera's previews and second eye."""
_DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")


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
    if data[128:132] == b"DICM" or name.lower().endswith((".dcm", ".dicom")):
        pixels = decode_dicom(data, name, window, max_pixels)
    else:
        pixels = _decode_pillow(data, name, window, max_pixels)
    return as_dtype(as_channels(pixels, channels), dtype)


def read_image(
    image: ImageInput, *, channels: int, dtype: PixelType, dimensions: int = 2, window: tuple[float, float] | None = None
) -> NDArray[Any]:
    """Return what a user gives as an image, in the form a model takes.

    Args:
        image: A path, encoded bytes, an array (H, W) or (H, W, C), for volumes (D, H, W) or (D, H, W, C), uint8 in 0..255
            or float32 in 0..1 (nothing is rescaled), or a Pillow image, which is treated as its file would be.
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
            raise ImageError("this model takes volumes; give arrays (D, H, W), not images of one plane")
        if isinstance(image, Image.Image):
            name = f"Pillow image ({image.mode}, {image.width} x {image.height})"
            return as_dtype(as_channels(_pillow_pixels(image, name, window, MAX_PIXELS), channels), dtype)
        return decode_image(image, channels=1 if channels == 1 else 3, dtype=dtype, window=window)
    if image.ndim == dimensions:
        image = image[..., None]
    if image.ndim != dimensions + 1 or 0 in image.shape:
        raise ImageError(f"an array of shape {list(image.shape)} is not an image of this model ({dimensions}D, channels last)")
    flat = image.reshape(-1, *image.shape[-2:])
    check_pixels(flat)
    flat = as_dtype(as_channels(flat, channels), dtype)
    return np.ascontiguousarray(flat.reshape(*image.shape[:-1], channels))


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
            with Image.open(BytesIO(source) if isinstance(source, bytes) else source, formats=_FORMATS) as opened:
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


def _decode_pillow(data: bytes, name: str, window: tuple[float, float] | None, max_pixels: int) -> NDArray[Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is the one that counts
            opened = Image.open(BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        raise ImageError(f"{name}: not a PNG, JPEG, TIFF, BMP or DICOM image, or damaged at its start") from None
    except Image.DecompressionBombError:
        raise ImageError(f"{name}: too large: more than {2 * MAX_PIXELS:,} pixels are never decoded; shrink it") from None
    except Exception as error:  # a parser fed with hostile bytes may raise anything
        raise ImageError(f"{name}: cannot be opened as an image ({_reason(error)})") from None
    with opened:
        return _pillow_pixels(opened, name, window, max_pixels)


def _pillow_pixels(opened: Image.Image, name: str, window: tuple[float, float] | None, max_pixels: int) -> NDArray[Any]:
    check_size(opened.height, opened.width, max_pixels, name)
    pages = 1 if opened.format in _FIRST_IS_THE_IMAGE else getattr(opened, "n_frames", 1)
    if pages > 1:
        raise ImageError(f"{name}: holds {pages} pages; give each image a file of its own, or one page of it as an array")
    try:
        opened.load()
        image = ImageOps.exif_transpose(opened)
        deep = image.mode in _DEEP_MODES
        pixels = np.array(image if deep else _eight_bit(image))
    except Exception as error:
        raise ImageError(f"{name}: cannot be decoded, truncated or damaged ({_reason(error)})") from None
    if deep:
        pixels = _scale_deep(pixels, image.mode, name, window)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _eight_bit(image: Image.Image) -> Image.Image:
    if image.mode in ("L", "RGB"):
        return image
    if image.mode in ("1", "LA"):
        return image.convert("L")
    if image.mode in ("P", "PA", "RGBa", "La"):  # by way of RGBA: Pillow warns of transparency given as bytes otherwise
        image = image.convert("RGBA")
    return image.convert("RGB")


def _scale_deep(values: NDArray[Any], mode: str, name: str, window: tuple[float, float] | None) -> NDArray[np.float32]:
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise ImageError(f"{name}: holds NaN or infinite values")
    if window is None:
        if mode == "F" or low < 0 or high > 65535:
            kind = "float" if mode == "F" else "whole-number"
            raise ImageError(f"{name}: {kind} values of {low:g}..{high:g} have no declared range; give window=[low, high]")
        window = (0, 65535)
    return scale_window(values, *window)


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
