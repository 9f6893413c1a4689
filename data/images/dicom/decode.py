"""DICOM bytes to pixels: what `medzoo.data.images.frames` calls."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from medzoo.data.errors import ImageError
from medzoo.data.images.dicom.colour import to_rgb
from medzoo.data.images.dicom.gray import has_window, range_without_window, to_gray
from medzoo.data.images.dicom.header import MAX_INFLATED, deflated_at, of_frame, open_header, whole, word
from medzoo.data.images.dicom.stored import GRAY, MAX_FRAMES, check_frames, check_header, stored_values
from medzoo.data.images.opened import Opened


class DicomFile(Opened):
    """A DICOM file.

    Stored values are rescaled (modality LUT or slope and intercept, PS3.3 C.11.1), then windowed: by `window` if given, else
    by the file's own VOI LUT or first window that is possible (C.11.2), else over the range that `range_of` names. What
    stands in functional groups counts as at the top: for each frame that of its own item. MONOCHROME1 is inverted, so that high
    values are bright in every result.

    Args:
        data: The file's bytes.
        name: What to call it in a message.
        max_pixels: Rows × columns above which nothing is decoded.

    Raises:
        ImageError: If it is no DICOM file, has no pixels or an impossible header.
        ImageDependencyError: If pydicom is not installed.
    """

    what = "frames"

    def __init__(self, data: bytes, name: str, max_pixels: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's remarks on values: what is wrong with one is said where it is used
            self._header = open_header(data, name)
            super().__init__(name, check_header(self._header, max_pixels, name), max_pixels)

    def check(self) -> None:
        """Refuse frames that the file does not hold."""
        if self.count == 1:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                check_frames(self._header, self.count, self.name)
            except ImageError:
                raise
            except Exception as error:  # pydicom converts when asked
                raise ImageError(f"{self.name}: its frames cannot be counted ({error or type(error).__name__})") from None

    def sides(self, frame: int) -> tuple[int, int]:
        """Return Rows and Columns, which are those of every frame."""
        return whole(self._header, "Rows", self.name), whole(self._header, "Columns", self.name)

    def pixels(self, frame: int, window: tuple[float, float] | None) -> NDArray[Any]:
        """Decode a frame.

        Args:
            frame: From 0.
            window: (low, high) in rescaled units, of a file that has only real-world values in those; of colours of more than 8
                bits in stored values; or None.

        Returns:
            (H, W, 1) float32 in 0..1 for gray images; (H, W, 3) uint8 for colour, float32 where the window scaled it.

        Raises:
            ImageError: If the pixels are damaged.
            ImageDependencyError: If what decodes their compression is not installed.
        """
        header, name = self._header, self.called(frame)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            said = of_frame(header, frame, name)
            try:
                stored = stored_values(header, frame, self.count, self.max_pixels, name)
                if word(header, "PhotometricInterpretation") in GRAY:
                    return to_gray(header, said, stored, window, name)[..., None]
                return to_rgb(header, stored, window, name)
            except ImageError:
                raise
            except Exception as error:
                raise ImageError(f"{name}: its pixels cannot be decoded ({error or type(error).__name__})") from None


def declared_frames(path: Path) -> int:
    """Return how many frames a file says it holds, from its beginning; 1 where it cannot hold so many or cannot be read.

    This is for a list of what files hold; what is wrong with one, decoding says.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from pydicom.filereader import read_partial

            size = path.stat().st_size
            with path.open("rb") as file:
                if deflated_at(file) is not None:
                    file.seek(0)
                    header, size = open_header(file.read(), str(path), pixels=False), MAX_INFLATED
                else:
                    file.seek(0)
                    header = read_partial(file, lambda tag, _kind, _length: tag.group > 0x0028, force=True)
            keywords = ("NumberOfFrames", "Rows", "Columns", "BitsAllocated")
            frames, rows, columns, bits = (whole(header, keyword, str(path), usual=1) for keyword in keywords)
            syntax = header.file_meta.get("TransferSyntaxUID")
            least = 8 if syntax is not None and syntax.is_encapsulated else rows * columns * bits // 8
            return frames if 1 < frames <= MAX_FRAMES and frames * least <= size else 1
        except Exception:  # a parser fed with hostile bytes may raise anything
            return 1


def unpixelled(data: bytes, name: str) -> Any:
    """Return the data set of a DICOM file without its pixels, for `range_of`; None where it cannot be read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return open_header(data, name, pixels=False)
        except Exception:  # decoding says what is wrong
            return None


def range_of(header: Any, name: str, frame: int | None = 0) -> str | None:
    """Return in words what range is taken for a gray file that says none; None where it says one, or cannot be read.

    Args:
        header: As `unpixelled` returns it.
        name: What to call the file in a message.
        frame: Which is asked about, from 0; None: all of them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if word(header, "PhotometricInterpretation") not in GRAY:
                return None
            ranges = set[str]()
            frames = range(min(MAX_FRAMES, whole(header, "NumberOfFrames", name, usual=1)))
            for one in frames if frame is None else (frame,):
                said = of_frame(header, one, name)
                if not has_window(header, said, name):
                    ranges.add(range_without_window(header, said, name)[2])
            return " and ".join(sorted(ranges)) or None
        except Exception:  # decoding says what is wrong
            return None
