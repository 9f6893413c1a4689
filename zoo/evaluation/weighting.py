"""How much each sample counts in each replicate, and sums over samples that are taken over groups instead.

Samples of one group have one weight, so a weighted sum over samples is one over groups of what each group adds up to: the matrix
product that makes 1,000 replicates of it is as much smaller as groups are fewer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BLOCK_VALUES = 400_000
"""Values of one array that a metric of ranks works on at once: a few MB, which stay in the processor's cache."""


@dataclass(frozen=True)
class Weighting:
    """Weights of groups, or of samples.

    Attributes:
        weights: (B, G) non-negative, how much each group counts in each replicate.
        codes: (N,) each sample's group, 0..G-1; None: each sample is its own, in order.
    """

    weights: Floats
    codes: NDArray[np.int64] | None = None

    def sums(self, values: Floats) -> Floats:
        """Return the weighted sums, (B,) or (B, C), of values (N,) or (N, C)."""
        if self.codes is None:
            return np.asarray(self.weights @ values)
        return np.asarray(self.weights @ (self._into @ values))

    @cached_property
    def _into(self) -> Any:
        """What adds up the rows of each group; made once for all metrics."""
        assert self.codes is not None
        return rows_into(self.codes, self.weights.shape[1])

    def placed(self, place: NDArray[np.int64], places: int, rows: NDArray[np.bool_]) -> Any:
        """Return a sparse (places, G) matrix; times weights (G, b) it gives the weight at each place.

        Args:
            place: (n,) where each chosen sample stands, 0..places-1.
            places: How many there are.
            rows: (N,) which samples are chosen.
        """
        # Not above: a runtime that only shows numbers has no scipy.
        from scipy import sparse

        own = np.flatnonzero(rows) if self.codes is None else self.codes[rows]
        return sparse.csr_array((np.ones(len(place)), (place, own)), shape=(places, self.weights.shape[1]))

    def blocks(self, height: int) -> Iterator[tuple[slice, Floats]]:
        """Yield weights (G, b), replicates side by side in memory, so few that (height, b) values stay in the cache."""
        replicates, groups = self.weights.shape
        width = max(1, BLOCK_VALUES // max(height, groups, 1))
        for start in range(0, replicates, width):
            chosen = slice(start, start + width)
            yield chosen, np.ascontiguousarray(self.weights[chosen].T)


def rows_into(codes: NDArray[np.int64], groups: int) -> Any:
    """Return a sparse (G, N) matrix that adds up the rows of each group."""
    # Not above: a runtime that only shows numbers has no scipy.
    from scipy import sparse

    return sparse.csr_array((np.ones(len(codes)), (codes, np.arange(len(codes)))), shape=(groups, len(codes)))


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Divide; NaN where the denominator is not above 0."""
    found: Floats = np.divide(numerator, denominator, out=np.full(np.shape(numerator), np.nan), where=denominator > 0)
    return found
