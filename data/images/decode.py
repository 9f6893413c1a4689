"""Bytes to pixels: the one place, used in training and by the torch-free runtime, so that both see identical arrays.

What a file is, its content says (`medzoo.data.images.kinds`). PNG, JPEG, TIFF, BMP, WebP, GIF, JPEG 2000 and PNM are Pillow's,
those TIFFs that it does not read rightly tifffile's (`medzoo.data.images.tiff`), DICOM pydicom's (`medzoo.data.images.dicom`).
The camera's EXIF turn is applied, palettes are looked up, alpha is dropped as Pillow's `convert` drops it (the colours under it
stay). Gray images of more than 8 bits keep them, scaled from the declared range (12 bits: 0..4095) to 0..1; colours of 16 bits a
channel are read as their upper 8 bits, unless a window says which of their values become black and white.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medzoo.data.errors import ImageError
from medzoo.data.images.dicom.series import Series, read_series
from medzoo.data.images.frames import CHANNELS, VOLUME, Frame, close, open_frame, open_image, read_bytes
from medzoo.data.images.kinds import HEAD, VOLUME_SUFFIXES, is_file, is_folder
from medzoo.data.images.kinds import SUFFIXES as SUFFIXES
from medzoo.data.images.nifti import MAX_VOXELS, decode_nifti, is_nifti
from medzoo.data.images.pillow import FORMATS, opened_pixels
from medzoo.data.images.pixels import MAX_PIXELS as MAX_PIXELS
from medzoo.data.images.pixels import PixelType, SeveralFramesError, as_channels, as_dtype, as_native, check_pixels
from medzoo.data.images.planes.read import read_planes
from medzoo.data.images.planes.stack import Stack

Source = str | Path | bytes
ImageInput = Source | Frame | Series | NDArray[Any] | Image.Image
"""What a user may give for an image: a path, encoded bytes, a frame of them, a DICOM series, pixels, or a Pillow image."""
GIVE_A_FRAME = "take each as an image of its own with frames_of(file), of medzoo.data.images.frames"
"""What Python does about a file of several frames."""


def decode_image(
    source: Source | Frame,
    *,
    channels: int,
    dtype: PixelType,
    window: tuple[float, float] | None = None,
    max_pixels: int = MAX_PIXELS,
    remedy: str = GIVE_A_FRAME,
) -> NDArray[Any]:
    """Decode one image.

    Args:
        source: A file's path, its bytes, or a frame of them; a file of several frames is refused without a number.
        channels: 1 (gray) or 3 (RGB); see `as_channels`.
        dtype: `uint8` (0..255) or `float32` (0..1); see `as_dtype`.
        window: (low, high): the values that become 0 and 1, in the file's own units (Hounsfield units for a CT), for
            sources of more than 8 bits; what lies outside is clipped. Without it a 16-bit image is scaled from 0..65535 and
            a DICOM file by its own window (else by the full range of its stored bits); a float image must have it.
        max_pixels: Height × width above which nothing is decoded.
        remedy: What to do about a file of several frames; ends the message.

    Returns:
        (H, W, channels) of the type asked for, contiguous.

    Raises:
        SeveralFramesError: If it holds several images and none is named.
        ImageError: One line naming the file, if it is missing, empty, truncated, too large or not an image, has no such frame,
            or needs a window.
        MissingDependencyError: For a DICOM file, if pydicom is not installed.
    """
    _check_window(window)
    if isinstance(source, Frame):
        try:
            pixels = open_frame(source, max_pixels).pixels(source.number, window)
        except Exception:
            close()  # what was open may be in any state
            raise
        return as_dtype(as_channels(pixels, channels), dtype)
    opened = open_image(source, max_pixels)
    if opened.count > 1 and not opened.first_is_the_image:
        raise SeveralFramesError(opened.name, opened.count, opened.what, remedy)
    return as_dtype(as_channels(opened.pixels(0, window), channels), dtype)


def decode_frames(
    source: Source,
    *,
    channels: int,
    dtype: PixelType,
    window: tuple[float, float] | None = None,
    max_pixels: int = MAX_PIXELS,
    max_voxels: int = MAX_VOXELS,
) -> NDArray[Any]:
    """Decode the frames of a file as the planes of one volume, in the file's order; nothing is turned or resampled.

    Args:
        source: A file's path, or its bytes.
        channels: 1 (gray) or 3 (RGB).
        dtype: `uint8` or `float32`.
        window: As for `decode_image`; without it each frame of a DICOM file is windowed by what its own functional groups say.
        max_pixels: Height × width of a frame above which nothing is decoded.
        max_voxels: Frames × height × width × channels above which nothing is decoded.

    Returns:
        (D, H, W, channels) of the type asked for, contiguous.

    Raises:
        ImageError: One line naming the file, as for `decode_image`; if it holds one frame, too many voxels, or frames of
            several sizes.
        MissingDependencyError: As for `decode_image`.
    """
    _check_window(window)
    opened = open_image(source, max_pixels)
    name = opened.name
    if opened.count == 1:
        raise ImageError(f"{name}: holds one frame, and a volume is read from several (data.frames=volume)")
    opened.check()
    height, width = opened.sides(0)
    if opened.count * height * width * channels > max_voxels:
        raise ImageError(
            f"{name}: {opened.count} {opened.what} of {width} x {height} pixels are more than {max_voxels:,} voxels; resample it"
        )
    for frame in range(opened.count):
        if opened.sides(frame) != (height, width):
            sizes = " x ".join(map(str, reversed(opened.sides(frame))))
            raise ImageError(
                f"{opened.called(frame)}: {sizes} pixels, the first of its volume has {width} x {height}; read {opened.what} "
                "of several sizes as images of their own"
            )
    volume: NDArray[Any] | None = None
    for frame in range(opened.count):
        plane = as_dtype(as_channels(opened.pixels(frame, window), channels), dtype)
        if volume is None:  # the first, upright: a camera's turn may have changed the sides
            volume = np.empty((opened.count, *plane.shape), plane.dtype)
        if plane.shape != volume.shape[1:]:
            raise ImageError(f"{opened.called(frame)}: is turned otherwise than the first of its volume")
        volume[frame] = plane
    assert volume is not None
    return volume


def read_image(
    image: ImageInput, *, channels: int, dtype: PixelType, dimensions: int = 2, window: tuple[float, float] | None = None,
    frames: str | None = None, remedy: str = GIVE_A_FRAME, read_as: int | None = None, stack: Stack | None = None,
) -> NDArray[Any]:  # fmt: skip
    """Return what a user gives as an image, in the form a model takes.

    Args:
        image: A path (of volumes also of a directory of DICOM slices), encoded bytes (of volumes NIfTI), a frame of them, a
            series, an array (H, W) or (H, W, C), for volumes (D, H, W) or (D, H, W, C), uint8 in 0..255 or float32 in 0..1
            (nothing is rescaled), or a Pillow image, which is treated as its file would be.
        channels: 1, 3, or as many as the image has.
        dtype: `uint8` or `float32`.
        dimensions: 2 for images, 3 for volumes.
        window: For files and Pillow images, as `decode_image`: the one the model was trained with.
        frames: `volume`: a model of volumes takes files of several frames, too, as it did in training; `channels`: the planes of
            a file are the channels.
        remedy: As for `decode_image`.
        read_as: 1 or 3: the channels that images had in training before they were brought to the model's; None: the model's.
        stack: Images that are the channels of one are given by these names; a file is then one that holds them all.

    Returns:
        (H, W, channels) or (D, H, W, channels), contiguous.

    Raises:
        ImageError: If it cannot be read or has the wrong shape, type or range.
    """
    if read_as is not None and read_as != channels:
        pixels = read_image(
            image, channels=read_as, dtype=dtype, dimensions=dimensions, window=window, frames=frames, remedy=remedy
        )  # fmt: skip
        return as_channels(pixels, channels)
    if stack is not None and isinstance(image, Mapping):
        plane = partial(read_image, channels=1, dtype=dtype, dimensions=dimensions, window=window, frames=frames, remedy=remedy)
        return stack.read(image, plane)
    if not isinstance(image, np.ndarray):
        if not isinstance(image, str | Path | bytes | Frame | Series | Image.Image):
            raise ImageError(f"a {type(image).__name__} is no image; give a path, bytes, a NumPy array or a Pillow image")
        if isinstance(image, Series) or (isinstance(image, str | Path) and is_folder(image)):
            series = image if isinstance(image, Series) else Series(image)
            if dimensions != 3 or frames == CHANNELS:
                raise ImageError(f"{series}: a directory is a volume, and this model takes other images; give its files")
            return read_series(series, channels=channels, dtype=dtype, window=window)
        if (frames == CHANNELS or stack is not None) and isinstance(image, str | Path | bytes):
            return _read_planes(image, channels, dtype, dimensions, window)
        if dimensions == 3:
            return _read_volume(image, channels, dtype, window, frames)
        if isinstance(image, Image.Image):
            name = f"Pillow image ({image.mode}, {image.width} x {image.height})"
            return as_dtype(as_channels(opened_pixels(image, name, window, MAX_PIXELS), channels), dtype)
        return decode_image(image, channels=channels, dtype=dtype, window=window, remedy=remedy)
    image = as_native(image)
    if image.ndim == dimensions:
        image = image[..., None]
    if image.ndim != dimensions + 1 or 0 in image.shape:
        raise ImageError(f"an array of shape {list(image.shape)} is not an image of this model ({dimensions}D, channels last)")
    flat = image.reshape(-1, *image.shape[-2:])
    check_pixels(flat)
    flat = as_dtype(as_channels(flat, channels), dtype)
    return np.ascontiguousarray(flat.reshape(*image.shape[:-1], channels))


def read_as_trained(
    image: Any, card: Mapping[str, Any], *, channels: int, dtype: str, dimensions: int, remedy: str = GIVE_A_FRAME
) -> NDArray[Any]:
    """Return what a user gives as an image, read as the files of a model's training were.

    Args:
        image: As for `read_image`.
        card: How they were read: of the model's data, or of one of its modalities (`medzoo.data.dataset.data_card`).
        channels: That the model takes.
        dtype: That the model takes.
        dimensions: 2 for images, 3 for volumes.
        remedy: As for `decode_image`.

    Raises:
        ImageError: As `read_image`.
    """
    window = card.get("window")
    return read_image(
        image, channels=channels, dtype=cast(PixelType, dtype), dimensions=dimensions,
        window=None if window is None else (float(window[0]), float(window[1])), frames=card.get("frames"), remedy=remedy,
        read_as=card.get("channels"), stack=Stack.of_card(card),
    )  # fmt: skip


def _check_window(window: tuple[float, float] | None) -> None:
    if window is not None and not window[0] < window[1]:
        raise ImageError(f"window {list(window)} is not [low, high] with low < high")


def _read_planes(
    image: Source, channels: int, dtype: PixelType, dimensions: int, window: tuple[float, float] | None
) -> NDArray[Any]:
    """Return (H, W, channels) or (D, H, W, channels) of a file of as many planes."""
    pixels = read_planes(image, channels=channels, dtype=dtype, window=window)
    if pixels.ndim != dimensions + 1:
        name = f"image bytes ({len(image)} bytes)" if isinstance(image, bytes) else str(image)
        kinds = {3: "an image", 4: "a volume"}
        raise ImageError(f"{name}: is {kinds[pixels.ndim]}, and this model takes {kinds[dimensions + 1]}")
    return pixels


def _read_volume(
    image: Source | Frame | Image.Image, channels: int, dtype: PixelType, window: tuple[float, float] | None, frames: str | None
) -> NDArray[Any]:
    """Return (D, H, W, channels) of a NIfTI file or its bytes, turned as in training, or of a file of several frames."""
    files = "files of several frames, or" if frames == VOLUME else "NIfTI files, directories of DICOM slices or"
    takes = f"give {files} arrays (D, H, W)"
    if isinstance(image, Image.Image | Frame):
        raise ImageError(f"this model takes volumes; {takes}, not images of one plane")
    path = None if isinstance(image, bytes) else Path(image)
    if path is None or not str(path).lower().endswith(VOLUME_SUFFIXES):
        name = f"image bytes ({len(image)} bytes)" if isinstance(image, bytes) else str(image)
        data = image if isinstance(image, bytes) else read_bytes(Path(image), name)
        if not is_nifti(image, data[:HEAD]):
            if frames == VOLUME:
                return decode_frames(image, channels=channels, dtype=dtype, window=window)
            raise ImageError(
                f"{name}: no NIfTI volume, and this model takes volumes; {takes}. Files of several frames are read by a model "
                "that was trained with data.frames=volume"
            )
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
    if isinstance(images, str | Path | bytes | Frame | Series | Image.Image):
        raise ImageError("this is one image, not several; put it into a list")
    if not isinstance(images, np.ndarray):
        return
    if images.ndim <= dimensions or (images.ndim == dimensions + 1 and images.shape[-1] in (1, 3, 4)):
        raise ImageError(
            f"an array of shape {list(images.shape)} is one image, not several; put it into a list (many gray "
            "ones so narrow: give them a last axis of 1)"
        )


def pixel_count(source: Source | Frame) -> int | None:
    """Return height × width from an image file's header, undecoded; None where Pillow's does not tell: DICOM, or no image.

    None of a frame, too: pages of a file may differ in size.
    """
    if isinstance(source, Frame) or not (isinstance(source, bytes) or is_file(source)):  # a pipe can be read once
        return None
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
