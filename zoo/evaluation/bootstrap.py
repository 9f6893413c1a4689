"""Intervals by the percentile bootstrap over groups (Efron and Tibshirani 1993, chapter 13; whole groups are redrawn).

Samples of one patient are not independent; redrawing patients instead of images keeps intervals honest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medzoo.data.seeding import generator
from medzoo.evaluation.metrics import Floats, Scored, all_metrics

CHUNK_VALUES = 4_000_000
"""Weights held at once (32 MB a copy), whatever the number of samples and replicates."""


class Asked(Protocol):
    """Settings of a verb that makes intervals."""

    replicates: int
    level: float
    seed: int


@dataclass(frozen=True)
class Interval:
    """How intervals are made.

    Attributes:
        replicates: Bootstrap replicates over groups; 0: no intervals.
        level: Coverage, above 0 and below 1.
        seed: Of the bootstrap.
    """

    replicates: int = 1000
    level: float = 0.95
    seed: int = 0

    @classmethod
    def of(cls, settings: Asked) -> Interval:
        """Return what a verb's settings ask for."""
        return cls(settings.replicates, settings.level, settings.seed)

    def bounds(self, values: Floats | None) -> tuple[float, float] | tuple[None, None]:
        """Return the percentile interval of (B,) replicate values, undefined ones left out.

        Both ends are None without replicates, or if fewer than half of them are defined.
        """
        defined = np.empty(0) if values is None else values[~np.isnan(values)]
        if values is None or len(defined) < max(2, len(values) / 2):
            return None, None
        low, high = np.quantile(defined, [(1 - self.level) / 2, (1 + self.level) / 2])
        return float(low), float(high)

    def described(self, value: float | None, drawn: Floats | None) -> dict[str, Any]:
        """Return `value`, `low` and `high` of a metric and its (B,) replicates, JSON-ready; None where it is undefined."""
        if value is None or np.isnan(value):
            return {"value": None, "low": None, "high": None}
        low, high = self.bounds(drawn)
        return {"value": float(value), "low": low, "high": high}


DEFAULT_INTERVAL = Interval()
NO_INTERVAL = Interval(replicates=0)
"""For a value alone."""


def value_text(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """Return a metric as text: `0.912 [0.870, 0.951]`, `0.912` without an interval, or `undefined`."""
    if value is None:
        return "undefined"
    return f"{value:.3f}" if low is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def group_codes(groups: Sequence[str]) -> NDArray[np.int64]:
    """Return each sample's group as 0..G-1, by sorted name."""
    return np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1].astype(np.int64)


def replicate_weights(codes: NDArray[np.int64], replicates: int, seed: int) -> Iterator[Floats]:
    """Yield weights (b, N) in chunks: how often each sample's group was drawn, with replacement, in each replicate."""
    groups = int(codes.max()) + 1
    rng = generator(seed, "bootstrap", groups)
    chunk = max(1, CHUNK_VALUES // max(len(codes), 1))
    for start in range(0, replicates, chunk):
        draws = rng.integers(groups, size=(min(chunk, replicates - start), groups))
        counts = np.stack([np.bincount(row, minlength=groups) for row in draws])
        yield counts[:, codes].astype(np.float64)


def bootstrap(
    data: Scored, groups: Sequence[str], interval: Interval, bins: int = 15
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Compute every metric on every replicate; see `all_metrics` for what comes back, with B = replicates.

    Returns empty dicts with fewer than two groups, for which there is no interval.
    """
    codes = group_codes(groups)
    if not len(codes) or codes.max() < 1 or interval.replicates < 1:
        return {}, {}
    parts = [all_metrics(data, weights, bins) for weights in replicate_weights(codes, interval.replicates, interval.seed)]
    classes = {name: np.concatenate([part[0][name] for part in parts]) for name in parts[0][0]}
    overall = {name: np.concatenate([part[1][name] for part in parts]) for name in parts[0][1]}
    return classes, overall
