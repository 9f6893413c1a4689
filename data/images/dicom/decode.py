"""DICOM bytes to pixels: what `medzoo.data.images.decode` calls."""

from __future__ import annotations

import warnings
from typing import Any

from numpy.typing import NDArray

from medzoo.data.errors import ImageError
from medzoo.data.images.dicom.colour import to_rgb
from medzoo.data.images.dicom.gray import has_window, range_without_window, to_gray
from medzoo.data.images.dicom.header import of_frame, open_header, word
from medzoo.data.images.dicom.stored import GRAY, check_header, stored_values


def decode_dicom(data: bytes, name: str, window: tuple[float, float] | None, max_pixels: int) -> NDArray[Any]:
    """Decode a DICOM file of one frame.

    Stored values are rescaled (modality LUT or slope and intercept, PS3.3 C.11.1), then windowed: by `window` if given, else
    by the file's own VOI LUT or first window that is possible (C.11.2), else over the range that `assumed_range` names. What
    stands in functional groups counts as at the top. MONOCHROME1 is inverted, so that high values are bright in every result.

    Args:
        data: The file's bytes.
        name: What to call it in a message.
        window: (low, high) in rescaled units, of a file that has only real-world values in those; or None.
        max_pixels: Rows × columns above which nothing is decoded.

    Returns:
        (H, W, 1) float32 in 0..1 for gray images; (H, W, 3) uint8 for colour.

    Raises:
        ImageError: If it is no DICOM file, has no pixels, several frames, an impossible header or damaged pixels.
        ImageDependencyError: If pydicom or what decodes its compression is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's remarks on values: what is wrong with one is said where it is used
        header = open_header(data, name)
        check_header(header, max_pixels, name)
        said = of_frame(header, 0, name)
        try:
            stored = stored_values(header, max_pixels, name)
            if word(header, "PhotometricInterpretation") in GRAY:
                return to_gray(header, said, stored, window, name)[..., None]
            return to_rgb(header, stored, name)
        except ImageError:
            raise
        except Exception as error:
            raise ImageError(f"{name}: its pixels cannot be decoded ({error or type(error).__name__})") from None


def assumed_range(data: bytes, name: str) -> str | None:
    """Return in words what range is taken for a gray file that says none; None where it says one, or cannot be read.

    Args:
        data: The file's bytes, or its beginning up to the pixels.
        name: What to call it in a message.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            header = open_header(data, name, pixels=False)
            said = of_frame(header, 0, name)
            if word(header, "PhotometricInterpretation") not in GRAY or has_window(header, said, name):
                return None
            return range_without_window(header, said, name)[2]
        except Exception:  # decoding says what is wrong
            return None
