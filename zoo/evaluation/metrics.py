"""Metrics over weighted samples, vectorised: one row of weights is one bootstrap replicate.

Weights (B, N), or (B, G) of groups, are non-negative float64; metrics (B,) or (B, K) float64, NaN where undefined (a class
without positives or without negatives, a quantity without spread). Ones give the plain metric. Missing entries do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import EvaluationError
from medzoo.data.labels import LabelSpace, log_odds, log_sum_exp
from medzoo.evaluation.ranking import ranking_metrics, spearman
from medzoo.evaluation.weighting import Floats as Floats
from medzoo.evaluation.weighting import Weighting, ratio

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
    hard = np.where(unique[:, None], top, 0).astype(np.float64)
    any_soft = bool(((filled > 0) & (filled < 1)).any())
    return Scored(
        labels, hard, np.repeat(unique[:, None], labels.width, axis=1), log_odds(values, labels), np.exp(shifted - total),
        tied, np.where(labelled[:, None], truth, np.nan) if any_soft else None,
    )  # fmt: skip


def bin_cells(confidence: Floats, correct: Floats, bins: int) -> Floats:
    """Return (N, bins): correct − confidence in each sample's bin, 0 in the others.

    Each of the equal-width bins holds (low, high], the first also 0.
    """
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    cells = np.zeros((len(confidence), bins))
    cells[np.arange(len(confidence)), place] = correct - confidence
    return cells


def calibration_error(confidence: Floats, correct: Floats, weights: Floats, bins: int) -> Floats:
    """Expected calibration error with equal-width bins (Naeini et al. 2015; Guo et al. 2017, equation 3).

    Confidences (N,) in 0..1, whether they are correct (N,), 0 or 1, and weights (B, N) → (B,); NaN without weight.
    """
    return ratio(np.abs(weights @ bin_cells(confidence, correct, bins)).sum(axis=1), weights.sum(axis=1))


def quadratic_kappa(
    chosen: NDArray[np.int64], truth: NDArray[np.int64], weighting: Weighting, known: NDArray[np.bool_] | None = None
) -> Floats:
    """Cohen's kappa with quadratic weights (Cohen 1968): 1 − Σ (i − j)² O_ij / Σ (i − j)² E_ij.

    Args:
        chosen: (N,) predicted grades.
        truth: (N,) true grades.
        weighting: How much each sample counts.
        known: (N,) whose grade is known; None: all.

    Returns:
        (B,); NaN where one grade alone is both predicted and true.
    """
    i, j = chosen.astype(np.float64), truth.astype(np.float64)
    cells = np.stack([np.ones(len(i)), i, j, i**2, j**2, (i - j) ** 2], axis=1)
    total, first, second, squares, others, apart = weighting.sums(cells if known is None else cells * known[:, None]).T
    # Σ_ij (i − j)² r_i c_j / n expands to the weighted sums of squares less twice the product of the sums.
    expected = squares + others - 2 * ratio(first * second, total)
    return 1 - ratio(apart, np.where(expected > 1e-9 * np.maximum(total, 1), expected, 0))


def all_metrics(
    data: Scored, weights: Floats, bins: int = 15, codes: NDArray[np.int64] | None = None
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Compute every metric that suits the label kind.

    Args:
        data: N samples.
        weights: (B, N) how much each counts in each replicate, ones for the plain metric; with `codes` (B, G) of their groups.
        bins: Of the calibration error.
        codes: (N,) each sample's group, 0..G-1.

    Returns:
        Metrics per class, (B, K) each, whose macro mean is over the classes that are defined; and of the whole, (B,) each.
    """
    weighting = Weighting(weights, codes)
    if data.labels.kind == "regression":
        return _regression(data, weighting), {}
    if data.labels.kind == "multilabel":
        return _multilabel(data, weighting, bins)
    return _exclusive(data, weighting, bins)


def macro_means(values: Floats) -> Floats:
    """Return (B,): the mean of each row of (B, K) over what is defined; NaN for a row without."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0.0).sum(axis=1), defined.sum(axis=1).astype(np.float64))


def macro_mean(values: Floats) -> float | None:
    """Return the mean of (K,) values over what is defined; None if nothing is."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else None


