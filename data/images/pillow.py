"""Images that Pillow reads: files of its formats, and images that a user opened with it.

What it reads wrongly is not left to it: colours of more than 8 bits in JPEG 2000 (it rounds, and white becomes black), which
imagecodecs reads (extra `tiff`), and palettes of TIFF that hold values of 8 bits in words of 16. What it rounds away is
asked of it in another way: the lower bytes of PNG's deep colours, and the numbers of PNM that it stretches.
"""

from __future__ import annotations

import re
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from medzoo.data.errors import ImageDependencyError, ImageError
from medzoo.data.images.kinds import HEAD, PLANE, described, kind_of
from medzoo.data.images.opened import Opened
from medzoo.data.images.pixels import (
    MAX_PIXELS,
    SMALLER,
    SeveralFramesError,
    check_size,
    no_range,
    refuse_not_finite,
    scale_window,
)

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "JPEG2000", "PPM")
_FIRST_IS_THE_IMAGE = ("PNG", "MPO")
"""Formats whose further pictures are an animation, or a camera's previews and second eye."""
_DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
_CODESTREAM = b"\xff\x4f\xff\x51"
"""SOC and SIZ, the markers that a JPEG 2000 codestream begins with (ISO/IEC 15444-1, A.5.1)."""
_LOWER_BYTES = {"LA;16B": "RGBA", "RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L"}
"""Pillow's names of how a PNG of 16 bits a channel is stored → those of what takes the bytes that it passes over, too: of gray
beside alpha all four as if of colours, of colours the others of each two."""
_PNM_HEADER = re.compile(rb"P[2356](?:(?:\s|#[^\r\n]*[\r\n])+(\d+)){3}\s")
"""Width, height and the largest value, which the group keeps, with comments between them."""
_COLORMAP, _ORIENTATION = 320, 274
"""TIFF's tags of a palette (all reds, all greens, all blues) and of how an image is turned, which EXIF has from it."""


class PillowFile(Opened):
    """A file that Pillow reads. Pictures of an animation are taken as they are shown: laid over those before them.

    Args:
        data: The file's bytes.
        name: What to call them in a message.
        max_pixels: Height × width above which nothing is decoded.

    Raises:
        ImageError: If they are damaged, no image or too large.
    """

    def __init__(self, data: bytes, name: str, max_pixels: int) -> None:
        self._data, self._opened = data, open_pillow(data, name)
        check_size(self._opened.height, self._opened.width, max_pixels, name)
        self.first_is_the_image = self._opened.format in _FIRST_IS_THE_IMAGE
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                count = 1 if self._opened.format in ("MPO", "TIFF") else int(getattr(self._opened, "n_frames", 1))
        except Exception as error:
            raise ImageError(f"{name}: cannot be decoded, truncated or damaged ({_reason(error)})") from None
        super().__init__(name, max(1, count), max_pixels)

    def check(self) -> None:
        """Refuse pictures that an animated PNG says it has and has not."""
        held = self._data.count(b"fcTL") + 1 if self._opened.format == "PNG" else self.count
        if held < self.count:
            raise ImageError(f"{self.name}: an animated PNG cut short: it says {self.count} pictures, and holds {held - 1}")

    def sides(self, frame: int) -> tuple[int, int]:
        """Return the height and width of the canvas, which are those of every picture."""
        return self._opened.height, self._opened.width

    def pixels(self, frame: int, window: tuple[float, float] | None) -> NDArray[Any]:
        """Decode a picture."""
        return page_pixels(self._opened, frame, self.called(frame), window, self.max_pixels, data=self._data)


