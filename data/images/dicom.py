"""DICOM files to pixels: rescale, window, MONOCHROME1. Needs pydicom (extra `dicom`), imported when first used."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ImageError, MissingDependencyError
from medzoo.data.images.pixels import check_size, scale_window


def decode_dicom(data: bytes, name: str, window: tuple[float, float] | None, max_pixels: int) -> NDArray[Any]:
    """Decode a DICOM file of one frame.

    Stored values are rescaled (modality LUT or slope and intercept, PS3.3 C.11.1), then windowed: by `window` if given, else
    by the file's own VOI LUT or first window (C.11.2), else over the full range of the stored bits. MONOCHROME1 is
    inverted, so that high values are bright in every result.

    Args:
        data: The file's bytes.
        name: What to call it in a message.
        window: (low, high) in rescaled units, or None.
        max_pixels: Rows × columns above which nothing is decoded.

    Returns:
        (H, W, 1) float32 in 0..1 for gray images; (H, W, 3) uint8 for colour.

    Raises:
        ImageError: If it is no DICOM file, has no pixels, several frames or a compression no installed plugin decodes.
        MissingDependencyError: If pydicom is not installed.
    """
    try:
        import pydicom
        from pydicom.pixels import apply_color_lut
    except ImportError:
        raise MissingDependencyError(f"{name}: reading DICOM needs pydicom; pip install 'medzoo[dicom]'") from None
    try:
        header = pydicom.dcmread(BytesIO(data))
    except Exception as error:  # a parser fed with hostile bytes may raise anything
        raise ImageError(f"{name}: not a readable DICOM file ({error or type(error).__name__})") from None
    if "PixelData" not in header:
        raise ImageError(f"{name}: this DICOM file holds no pixels (SOP class {header.get('SOPClassUID', 'unknown')})")
    rows, columns = int(header.get("Rows", 0)), int(header.get("Columns", 0))
    check_size(rows, columns, max_pixels, name)
    frames = int(header.get("NumberOfFrames", None) or 1)
    if frames > 1:
        raise ImageError(f"{name}: holds {frames} frames; give each image a file of its own")
    try:
        stored: NDArray[Any] = header.pixel_array  # colour comes as RGB
        photometric = str(header.PhotometricInterpretation)
        if photometric == "PALETTE COLOR":
            stored = _to_eight_bit(apply_color_lut(stored, header), bits=16)
        if photometric in ("MONOCHROME1", "MONOCHROME2"):
            gray = _window(header, stored, window, name)
            return (1 - gray if photometric == "MONOCHROME1" else gray)[..., None]
        return _to_eight_bit(stored, bits=int(header.BitsStored))
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(f"{name}: its pixels cannot be decoded ({error or type(error).__name__})") from None


def _window(header: Any, stored: NDArray[Any], window: tuple[float, float] | None, name: str) -> NDArray[np.float32]:
    from pydicom.pixels import apply_modality_lut, apply_voi

    values = apply_modality_lut(stored, header)
    if window is not None:
        return scale_window(values, *window)
    if header.get("WindowCenter") is not None and header.get("WindowWidth") is not None:
        centre, width = _first(header.WindowCenter), _first(header.WindowWidth)
        function = str(header.get("VOILUTFunction", "LINEAR"))
        if function == "SIGMOID" and width > 0:
            curve: NDArray[np.float32] = (1 / (1 + np.exp(-4 * (values.astype(np.float64) - centre) / width))).astype(np.float32)
            return curve
        if function == "LINEAR_EXACT" and width > 0:
            return scale_window(values, centre - width / 2, centre + width / 2)
        if function == "LINEAR" and width > 1:
            return scale_window(values, centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2)
        if function == "LINEAR" and width == 1:  # a threshold (C.11.2.1.2.1)
            step: NDArray[np.float32] = (values > centre - 0.5).astype(np.float32)
            return step
        raise ImageError(f"{name}: its window ({function}, width {width:g}) is not valid; give window=[low, high]")
    if header.get("VOILUTSequence"):
        bits = int(header.VOILUTSequence[0].LUTDescriptor[2])
        return scale_window(apply_voi(values, header), 0, 2**bits - 1)
    bits, signed = int(header.BitsStored), int(header.get("PixelRepresentation", 0)) == 1
    ends = np.array([-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if signed else [0, 2**bits - 1], dtype=np.float64)
    if not header.get("ModalityLUTSequence"):
        ends = ends * float(header.get("RescaleSlope", 1) or 1) + float(header.get("RescaleIntercept", 0) or 0)
        return scale_window(values, float(ends.min()), float(ends.max()))
    return scale_window(values, 0, 2 ** int(header.ModalityLUTSequence[0].LUTDescriptor[2]) - 1)


def _first(value: Any) -> float:
    """The first of one or several windows: the one a viewer shows."""
    return float(value[0]) if hasattr(value, "__len__") and not isinstance(value, str) else float(value)


def _to_eight_bit(colour: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    return (colour >> max(0, bits - 8)).astype(np.uint8)
