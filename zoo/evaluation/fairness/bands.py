"""How sure a disparity is: bands that hold all levels at once, and what gaps and spreads are compatible with them.

The largest of many noisy values less the smallest is never 0, in no replicate of a bootstrap either: the percentile interval of
a gap excludes 0 where all levels are alike (in all of 1,500 simulated cohorts). So what is redrawn here are signed differences,
whose band is made wide enough for all of them together by the largest of their standardised deviations in each replicate (max-t:
Westfall and Young 1993; Romano and Wolf 2005). A gap's interval is then the range of gaps within the band.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from medzoo.evaluation.metrics import Floats

Bounds = tuple[float, float]


def half_widths(drawn: Floats, level: float, added: Floats) -> Floats:
    """Return (L,) half-widths of a band that holds all of L quantities at once.

    Args:
        drawn: (B, L) replicates, all defined.
        level: Coverage.
        added: (L,) standard errors beside that of the replicates; see `unseen_error`.
    """
    errors = np.hypot(drawn.std(axis=0, ddof=1), added)
    away = np.abs(drawn - drawn.mean(axis=0))
    largest = np.divide(away, errors, out=np.zeros_like(away), where=errors > 0).max(axis=1)
    widths: Floats = _critical(largest, level) * errors
    return widths


def range_bounds(values: Floats, drawn: Floats, level: float, added: Floats) -> Bounds:
    """Return the least and the largest true range (max − min) of L quantities that their pairwise differences leave possible.

    Args:
        values: (L,) of the whole sample.
        drawn: (B, L) replicates, all defined.
        level: Coverage, of all pairs at once.
        added: (L,) standard errors beside that of the replicates; see `unseen_error`.
    """
    one, other = np.triu_indices(len(values), 1)
    centred, largest, errors = drawn - drawn.mean(axis=0), np.zeros(len(drawn)), np.zeros(len(one))
    for first in range(len(values) - 1):  # a level at a time: all pairs of hundreds of levels would fill the memory
        pairs = one == first
        away = centred[:, other[pairs]] - centred[:, [first]]
        errors[pairs] = np.sqrt(away.var(axis=0, ddof=1) + added[first] ** 2 + added[other[pairs]] ** 2)
        scaled = np.divide(np.abs(away), errors[pairs], out=np.zeros_like(away), where=errors[pairs] > 0)
        largest = np.maximum(largest, scaled.max(axis=1))
    apart, width = np.abs(values[one] - values[other]), _critical(largest, level) * errors
    return max(0.0, float((apart - width).max())), float((apart + width).max())


def spread_bounds(values: Floats, drawn: Floats, level: float, added: Floats) -> Bounds:
    """Return bounds of the standard deviation of L quantities, from the band around each one's distance from their mean."""
    away, redrawn = values - values.mean(), drawn - drawn.mean(axis=1, keepdims=True)
    width = half_widths(redrawn, level, added)
    low, high = np.maximum(np.abs(away) - width, 0), np.abs(away) + width
    return float(np.sqrt((low**2).mean())), float(np.sqrt((high**2).mean()))


def equity_bounds(values: Floats, whole: float, drawn: Floats, drawn_whole: Floats, level: float, added: Floats) -> Bounds:
    """Return bounds of whole / (1 + Σ |whole − value|), from one band around the whole and each difference from it."""
    away, redrawn = values - whole, drawn - drawn_whole[:, None]
    width = half_widths(np.column_stack([redrawn, drawn_whole]), level, np.append(added, 0.0))
    nearest, farthest = np.maximum(np.abs(away) - width[:-1], 0).sum(), (np.abs(away) + width[:-1]).sum()
    return float((whole - width[-1]) / (1 + farthest)), float(min(1.0, (whole + width[-1]) / (1 + nearest)))


def unseen_error(drawn: Floats, groups: NDArray[np.int64]) -> Floats:
    """Return (L,) the standard error that shares without any spread over the replicates are given; 0 for all others.

    Of G groups without one error, up to 3.7 in G may err (the exact 95% interval of a share that was 0 of G: Clopper and Pearson
    1934): that is 1.96 of these standard errors. Else five patients, all right, would be surer than a thousand.
    """
    still = drawn.max(axis=0) - drawn.min(axis=0) <= 1e-12
    error: Floats = np.where(still, 3.7 / 1.96 / np.maximum(groups, 1), 0.0)
    return error


def _critical(largest: Floats, level: float) -> float:
    """Return the quantile of the largest deviations, no less than that of one normal deviate: few replicates may miss it."""
    return max(float(np.quantile(largest, level)), NormalDist().inv_cdf((1 + level) / 2))


def whole_replicates(*drawn: Floats) -> NDArray[np.bool_]:
    """Return (B,) which replicates have every value of (B, ...) arrays; a band is made of those alone."""
    defined = [~np.isnan(part).reshape(len(part), -1).any(axis=1) for part in drawn]
    kept: NDArray[np.bool_] = np.logical_and.reduce(defined)
    return kept
