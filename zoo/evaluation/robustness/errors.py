"""One number of many severities: Hendrycks and Dietterich's errors (2019, arXiv 1903.12261), and the area under the curve.

Of a model f, a corruption c and severities s, E is the error: theirs is of classes, 1 - accuracy; here 1 - the metric, or the
metric itself where less of it is better. Their corruption error is the sum over s of E(f, s, c) divided by that of a baseline
(AlexNet), the relative one the sum over s of E(f, s, c) - E(f, clean) divided by the baseline's; mCE and relative mCE are means
over c. Without a baseline there is nothing to divide by: the errors here are then means over s, which is division by the number
of severities, in the metric's own units, and not to be held beside figures that were divided by a baseline's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from medzoo.evaluation.bootstrap import Estimate
from medzoo.evaluation.comparison.setting import mean_estimate


def as_error(estimate: Estimate, *, higher_is_better: bool) -> Estimate:
    """Return 1 less a metric, or a metric of which less is better as it is."""
    if not higher_is_better or estimate.value is None:
        return estimate
    return Estimate(1 - estimate.value, None if estimate.drawn is None else 1 - estimate.drawn, estimate.why_none)


def less(first: Estimate, second: Estimate) -> Estimate:
    """Return first less second, replicate by replicate."""
    if first.value is None or second.value is None:
        return Estimate(None, None)
    drawn = None if first.drawn is None or second.drawn is None else first.drawn - second.drawn
    return Estimate(first.value - second.value, drawn, first.why_none or second.why_none)


def corruption_error(errors: Sequence[Estimate], baseline: Sequence[float] | None = None) -> Estimate:
    """Return the corruption error of one corruption: of its severities' errors the mean, or over the baseline's errors."""
    mean = mean_estimate(errors)
    return mean if baseline is None else _divided(mean, float(np.mean(baseline)))


def relative_corruption_error(
    errors: Sequence[Estimate], clean: Estimate, baseline: Sequence[float] | None = None, baseline_clean: float = 0.0
) -> Estimate:
    """Return the relative corruption error of one corruption: by how much errors exceed that of clean images."""
    mean = mean_estimate([less(error, clean) for error in errors])
    return mean if baseline is None else _divided(mean, float(np.mean(baseline)) - baseline_clean)


def area_under_severities(clean: Estimate, values: Mapping[int, Estimate]) -> Estimate:
    """Return the metric's mean over severity, from 0 (clean) to the highest tried: the area by trapezoids, over its width."""
    ends = [0, *sorted(values)]
    curve = [clean, *(values[severity] for severity in sorted(values))]
    if any(point.value is None or np.isnan(point.value) for point in curve):
        return Estimate(None, None)
    width = np.diff(ends)
    weights = np.concatenate([width, [0]]) / 2 + np.concatenate([[0], width]) / 2
    weights = weights / ends[-1]
    drawn = [point.drawn for point in curve if point.drawn is not None]
    why = next((point.why_none for point in curve if point.why_none), "")
    value = float(np.dot(weights, [point.value for point in curve if point.value is not None]))
    return Estimate(value, weights @ np.stack(drawn) if len(drawn) == len(curve) else None, why)


def _divided(estimate: Estimate, by: float) -> Estimate:
    """Return an estimate over a baseline's error; undefined where that is 0 or, relative, the baseline lost nothing."""
    if estimate.value is None or by <= 0:
        return Estimate(None, None)
    return Estimate(estimate.value / by, None if estimate.drawn is None else estimate.drawn / by, estimate.why_none)
