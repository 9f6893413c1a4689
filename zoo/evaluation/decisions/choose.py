"""Choosing operating points, on the validation split alone: exact rules over the thresholds that its samples allow.

A sample is called where its score reaches the threshold, so the thresholds that differ are the distinct scores; equal ones are
called together or not at all. Youden's index (1950, Cancer 3:32) is the largest sensitivity + specificity − 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import EvaluationError
from medzoo.data.operating_points import CELLS, OperatingPoint, OperatingPoints
from medzoo.evaluation.metrics import Floats, scored
from medzoo.evaluation.predictions import Predictions
from medzoo.settings.decision_rules import Rule

SPLIT = "val"
"""Where points are chosen: never where they are judged."""
ROOM = 1e-3
"""Log-odds by which a threshold stands below the sample that sets it, at most: an exported graph's rounding must not turn it."""


@dataclass(frozen=True)
class Chosen:
    """A threshold, or why there is none.

    Attributes:
        score: Least score that is called; None without.
        reason: Why there is none.
        counts: Of the samples it was chosen on, by `medzoo.data.operating_points.CELLS`.
    """

    score: float | None
    reason: str = ""
    counts: Mapping[str, int] | None = None


def choose_points(predictions: Predictions, rules: Sequence[Rule]) -> OperatingPoints:
    """Choose a threshold for every rule and every class or finding, on the rows of the val split and no others.

    Args:
        predictions: Of one model; exclusive classes are taken one against the rest.
        rules: What is asked for.

    Returns:
        The points, with what they were chosen on.

    Raises:
        EvaluationError: If the predictions have no val split, or the labels are quantities.
    """
    if predictions.labels.kind == "regression":
        raise EvaluationError("operating points are of classes and findings, and these labels are quantities; leave them out")
    if not (predictions.split == SPLIT).any():
        raise EvaluationError(f"operating points are chosen on the {SPLIT} split, and the predictions have none")
    rows = predictions.of_split(SPLIT)
    data = scored(rows.labels, rows.targets, rows.logits)
    points = []
    for rule in rules:
        found = []
        for k in range(rows.labels.width):
            known = data.observed[:, k]
            found.append(choose(rule, data.scores[known, k], data.truth[known, k] == 1))
        scores, reasons = tuple(one.score for one in found), tuple(one.reason for one in found)
        points.append(OperatingPoint(rule.text, scores, reasons, tuple(one.counts or {} for one in found)))
    return OperatingPoints(rows.labels, tuple(points), _made_with(rows))


def choose(rule: Rule, score: Floats, positive: NDArray[np.bool_]) -> Chosen:
    """Choose the threshold of one class.

    Of the thresholds that do equally well for `youden` and `cost`, the highest: it calls fewest.

    Args:
        rule: What is asked for.
        score: (n,) finite scores of samples whose label is known.
        positive: (n,) which of them have the class.
    """
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return Chosen(None, f"no {'negative' if positives else 'positive'} {SPLIT} sample")
    at, place = np.unique(score, return_inverse=True)
    # Called at each distinct score: those there and above.
    hits, alarms = (
        np.cumsum(np.bincount(place[rows], minlength=len(at))[::-1])[::-1].astype(np.int64) for rows in (positive, ~positive)
    )
    passed = negatives - alarms
    best, reason = _best(rule, hits / positives, passed / negatives, positives / len(score))
    if best is None:
        return Chosen(None, reason)
    lower = at[best] - (ROOM if best == 0 else min(ROOM, (at[best] - at[best - 1]) / 2))
    threshold = at[best] if best and lower <= at[best - 1] else lower  # of neighbours in float64 there is no middle
    cells = (int(hits[best]), int(alarms[best]), positives - int(hits[best]), int(passed[best]))
    return Chosen(float(threshold), "", dict(zip(CELLS, cells, strict=True)))


def _best(rule: Rule, sensitivity: Floats, specificity: Floats, found: float) -> tuple[int | None, str]:
    """Return the place of a rule's threshold among rising ones, or None and why; `found` is the share of positives."""
    if rule.name == "sensitivity":
        assert rule.target is not None
        return int(np.flatnonzero(sensitivity >= rule.target)[-1]), ""  # the lowest threshold calls everyone
    if rule.name == "specificity":
        assert rule.target is not None
        reached = np.flatnonzero(specificity >= rule.target)
        if not len(reached):
            return None, f"unattainable on {SPLIT}: at most {specificity[-1]:.4g}, then no sample is called"
        return int(reached[0]), ""
    if rule.name == "youden":
        index = sensitivity + specificity - 1
        if index.max() <= 1e-12:
            return None, f"no threshold does better than chance on {SPLIT}"
        return int(np.flatnonzero(index >= index.max() - 1e-12)[-1]), ""
    prevalence = found if rule.prevalence is None else rule.prevalence
    missed = rule.false_negative * prevalence
    cost = missed * (1 - sensitivity) + rule.false_positive * (1 - prevalence) * (1 - specificity)
    if missed <= cost.min() * (1 + 1e-12):
        return None, f"calling nobody costs least on {SPLIT}: {missed:.4g} a sample, the best threshold {cost.min():.4g}"
    best = int(np.flatnonzero(cost <= cost.min() * (1 + 1e-12))[-1])
    if best == 0:  # where no threshold stands below any sample, one of these samples' would not do it elsewhere
        return None, f"calling everyone costs least on {SPLIT}: {cost[0]:.4g} a sample"
    return best, ""


def _made_with(rows: Predictions) -> dict[str, Any]:
    told: dict[str, Any] = {"spec": rows.spec_hash, "split": SPLIT, "samples": len(rows)}
    told |= {name: rows.details[name] for name in ("weights", "checkpoint", "tta", "calibration") if name in rows.details}
    data = rows.details.get("data")
    return told | ({"data": {"name": data["name"], **data["splits"].get(SPLIT, {})}} if isinstance(data, Mapping) else {})