def open_pillow(data: bytes, name: str) -> Image.Image:
    """Open a file's bytes; raises ImageError if they are damaged, no image or far too large."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a bomb: the limit below is the one that counts; of a tag: nobody can mend it
            return Image.open(BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        what = described(data[:HEAD], name)
        known = kind_of(data[:HEAD])
        what = f"a {known} file that is damaged, or of a kind that Pillow does not read" if known in PLANE else what
        raise ImageError(f"{name}: {what}") from None
    except Image.DecompressionBombError:
        raise ImageError(f"{name}: too large: more than {2 * MAX_PIXELS:,} pixels are never decoded; {SMALLER}") from None
    except Exception as error:  # a parser fed with hostile bytes may raise anything
        raise ImageError(f"{name}: cannot be opened as an image ({_reason(error)})") from None


def is_transparent(path: Path) -> bool:
    """Whether an image file has an alpha that is not full everywhere, which `page_pixels` drops; no of what is not Pillow's."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as opened:
                return opened.has_transparency_data and opened.convert("RGBA").getchannel("A").getextrema() != (255, 255)
    except Exception:  # whoever decodes it says what is wrong with it
        return False


def turn_of(path: Path) -> int:
    """Return how an image file says to turn it, 1 (not at all) to 8, as EXIF and TIFF have it; 1 of what is not Pillow's."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as opened:
                turn = opened.getexif().get(_ORIENTATION, 1)
    except Exception:  # whoever decodes it says what is wrong with it
        return 1
    return int(turn) if turn in range(1, 9) else 1


def opened_pixels(opened: Image.Image, name: str, window: tuple[float, float] | None, max_pixels: int) -> NDArray[Any]:
    """Return the pixels of an image that a user opened, as those of its file; arguments as for `page_pixels`."""
    tags: Any = getattr(opened, "tag_v2", None) if opened.format == "TIFF" else None
    depth, inverted, data = 16, False, _bytes_of(opened) if opened.format in ("JPEG2000", "PNG", "PPM") else b""
    if opened.format == "JPEG2000" and not data and opened.mode not in _DEEP_MODES and opened.mode != "L":
        raise ImageError(f"{name}: decoded by Pillow, white of deep colours as black, or closed; give the file's path or bytes")
    if tags is not None:
        bits = tags.get(258, (16,))
        depth, inverted = int(bits[0]), tags.get(262) == 0
        if tags.get(284) == 2 and depth == 16 and len(bits) > 1:
            raise ImageError(f"{name}: Pillow reads a TIFF of 16 bits in planes wrongly; give the file's path")
        if window is not None and depth > 8 and len(bits) > 2:
            raise ImageError(f"{name}: Pillow keeps 8 bits of these colours, which no window fits; give the file's path")
    check_size(opened.height, opened.width, max_pixels, name)
    try:
        pages = 1 if opened.format in _FIRST_IS_THE_IMAGE else int(getattr(opened, "n_frames", 1))
    except Exception as error:
        raise ImageError(f"{name}: cannot be decoded, truncated or damaged ({_reason(error)})") from None
    if pages > 1:
        raise SeveralFramesError(name, pages, "pages", "give one of them as an array")
    return page_pixels(opened, None, name, window, max_pixels, depth=depth, inverted=inverted, data=data)


def page_pixels(
    opened: Image.Image,
    page: int | None,
    name: str,
    window: tuple[float, float] | None,
    max_pixels: int,
    *,
    depth: int = 16,
    inverted: bool = False,
    data: bytes = b"",
) -> NDArray[Any]:
    """Return the pixels of a page.

    Args:
        opened: An image.
        page: Which, from 0; None: the one that it stands at.
        name: What to call it in a message.
        window: As `medzoo.data.images.decode.decode_image` takes it.
        max_pixels: Height × width above which nothing is decoded.
        depth: Bits of gray of more than 8.
        inverted: Whether its white is zero.
        data: The file's bytes, for what Pillow does not tell.

    Returns:
        (H, W, 1) or (H, W, 3), uint8, or float32 in 0..1.

    Raises:
        ImageError: If the page is damaged or too large, or needs a window.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if page is not None:
                opened.seek(page)
            check_size(opened.height, opened.width, max_pixels, name)
            bits = _component_bits(data, name) if opened.format == "JPEG2000" else 8
            stored = _beyond_pillow(opened, page, data, bits, name, windowed=window is not None)
            if stored is not None and window is None and stored[0].shape[-1] == 3:
                return (stored[0] >> (bits - 8)).astype(np.uint8)
            if stored is not None:
                return _scale_deep(*stored, name=name, window=window)
            opened.load()
            image = ImageOps.exif_transpose(opened)
            if opened.format == "TIFF" and image.mode in ("P", "PA"):
                _mend_palette(image, opened)
            deep = image.mode in _DEEP_MODES
            pixels = np.array(image if deep else _eight_bit(image))
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(f"{name}: cannot be decoded, truncated or damaged ({_reason(error)})") from None
    if deep:
        top = 2 ** min(depth, 16) - 1
        if 8 < bits < 16:  # Pillow puts the pixels of JPEG 2000 into the upper bits
            pixels, top = pixels >> (16 - bits), 2**bits - 1
        pixels = _scale_deep(pixels, image.mode != "F", top, name, window)
        pixels = 1 - pixels if inverted else pixels
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _eight_bit(image: Image.Image) -> Image.Image:
    if image.mode in ("L", "RGB"):
        return image
    if image.mode == "La":  # gray that was multiplied by alpha
        image = image.convert("LA")
    if image.mode in ("1", "LA"):
        return image.convert("L")
    if image.mode in ("P", "PA", "RGBa"):  # by way of RGBA: Pillow warns of transparency given as bytes otherwise
        image = image.convert("RGBA")
    if image.mode == "LAB":
        to_rgb = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
        turned = ImageCms.applyTransform(image, to_rgb)
        assert turned is not None  # only with inPlace
        return turned
    return image.convert("RGB")


