"""Intervals by the percentile bootstrap over groups (Efron and Tibshirani 1993, chapter 13; whole groups are redrawn).

Samples of one patient are not independent; redrawing patients instead of images keeps intervals honest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from medzoo.data.seeding import generator
from medzoo.evaluation.metrics import Floats, Scored, all_metrics

CHUNK_VALUES = 4_000_000
"""Weights held at once (32 MB a copy), whatever the number of samples and replicates."""


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
    data: Scored, groups: Sequence[str], *, replicates: int, seed: int, bins: int
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Compute every metric on every replicate; see `all_metrics` for what comes back, with B = replicates.

    Returns empty dicts with fewer than two groups, for which there is no interval.
    """
    codes = group_codes(groups)
    if not len(codes) or codes.max() < 1 or replicates < 1:
        return {}, {}
    parts = [all_metrics(data, weights, bins) for weights in replicate_weights(codes, replicates, seed)]
    classes = {name: np.concatenate([part[0][name] for part in parts]) for name in parts[0][0]}
    overall = {name: np.concatenate([part[1][name] for part in parts]) for name in parts[0][1]}
    return classes, overall


def interval(values: Floats, level: float) -> tuple[float, float] | None:
    """Return the percentile interval of replicate values, undefined ones left out; None if fewer than half are defined."""
    defined = values[~np.isnan(values)]
    if len(defined) < max(2, len(values) / 2):
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
