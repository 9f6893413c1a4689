"""Stored values to gray: modality, value of interest, polarity (PS3.3 C.11.1, C.11.2, C.11.6, C.7.6.16.2.9 to .11)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ImageError
from medzoo.data.images.dicom.header import numbers, placed_numbers, whole, word
from medzoo.data.images.dicom.tables import read_table
from medzoo.data.images.pixels import refuse_not_finite, scale_window

HOUNSFIELD = (-1024.0, 3071.0)
"""The range of a CT that says none: what 12 bits hold with the usual intercept, so that nothing of it is clipped."""


def to_gray(header: Any, said: Any, stored: NDArray[Any], window: tuple[float, float] | None, name: str) -> NDArray[np.float32]:
    """Return one frame as gray.

    Args:
        header: The file's data set.
        said: What it says of the frame; see `of_frame`.
        stored: (H, W) stored values.
        window: (low, high) in rescaled units, which is taken instead of what the file says; or None.
        name: What to call it in a message.

    Returns:
        (H, W) in 0..1, high values bright.

    Raises:
        ImageError: If what the file says of its values is damaged, or nothing says what becomes black and white.
    """
    refuse_not_finite(stored, name)
    values = _modality(header, said, stored, name)
    if window is not None:
        gray = scale_window(_real_world(said, values, name), *window)
    else:
        found = _of_interest(header, said, stored, values, name)
        if found is None:
            if stored.dtype.kind == "f":
                raise ImageError(f"{name}: float pixels have no declared range; train with data.window=[low, high]")
            low, high, _ = range_without_window(header, said, name)
            found = scale_window(values, low, high)
        gray = found
    inverse = word(said, "PhotometricInterpretation") == "MONOCHROME1" or word(header, "PresentationLUTShape") == "INVERSE"
    return 1 - gray if inverse else gray


def has_window(header: Any, said: Any, name: str) -> bool:
    """Whether the file itself says what becomes black and white: a VOI LUT or a window that is possible."""
    return _table_of_interest(said) is not None or bool(_windows(said, name))


def range_without_window(header: Any, said: Any, name: str) -> tuple[float, float, str]:
    """Return what becomes black and white where the file does not say, and in words why.

    That is the full range of the stored bits, rescaled; of a CT in Hounsfield units what of it lies within `HOUNSFIELD`.
    """
    item = _first_item(said, "ModalityLUTSequence")
    bits = whole(said, "BitsStored", name)
    if item is not None:
        depth = read_table(item, name, little=_little(header)).bits
        return 0, 2**depth - 1, f"0..{2**depth - 1}, the {depth} bits of its modality LUT"
    slope, intercept = _rescale(said, name)
    low, high = sorted(end * slope + intercept for end in _ends(said, name))
    if not low < high:  # an intercept so large that adding to it changes nothing
        raise ImageError(
            f"{name}: its RescaleSlope (0028,1053) {slope:g} and RescaleIntercept (0028,1052) {intercept:g} make all "
            "its values one"
        )
    if word(header, "Modality") == "CT" and low < 0 < high and word(said, "RescaleType") in ("", "HU"):
        low, high = max(low, HOUNSFIELD[0]), min(high, HOUNSFIELD[1])
        return low, high, f"{low:g}..{high:g}, a CT's Hounsfield units"
    return low, high, f"{low:g}..{high:g}, all {bits} stored bits"


def _ends(said: Any, name: str) -> tuple[float, float]:
    """Return the lowest and the highest value that the stored bits can hold."""
    bits = whole(said, "BitsStored", name)
    half = 2 ** (bits - 1)
    return (-half, half - 1) if whole(said, "PixelRepresentation", name, usual=0) == 1 else (0, 2 * half - 1)


def _modality(header: Any, said: Any, stored: NDArray[Any], name: str) -> NDArray[Any]:
    item = _first_item(said, "ModalityLUTSequence")
    if item is not None:
        lowest = float(stored.min()) if stored.dtype.kind == "f" else _ends(said, name)[0]
        return read_table(item, name, little=_little(header), lowest=lowest)(stored)
    slope, intercept = _rescale(said, name)
    if (slope, intercept) == (1, 0):
        return stored
    values: NDArray[np.float64] = stored.astype(np.float64) * slope + intercept
    if not np.isfinite(values).all():
        raise ImageError(f"{name}: its RescaleSlope (0028,1053) {slope:g} takes its values beyond all numbers")
    return values


def _rescale(said: Any, name: str) -> tuple[float, float]:
    slopes, intercepts = numbers(said, "RescaleSlope", name), numbers(said, "RescaleIntercept", name)
    slopes = slopes or numbers(said, "DoseGridScaling", name)  # of a dose (C.8.8.3)
    slope = slopes[0] if slopes else 1.0
    if slope == 0:
        raise ImageError(
            f"{name}: its RescaleSlope (0028,1053) or DoseGridScaling (3004,000E) is 0, which makes all its values one"
        )
    return slope, intercepts[0] if intercepts else 0.0


def _real_world(said: Any, values: NDArray[Any], name: str) -> NDArray[Any]:
    """Return real-world values (C.7.6.16.2.11) of a file that says nothing else of what its values mean."""
    mappings = list(said.get("RealWorldValueMappingSequence") or [])
    told = ("RescaleSlope", "RescaleIntercept")
    if not mappings or _first_item(said, "ModalityLUTSequence") is not None or any(numbers(said, k, name) for k in told):
        return values
    lines = {
        (tuple(numbers(item, "RealWorldValueSlope", name)), tuple(numbers(item, "RealWorldValueIntercept", name)))
        for item in mappings
    }
    slope, intercept = next(iter(lines))
    if len(lines) > 1 or len(slope) != 1 or len(intercept) != 1 or slope[0] == 0:
        raise ImageError(f"{name}: its real-world value mapping (0040,9096) is not one line; save it with a rescale slope")
    return values.astype(np.float64) * slope[0] + intercept[0]


def _of_interest(header: Any, said: Any, stored: NDArray[Any], values: NDArray[Any], name: str) -> NDArray[np.float32] | None:
    """Return 0..1 by the file's VOI LUT, else by its first window that is possible; None where it has neither."""
    item = _table_of_interest(said)
    if item is not None:
        table = read_table(item, name, little=_little(header), lowest=_lowest(said, stored, values, name))
        return scale_window(table(values), 0, 2**table.bits - 1)
    windows = _windows(said, name)
    if not windows:
        return None
    (centre, width), function = windows[0], word(said, "VOILUTFunction") or "LINEAR"
    if function == "SIGMOID":
        power = np.clip(-4 * (values.astype(np.float64) - centre) / width, -700, 700)
        curve: NDArray[np.float32] = (1 / (1 + np.exp(power))).astype(np.float32)
        return curve
    if function == "LINEAR_EXACT":
        return scale_window(values, centre - width / 2, centre + width / 2)
    if width == 1:  # a threshold (C.11.2.1.2.1)
        step: NDArray[np.float32] = (values > centre - 0.5).astype(np.float32)
        return step
    return scale_window(values, centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2)