def _exclusive(data: Scored, weighting: Weighting, bins: int) -> tuple[dict[str, Floats], dict[str, Floats]]:
    known = data.observed[:, 0]
    chosen, truth = data.probabilities.argmax(axis=1), data.truth.argmax(axis=1)
    parts = []
    for k in range(data.labels.width):
        positive, called = data.truth[:, k] == 1, chosen == k
        cells = np.stack([called & positive, called & ~positive, ~called & positive], axis=1) & known[:, None]
        hit, false, missed = weighting.sums(cells.astype(np.float64)).T
        area, precision = ranking_metrics(data.scores[:, k], positive, weighting, known)
        parts.append({"auroc": area, "ap": precision, **_threshold_metrics(hit, false, missed)})
    right = (chosen == truth).astype(np.float64)
    errors = ((data.probabilities - data.truth) ** 2).sum(axis=1)
    surprise = -np.log(np.maximum(np.take_along_axis(data.probabilities, truth[:, None], axis=1)[:, 0], 1e-300))
    mean = _Means(weighting, known)
    classes = _side_by_side(parts)
    present = (data.truth * data.observed).any(axis=0)
    gaps = bin_cells(data.probabilities.max(axis=1), right, bins)
    overall = {
        "accuracy": mean(right),
        # Undefined in a replicate that lost a class: 0.5 of a constant answer would come out as 1 there.
        "balanced_accuracy": classes["recall"][:, present].mean(axis=1) if present.any() else np.full(len(mean.total), np.nan),
        "ece": np.abs(mean(gaps)).sum(axis=1),
        "brier": mean(errors),
        "nll": mean(surprise),
    }
    for k in (3, 5):
        if data.labels.width > k:
            overall[f"top{k}_accuracy"] = mean(_within_top(data.probabilities, truth, k))
    if data.labels.kind == "ordinal":
        overall["kappa"] = quadratic_kappa(chosen, truth, weighting, known)
        overall["mae"] = mean(np.abs(chosen - truth).astype(np.float64))
    if data.soft is not None:
        log_probabilities = np.log(np.maximum(data.probabilities, 1e-300))
        per_row = -(np.nan_to_num(data.soft) * log_probabilities).sum(axis=1)
        overall["soft_cross_entropy"] = _Means(weighting, ~np.isnan(data.soft[:, 0]))(per_row)
    return classes, overall


def _multilabel(data: Scored, weighting: Weighting, bins: int) -> tuple[dict[str, Floats], dict[str, Floats]]:
    parts = []
    for k in range(data.labels.width):
        known, positive, p = data.observed[:, k], data.truth[:, k] == 1, data.probabilities[:, k]
        called, error = p > 0.5, (p - positive) ** 2
        cells = [called & positive, called & ~positive, ~called & positive, ~called & ~positive, error]
        sums = weighting.sums(np.column_stack([*cells, bin_cells(p, positive.astype(np.float64), bins)]) * known[:, None])
        hit, false, missed, passed, wrong = sums[:, :5].T
        total = hit + false + missed + passed
        area, precision = ranking_metrics(data.scores[:, k], positive, weighting, known)
        parts.append(
            {
                "auroc": area,
                "ap": precision,
                "accuracy": ratio(hit + passed, total),
                "balanced_accuracy": 0.5 * (ratio(hit, hit + missed) + ratio(passed, passed + false)),
                **_threshold_metrics(hit, false, missed),
                "ece": ratio(np.abs(sums[:, 5:]).sum(axis=1), total),
                "brier": ratio(wrong, total),
            }
        )
    return _side_by_side(parts), _pooled_f1(data, weighting)


