"""A column of text as samples read it: one at a time, in any order, in every loading process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from medzoo.data.seeding import stable_hash

HELD = 100_000
"""Rows up to which texts are held as Python objects, which are read fastest. Above, they stay packed: a Python object is copied
into every process that so much as looks at it, and a million of them weigh more than most sets of images."""


class TextColumn:
    """Texts of a table's column; a missing one is empty.

    Args:
        column: Of text; one that is mapped from disk stays there.
        hashed: Whether `hash` is asked for, sample by sample: those of held texts are computed here.
    """

    def __init__(self, column: pd.Series, hashed: bool = False) -> None:
        self._hashes: NDArray[np.int64] | None = None
        self._held: NDArray[np.object_] | None = None
        if len(column) <= HELD:
            self._held = column.astype(object).where(column.notna(), "").to_numpy(dtype=object)
            if hashed:
                self._hashes = np.array([stable_hash(text) >> 1 for text in self._held], dtype=np.int64)
        else:
            packed = pa.array(column.array, from_pandas=True)
            self._packed: Any = packed if isinstance(packed, pa.ChunkedArray) else pa.chunked_array([packed])

    def __len__(self) -> int:
        return len(self._packed) if self._held is None else len(self._held)

    def __getitem__(self, index: int) -> str:
        if self._held is not None:
            return str(self._held[index])
        text = self._packed[int(index)].as_py()
        return "" if text is None else str(text)

    def hash(self, index: int) -> int:
        """Return a number below 2⁶³ for a text, the same on every machine."""
        return stable_hash(self[index]) >> 1 if self._hashes is None else int(self._hashes[index])

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> list[str]:
        """Return the texts of some rows."""
        return [self[int(row)] for row in rows]

    def any(self) -> bool:
        """Whether any text is there and not empty."""
        if self._held is not None:
            return any(self._held)
        return bool(pc.max(pc.binary_length(self._packed)).as_py())

    def array(self) -> NDArray[np.object_]:
        """Return all of them, as Python objects."""
        return np.array(self.take(range(len(self))), dtype=object) if self._held is None else self._held
