"""Corrections of concepts that differ between images, for the tests of bottlenecks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def corrected(count: int, concepts: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return values and a mask (1: corrected) by which images differ, each (images, concepts)."""
    rng = np.random.default_rng(1)
    return rng.random((count, concepts), np.float32), rng.integers(0, 2, (count, concepts)).astype(np.float32)
