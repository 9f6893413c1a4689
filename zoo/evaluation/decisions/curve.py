"""Decision curves: what acting on a model is worth, beside acting on everyone and on no one (Vickers and Elkin 2006, MDM 26:565).

At the threshold probability pt a false alarm counts pt / (1 − pt) of a hit, since that is where a patient would be indifferent;
net benefit is hits minus alarms so weighed, a patient. With a stated prevalence π it is
sensitivity × π − (1 − specificity) × (1 − π) × pt / (1 − pt).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.evaluation.bootstrap import Interval, Scarcity, group_codes
from medzoo.evaluation.decisions.figures import replicates_of
from medzoo.evaluation.metrics import Floats, Scored


def net_benefit(counts: Floats, thresholds: Floats, prevalence: float | None = None) -> Floats:
    """Return net benefit of (..., T, 4) counts, true positive, false positive, false negative, true negative, (..., T).

    NaN where there is no sample, or at a stated prevalence no positive or no negative one.

    Args:
        counts: Of the samples that are called at each threshold, and of the others.
        thresholds: (T,) probabilities between 0 and 1, both left out.
        prevalence: Stated; None: as in the counts.
    """
    hit, alarm, missed, passed = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    odds = thresholds / (1 - thresholds)
    with np.errstate(divide="ignore", invalid="ignore"):
        if prevalence is None:
            return np.asarray((hit - alarm * odds) / (hit + alarm + missed + passed), np.float64)
        benefit, harm = hit / (hit + missed), alarm / (alarm + passed)
    return np.asarray(benefit * prevalence - harm * (1 - prevalence) * odds, np.float64)


def decision_curve(
    data: Scored,
    groups: Sequence[str],
    thresholds: Sequence[float],
    interval: Interval,
    prevalence: Mapping[str, float],
    unit: str,
) -> dict[str, Any]:
    """Return the decision curve of every class or finding on one split.

    Args:
        data: The split's targets and probabilities; a sample is called where its probability reaches the threshold.
        groups: (N,) whom each sample is of.
        thresholds: Rising threshold probabilities.
        interval: How the intervals of the model's curve are made.
        prevalence: Class → stated prevalence.
        unit: What a group is.

    Returns:
        JSON-ready: `thresholds`, and in `classes` of each name `prevalence`, `model`, `low`, `high`, `all`, `none`, a number a
        threshold (`low` and `high` null where there is no interval: `no_interval` says why); or `undefined`, why there is none.
    """
    at, scarcity = np.asarray(thresholds, np.float64), Scarcity.of(data, groups, unit)
    codes, classes = group_codes(groups), dict[str, Any]()
    for k, name in enumerate(data.labels.names):
        sums = _sums(data, k, codes, at)
        counts, drawn = _counts(sums.sum(axis=0)), replicates_of(sums, interval)
        positives, negatives = (int(found) for found in counts[0, [0, 1]] + counts[0, [2, 3]])
        if not positives or not negatives:
            some = "no negative sample" if positives else "no positive sample"
            classes[name] = {"undefined": some if positives or negatives else "every label is missing"}
            continue
        stated = prevalence.get(name)
        share = positives / (positives + negatives) if stated is None else stated
        model, replicates = net_benefit(counts, at, stated), None if drawn is None else net_benefit(_counts(drawn), at, stated)
        points = [
            interval.described(value, None if replicates is None else replicates[:, t], scarcity.of_class(k))
            for t, value in enumerate(model)
        ]
        reasons = [point.get("no_interval") for point in points]
        classes[name] = {
            "prevalence": share,
            **{end: [point[key] for point in points] for end, key in (("model", "value"), ("low", "low"), ("high", "high"))},
            "all": (share - (1 - share) * at / (1 - at)).tolist(),
            "none": [0.0] * len(at),
            **({"no_interval": reasons[0]} if all(reasons) else {}),
        }
    return {"thresholds": at.tolist(), "classes": classes}


def _sums(data: Scored, k: int, codes: NDArray[np.int64], at: Floats) -> Floats:
    """Return (G, 2, T + 1): each group's known positives and negatives by how many thresholds their probability reaches."""
    known = data.observed[:, k]
    reached = np.searchsorted(at, data.probabilities[known, k], side="right")
    sums = np.zeros((int(codes.max()) + 1, 2, len(at) + 1))
    np.add.at(sums, (codes[known], np.where(data.truth[known, k] == 1, 0, 1), reached), 1.0)
    return sums


def _counts(sums: Floats) -> Floats:
    """Return (..., T, 4) counts at every threshold, of (..., 2, T + 1) samples by how many they reach."""
    total = sums.sum(axis=-1, keepdims=True)
    called = total - np.cumsum(sums, axis=-1)[..., :-1]
    return np.moveaxis(np.concatenate([called, total - called], axis=-2), -2, -1)
