"""TIFF to pixels: by Pillow what it reads rightly, the rest by tifffile and imagecodecs (extra `tiff`), imported when used."""

from __future__ import annotations

import logging
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medzoo.data.errors import ImageDependencyError, ImageError
from medzoo.data.images.opened import Opened
from medzoo.data.images.pillow import open_pillow, page_pixels
from medzoo.data.images.pixels import as_native, check_size, no_range, refuse_not_finite, scale_window
from medzoo.data.images.tiff.header import CMYK, PALETTE, RGB, YCBCR, TiffHeader, read_pages

_MEANING = {0: 1, 1: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3}
"""Samples that are the image itself, of each photometric interpretation that is read."""
_NAMES = {4: "a transparency mask", 8: "Lab colour", 9: "ICC Lab colour", 10: "ITU Lab colour", 32803: "a camera's raw pixels",
          32844: "LogL", 32845: "LogLuv", 34892: "a camera's raw pixels"}  # fmt: skip


class TiffFile(Opened):
    """A TIFF, of one page or several.

    Args:
        data: The file's bytes.
        name: What to call it in a message.
        max_pixels: Height × width above which no page is decoded.

    Raises:
        ImageError: If its header is damaged.
    """

    def __init__(self, data: bytes, name: str, max_pixels: int) -> None:
        self._data, self._pages = data, read_pages(data, name)
        self._opened: Image.Image | None = None
        super().__init__(name, len(self._pages.pages), max_pixels)

    def check(self) -> None:
        """Refuse a chain of several pages that does not come to its end: some would be missing."""
        if self.count > 1 and self._pages.end:
            raise ImageError(f"{self.name}: a damaged TIFF: its chain of {self.count} pages ends in {self._pages.end}")

    def sides(self, frame: int) -> tuple[int, int]:
        """Return a page's height and width."""
        return self._pages.pages[frame][2:]

    def header(self, frame: int) -> TiffHeader:
        """Return what a page says of its pixels; ImageError if it is damaged."""
        return self._pages.header(self._data, frame, self.called(frame))

    def pixels(self, frame: int, window: tuple[float, float] | None) -> NDArray[Any]:
        """Decode a page, by the library that reads its kind."""
        name = self.called(frame)
        check_size(*self.sides(frame), self.max_pixels, name)
        header = self.header(frame)
        # Pillow keeps the upper 8 bits of colours, which no window of the stored values fits.
        if not header.by_pillow or (window is not None and header.depth > 8 and header.photometric == RGB):
            return read_tiff(self._data, header, window, name)
        if self._opened is None:
            self._opened = open_pillow(self._data, self.name)
        return page_pixels(
            self._opened, header.place, name, window, self.max_pixels, depth=header.depth, inverted=header.photometric == 0,
            data=self._data,
        )  # fmt: skip


def read_tiff(data: bytes, header: TiffHeader, window: tuple[float, float] | None, name: str) -> NDArray[Any]:
    """Decode a page of a TIFF.

    Args:
        data: The file's bytes.
        header: What the page says.
        window: (low, high) of the stored values that become 0 and 1; needed for floats, signed and 32-bit whole numbers.
        name: What to call it in a message.

    Returns:
        (H, W, 1) or (H, W, 3), upright: float32 in 0..1 of gray of more than 8 bits and of whatever a window scaled, else uint8
        (of deeper colours without a window the upper 8 bits). Alpha is dropped; colours that were multiplied by it are divided
        again.

    Raises:
        ImageError: If it is damaged, cut short, of a kind that is not read, or needs a window.
        ImageDependencyError: If tifffile or imagecodecs is not installed.
    """
    meant = _MEANING.get(header.photometric)
    if meant is None or header.samples < meant:
        kind = _NAMES.get(header.photometric, f"photometric interpretation {header.photometric} of {header.samples} samples")
        raise ImageError(f"{name}: an intact TIFF, but {kind} is not read; save it as gray or RGB")
    if len(set(header.bits)) > 1 or len(set(header.sample_format)) > 1 or header.kind not in (1, 2, 3):
        raise ImageError(f"{name}: a TIFF of {header.bits} bits in sample formats {header.sample_format} is not read")
    if header.photometric in (0, 1) and header.samples > 2:
        raise ImageError(f"{name}: a TIFF of {header.samples} channels, of which none is said to be the image; save one as gray")
    values = stored_samples(data, header, name)
    refuse_not_finite(values, name)
    if header.photometric == PALETTE:
        return upright(_palette(data, header.place, values[..., 0], name), header.orientation)
    image, extra = values[..., :meant], header.extra
    plain = header.kind == 1 and header.depth < 32
    if not plain and window is None:
        raise no_range(name, "float" if header.kind == 3 else "whole-number", float(image.min()), float(image.max()))
    if 1 in extra and meant + extra.index(1) < values.shape[-1] and plain:
        image = _divided(image, values[..., meant + extra.index(1), None], 2**header.depth - 1)
    pixels: NDArray[Any]
    if header.photometric in (0, 1):
        top = float(2**header.depth - 1)
        if header.depth <= 8 and plain:
            pixels = np.round(image * (255 / top)).astype(np.uint8)
            pixels = 255 - pixels if header.photometric == 0 else pixels
        else:
            pixels = scale_window(image, *(window or (0.0, top)))
            pixels = 1 - pixels if header.photometric == 0 else pixels
    elif not plain or (window is not None and header.depth > 8):
        pixels = scale_window(image, *(window or (0.0, 1.0)))
    elif header.depth >= 8:
        pixels = (image >> (header.depth - 8)).astype(np.uint8)
    else:
        pixels = np.round(image * (255 / (2**header.depth - 1))).astype(np.uint8)
    if header.photometric == CMYK:
        if pixels.dtype != np.uint8:
            kind = "with a window" if plain else "in floats"
            raise ImageError(f"{name}: a TIFF of CMYK of {header.depth} bits {kind} is not read; save it as RGB")
        pixels = np.asarray(Image.fromarray(np.ascontiguousarray(pixels), "CMYK").convert("RGB"))
    return upright(pixels, header.orientation)


