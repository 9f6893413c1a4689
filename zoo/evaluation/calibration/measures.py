"""`splits.<split>.calibration` of metrics.json: whether probabilities mean what they say, with intervals over groups."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from medzoo.evaluation.bootstrap import Interval, Measured, Scarcity, group_codes, replicate_weights
from medzoo.evaluation.calibration.bins import Binned, equal_mass, equal_width
from medzoo.evaluation.calibration.slope import in_cells, logistic_recalibration
from medzoo.evaluation.metrics import Floats, Scored

BIASED = ("ece", "ece_equal_mass", "classwise_ece", "classwise_ece_equal_mass", "mce", "reliability", "resolution")
"""Noise in a bin makes these larger, whatever its sign."""
SLOPES = ("slope", "intercept", "in_the_large")
SLOPE_REPLICATES = 200
"""Most replicates of a slope: each is a regression of its own, and would take longer than all other figures together."""
Parts = tuple[dict[str, Floats], dict[str, Floats]]


def calibration_report(
    data: Scored, groups: Sequence[str], interval: Interval, bins: int, unit: str = "", *, detail: bool = True
) -> dict[str, Any]:
    """Measure the calibration of probabilities.

    Args:
        data: What was forecast, and what was true.
        groups: (N,) what is redrawn as a whole.
        interval: How intervals are made.
        bins: Of either kind, equal width or equal mass.
        unit: What a group is.
        detail: Give every class's own value, too.

    Returns:
        Measure → `value`, `low`, `high`, of findings the mean over those where it is defined, with `classes` and `undefined` as
        in `metrics`. `not_measured` says why there is nothing (quantities have no probabilities).
    """
    if data.labels.kind == "regression":
        return {"not_measured": "quantities have no probabilities"}
    in_bins = partial(_exclusive if data.labels.exclusive else _findings, data, bins)
    few = min(interval.replicates, SLOPE_REPLICATES)
    ones = np.ones((1, len(groups)))
    classes, overall = ({**a, **b} for a, b in zip(in_bins(ones), _slopes(data, ones), strict=True))
    drawn: dict[str, Floats] = {}
    codes = group_codes(groups)
    if len(codes) and codes.max() >= 1 and interval.replicates:
        for measure, replicates in ((in_bins, interval.replicates), (partial(_slopes, data), few)):
            parts = [{**a, **b} for a, b in map(measure, replicate_weights(codes, replicates, interval.seed))]
            drawn |= {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    measured = Measured(
        classes, overall, drawn, interval, Scarcity.of(data, groups, unit), data.labels, with_unit=(), biased=BIASED
    )  # fmt: skip
    found: dict[str, Any] = {"bins": bins}
    for name in (*overall, *classes):
        found[name] = measured.described(name)
        if name in SLOPES and few < interval.replicates:
            found[name]["replicates"] = few
        if name in overall:
            if found[name]["value"] is None:
                found[name]["undefined"] = _why_whole(data)
            continue
        undefined = {data.labels.names[k]: _why(data, int(k)) for k in np.flatnonzero(np.isnan(classes[name][0]))}
        if undefined:
            found[name]["undefined"] = undefined
        if detail:
            found[name]["classes"] = {c: measured.of_class(name, k) for k, c in enumerate(data.labels.names)}
    return found


def _exclusive(data: Scored, bins: int, weights: Floats) -> Parts:
    """Measure classes that exclude each other: the top class, each class against the rest, and sums over the classes."""
    known = weights * data.observed[:, 0]
    seen = data.observed[:, 0]
    top = data.probabilities.max(axis=1)
    right = (data.probabilities.argmax(axis=1) == data.truth.argmax(axis=1)).astype(np.float64)
    by_width = Binned.of(top, right, known, equal_width(top, bins))
    by_mass = Binned.of(top, right, known, _mass(top, seen, bins))
    overall = {
        "ece": by_width.expected_error(), "ece_equal_mass": by_mass.expected_error(), "mce": by_width.largest_error(),
    }  # fmt: skip
    width = [Binned.of(p, y, known, equal_width(p, bins)) for p, y in zip(data.probabilities.T, data.truth.T, strict=True)]
    mass = [Binned.of(p, y, known, _mass(p, seen, bins)) for p, y in zip(data.probabilities.T, data.truth.T, strict=True)]
    per_class = {
        "ece_of_class": np.stack([part.expected_error() for part in width], axis=1),
        "ece_of_class_equal_mass": np.stack([part.expected_error() for part in mass], axis=1),
    }
    # Kull et al. 2019 (NeurIPS), equation 3: the mean over all classes, present or not.
    overall["classwise_ece"] = per_class["ece_of_class"].mean(axis=1)
    overall["classwise_ece_equal_mass"] = per_class["ece_of_class_equal_mass"].mean(axis=1)
    brier, split = ((data.probabilities - data.truth) ** 2).sum(axis=1), [part.decomposition() for part in width]
    total = known.sum(axis=1)
    overall["brier"] = np.divide(known @ brier, total, out=np.full(len(total), np.nan), where=total > 0)
    overall |= {name: np.sum([part[name] for part in split], axis=0) for name in split[0]}
    return per_class, overall


def _findings(data: Scored, bins: int, weights: Floats) -> Parts:
    """Measure each finding by itself."""
    parts = []
    for k in range(data.labels.width):
        seen = data.observed[:, k]
        p, y, known = data.probabilities[seen, k], data.truth[seen, k], weights[:, seen]
        by_width = Binned.of(p, y, known, equal_width(p, bins))
        total = by_width.total
        parts.append(
            {
                "ece": by_width.expected_error(),
                "ece_equal_mass": Binned.of(p, y, known, equal_mass(p, bins)).expected_error(),
                "mce": by_width.largest_error(),
                "brier": np.divide(known @ (p - y) ** 2, total, out=np.full(len(total), np.nan), where=total > 0),
                **by_width.decomposition(),
            }
        )
    return {name: np.stack([part[name] for part in parts], axis=1) for name in parts[0]}, {}


def _slopes(data: Scored, weights: Floats) -> Parts:
    """Fit slopes and intercepts: of each finding, of the second of two classes, of nothing else."""
    columns = range(data.labels.width) if not data.labels.exclusive else [1] if data.labels.width == 2 else []
    parts = []
    for k in columns:
        seen = data.observed[:, k]
        given = data.scores[seen, k], data.truth[seen, k] == 1, weights[:, seen]
        parts.append(logistic_recalibration(*(given if len(weights) == 1 else in_cells(*given))))
    if data.labels.exclusive:
        return {}, parts[0] if parts else {}
    return {name: np.stack([part[name] for part in parts], axis=1) for name in SLOPES}, {}


def _mass(forecasts: Floats, seen: Any, bins: int) -> Any:
    """Return bins of equal mass of the samples that have a label; the others, which have no weight, go to the first."""
    places = np.zeros(len(forecasts), np.int64)
    places[seen] = equal_mass(forecasts[seen], bins)
    return places


def _why(data: Scored, k: int) -> str:
    observed = data.observed[:, k]
    if not observed.any():
        return "every label is missing"
    truth = data.truth[observed, k]
    if truth.min() == truth.max():
        return "no negative sample" if truth.any() else "no positive sample"
    return "a threshold parts positive from negative samples, or all are forecast alike: no finite slope"


def _why_whole(data: Scored) -> str:
    return _why(data, 1) if data.observed.any() else "every label is missing"