def _mend_palette(image: Image.Image, opened: Image.Image) -> None:
    """Read a TIFF's palette as of 8 bits where none of its words is larger, as libtiff does (tif_getimage.c, checkcmap)."""
    words = np.array(getattr(opened, "tag_v2", {}).get(_COLORMAP, ()))
    if words.size and words.size % 3 == 0 and words.max() < 256:
        image.putpalette(words.reshape(3, -1).T.astype(np.uint8).tobytes(), "RGB")


def _bytes_of(opened: Image.Image) -> bytes:
    """Return the bytes of a file that a user opened and that is neither decoded nor closed yet; none of any other."""
    file = getattr(opened, "fp", None)
    if file is None or file.closed:
        return b""
    place = file.tell()
    file.seek(0)
    data: bytes = file.read()
    file.seek(place)
    return data


def _component_bits(data: bytes, name: str) -> int:
    """Return how many bits the components of a JPEG 2000 have; 8 where its bytes are not at hand.

    Raises:
        ImageError: If they have more than 16, or of several not all the same, or signs.
    """
    place = data.find(_CODESTREAM)
    if not 0 <= place < len(data) - 42:
        return 8
    count = int.from_bytes(data[place + 40 : place + 42])
    written = set(data[place + 42 : place + 42 + 3 * count : 3])  # Ssiz: bits less one, and the upper bit for signs
    bits = max((one & 0x7F) + 1 for one in written)
    if bits > 16 or (bits > 8 and count > 1 and (len(written) > 1 or max(written) > 0x7F)):
        said = ", ".join(f"{(one & 0x7F) + 1} bits{' with signs' if one > 0x7F else ''}" for one in sorted(written))
        raise ImageError(f"{name}: an intact JPEG 2000, but {count} components of {said} are not read; save it as PNG or TIFF")
    return bits


