"""Metrics over weighted samples, vectorised: one row of weights is one bootstrap replicate.

Each function takes `weights` (B, N), non-negative float64, and returns (B,) or (B, K) float64, NaN where undefined (a class
without positives or without negatives, a quantity without spread). Ones give the plain metric. Missing entries get weight 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import EvaluationError
from medzoo.data.labels import LabelSpace, log_sum_exp

Floats = NDArray[np.float64]

WITH_UNIT = ("mae", "rmse")
"""Metrics of quantities that are in the quantity's unit."""


@dataclass(frozen=True)
class Scored:
    """Targets and outputs in the form the metrics take.

    Attributes:
        labels: What the columns mean.
        truth: (N, K) float64 targets in 0..1 (hard, 0 or 1, for exclusive and multilabel labels) or values; 0 where missing.
        observed: (N, K) bool.
        scores: (N, K) float64 for ranking: log-odds of the class, free of the ties that saturated probabilities have.
        probabilities: (N, K) float64; the values themselves for regression.
        tied: Soft targets whose largest class is not unique, left out of every metric that needs one class.
        soft: (N, K) soft targets of exclusive labels as they are, NaN rows where missing; None when every target is hard.
    """

    labels: LabelSpace
    truth: Floats
    observed: NDArray[np.bool_]
    scores: Floats
    probabilities: Floats
    tied: int = 0
    soft: Floats | None = None


def scored(labels: LabelSpace, targets: NDArray[np.float32], logits: NDArray[np.float32]) -> Scored:
    """Prepare (N, K) targets, NaN where missing, and (N, K) logits; EvaluationError if shapes differ or a logit is not finite."""
    truth, values = np.asarray(targets, np.float64), np.asarray(logits, np.float64)
    if truth.shape != values.shape or truth.ndim != 2 or truth.shape[1] != labels.width:
        raise EvaluationError(f"targets {truth.shape} and logits {values.shape} are not both (N, {labels.width})")
    if not np.isfinite(values).all():
        raise EvaluationError(f"{int((~np.isfinite(values)).any(axis=1).sum())} samples have logits that are not finite")
    observed, tied = ~np.isnan(truth), 0
    if labels.kind == "regression":
        return Scored(labels, np.nan_to_num(truth), observed, values, values)
    if labels.kind == "multilabel":
        hard = observed & ((truth == 0) | (truth == 1))
        shares = np.exp(-np.logaddexp(0.0, -values))  # in the logarithm, as the softmax below: small ones keep their digits
        return Scored(labels, np.where(hard, truth, 0.0), hard, values, shares, int((observed & ~hard).sum()))
    labelled: NDArray[np.bool_] = np.asarray(observed.all(axis=1))
    filled = np.where(labelled[:, None], truth, 0.0)
    top = filled == filled.max(axis=1, keepdims=True)
    unique = labelled & (top.sum(axis=1) == 1)
    tied = int((labelled & ~unique).sum())
    shifted = values - values.max(axis=1, keepdims=True)
    total = log_sum_exp(shifted)[:, None]
    others = np.stack([log_sum_exp(np.delete(shifted, k, axis=1)) for k in range(labels.width)], axis=1)
    hard = np.where(unique[:, None], top, 0).astype(np.float64)
    any_soft = bool(((filled > 0) & (filled < 1)).any())
    return Scored(
        labels, hard, np.repeat(unique[:, None], labels.width, axis=1), shifted - others, np.exp(shifted - total), tied,
        np.where(labelled[:, None], truth, np.nan) if any_soft else None,
    )  # fmt: skip


def auroc(score: Floats, positive: NDArray[np.bool_], weights: Floats) -> Floats:
    """Area under the ROC curve of one class: P(positive ranks above negative), ties half (Mann and Whitney 1947).

    Scores and flags (N,) with weights (B, N) → (B,); NaN without positive or negative weight.
    """
    positives, negatives = _by_rank(score, positive, weights)
    below = np.cumsum(negatives, axis=1) - 0.5 * negatives
    pairs = positives.sum(axis=1) * negatives.sum(axis=1)
    return _ratio((positives * below).sum(axis=1), pairs)


