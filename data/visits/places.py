"""Which row of a table is another visit of the same one: the next, the one before, the one nearest to a span ahead."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]
"""(N,) the place of a row for each row, -1 where there is none."""


def beside(units: Places, order: NDArray[np.float64], steps: int) -> Places:
    """Return the row so many visits later, or with a number below 0 earlier.

    Args:
        units: (N,) whose visit a row is.
        order: (N,) its place in time, no two of a unit alike; a row with NaN is nobody's next, and has none.
        steps: How many visits.
    """
    found = np.full(len(units), -1, np.int64)
    rows = np.lexsort((order, units))
    rows = rows[~np.isnan(order[rows])]
    near, far = (rows[:-steps], rows[steps:]) if steps > 0 else (rows[-steps:], rows[:steps])
    same = units[near] == units[far]
    found[near[same]] = far[same]
    return found


def nearest(units: Places, times: NDArray[np.float64], ahead: float, tolerance: float) -> Places:
    """Return the later visit whose distance is nearest to a span; of two as near the earlier.

    Args:
        units: (N,) whose visit a row is.
        times: (N,) when it was; a row with NaN is nobody's, and has none.
        ahead: The span.
        tolerance: How far from it a visit may be, below the span.
    """
    found = np.full(len(units), -1, np.int64)
    rows = np.lexsort((times, units))
    rows = rows[~np.isnan(times[rows])]
    for own in np.split(rows, np.flatnonzero(np.diff(units[rows])) + 1):
        when = times[own]
        wanted = when + ahead
        after = np.searchsorted(when, wanted).clip(max=len(own) - 1)
        before = (after - 1).clip(min=0)
        best = np.where(np.abs(when[before] - wanted) <= np.abs(when[after] - wanted), before, after)
        near = (np.abs(when[best] - wanted) <= tolerance) & (when[best] > when)
        found[own[near]] = own[best[near]]
    return found


def counted_before(units: Places, order: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how many earlier visits each row has; NaN where it is not known when it was."""
    found = np.full(len(units), np.nan)
    rows = np.lexsort((order, units))
    rows = rows[~np.isnan(order[rows])]
    starts = np.flatnonzero(np.diff(units[rows], prepend=-1))
    sizes = np.diff(np.append(starts, len(rows)))
    found[rows] = np.arange(len(rows)) - np.repeat(starts, sizes)
    return found
