"""Stored values of a DICOM file's frames: sizes checked before anything is allocated, one decoder for each compression."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ImageDependencyError, ImageError
from medzoo.data.images.dicom.header import whole, word
from medzoo.data.images.pixels import check_size

GDCM_READS = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
"""JPEG lossless, which no other decoder reads. GDCM is asked for nothing else: damaged JPEG-LS makes it end the process."""
ORDER = ("pillow", "pydicom", "pyjpegls", "pylibjpeg", "gdcm")
"""Which decoder is asked first, of those installed: Pillow's pixels stay the same when others are installed beside it."""
GRAY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


MAX_FRAMES = 100_000
"""Frames of a file above which none is read: an hour of ultrasound has as many."""


def check_header(header: Any, max_pixels: int, name: str) -> int:
    """Refuse a header whose description of the pixels is impossible, too large or not read, before they are decoded.

    Args:
        header: The file's data set.
        max_pixels: Rows × columns above which nothing is decoded.
        name: What to call it in a message.

    Returns:
        How many frames the header says there are; whether there are, `check_frames` tells.

    Raises:
        ImageError: Names the file, the element and its value.
    """
    if not any(keyword in header for keyword in PIXELS):
        raise ImageError(f"{name}: this DICOM file holds no pixels (SOP class {word(header, 'SOPClassUID') or 'unknown'})")
    rows, columns = whole(header, "Rows", name), whole(header, "Columns", name)
    if rows < 1 or columns < 1:
        raise ImageError(f"{name}: its Rows (0028,0010) {rows} and Columns (0028,0011) {columns} leave no pixels")
    check_size(rows, columns, max_pixels, name)
    frames = whole(header, "NumberOfFrames", name, usual=1)
    if frames < 0:
        raise ImageError(f"{name}: its NumberOfFrames (0028,0008) is {frames}, not a number of frames")
    samples, allocated = whole(header, "SamplesPerPixel", name), whole(header, "BitsAllocated", name)
    stored, sign = whole(header, "BitsStored", name), whole(header, "PixelRepresentation", name, usual=0)
    if allocated not in (1, 8, 16, 32, 64) or not 1 <= stored <= allocated:
        raise ImageError(f"{name}: its BitsStored (0028,0101) {stored} of BitsAllocated (0028,0100) {allocated} are not possible")
    if sign not in (0, 1):
        raise ImageError(f"{name}: its PixelRepresentation (0028,0103) is {sign}, not 0 or 1")
    photometric = word(header, "PhotometricInterpretation")
    wanted = {**dict.fromkeys(GRAY, 1), "PALETTE COLOR": 1, **dict.fromkeys(COLOUR, 3)}.get(photometric)
    if wanted is None:
        raise ImageError(f"{name}: its PhotometricInterpretation (0028,0004) {photometric!r} is not read")
    if samples != wanted:
        raise ImageError(f"{name}: its SamplesPerPixel (0028,0002) is {samples}, {photometric} has {wanted}")
    return max(1, frames)


def check_frames(header: Any, frames: int, name: str) -> None:
    """Refuse a number of frames that the file's pixels, or its functional groups, do not have.

    Args:
        header: As `check_header` lets pass.
        frames: What it returned, more than 1.
        name: What to call it in a message.

    Raises:
        ImageError: Names the element, and how many there are. Of damaged elements whatever pydicom raises.
    """
    from pydicom.encaps import parse_basic_offsets, parse_fragments

    said = f"{name}: its NumberOfFrames (0028,0008) is {frames}"
    if frames > MAX_FRAMES:
        raise ImageError(f"{said}, more than the {MAX_FRAMES:,} that are read; save parts of it as files of their own")
    pixels = next(bytes(header[keyword].value or b"") for keyword in PIXELS if keyword in header)
    if header.file_meta.TransferSyntaxUID.is_encapsulated:
        _decoder(header, name)  # a film is one stream: not a frame a fragment
        buffer = BytesIO(pixels)
        parse_basic_offsets(buffer)
        held = parse_fragments(buffer)[0]
    else:
        samples = 2 if word(header, "PhotometricInterpretation") == "YBR_FULL_422" else whole(header, "SamplesPerPixel", name)
        bits = whole(header, "Rows", name) * whole(header, "Columns", name) * samples * whole(header, "BitsAllocated", name)
        held = len(pixels) * 8 // bits
    if held < frames:
        raise ImageError(f"{said}, but it is cut short: there are pixels for {held}")
    groups = len(header.get("PerFrameFunctionalGroupsSequence") or ())
    if groups not in (0, frames):
        raise ImageError(f"{said}, and its PerFrameFunctionalGroupsSequence (5200,9230) describes {groups}")


