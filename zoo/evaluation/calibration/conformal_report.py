"""What prediction sets hold on splits they were not fitted on: coverage with intervals over groups, sizes, classes, subgroups."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.evaluation.bootstrap import FEWEST_GROUPS, Interval, group_codes, replicate_weights
from medzoo.evaluation.calibration.conformal import Conformal
from medzoo.evaluation.metrics import Floats, scored
from medzoo.evaluation.predictions import Predictions


def conformal_part(conformal: Conformal, predictions: Predictions, interval: Interval) -> dict[str, Any]:
    """Measure prediction sets on the rows of one split.

    Returns:
        JSON-ready. Exclusive classes: `coverage` of images, `coverage_by_group` (each group counts once), `size`, `empty` and
        `singleton` shares, `classes` (coverage and size of each true class). Findings: `missed`, the share of an image's findings
        outside its set, `size`, `empty`, `false_alarms` (share of what is known to be absent), `classes` (share of each finding
        that is held). Quantities: `classes` with `coverage` and `width`. `subgroups` repeats the first.
    """
    data = scored(predictions.labels, predictions.targets, predictions.logits)
    codes, names = group_codes(list(predictions.group)), data.labels.names
    draws = _draws(codes, interval)

    def mean(values: Floats, rows: NDArray[np.bool_], each: Floats | None = None) -> dict[str, Any]:
        return _mean(values, rows.astype(np.float64) if each is None else rows * each, codes, draws, interval)

    everyone = np.ones(len(predictions), bool)
    if data.labels.kind == "regression":
        low, high = np.moveaxis(conformal.intervals(data.scores), 2, 0)
        inside = ((data.truth >= low) & (data.truth <= high)).astype(np.float64)
        width = [None if w is None else 2 * w for w in conformal.widths]
        classes = {
            n: {"coverage": mean(inside[:, k], data.observed[:, k]), "width": width[k]} if width[k] is not None
            else {"coverage": None, "width": None, "undefined": "no interval"} for k, n in enumerate(names)
        }  # fmt: skip
        return {"classes": classes}
    sets = conformal.sets(data.probabilities)
    size = sets.sum(axis=1).astype(np.float64)
    part: dict[str, Any] = {"size": mean(size, everyone), "empty": mean((size == 0) * 1.0, everyone)}
    if data.labels.exclusive:
        known = data.observed[:, 0]
        held = (sets & (data.truth == 1)).any(axis=1).astype(np.float64)
        share = np.asarray(
            1 / np.maximum(np.bincount(codes, known, minlength=int(codes.max(initial=0)) + 1), 1)[codes], np.float64
        )
        first, part["coverage"] = "coverage", mean(held, known)
        part["coverage_by_group"], part["singleton"] = mean(held, known, share), mean((size == 1) * 1.0, everyone)
        of_class = [known & (data.truth[:, k] == 1) for k in range(len(names))]
        part["classes"] = {
            n: {"coverage": mean(held, rows), "size": mean(size, rows)} for n, rows in zip(names, of_class, strict=True)
        }  # fmt: skip
    else:
        positive, absent = data.observed & (data.truth == 1), data.observed & (data.truth == 0)
        known, held = positive.any(axis=1), _share(positive & ~sets, positive)
        first, part["missed"] = "missed", mean(held, known)
        alarms = absent.sum(axis=1).astype(np.float64)
        part["false_alarms"] = mean(_share(absent & sets, absent), absent.any(axis=1), alarms)
        part["classes"] = {n: {"held": mean(sets[:, k].astype(np.float64), positive[:, k])} for k, n in enumerate(names)}
    part["subgroups"] = {
        str(column): {
            str(level): mean(held, known & (predictions.subgroups[column].to_numpy(dtype=object) == level))
            for level in sorted(set(predictions.subgroups[column]), key=str)
        }
        for column in predictions.subgroups.columns
    }
    return {first: part.pop(first), **part}


def _share(some: NDArray[np.bool_], of: NDArray[np.bool_]) -> Floats:
    return np.asarray(some.sum(axis=1) / np.maximum(of.sum(axis=1), 1))


def _draws(codes: NDArray[np.int64], interval: Interval) -> Floats | None:
    """Return (B, groups) how often each group was drawn; None where there is nothing to redraw."""
    if not len(codes) or codes.max() < 1 or not interval.replicates:
        return None
    return np.concatenate(list(replicate_weights(np.arange(codes.max() + 1), interval.replicates, interval.seed)))


def _mean(values: Floats, each: Floats, codes: NDArray[np.int64], draws: Floats | None, interval: Interval) -> dict[str, Any]:
    """Return the mean of values (N,) by the weight of each, with its interval and the number of samples it is over."""
    count = int((each > 0).sum())
    if not count:
        return {"value": None, "low": None, "high": None, "samples": 0, "undefined": "no such sample"}
    drawn = None
    if draws is not None:
        above, below = (draws @ np.bincount(codes, part, minlength=draws.shape[1]) for part in (values * each, each))
        drawn = np.divide(above, below, out=np.full(len(draws), np.nan), where=below > 0)
    groups = len(set(codes[each > 0]))
    few = f"{groups} groups, at least {FEWEST_GROUPS} are needed" if groups < FEWEST_GROUPS else ""
    value = float((values * each).sum() / each.sum())
    return {**interval.described(value, drawn, few), "samples": count}
