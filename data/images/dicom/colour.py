"""Stored values to RGB of 8 bits: palettes of 8 and 16 bits, plain and in segments; colour of any depth."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ImageError
from medzoo.data.images.dicom.header import whole
from medzoo.data.images.dicom.tables import Table, read_table
from medzoo.data.images.pixels import scale_window

_COLOURS = ("Red", "Green", "Blue")


def to_rgb(
    header: Any, stored: NDArray[Any], window: tuple[float, float] | None, name: str
) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Return a colour image, or one with a palette.

    Args:
        header: The file's data set.
        stored: (H, W) places in the palette, or (H, W, 3) RGB of the header's stored bits.
        window: (low, high) of stored colours of more than 8 bits, which become 0 and 1; None: their upper 8 bits are taken.
        name: What to call it in a message.

    Returns:
        (H, W, 3) uint8, or float32 in 0..1 of what a window scaled.

    Raises:
        ImageError: If the palette is missing or damaged, or the colours are signed.
    """
    if stored.ndim == 2:
        tables = [_palette(header, colour, name) for colour in _COLOURS]
        filled = all(table.entries.max() < 256 for table in tables)
        return np.stack([to_eight_bit(table(stored), _bits_of(table, filled)) for table in tables], axis=-1)
    if whole(header, "PixelRepresentation", name, usual=0) == 1:
        raise ImageError(f"{name}: its colours are signed (PixelRepresentation (0028,0103) is 1), which has no meaning")
    bits = whole(header, "BitsStored", name)
    return to_eight_bit(stored, bits) if window is None or bits <= 8 else scale_window(stored, *window)


def _bits_of(table: Table, filled_as_8: bool) -> int:
    """Return how many bits the entries of a palette have, which its description may not say rightly.

    Args:
        table: A colour's.
        filled_as_8: Whether no entry of any colour is larger than 255.
    """
    if table.bits > 8 and filled_as_8:
        return 8
    # Described as 8 bits, in words of 16 that hold the value in their upper byte, or in both.
    return 16 if int(table.entries.max()) >> table.bits else table.bits


def to_eight_bit(colour: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Return colours of any depth as 8 bits: the upper ones of deeper colours; of shallower ones the range is spread."""
    if bits >= 8:
        upper: NDArray[np.uint8] = (colour >> (bits - 8)).astype(np.uint8)
        return upper
    spread: NDArray[np.uint8] = np.round(colour.astype(np.float32) * (255 / (2**bits - 1))).astype(np.uint8)
    return spread


def _palette(header: Any, colour: str, name: str) -> Table:
    little = header.original_encoding[1] is not False
    described, plain = f"{colour}PaletteColorLookupTableDescriptor", f"{colour}PaletteColorLookupTableData"
    lowest = -1 if whole(header, "PixelRepresentation", name, usual=0) == 1 else 0
    if plain in header or f"Segmented{plain}" not in header:
        return read_table(header, name, descriptor=described, data=plain, little=little, lowest=lowest)
    from pydicom.pixels import apply_color_lut

    try:
        count, first, bits = (int(value) for value in header.get(described))
        count = (count & 0xFFFF) or 1 << 16
        first = first - (1 << 16) if first > 32767 and lowest < 0 else first
        expanded = apply_color_lut(np.arange(first, first + count), header)[:, _COLOURS.index(colour)]
    except Exception as error:  # of pydicom's expansion
        raise ImageError(f"{name}: its palette ({described}) is damaged ({error or type(error).__name__})") from None
    return Table(expanded.astype(np.uint16), first, bits)