def _beyond_pillow(
    opened: Image.Image, page: int | None, data: bytes, bits: int, name: str, *, windowed: bool
) -> tuple[NDArray[Any], bool, int] | None:
    """Return the numbers that a file stores where Pillow would round them, (H, W, 1) or (H, W, 3), with what `_scale_deep` takes.

    Args:
        opened: The file, not decoded yet.
        page: Which of its pictures.
        data: Its bytes.
        bits: Of its components, where it is a JPEG 2000.
        name: What to call it in a message.
        windowed: Whether a window of these numbers was given.

    Returns:
        The numbers, that they are whole, and the largest that there may be; None where Pillow's are the stored ones, or where its
        8 bits are what is wanted.
    """
    if opened.format == "JPEG2000" and bits > 8 and opened.mode not in _DEEP_MODES:
        return _deep_colours(data, opened.mode, bits, name), True, 2**bits - 1
    if opened.format == "PNG" and data[24:25] == b"\x10" and data[25:26] in (b"\2", b"\4", b"\6"):
        if not windowed and (data[25:26] != b"\4" or page):
            return None
        if page:
            raise ImageError(f"{name}: 8 of 16 bits are read of a PNG's later pictures, which no window fits; save it alone")
        return _deep_png(data), True, 65535
    if opened.format == "PPM" and windowed and (opened.mode == "I" or data[1:2] in (b"3", b"6")):
        return _deep_pnm(data, opened, name)
    return None


def _deep_colours(data: bytes, mode: str, bits: int, name: str) -> NDArray[Any]:
    """Return a JPEG 2000's colours of more than 8 bits; of gray beside alpha, the gray."""
    if mode not in ("LA", "RGB", "RGBA"):
        raise ImageError(f"{name}: a JPEG 2000 of {bits} bits in {mode} is not read; save it as RGB")
    try:
        import imagecodecs
    except ImportError:
        said = f"colours of {bits} bits in JPEG 2000 are read by imagecodecs"
        raise ImageDependencyError(f"{name}: {said}; pip install 'medzoo[tiff]'") from None
    values: NDArray[Any] = imagecodecs.jpeg2k_decode(data)
    return values[..., :1] if mode == "LA" else values[..., :3]


def _deep_png(data: bytes) -> NDArray[Any]:
    """Return all bits of a PNG's first picture of colours, or of gray beside alpha (the gray), of 16 bits a channel; upright."""
    upper, lower = (Image.open(BytesIO(data), formats=("PNG",)) for _ in range(2))
    stored = str(lower.tile[0].args)
    lower.tile = [tile._replace(args=_LOWER_BYTES[stored]) for tile in lower.tile]
    others = np.asarray(ImageOps.exif_transpose(lower)).astype(np.uint16)
    if stored == "LA;16B":
        return others[..., :1] << 8 | others[..., 1:2]
    return np.asarray(ImageOps.exif_transpose(upper)).astype(np.uint16)[..., :3] << 8 | others[..., :3]


def _deep_pnm(data: bytes, opened: Image.Image, name: str) -> tuple[NDArray[Any], bool, int] | None:
    """Return a PNM's numbers of more than 8 bits, which Pillow stretches from those that its header says to 0..65535."""
    found = _PNM_HEADER.match(data)
    if found is None:
        raise ImageError(f"{name}: decoded by Pillow, or closed, which hides its own numbers; give the file's path or bytes")
    top = int(found[1])
    if top < 256:
        return None
    if opened.mode == "RGB":  # Pillow keeps 8 bits of colours: they are as many numbers of gray
        header = b"P%d\n%d %d\n%d\n" % (int(data[1:2]) - 1, 3 * opened.width, opened.height, top)
        opened = Image.open(BytesIO(header + data[found.end() :]), formats=("PPM",))
    values = np.round(np.asarray(opened) * (top / 65535)).astype(np.int32)
    return values.reshape(opened.height, -1, 3 if data[1:2] in (b"3", b"6") else 1), True, top


def _scale_deep(
    values: NDArray[Any], whole: bool, top: int, name: str, window: tuple[float, float] | None
) -> NDArray[np.float32]:
    refuse_not_finite(values, name)
    low, high = float(values.min()), float(values.max())
    if window is None:
        if not whole or low < 0 or high > top:
            raise no_range(name, "whole-number" if whole else "float", low, high)
        window = (0, top)
    return scale_window(values, *window)


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