def _pooled_f1(data: Scored, weighting: Weighting) -> dict[str, Floats]:
    """Return F1 over all known entries together, and the mean of each sample's own over its known entries.

    A sample without a true and without a called finding is 0 / 0: left out of the mean (zero_division=nan of scikit-learn).
    """
    called, true = (data.probabilities > 0.5) & data.observed, (data.truth == 1) & data.observed
    hits, named = 2.0 * (called & true).sum(axis=1), (called.sum(axis=1) + true.sum(axis=1)).astype(np.float64)
    some = (named > 0).astype(np.float64)
    own = np.nan_to_num(ratio(hits, named))
    cells = np.column_stack([true.any(axis=1), hits, named, own, some]).astype(np.float64)
    positive, hit, called_or_true, mean, count = weighting.sums(cells).T
    return {
        "micro_f1": np.where(positive > 0, ratio(hit, called_or_true), np.nan),
        "example_f1": np.where(positive > 0, ratio(mean, count), np.nan),
    }


def _regression(data: Scored, weighting: Weighting) -> dict[str, Floats]:
    parts = []
    for k in range(data.labels.width):
        known, truth = data.observed[:, k], data.truth[:, k]
        error, mean = data.scores[:, k] - truth, _Means(weighting, known)
        # From the mean of all: squares of values far from 0 would swallow their spread.
        level = truth[known].mean() if known.any() else 0.0
        squared, spread = mean(error**2), np.maximum(mean((truth - level) ** 2) - np.nan_to_num(mean(truth - level)) ** 2, 0)
        several = _vary(truth, weighting, known)
        parts.append(
            {
                "mae": mean(np.abs(error)),
                "rmse": np.sqrt(squared),
                "r2": np.where(several, 1 - ratio(squared, np.where(several, spread, 0)), np.nan),
                "spearman": spearman(data.scores[:, k], truth, weighting, known),
            }
        )
    return _side_by_side(parts)


class _Means:
    """Means in every replicate over the samples that are known: (N,) or (N, C) values → (B,) or (B, C), NaN without weight."""

    def __init__(self, weighting: Weighting, known: NDArray[np.bool_]) -> None:
        self.weighting, self.known = weighting, known.astype(np.float64)
        self.total = weighting.sums(self.known)

    def __call__(self, values: Floats) -> Floats:
        if values.ndim == 1:
            return ratio(self.weighting.sums(values * self.known), self.total)
        sums = self.weighting.sums(values * self.known[:, None])
        return ratio(sums, np.broadcast_to(self.total[:, None], sums.shape))


def _vary(values: Floats, weighting: Weighting, known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return (B,): whether the known values that a replicate drew are not all equal."""
    groups = weighting.weights.shape[1]
    low, high = np.full(groups, np.inf), np.full(groups, -np.inf)
    own = np.flatnonzero(known) if weighting.codes is None else weighting.codes[known]
    np.minimum.at(low, own, values[known])
    np.maximum.at(high, own, values[known])
    drawn = weighting.weights > 0
    lowest, highest = np.where(drawn, low, np.inf).min(axis=1), np.where(drawn, high, -np.inf).max(axis=1)
    return np.asarray(lowest < highest)


def _side_by_side(parts: Sequence[dict[str, Floats]]) -> dict[str, Floats]:
    """Return (B, K) by metric, of (B,) by metric for each class."""
    return {name: np.stack([part[name] for part in parts], axis=1) for name in parts[0]}


def _threshold_metrics(hit: Floats, false: Floats, missed: Floats) -> dict[str, Floats]:
    """Return F1, recall and precision of one class from its confusion counts; undefined without positives."""
    some = hit + missed > 0
    return {
        "f1": np.where(some, ratio(2 * hit, 2 * hit + false + missed), np.nan),
        "recall": ratio(hit, hit + missed),
        "precision": np.where(some, np.nan_to_num(ratio(hit, hit + false)), np.nan),
    }


def _within_top(probabilities: Floats, truth: NDArray[np.int64], k: int) -> Floats:
    """Return 1.0 where the true class is among the k most probable; a tie goes to the lower index, as argmax does."""
    own = np.take_along_axis(probabilities, truth[:, None], axis=1)
    earlier = np.arange(probabilities.shape[1]) < truth[:, None]
    before = (probabilities > own) | ((probabilities == own) & earlier)
    return np.asarray(before.sum(axis=1) < k, np.float64)
