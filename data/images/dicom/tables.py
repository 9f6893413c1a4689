"""Look-up tables of DICOM (modality, VOI and palette): read from an item, applied to stored values.

Written out, because pydicom's functions count entries in the type of the table (an 8-bit table of more than 256 entries wraps
around), want 16 bits for every 8-bit entry of VR OW, and take one palette's description for all three.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ImageError


@dataclass(frozen=True)
class Table:
    """One look-up table.

    Attributes:
        entries: (n,) uint16.
        first: The value that the first entry stands for; values below it get the first entry, those above the last the last.
        bits: How many bits an entry has by the table's description.
    """

    entries: NDArray[np.uint16]
    first: int
    bits: int

    def __call__(self, values: NDArray[Any]) -> NDArray[np.uint16]:
        """Return the entries for values of any shape; what lies between two whole numbers counts as the lower one."""
        whole = values if values.dtype.kind in "iu" else np.floor(values)
        found: NDArray[np.uint16] = self.entries[np.clip(whole.astype(np.int64) - self.first, 0, len(self.entries) - 1)]
        return found


def read_table(
    item: Any, name: str, *, descriptor: str = "LUTDescriptor", data: str = "LUTData", little: bool = True, lowest: float = 0
) -> Table:
    """Read a table.

    Args:
        item: The data set that holds it.
        name: What to call the file in a message.
        descriptor: Keyword of its description: entries, first value, bits.
        data: Keyword of its entries.
        little: The byte order of entries that are given as bytes.
        lowest: The lowest value that may be looked up; where it is negative, a first value above 32767 is a negative one.

    Raises:
        ImageError: If description or entries are missing, not numbers or contradict each other; names the file and the element.
    """
    try:
        count, first, bits = (int(value) for value in item.get(descriptor))
        count = (count & 0xFFFF) or 1 << 16
        first = first - (1 << 16) if first > 32767 and lowest < 0 else first
        given = item.get(data)
        if not 1 <= bits <= 16:
            raise ValueError(f"{bits} bits an entry")
        if isinstance(given, bytes | bytearray):
            entries = unpack(bytes(given), count, bits, little)
        else:
            entries = np.asarray([given] if isinstance(given, int) else list(given), dtype=np.int64).astype(np.uint16)
        if not len(entries):
            raise ValueError("no entries")
        if len(entries) < count:
            raise ValueError(f"{len(entries)} entries, {count} are described")
    except Exception as error:
        what = error or type(error).__name__
        raise ImageError(f"{name}: its look-up table ({descriptor}, {data}) is damaged ({what})") from None
    return Table(entries[:count], first, bits)


def unpack(given: bytes, count: int, bits: int, little: bool) -> NDArray[np.uint16]:
    """Return entries given as bytes: two each, or one each where the entries have 8 bits and there are no more bytes."""
    if len(given) >= 2 * count:
        return np.frombuffer(given, "<u2" if little else ">u2", count=count).astype(np.uint16)
    if bits > 8:
        return np.frombuffer(given[: len(given) // 2 * 2], "<u2" if little else ">u2").astype(np.uint16)
    swapped = given
    if not little and len(given) % 2 == 0:  # two entries to a word, and words are turned
        swapped = np.frombuffer(given, ">u2").astype("<u2").tobytes()
    return np.frombuffer(swapped, np.uint8).astype(np.uint16)
