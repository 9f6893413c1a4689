"""Metrics of ranks in every replicate: the area under the ROC curve, average precision, Spearman's correlation.

What a replicate changes is the weight at each rank, never the order: ranks are found once, and the weight at each is a sparse
matrix product. Between two positives it does not matter where a negative stands, so the ranks of a rare finding are as few as its
positives.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medzoo.evaluation.weighting import Floats, Weighting, ratio


def ranking_metrics(
    score: Floats, positive: NDArray[np.bool_], weighting: Weighting, known: NDArray[np.bool_] | None = None
) -> tuple[Floats, Floats]:
    """Return the area under the ROC curve and the average precision of one class, (B,) each.

    Args:
        score: (N,) to rank by.
        positive: (N,) whether a sample has the class.
        weighting: How much each sample counts.
        known: (N,) whose label is known; None: all.

    Returns:
        P(positive ranks above negative), ties half (Mann and Whitney 1947), and Σ (Rₙ − Rₙ₋₁) Pₙ over descending thresholds, as
        scikit-learn defines it; NaN without positive or negative weight.
    """
    known = np.ones(len(score), bool) if known is None else known
    with_it, without = known & positive, known & ~positive
    rising = np.unique(score[with_it])
    steps = len(rising)  # thresholds, from the highest down: where a positive stands
    at = weighting.placed(steps - 1 - np.searchsorted(rising, score[with_it]), steps, with_it)
    first_below = steps - np.searchsorted(rising, score[without])  # the first threshold that a negative is above
    # One more place, for those below every positive.
    passed = weighting.placed(first_below, steps + 1, without)
    ties = np.isin(score[without], rising)
    tied = None
    if ties.any():
        rows = without.copy()
        rows[without] = ties
        tied = weighting.placed(steps - 1 - np.searchsorted(rising, score[rows]), steps, rows)
    area, precision = (np.full(len(weighting.weights), np.nan) for _ in range(2))
    if not steps or not without.any():
        return area, precision
    for block, weights in weighting.blocks(steps):
        positives, above = at @ weights, passed @ weights
        np.cumsum(above, axis=0, out=above)
        negatives, above = above[-1], above[:-1]
        hits = np.cumsum(positives, axis=0)
        both = hits[-1] > 0
        both &= negatives > 0
        total = hits[-1].copy()
        equal = None if tied is None else tied @ weights
        ahead = above if equal is None else above + 0.5 * equal
        pairs = total * negatives - np.einsum("kb,kb->b", positives, ahead)
        area[block] = ratio(np.where(both, pairs, np.nan), total * negatives)
        flagged = hits + above
        if equal is not None:
            flagged += equal
        np.maximum(flagged, 1e-300, out=flagged)  # nothing flagged, nothing hit
        hits /= flagged
        precision[block] = ratio(np.where(both, np.einsum("kb,kb->b", positives, hits), np.nan), total)
    return area, precision


def auroc(score: Floats, positive: NDArray[np.bool_], weights: Floats) -> Floats:
    """Return the area under the ROC curve of one class with weights (B, N); see `ranking_metrics`."""
    return ranking_metrics(score, positive, Weighting(weights))[0]


def average_precision(score: Floats, positive: NDArray[np.bool_], weights: Floats) -> Floats:
    """Return the average precision of one class with weights (B, N); see `ranking_metrics`."""
    return ranking_metrics(score, positive, Weighting(weights))[1]


def spearman(a: Floats, b: Floats, weighting: Weighting, known: NDArray[np.bool_] | None = None) -> Floats:
    """Spearman's rank correlation (1904): Pearson's correlation of mid-ranks.

    Args:
        a: (N,) values.
        b: (N,) values.
        weighting: How often each sample counts.
        known: (N,) whose values are known; None: all.

    Returns:
        (B,); NaN where either does not vary.
    """
    known = np.ones(len(a), bool) if known is None else known
    found = np.full(len(weighting.weights), np.nan)
    if not known.any():
        return found
    places = [np.unique(values[known], return_inverse=True) for values in (a, b)]
    counted = [weighting.placed(place, len(distinct), known) for distinct, place in places]
    own = np.flatnonzero(known) if weighting.codes is None else weighting.codes[known]
    for block, weights in weighting.blocks(int(known.sum())):
        centred, spread = [], []
        for at in (matrix @ weights for matrix in counted):
            ranks = np.cumsum(at, axis=0)
            total = ranks[-1].copy()
            ranks -= 0.5 * at  # equal values share the middle of theirs
            ranks -= 0.5 * total  # which is their mean
            centred.append(ranks)
            spread.append(np.einsum("kb,kb,kb->b", at, ranks, ranks))
        shared = np.einsum("nb,nb,nb->b", weights[own], centred[0][places[0][1]], centred[1][places[1][1]])
        flat = np.minimum(spread[0], spread[1]) <= 1e-9 * np.maximum(total, 1)
        found[block] = ratio(shared, np.sqrt(np.where(flat, 0, spread[0] * spread[1])))
    return found
