"""Files of several frames: opened by what they are, counted, their frames named `file[0]`, `file[1]`, ...

What becomes of such a file is said by an option of whoever reads it: it is refused, or its frames are images of their own
(*members*), the planes of one volume (*volume*) or the channels of one image (*channels*), in the order in which the file holds
them, turned nowhere.
"""

from __future__ import annotations

import mmap
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from medzoo.data.errors import ImageError
from medzoo.data.images.dicom import DicomFile
from medzoo.data.images.dicom.decode import declared_frames
from medzoo.data.images.kinds import HEAD, NO_FILE, VOLUME_SUFFIXES, is_endless, kind_of
from medzoo.data.images.opened import Opened
from medzoo.data.images.pillow import PillowFile
from medzoo.data.images.pixels import MAX_PIXELS
from medzoo.data.images.tiff.header import read_pages
from medzoo.data.images.tiff.read import TiffFile

Frames = Literal["members", "volume", "channels"]
"""What becomes of a file of several frames, where somebody said so."""
MEMBERS, VOLUME, CHANNELS = "members", "volume", "channels"
_SEVERAL = ("DICOM", "TIFF", "GIF", "WEBP", "PNG")
"""Kinds of which a file may hold several frames."""


@dataclass(frozen=True)
class Frame:
    """One frame of a file, which may be given wherever an image is.

    Attributes:
        source: The file's path, or its bytes.
        number: Which, from 0.
    """

    source: str | Path | bytes
    number: int

    def __str__(self) -> str:
        named = f"image bytes ({len(self.source)} bytes)" if isinstance(self.source, bytes) else str(self.source)
        return frame_name(named, self.number)


def frame_name(name: str, number: int) -> str:
    """Return the name of a frame of a file of several."""
    return f"{name}[{number}]"


def frames_of(source: str | Path | bytes) -> list[Frame]:
    """Return the frames of an image file, or of its bytes, in its order; of a file of one image that one.

    Raises:
        ImageError: If the file is missing, damaged, or does not hold what it says.
    """
    opened = open_image(source, MAX_PIXELS)
    opened.check()
    return [Frame(source, number) for number in range(opened.count)]


def count_frames(path: Path) -> int:
    """Return how many frames a file says it holds, from its header; 1 where it cannot be read: reading it says what is wrong."""
    if path.name.lower().endswith(VOLUME_SUFFIXES):
        return 1
    try:
        with path.open("rb") as file:
            kind = kind_of(file.read(HEAD))
            if kind == "DICOM":
                return declared_frames(path)
            if kind == "TIFF":
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                    return len(read_pages(data, str(path)).pages)
        if kind not in _SEVERAL:
            return 1
        opened = open_image(path, MAX_PIXELS)
        opened.check()
    except (OSError, ValueError, ImageError):  # ValueError: a name with a null byte
        return 1
    return opened.count


def open_image(source: str | Path | bytes, max_pixels: int) -> Opened:
    """Open a file, or its bytes, by the library that reads its kind.

    Args:
        source: A file's path, or its bytes.
        max_pixels: Height × width above which no frame is decoded.

    Raises:
        ImageError: One line naming the file, if it is missing, empty, too large, not an image or damaged at its start.
        MissingDependencyError: For a DICOM file, if pydicom is not installed.
    """
    name = f"image bytes ({len(source)} bytes)" if isinstance(source, bytes) else str(source)
    data = source if isinstance(source, bytes) else read_bytes(Path(source), name)
    if not data:
        raise ImageError(f"{name}: the file is empty (0 bytes)")
    kind = kind_of(data[:HEAD])
    if kind in ("DICOM", "DICOM without pixels") or (kind is None and name.lower().endswith((".dcm", ".dicom"))):
        return DicomFile(data, name, max_pixels)
    return (TiffFile if kind == "TIFF" else PillowFile)(data, name, max_pixels)


def open_frame(frame: Frame, max_pixels: int) -> Opened:
    """Open the file of a frame, as `open_image`; a file of several stays open in this thread until another is asked for.

    Raises:
        ImageError: Also if the file has no such frame.
    """
    key: tuple[object, ...] = (frame.source, max_pixels)
    if not isinstance(frame.source, bytes):
        try:
            status = Path(frame.source).stat()
            key = (*key, status.st_mtime_ns, status.st_size)
        except (OSError, ValueError):  # reading says what is wrong
            pass
    opened: Opened | None = _last.opened if getattr(_last, "key", None) == key else None
    if opened is None:
        close()
        opened = open_image(frame.source, max_pixels)
        opened.check()
        if opened.count > 1:
            _last.key, _last.opened = key, opened
    if not 0 <= frame.number < opened.count:
        raise ImageError(f"{opened.name}: holds {opened.count} {opened.what}, and none is number {frame.number} (from 0)")
    return opened


def close() -> None:
    """Let go of the file that stays open in this thread."""
    _last.key = _last.opened = None


def read_bytes(path: Path, name: str) -> bytes:
    """Return a file's bytes; raises ImageError if it is not there or cannot be read."""
    try:
        if is_endless(path):
            raise ImageError(f"{name}: {NO_FILE}")
        return path.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{name}: there is no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte
        raise ImageError(f"{name}: cannot be read ({getattr(error, 'strerror', None) or error})") from None


_last = threading.local()
