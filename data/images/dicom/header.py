"""A DICOM file's header: opened whether or not it has a preamble, its values checked when they are asked for.

What describes a frame may stand at the top, in the functional groups that all frames share or in those of one frame
(PS3.3 C.7.6.16); `of_frame` brings it to one place.
"""

from __future__ import annotations

import math
import zlib
from io import BytesIO
from typing import Any, BinaryIO

from medzoo.data.errors import ImageDependencyError, ImageError
from medzoo.data.images.kinds import described, is_bare_dicom

MAX_INFLATED = 1 << 30
"""Bytes that a deflated file may unpack to."""
DEFLATED = "1.2.840.10008.1.2.1.99"
"""The transfer syntax of a deflated file."""
GROUPS = ("PixelValueTransformationSequence", "FrameVOILUTSequence", "RealWorldValueMappingSequence")
"""Functional groups that say what a stored value means: C.7.6.16.2.9, .10 and .11."""
_SAID = (
    "RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction",
    "VOILUTSequence", "DoseGridScaling",
)  # fmt: skip


def open_header(data: bytes, name: str, *, pixels: bool = True) -> Any:
    """Return a file's data set, with a transfer syntax and what an old file leaves out of its image description.

    Args:
        data: The file's bytes; without `pixels` its beginning is enough.
        name: What to call it in a message.
        pixels: Whether the pixels are to be read too.

    Raises:
        ImageError: If it is no DICOM file, is damaged, or holds no pixels.
        ImageDependencyError: If pydicom is not installed.
    """
    try:
        import pydicom
    except ImportError:
        raise ImageDependencyError(f"{name}: reading DICOM needs pydicom; pip install 'medzoo[dicom]'") from None
    marked = data[128:132] == b"DICM"
    if not marked and not is_bare_dicom(data):
        raise ImageError(f"{name}: {described(data, name)}: no mark of DICOM at byte 128, nor elements at its start")
    try:
        refuse_bomb(data, name)
        header = pydicom.dcmread(BytesIO(data), force=not marked, stop_before_pixels=not pixels)
        if "PixelData" not in header and "Rows" not in header and not marked:
            raise ImageError(f"{name}: not a readable DICOM file (no elements of an image in it)")
        meta = getattr(header, "file_meta", None) or pydicom.dataset.FileMetaDataset()
        if "TransferSyntaxUID" not in meta:
            implicit, little = header.original_encoding
            syntaxes = pydicom.uid.ImplicitVRLittleEndian, pydicom.uid.ExplicitVRLittleEndian, pydicom.uid.ExplicitVRBigEndian
            meta.TransferSyntaxUID = syntaxes[0] if implicit else syntaxes[1] if little else syntaxes[2]
            header.file_meta = meta
        for keyword, usual in (("SamplesPerPixel", 1), ("PhotometricInterpretation", "MONOCHROME2"), ("PixelRepresentation", 0)):
            if header.get(keyword) in (None, ""):  # ACR-NEMA has no such elements
                setattr(header, keyword, usual)
        if header.SamplesPerPixel != 1 and header.get("PlanarConfiguration") in (None, ""):
            header.PlanarConfiguration = 0  # colours pixel by pixel, as nearly all files have them
        if header.get("BitsStored") in (None, "") and header.get("BitsAllocated") not in (None, ""):
            header.BitsStored = header.BitsAllocated
    except ImageError:
        raise
    except Exception as error:  # a parser fed with hostile bytes may raise anything
        raise ImageError(f"{name}: not a readable DICOM file ({error or type(error).__name__})") from None
    return header


def of_frame(header: Any, frame: int, name: str) -> Any:
    """Return a data set whose top level says what one frame's stored values mean.

    Args:
        header: The file's; it is not changed.
        frame: From 0.
        name: What to call the file in a message.

    Returns:
        The header's own elements, over which the shared functional groups stand, over which the frame's own.
    """
    import pydicom

    said = pydicom.Dataset()

    def take(source: Any, keywords: tuple[str, ...]) -> None:
        for keyword in keywords:
            if keyword in source:
                try:
                    said[keyword] = source[keyword]
                except Exception:  # pydicom converts when asked
                    raise ImageError(f"{name}: {_called(keyword)} is {_shown(source, keyword)}, which cannot be read") from None

    take(header, (*_SAID, *GROUPS[2:], "BitsStored", "PixelRepresentation", "PhotometricInterpretation"))
    try:
        shared = header.get("SharedFunctionalGroupsSequence") or []
        each = header.get("PerFrameFunctionalGroupsSequence") or []
        for group in (*shared[:1], *each[frame : frame + 1]):
            take(group, GROUPS[2:])
            for sequence in GROUPS[:2]:
                for item in (group.get(sequence) or [])[:1]:
                    take(item, _SAID)
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(f"{name}: its functional groups cannot be read ({error or type(error).__name__})") from None
    return said


