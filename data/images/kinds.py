"""What kind of file it is, by its first bytes: names lie (a JPEG named `.dcm`), and often say nothing."""

from __future__ import annotations

import os
import stat
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

PLANE = ("PNG", "JPEG", "TIFF", "BMP", "DICOM", "WEBP", "GIF", "JPEG2000", "PNM")
"""Kinds that hold an image of one plane and are read."""
VOLUME = ("NIFTI",)
"""Kinds that hold a volume and are read."""
SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".dib", ".dcm", ".dicom", ".webp", ".gif", ".jp2",
    ".j2k", ".pgm", ".ppm", ".pbm", ".pnm",
)  # fmt: skip
"""Endings that say a file is meant to be an image of one plane, whatever it holds."""
VOLUME_SUFFIXES = (".nii", ".nii.gz")
READ = "PNG, JPEG, TIFF, BMP, WebP, GIF, JPEG 2000, PNM, DICOM"
"""`PLANE` as a message says it."""
HEAD = 1024
"""How many bytes `kind_of` wants: the mark of a NIfTI file stands at 344, and may have to be unpacked."""
NO_FILE = "a pipe, a socket or a device, whose end nobody knows; save it as a file"
"""What is wrong with a path that `is_endless`."""
_PIECE = 1 << 14
"""Bytes that are unpacked at a time, of a gzip file of several members."""

_MARKS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "PNG"), (0, b"\xff\xd8\xff", "JPEG"), (0, b"II*\0", "TIFF"), (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"), (0, b"MM\0+", "TIFF"), (0, b"GIF87a", "GIF"), (0, b"GIF89a", "GIF"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"), (0, b"\xff\x4f\xff\x51", "JPEG2000"),
    (344, b"n+1\0", "NIFTI"), (344, b"ni1\0", "NIFTI header"), (4, b"n+2\0", "NIFTI"),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL"), (0, b"\xff\x0a", "JPEG XL"), (0, b"%PDF", "PDF"), (0, b"\x89HDF", "HDF5"),
    (0, b"PK\x03\x04", "zip"), (0, b"Rar!", "rar"), (0, b"7z\xbc\xaf", "7z"), (0, b"NRRD", "NRRD"),
    (0, b"\x93NUMPY", "npy"), (0, b"8BPS", "PSD"), (0, b"\0\0\x01\0", "icon"), (0, b"\x1a\x45\xdf\xa3", "video"),
    (0, b"version https://git-lfs", "git-lfs pointer"), (0, b"\0\x05\x16\x07", "macOS metadata"), (0, b"BEGIN", "text"),
)  # fmt: skip
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIC", b"msf1": "HEIC"}
_WITHOUT_PIXELS = (
    "1.2.840.10008.1.3.10",  # DICOMDIR; below: waveforms, presentation states, reports, documents, structures and plans
    *(f"1.2.840.10008.5.1.4.1.1.{part}" for part in ("9.", "11.", "88.", "104.", "481.3", "481.5", "481.8")),
)
_VALUE_KINDS = frozenset((b"UI", b"CS", b"UL", b"LO", b"SH", b"DA", b"TM", b"UN", b"IS", b"AE", b"OB", b"PN", b"LT", b"ST"))


def kind_of(head: bytes) -> str | None:
    """Return the kind of a file: a name of `PLANE` or `VOLUME`, another that is known but not read, or None.

    Args:
        head: Its first `HEAD` bytes, or all.
    """
    if head[128:132] == b"DICM":  # first: before it may stand another file's header, as of a TIFF with the same pixels
        return _dicom_kind(head)
    for place, mark, kind in _MARKS:
        if head[place : place + len(mark)] == mark:
            return kind
    if head[:4] == b"RIFF":
        return "WEBP" if head[8:12] == b"WEBP" else "video"
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video")
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in (12, 16, 40, 52, 56, 64, 108, 124):
        return "BMP"
    if head[:1] == b"P" and head[1:2] in b"123456" and len(head) > 2 and head[2:3] in b" \t\r\n#":
        return "PNM"
    if head[:2] == b"\x1f\x8b":
        return _packed(head)
    if is_bare_dicom(head):
        return "DICOM"
    return _written(head)


def is_bare_dicom(head: bytes) -> bool:
    """Whether a file begins with DICOM elements at once, without preamble and mark, as ACR-NEMA's did."""
    if len(head) < 16:
        return False
    order: Literal["little", "big"] = "little" if head[1] == 0 else "big"
    group, element = int.from_bytes(head[:2], order), int.from_bytes(head[2:4], order)
    if group not in (0x0002, 0x0008) or element > 0x0070:
        return False
    if head[4:6] in _VALUE_KINDS:
        return True
    length = int.from_bytes(head[4:8], order)  # without kinds of values: a length, and behind it the next element
    after = 8 + length
    if length > 256 or length % 2 or (element == 0 and length != 4) or len(head) < after + 4:
        return False
    following = (int.from_bytes(head[after : after + 2], order), int.from_bytes(head[after + 2 : after + 4], order))
    return (group, element) < following <= (0x0028, 0xFFFF) and following[0] % 2 == 0