def stored_samples(data: bytes, header: TiffHeader, name: str) -> NDArray[Any]:
    """Return (H, W, samples) as stored; raises what `read_tiff` raises of a damaged page."""
    tifffile = _library(name)
    needed = (header.height * header.width * sum(header.bits) + 7) // 8
    if len(header.segments) == 0 or any(count == 0 or offset == 0 for offset, count in header.segments):
        raise ImageError(f"{name}: a damaged TIFF: a part of its pixels is not in the file")
    if any(offset + count > len(data) for offset, count in header.segments) or (
        header.compression == 1 and sum(count for _, count in header.segments) < needed
    ):
        raise ImageError(f"{name}: a TIFF cut short: pixels that its header names lie behind its end")
    try:
        with tifffile.TiffFile(BytesIO(data)) as file:
            page = file.pages[header.place]
            values: NDArray[Any] = page.asarray(maxworkers=1)
    except Exception as error:  # a parser fed with hostile bytes may raise anything
        said = str(error) or type(error).__name__
        if "imagecodecs" in said:
            raise ImageDependencyError(f"{name}: a TIFF that needs imagecodecs; pip install 'medzoo[tiff]'") from None
        raise ImageError(f"{name}: cannot be decoded, truncated or damaged ({said})") from None
    if header.planar == 2 and header.samples > 1 and values.shape == (header.samples, header.height, header.width):
        values = np.moveaxis(values, 0, -1)
    if values.shape == (header.height, header.width):
        values = values[..., None]
    if values.shape[:2] != (header.height, header.width) or values.ndim != 3:
        raise ImageError(f"{name}: decodes to {list(values.shape)}, its header says {header.height} x {header.width}")
    if values.dtype == bool:
        values = values.astype(np.uint8)
    return as_native(values)


def _library(name: str) -> Any:
    try:
        import tifffile
    except ImportError:
        raise ImageDependencyError(f"{name}: this kind of TIFF is read by tifffile; pip install 'medzoo[tiff]'") from None
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what is wrong is said once, by the error
    return tifffile


def _palette(data: bytes, page: int, places: NDArray[Any], name: str) -> NDArray[np.uint8]:
    tifffile = _library(name)
    with tifffile.TiffFile(BytesIO(data)) as file:
        colours = file.pages[page].colormap
    if colours is None or colours.ndim != 2 or len(colours) != 3 or int(places.max(initial=0)) >= colours.shape[1]:
        raise ImageError(f"{name}: a damaged TIFF: its palette does not hold the colours that its pixels name")
    shift = 8 if colours.max() > 255 else 0  # values of 8 bits in words of 16: as libtiff reads them (tif_getimage.c, checkcmap)
    found: NDArray[np.uint8] = (np.moveaxis(colours[:, places], 0, -1) >> shift).astype(np.uint8)
    return found


def _divided(image: NDArray[Any], alpha: NDArray[Any], top: int) -> NDArray[Any]:
    """Return colours as they were before they were multiplied by alpha (0 where it is 0)."""
    share = np.where(alpha > 0, alpha, 1).astype(np.float64) / top
    return np.clip(np.floor(image / share), 0, top).astype(image.dtype)


def upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return pixels upright, by EXIF's and TIFF's orientation (1 to 8)."""
    if orientation in (5, 6, 7, 8):
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