def whole(header: Any, keyword: str, name: str, usual: int | None = None) -> int:
    """Return an element as a whole number.

    Args:
        header: A data set.
        keyword: The element's.
        name: What to call the file in a message.
        usual: What it is where the element is missing or empty; None: it must be there.

    Raises:
        ImageError: If it is missing, or no whole number; names the file and the element.
    """
    found = numbers(header, keyword, name)
    if not found:
        if usual is None:
            raise ImageError(f"{name}: {_called(keyword)} is missing or empty")
        return usual
    if len(found) > 1 or found[0] != int(found[0]):
        raise ImageError(f"{name}: {_called(keyword)} is {_shown(header, keyword)}, not a whole number")
    return int(found[0])


def numbers(header: Any, keyword: str, name: str) -> list[float]:
    """Return an element's numbers, none where it is missing or empty; ImageError as `placed_numbers`."""
    return [one for one in placed_numbers(header, keyword, name) if one is not None]


def placed_numbers(header: Any, keyword: str, name: str) -> list[float | None]:
    """Return an element's numbers in their places, None at one that is empty; none where it is missing.

    Raises:
        ImageError: If they are no finite numbers; names the file and the element.
    """
    found: list[float | None]
    try:
        value = header.get(keyword)
        if value is None or (isinstance(value, str) and not value.strip()):
            return []
        values = [value] if isinstance(value, str) or not hasattr(value, "__len__") else list(value)
        found = [None if one is None or not str(one).strip() else float(one) for one in values]
    except Exception:  # pydicom converts when asked
        found = [math.nan]
    if not all(one is None or math.isfinite(one) for one in found):
        raise ImageError(f"{name}: {_called(keyword)} is {_shown(header, keyword)}, not a number")
    return found


def word(header: Any, keyword: str) -> str:
    """Return an element's text in capitals without spaces around it; empty where it is missing, empty or unreadable."""
    try:
        return str(header.get(keyword) or "").strip().upper()
    except Exception:
        return ""


def _called(keyword: str) -> str:
    from pydicom.datadict import tag_for_keyword

    tag = tag_for_keyword(keyword) or 0
    return f"its {keyword} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _shown(header: Any, keyword: str) -> str:
    try:
        return repr(header.get_item(keyword).value)[:60]
    except Exception:
        return "unreadable"


def deflated_at(file: BinaryIO) -> int | None:
    """Return where in a deflated file what is packed begins; None of another file.

    The meta information is walked as pydicom walks it, which believes neither its length nor that it is short: what is looked
    at here and what is unpacked there must not differ.
    """
    from pydicom.filereader import read_dataset

    file.seek(128)
    if file.read(4) != b"DICM":
        file.seek(0)
    meta = read_dataset(file, False, True, stop_when=lambda tag, _kind, _length: tag >> 16 != 2)
    if str(meta.get("TransferSyntaxUID", "")) != DEFLATED:
        return None
    read_dataset(file, True, True, stop_when=lambda tag, _kind, _length: tag >> 16 != 0)  # a command set may stand between
    return file.tell()


def refuse_bomb(data: bytes, name: str) -> None:
    """Refuse a deflated file that unpacks to more than `MAX_INFLATED`, without holding what it unpacks to; ImageError."""
    if DEFLATED.encode() not in data or (start := deflated_at(BytesIO(data))) is None:
        return
    unpacker, packed, size = zlib.decompressobj(-zlib.MAX_WBITS), data[start:], 0
    while packed and not unpacker.eof:
        size += len(unpacker.decompress(packed, 1 << 20))
        packed = unpacker.unconsumed_tail
        if size > MAX_INFLATED:
            raise ImageError(f"{name}: unpacks to more than {MAX_INFLATED:,} bytes; nothing so large is read")