def average_precision(score: Floats, positive: NDArray[np.bool_], weights: Floats) -> Floats:
    """Average precision of one class: Σ (Rₙ − Rₙ₋₁) Pₙ over descending thresholds, as scikit-learn defines it.

    Returns:
        (B,); NaN without positive or negative weight.
    """
    positives, negatives = (part[:, ::-1] for part in _by_rank(score, positive, weights))
    hits = np.cumsum(positives, axis=1)
    flagged = hits + np.cumsum(negatives, axis=1)
    precision = np.divide(hits, flagged, out=np.zeros_like(hits), where=flagged > 0)
    value = _ratio((positives * precision).sum(axis=1), positives.sum(axis=1))
    return np.where(negatives.sum(axis=1) > 0, value, np.nan)


def confusion(predicted: NDArray[np.bool_], truth: NDArray[np.bool_], weights: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return weighted true positives, false positives, false negatives, true negatives of one class, each (B,)."""
    cells = np.stack([predicted & truth, predicted & ~truth, ~predicted & truth, ~predicted & ~truth], axis=1)
    counts = weights @ cells.astype(np.float64)
    return counts[:, 0], counts[:, 1], counts[:, 2], counts[:, 3]


def calibration_error(confidence: Floats, correct: Floats, weights: Floats, bins: int) -> Floats:
    """Expected calibration error with equal-width bins (Naeini et al. 2015; Guo et al. 2017, equation 3).

    Confidences (N,) in 0..1, whether they are correct (N,), 0 or 1, and weights (B, N) → (B,); NaN without weight. Each of the
    `bins` holds (low, high], the first also 0.
    """
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    member = np.zeros((len(confidence), bins))
    member[np.arange(len(confidence)), place] = 1.0
    gap = weights @ (member * (correct - confidence)[:, None])
    return _ratio(np.abs(gap).sum(axis=1), weights.sum(axis=1))


def quadratic_kappa(chosen: NDArray[np.int64], truth: NDArray[np.int64], weights: Floats) -> Floats:
    """Cohen's kappa with quadratic weights (Cohen 1968): 1 − Σ (i − j)² O_ij / Σ (i − j)² E_ij.

    Predicted and true grades (N,) with weights (B, N) → (B,); NaN where one grade alone is both predicted and true.
    """
    i, j = chosen.astype(np.float64), truth.astype(np.float64)
    total = weights.sum(axis=1)
    # Σ_ij (i − j)² r_i c_j / n expands to the weighted sums of squares less twice the product of the sums.
    expected = weights @ i**2 + weights @ j**2 - 2 * _ratio((weights @ i) * (weights @ j), total)
    ratio = _ratio(weights @ (i - j) ** 2, np.where(expected > 1e-9 * np.maximum(total, 1), expected, 0))
    return 1 - ratio


def spearman(a: Floats, b: Floats, weights: Floats) -> Floats:
    """Spearman's rank correlation (1904): Pearson's correlation of mid-ranks.

    Values (N,) with weights (B, N), how often each sample counts → (B,); NaN where either does not vary.
    """
    ranks, total = [_mid_ranks(values, weights) for values in (a, b)], weights.sum(axis=1)
    centred = [r - np.nan_to_num(_ratio((weights * r).sum(axis=1), total))[:, None] for r in ranks]
    spread = [(weights * c**2).sum(axis=1) for c in centred]
    product = spread[0] * spread[1]
    flat = np.minimum(spread[0], spread[1]) <= 1e-9 * np.maximum(total, 1)
    return _ratio((weights * centred[0] * centred[1]).sum(axis=1), np.sqrt(np.where(flat, 0, product)))


def all_metrics(data: Scored, weights: Floats, bins: int = 15) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Compute every metric that suits the label kind, with weights (B, N) and that many bins of the calibration error.

    Returns metrics per class, (B, K) each, whose macro mean is over the classes that are defined; and of the whole, (B,) each.
    """
    if data.labels.kind == "regression":
        return _regression(data, weights), {}
    if data.labels.kind == "multilabel":
        return _multilabel(data, weights, bins), {}
    return _exclusive(data, weights, bins)


def macro_means(values: Floats) -> Floats:
    """Return (B,): the mean of each row of (B, K) over what is defined; NaN for a row without."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0.0).sum(axis=1), defined.sum(axis=1).astype(np.float64))


def macro_mean(values: Floats) -> float | None:
    """Return the mean of (K,) values over what is defined; None if nothing is."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else None


def _exclusive(data: Scored, weights: Floats, bins: int) -> tuple[dict[str, Floats], dict[str, Floats]]:
    known = weights * data.observed[:, 0]
    chosen, truth = data.probabilities.argmax(axis=1), data.truth.argmax(axis=1)
    parts = []
    for k in range(data.labels.width):
        positive = data.truth[:, k] == 1
        hit, false, missed, _ = confusion(chosen == k, positive, known)
        parts.append({**_ranking_metrics(data.scores[:, k], positive, known), **_threshold_metrics(hit, false, missed)})
    right = (chosen == truth).astype(np.float64)
    errors = ((data.probabilities - data.truth) ** 2).sum(axis=1)
    surprise = -np.log(np.maximum(np.take_along_axis(data.probabilities, truth[:, None], axis=1)[:, 0], 1e-300))
    total = known.sum(axis=1)
    classes = _side_by_side(parts)
    present = (data.truth * data.observed).any(axis=0)
    overall = {
        "accuracy": _ratio(known @ right, total),
        # Undefined in a replicate that lost a class: 0.5 of a constant answer would come out as 1 there.
        "balanced_accuracy": classes["recall"][:, present].mean(axis=1) if present.any() else np.full(len(total), np.nan),
        "ece": calibration_error(data.probabilities.max(axis=1), right, known, bins),
        "brier": _ratio(known @ errors, total),
        "nll": _ratio(known @ surprise, total),
    }
    for k in (3, 5):
        if data.labels.width > k:
            overall[f"top{k}_accuracy"] = _ratio(known @ _within_top(data.probabilities, truth, k), total)
    if data.labels.kind == "ordinal":
        overall["kappa"] = quadratic_kappa(chosen, truth, known)
        overall["mae"] = _ratio(known @ np.abs(chosen - truth).astype(np.float64), total)
    if data.soft is not None:
        labelled = ~np.isnan(data.soft[:, 0])
        log_probabilities = np.log(np.maximum(data.probabilities, 1e-300))
        per_row = -(np.nan_to_num(data.soft) * log_probabilities).sum(axis=1)
        overall["soft_cross_entropy"] = _ratio(weights @ (per_row * labelled), weights @ labelled.astype(np.float64))
    return classes, overall


def _multilabel(data: Scored, weights: Floats, bins: int) -> dict[str, Floats]:
    parts = []
    for k in range(data.labels.width):
        known, positive, p = weights * data.observed[:, k], data.truth[:, k] == 1, data.probabilities[:, k]
        hit, false, missed, passed = confusion(p > 0.5, positive, known)
        parts.append(
            {
                **_ranking_metrics(data.scores[:, k], positive, known),
                "accuracy": _ratio(hit + passed, known.sum(axis=1)),
                "balanced_accuracy": 0.5 * (_ratio(hit, hit + missed) + _ratio(passed, passed + false)),
                **_threshold_metrics(hit, false, missed),
                "ece": calibration_error(p, positive.astype(np.float64), known, bins),
                "brier": _ratio(known @ (p - positive) ** 2, known.sum(axis=1)),
            }
        )
    return _side_by_side(parts)


def _regression(data: Scored, weights: Floats) -> dict[str, Floats]:
    parts = []
    for k in range(data.labels.width):
        known, truth = weights * data.observed[:, k], data.truth[:, k]
        error, total = data.scores[:, k] - truth, known.sum(axis=1)
        mean = _ratio(known @ truth, total)
        spread = np.maximum(known @ truth**2 - total * np.nan_to_num(mean) ** 2, 0)
        several = np.array([len(np.unique(truth[row > 0])) > 1 for row in known])
        parts.append(
            {
                "mae": _ratio(known @ np.abs(error), total),
                "rmse": np.sqrt(_ratio(known @ error**2, total)),
                "r2": np.where(several, 1 - _ratio(known @ error**2, np.where(several, spread, 0)), np.nan),
                "spearman": spearman(data.scores[:, k], truth, known),
            }
        )
    return _side_by_side(parts)


def _side_by_side(parts: Sequence[dict[str, Floats]]) -> dict[str, Floats]:
    """Return (B, K) by metric, of (B,) by metric for each class."""
    return {name: np.stack([part[name] for part in parts], axis=1) for name in parts[0]}


def _ranking_metrics(score: Floats, positive: NDArray[np.bool_], known: Floats) -> dict[str, Floats]:
    return {"auroc": auroc(score, positive, known), "ap": average_precision(score, positive, known)}


def _threshold_metrics(hit: Floats, false: Floats, missed: Floats) -> dict[str, Floats]:
    """Return F1, recall and precision of one class from its confusion counts; undefined without positives."""
    some = hit + missed > 0
    return {
        "f1": np.where(some, _ratio(2 * hit, 2 * hit + false + missed), np.nan),
        "recall": _ratio(hit, hit + missed),
        "precision": np.where(some, np.nan_to_num(_ratio(hit, hit + false)), np.nan),
    }


def _within_top(probabilities: Floats, truth: NDArray[np.int64], k: int) -> Floats:
    """Return 1.0 where the true class is among the k most probable; a tie goes to the lower index, as argmax does."""
    own = np.take_along_axis(probabilities, truth[:, None], axis=1)
    earlier = np.arange(probabilities.shape[1]) < truth[:, None]
    before = (probabilities > own) | ((probabilities == own) & earlier)
    return np.asarray(before.sum(axis=1) < k, np.float64)


def _mid_ranks(values: Floats, weights: Floats) -> Floats:
    """Return (B, N) weighted ranks, equal values sharing the middle of theirs."""
    distinct, place = np.unique(values, return_inverse=True)
    at = np.zeros((len(weights), len(distinct)))
    order = np.argsort(place, kind="stable")
    if len(order):
        starts = np.flatnonzero(np.concatenate([[True], np.diff(place[order]) > 0]))
        at = np.add.reduceat(weights[:, order], starts, axis=1)
    ranks: Floats = (np.cumsum(at, axis=1) - 0.5 * at)[:, place]
    return ranks


def _by_rank(score: Floats, positive: NDArray[np.bool_], weights: Floats) -> tuple[Floats, Floats]:
    """Return positive and negative weight at each distinct score, ascending, (B, distinct) each."""
    if not len(score):
        return np.zeros((len(weights), 0)), np.zeros((len(weights), 0))
    order = np.argsort(score, kind="stable")
    ranked, flags, sorted_weights = score[order], positive[order], weights[:, order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    positives, negatives = sorted_weights * flags, sorted_weights * ~flags
    if len(starts) < len(score):
        positives, negatives = (np.add.reduceat(part, starts, axis=1) for part in (positives, negatives))
    return positives, negatives


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    ratio: Floats = np.divide(numerator, denominator, out=np.full(np.shape(numerator), np.nan), where=denominator > 0)
    return ratio
