"""DeLong's test: whether two scores of the same samples have different areas under the ROC curve.

DeLong, DeLong and Clarke-Pearson (1988, Biometrics 44), by mid-ranks as Sun and Xu (2014, IEEE Signal Processing Letters 21). It
takes every image to be independent: where patients have several images it finds more than there is, and stands beside a test that
redraws patients as a cross-check alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from medzoo.evaluation.weighting import Floats


@dataclass(frozen=True)
class DeLong:
    """What the test says.

    Attributes:
        areas: Of the first score and of the second.
        difference: Second less first.
        standard_error: Of the difference.
        z: Difference in standard errors; None where the error is 0.
        p: Two-sided; 1 where the scores rank alike, None where they part without any spread.
    """

    areas: tuple[float, float]
    difference: float
    standard_error: float
    z: float | None
    p: float | None


def delong(first: Floats, second: Floats, positive: NDArray[np.bool_]) -> DeLong | None:
    """Test two scores (N,) of the same samples, some of which are positive (N,); None with fewer than 2 of either kind."""
    m, n = int(positive.sum()), int((~positive).sum())
    if m < 2 or n < 2:
        return None
    with_it, without = zip(*(_components(score, positive) for score in (first, second)), strict=True)
    areas = (float(with_it[0].mean()), float(with_it[1].mean()))
    spread = np.var(with_it[1] - with_it[0], ddof=1) / m + np.var(without[1] - without[0], ddof=1) / n
    difference, error = areas[1] - areas[0], float(np.sqrt(spread))
    if error <= 1e-12:
        return DeLong(areas, difference, error, None, 1.0 if abs(difference) <= 1e-12 else None)
    z = difference / error
    return DeLong(areas, difference, error, z, 2 * NormalDist().cdf(-abs(z)))


def _components(score: Floats, positive: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return of each positive the share of negatives below it, of each negative that of positives above it; ties half."""
    ranks = _mid_ranks(score)
    own, others = _mid_ranks(score[positive]), _mid_ranks(score[~positive])
    return (ranks[positive] - own) / len(others), 1 - (ranks[~positive] - others) / len(own)


def _mid_ranks(values: Floats) -> Floats:
    """Return ranks from 1, equal values sharing the middle of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - 0.5 * (counts - 1))[place])