def stored_values(header: Any, frame: int, frames: int, max_pixels: int, name: str) -> NDArray[Any]:
    """Return a frame's stored values, colour as RGB.

    Args:
        header: As `check_header` lets pass.
        frame: Which, from 0.
        frames: How many there are, as `check_frames` lets pass.
        max_pixels: Height × width above which no compressed frame is decoded, whatever the header says.
        name: What to call it in a message.

    Returns:
        (H, W), or (H, W, 3) of colour; whole numbers of the allocated bits, or float32 and float64 of float pixels.

    Raises:
        ImageError: If the pixels are damaged or incomplete, or compressed as pydicom does not know.
        ImageDependencyError: If they are compressed and no decoder for it is installed.
    """
    from pydicom.pixels import pixel_array

    native = not header.file_meta.TransferSyntaxUID.is_encapsulated
    if frames > 1 and native and whole(header, "BitsAllocated", name) == 1:
        return _single_bits(header, frame)
    shift = whole(header, "HighBit", name, usual=-1) + 1 - whole(header, "BitsStored", name)
    plugins = [""] if native else _decoders(header, frame, frames, max_pixels, name)
    stored = header.BitsStored
    if native and 0 < shift <= whole(header, "BitsAllocated", name) - whole(header, "BitsStored", name):
        header.BitsStored += shift  # the values lie in the upper bits, as before 1993 they might
    else:
        shift = 0
    failure: Exception | None = None
    index = frame if frames > 1 else None
    for plugin in plugins:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                values: NDArray[Any] = pixel_array(header, decoding_plugin=plugin, index=index)
        except Exception as error:  # every decoder has errors of its own
            failure = failure or error
            continue
        finally:
            header.BitsStored = stored  # another frame may be asked for
        if values.shape[:2] != (header.Rows, header.Columns) or values.ndim not in (2, 3):
            raise ImageError(f"{name}: decodes to {list(values.shape)}, its header says {header.Rows} x {header.Columns}")
        return values >> shift if shift else values
    more = "" if native or all(find_spec(m) for m in ("gdcm", "openjpeg", "jpeg_ls")) else "; medzoo[dicom] brings more decoders"
    raise ImageError(f"{name}: its pixels cannot be decoded ({failure or type(failure).__name__}){more}")


def _single_bits(header: Any, frame: int) -> NDArray[np.uint8]:
    """Return a frame of one bit a pixel; those of a file follow each other bit by bit, which pydicom 3.0 does not seek."""
    size = header.Rows * header.Columns
    start = frame * size
    held = np.frombuffer(header.PixelData, np.uint8, count=(start + size + 7) // 8 - start // 8, offset=start // 8)
    bits: NDArray[np.uint8] = np.unpackbits(held, bitorder="little")[start % 8 : start % 8 + size]
    return bits.reshape(header.Rows, header.Columns)


def _decoder(header: Any, name: str) -> Any:
    """Return pydicom's decoder of a compressed file; raises ImageError where it has none, as of films in MPEG."""
    from pydicom.pixels import get_decoder

    syntax = header.file_meta.TransferSyntaxUID
    try:
        return get_decoder(syntax)
    except NotImplementedError:  # what pydicom raises of a syntax that it has no decoder for
        raise ImageError(f"{name}: its compression {syntax.name} is not read; save it uncompressed") from None


def _decoders(header: Any, frame: int, frames: int, max_pixels: int, name: str) -> list[str]:
    """Return the installed decoders of a compressed file, the first choice first."""
    from pydicom.encaps import get_frame

    syntax, decoder = header.file_meta.TransferSyntaxUID, _decoder(header, name)
    installed = [p for p in decoder.available_plugins if p != "gdcm" or syntax in GDCM_READS]
    plugins = sorted(installed, key=lambda p: ORDER.index(p) if p in ORDER else len(ORDER))
    if not plugins:
        raise ImageDependencyError(f"{name}: its pixels are compressed ({syntax.name}); pip install 'medzoo[dicom]'")
    offsets = None
    if frames > 1 and "ExtendedOffsetTable" in header and "ExtendedOffsetTableLengths" in header:
        offsets = (header.ExtendedOffsetTable, header.ExtendedOffsetTableLengths)
    try:
        stream = get_frame(header.PixelData, frame, number_of_frames=frames, extended_offsets=offsets)
    except Exception as error:
        raise ImageError(f"{name}: its pixels cannot be decoded ({error or type(error).__name__})") from None
    found = codestream_size(stream)
    if found is not None:
        check_size(*found[:2], max_pixels, name)
    if syntax in GDCM_READS and (found is None or found[2] != 0xC3 or found[:2] != (header.Rows, header.Columns)):
        raise ImageError(f"{name}: its pixels cannot be decoded (no frame of JPEG lossless of {header.Rows} x {header.Columns})")
    return plugins


def codestream_size(frame: bytes) -> tuple[int, int, int] | None:
    """Return (height, width, marker) that a JPEG, JPEG-LS or JPEG 2000 stream says of itself; None where it does not."""
    place = frame.find(b"\xff\x4f\xff\x51", 0, 4096)
    if place >= 0 and len(frame) >= place + 24:
        right, bottom, left, top = (int(value) for value in np.frombuffer(frame, ">u4", count=4, offset=place + 8))
        return max(0, bottom - top), max(0, right - left), 0x51
    if frame[:2] != b"\xff\xd8":
        return None
    place = 2
    while place + 9 <= len(frame) and frame[place] == 0xFF:
        marker = frame[place + 1]
        if marker == 0xFF:  # filling
            place += 1
            continue
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            height, width = (int.from_bytes(frame[place + at : place + at + 2], "big") for at in (5, 7))
            return height, width, marker
        place += 2 + int.from_bytes(frame[place + 2 : place + 4], "big")
    return None