def is_folder(path: str | Path) -> bool:
    """Whether there is a folder at a path; of a name that none can have no, where pathlib raises (3.11 to 3.13)."""
    return os.path.isdir(path)  # noqa: PTH112


def is_file(path: str | Path) -> bool:
    """Whether there is a file at a path, as `is_folder`."""
    return os.path.isfile(path)  # noqa: PTH113


def is_there(path: str | Path) -> bool:
    """Whether there is a file or a folder at a path, as `is_folder`."""
    return os.path.exists(path)  # noqa: PTH110


def is_endless(path: str | Path) -> bool:
    """Whether there is a pipe, a socket or a device at a path; OSError if there is nothing."""
    mode = os.stat(path).st_mode  # noqa: PTH116
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def file_kind(path: Path) -> str | None:
    """Return the kind of the file at a path, as `kind_of`; None where it cannot be read."""
    try:
        if not is_file(path):  # a pipe would never end
            return None
        with path.open("rb") as file:
            return kind_of(file.read(HEAD))
    except OSError:
        return None


def described(head: bytes, name: str) -> str:
    """Return what a file is that is no image, for a message: its kind, else that it is damaged at its start.

    Args:
        head: Its first bytes.
        name: Its name.
    """
    kind = kind_of(head)
    if kind in VOLUME:
        return "is a NIfTI volume, not an image of one plane"
    return f"not a {READ.replace(', DICOM', ' or DICOM')} image, " + (
        f"it is {kind}" if kind is not None else "or damaged at its start"
    )


def summary(kinds: Sequence[str]) -> str:
    """Return kinds with their counts, the most frequent first, as text: `4 AVIF, 2 text`."""
    counts = Counter(kinds)
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def _dicom_kind(head: bytes) -> str:
    """Return whether a DICOM file is of a class that holds images, by its meta information."""
    place = head.find(b"\x02\x00\x02\x00UI", 132)
    length = int.from_bytes(head[place + 6 : place + 8], "little")
    name = head[place + 8 : place + 8 + length].strip(b"\0 ").decode("ascii", "replace") if place > 0 else ""
    return "DICOM without pixels" if name.startswith(_WITHOUT_PIXELS) else "DICOM"


def unpacked(data: bytes, most: int) -> bytes:
    """Return what a gzip file holds, of all its members: bgzip and pigz write a file as many, one behind another.

    Args:
        data: The file's bytes, or its first ones.
        most: Bytes at which unpacking ends.

    Raises:
        zlib.error: If it is damaged. One that is cut short gives what is there.
    """
    first = zlib.decompressobj(31)
    inside = first.decompress(data, most)
    if len(inside) >= most or not first.unused_data:
        return inside
    found, place = bytearray(inside), len(data) - len(first.unused_data)
    while len(found) < most and place < len(data):
        piece = data[place : place + _PIECE].lstrip(b"\0")  # zeros may fill what lies between members, as gzip has it
        place = min(place + _PIECE, len(data)) - len(piece)
        if piece and data[place : place + 2] != b"\x1f\x8b":
            break
        member = zlib.decompressobj(31)
        while piece and not member.eof and len(found) < most:
            piece = data[place : place + _PIECE]  # not all that is left, of which each member would make a copy
            found += member.decompress(piece, most - len(found))
            place += len(piece) - len(member.unused_data)
    return bytes(found)


def _packed(head: bytes) -> str:
    try:
        inside = unpacked(head, 400)
    except zlib.error:
        return "gzip"
    return "NIFTI" if inside[344:348] == b"n+1\0" or inside[4:8] == b"n+2\0" else "gzip"


def _written(head: bytes) -> str | None:
    """Return the kind of a text file, or None: bytes that mean nothing known."""
    start = head[:256].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not start or b"\0" in head:
        return None
    for mark, kind in ((b"<svg", "SVG"), (b"<!doctype html", "HTML"), (b"<html", "HTML")):
        if start.startswith(mark):
            return kind
    if b"<svg" in head.lower():
        return "SVG"
    try:
        head[:-4].decode("utf-8")  # not cut within a letter
    except UnicodeDecodeError:
        try:
            head[:-3].decode("utf-8")
        except UnicodeDecodeError:
            return None
    return "text"
