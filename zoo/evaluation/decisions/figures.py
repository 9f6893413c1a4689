"""What a fixed threshold does on a split: sensitivity, specificity, predictive values, likelihood ratios, each with its interval.

The threshold stays as it was chosen; patients are redrawn (`medzoo.evaluation.bootstrap`), so intervals are of the figures on
this split. Predictive values at a stated prevalence follow from sensitivity and specificity by Bayes' theorem.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medzoo.data.operating_points import CELLS, OperatingPoints, probability_of
from medzoo.evaluation.bootstrap import Interval, Scarcity, group_codes, replicate_weights
from medzoo.evaluation.metrics import Floats, Scored


def figures(counts: Floats, prevalence: float | None = None) -> dict[str, Floats]:
    """Return every figure of (..., 4) counts in the order of `CELLS`, (...) each.

    NaN where undefined (0 / 0); a likelihood ratio of some over none is infinite.

    Args:
        counts: Of samples, or of weights.
        prevalence: At which `ppv_at_prevalence` and `npv_at_prevalence` are; None: without them.
    """
    hit, alarm, missed, passed = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        sensitivity, specificity = hit / (hit + missed), passed / (passed + alarm)
        miss_rate, alarm_rate = missed / (hit + missed), alarm / (passed + alarm)  # not 1 − x, which would not be exactly 0
        found = {
            "sensitivity": sensitivity,
            "specificity": specificity,
            "ppv": hit / (hit + alarm),
            "npv": passed / (passed + missed),
            "lr_positive": sensitivity / alarm_rate,
            "lr_negative": miss_rate / specificity,
            "accuracy": (hit + passed) / (hit + alarm + missed + passed),
        }
        if prevalence is not None:
            called, right = sensitivity * prevalence + alarm_rate * (1 - prevalence), specificity * (1 - prevalence)
            found["ppv_at_prevalence"] = sensitivity * prevalence / called
            found["npv_at_prevalence"] = right / (right + miss_rate * prevalence)
    return found


def at_points(
    points: OperatingPoints, data: Scored, groups: Sequence[str], interval: Interval, prevalence: Mapping[str, float], unit: str
) -> dict[str, Any]:
    """Return each point's figures on one split, class by class.

    Args:
        points: With their thresholds.
        data: The split's targets and scores.
        groups: (N,) whom each sample is of.
        interval: How intervals are made.
        prevalence: Class → stated prevalence.
        unit: What a group is.

    Returns:
        JSON-ready, rule → `classes` → name: `threshold` (a probability), `score` (its log-odds), the counts `CELLS`, and each of
        `figures` with `value`, `low`, `high`, null with the reason where undefined; without a threshold the `reason` alone.
    """
    names, scarcity = points.labels.names, Scarcity.of(data, groups, unit)
    scores = np.array([[np.nan if score is None else score for score in point.scores] for point in points.points])
    sums = _sums(data, scores, groups)
    counts, drawn = sums.sum(axis=0), replicates_of(sums, interval)
    result: dict[str, Any] = {}
    for p, point in enumerate(points.points):
        classes: dict[str, Any] = {}
        for k, name in enumerate(names):
            score = point.scores[k]
            if score is None:
                classes[name] = {"threshold": None, "score": None, "reason": point.reasons[k]}
                continue
            stated = prevalence.get(name)
            ours, theirs = figures(counts[p, k], stated), None if drawn is None else figures(drawn[:, p, k], stated)
            classes[name] = {
                "threshold": probability_of(score),
                "score": score,
                **dict(zip(CELLS, map(int, counts[p, k]), strict=True)),
                **({} if stated is None else {"prevalence": stated}),
            }
            scarce = {"sensitivity": scarcity.positive[k], "specificity": scarcity.negative[k]}
            for figure, value in ours.items():
                classes[name][figure] = described(
                    interval, float(value), None if theirs is None else theirs[figure],
                    undefined=why_undefined(figure, counts[p, k]),
                    why_none=str(scarce[figure] or "") if figure in scarce else scarcity.of_class(k),
                )  # fmt: skip
        result[point.rule] = {"classes": classes}
    return result


def described(interval: Interval, value: float, drawn: Floats | None, *, undefined: str, why_none: str = "") -> dict[str, Any]:
    """Return a figure with its interval, as `Interval.described`; an undefined or infinite one is null, with its reason.

    An upper end that would be infinite is no number: there is no interval then.
    """
    if not np.isfinite(value):
        return {**interval.described(None, None), "undefined": undefined}
    if drawn is not None and not why_none and np.isinf(drawn).any():
        # Infinite ones count as the largest there are: left out, they would pull the upper end down.
        infinite, defined = int(np.isinf(drawn).sum()), int((~np.isnan(drawn)).sum())
        if infinite >= defined - 1 - np.ceil((defined - 1) * interval.tails[1]):
            why_none = f"infinite in {infinite} of {len(drawn)} replicates"
        else:
            drawn = np.where(np.isinf(drawn), drawn[np.isfinite(drawn)].max(), drawn)
    return interval.described(value, drawn, why_none)


def why_undefined(figure: str, counts: Floats) -> str:
    """Return why a figure of (4,) counts is no number."""
    hit, alarm, missed, passed = counts
    both = figure.startswith("lr_") or figure.endswith("_at_prevalence")
    if not counts.sum():
        return "every label is missing"
    if not hit + missed and (both or figure == "sensitivity"):
        return "no positive sample"
    if not passed + alarm and (both or figure == "specificity"):
        return "no negative sample"
    if figure == "lr_positive" and hit:
        return "infinite: no false positive"
    if figure == "lr_negative" and missed:
        return "infinite: no true negative"
    return "no sample is called" if figure.startswith(("ppv", "lr_positive")) else "every sample is called"


def replicates_of(sums: Floats, interval: Interval) -> Floats | None:
    """Return (B, ...) sums over the groups of every replicate, of (G, ...) sums of each; None without any, or with one group."""
    if len(sums) < 2 or interval.replicates < 1:
        return None
    flat = sums.reshape(len(sums), -1)
    draws = replicate_weights(np.arange(len(sums)), interval.replicates, interval.seed)  # groups are redrawn whole
    return np.concatenate([weights @ flat for weights in draws]).reshape(-1, *sums.shape[1:])


def _sums(data: Scored, scores: Floats, groups: Sequence[str]) -> Floats:
    """Return (G, points, K, 4): each group's table of every point and class, of the samples whose label is known."""
    called, true = data.scores[:, None, :] >= scores[None], (data.truth == 1)[:, None, :]
    cells = np.stack([called & true, called & ~true, ~called & true, ~called & ~true], axis=-1)
    cells &= data.observed[:, None, :, None]
    codes = group_codes(groups)
    sums = np.zeros((int(codes.max()) + 1, *cells.shape[1:]))
    np.add.at(sums, codes, cells)
    return sums
