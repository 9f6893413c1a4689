"""Bytes to pixels: the one place, used in training and by the torch-free runtime, so that both see identical arrays.

PNG, JPEG, TIFF, BMP (Pillow) and DICOM (`medzoo.data.dicom`). The camera's EXIF turn is applied, palettes are looked up,
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

PixelType = Literal["uint8", "float32"]
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
        from medzoo.data.dicom import decode_dicom

        pixels = decode_dicom(data, name, window, max_pixels)
    else:
        pixels = _decode_pillow(data, name, window, max_pixels)
    return as_dtype(as_channels(pixels, channels), dtype)


def read_image(
    image: ImageInput,
    *,
    channels: int,
    dtype: PixelType,
    dimensions: int = 2,
    window: tuple[float, float] | None = None,
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
            given = type(image).__name__
            raise ImageError(f"a {given} is no image; give a path, bytes, a NumPy array or a Pillow image")
        if dimensions == 3:
            raise ImageError("this model takes volumes; give arrays (D, H, W), not images of one plane")
        if isinstance(image, Image.Image):
            name = f"Pillow image ({image.mode}, {image.width} x {image.height})"
            pixels = _pillow_pixels(image, name, window, MAX_PIXELS)
            return as_dtype(as_channels(pixels, channels), dtype)
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
    if isinstance(images, np.ndarray):
        channels_last = images.ndim == dimensions + 1 and images.shape[-1] in (1, 3, 4)
        if images.ndim <= dimensions or channels_last:
            raise ImageError(
                f"an array of shape {list(images.shape)} is one image, not several; put it into a list (many gray "
                "ones so narrow: give them a last axis of 1)"
            )


def pixel_count(source: Source) -> int | None:
    """Return height × width from an image file's header, without decoding it.

    Returns:
        None where Pillow's header does not tell: DICOM, or what is no image.
    """
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


def as_channels(image: NDArray[Any], channels: int) -> NDArray[Any]:
    """Bring pixels to 1 or 3 channels.

    Args:
        image: (..., C), C in 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha); uint8, or float32 in 0..1.
        channels: 1 or 3.

    Returns:
        (..., channels), same type: gray is repeated; RGB becomes gray by ITU-R BT.601 luma, in uint8 with Pillow's whole-number
        formula; alpha is dropped.

    Raises:
        ImageError: On any other number of channels.
    """
    have = image.shape[-1]
    if have not in (1, 2, 3, 4) or channels not in (1, 3):
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


def check_size(height: int, width: int, max_pixels: int, name: str) -> None:
    """Refuse an image that is too large to decode, from its header alone.

    Raises:
        ImageError: If height × width is above the limit.
    """
    if height * width > max_pixels:
        raise ImageError(
            f"{name}: {width} x {height} pixels are more than the limit of {max_pixels:,}; shrink it, or raise max_pixels"
        )


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