def _lowest(said: Any, stored: NDArray[Any], values: NDArray[Any], name: str) -> float:
    """Return the lowest value that a VOI LUT may be asked for: of all that the file could hold, whatever this frame does."""
    if stored.dtype.kind == "f":
        return float(values.min())
    if _first_item(said, "ModalityLUTSequence") is not None:  # whose entries are unsigned (C.11.1.1.1)
        return 0
    slope, intercept = _rescale(said, name)
    return min(end * slope + intercept for end in _ends(said, name))


def _windows(said: Any, name: str) -> list[tuple[float, float]]:
    """Return the (centre, width) that are possible, in the file's order: width at least 1, of a curve above 0."""
    placed = zip(placed_numbers(said, "WindowCenter", name), placed_numbers(said, "WindowWidth", name), strict=False)
    pairs = [(centre, width) for centre, width in placed if centre is not None and width is not None]
    if not pairs:
        return []
    function = word(said, "VOILUTFunction") or "LINEAR"
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise ImageError(f"{name}: its VOILUTFunction (0028,1056) {function!r} is not LINEAR, LINEAR_EXACT or SIGMOID")
    return [(centre, width) for centre, width in pairs if (width >= 1 if function == "LINEAR" else width > 0)]


def _table_of_interest(said: Any) -> Any:
    item = _first_item(said, "VOILUTSequence")
    return item if item is not None and item.get("LUTDescriptor") and item.get("LUTData") is not None else None


def _first_item(said: Any, keyword: str) -> Any:
    items = said.get(keyword)
    return items[0] if items else None


def _little(header: Any) -> bool:
    return bool(header.original_encoding[1] is not False)
