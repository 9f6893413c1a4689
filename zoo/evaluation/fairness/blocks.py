"""What a report says of a metric's disparity between the levels of one column, from its values and replicates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medzoo.data.labels import LabelSpace
from medzoo.evaluation.fairness.gaps import Levels
from medzoo.evaluation.fairness.measured import RATES, Compared, Part
from medzoo.evaluation.metrics import Floats
from medzoo.evaluation.monitor import LOWER_IS_BETTER

EQUITY_SCALED = ("auroc", "accuracy")
TOO_MANY = {"value": None, "low": None, "high": None, "undefined": "too many levels and classes"}

Key = tuple[str, int | None]
"""A metric, and of which class or quantity alone; None: the mean over those that are compared."""


@dataclass(frozen=True)
class Column:
    """A subgroup column of a split.

    Attributes:
        names: Its levels.
        parts: The rows of each.
        plain: Of each, every metric of the whole sample.
        compared: Which of its levels and classes count for a metric.
    """

    names: Sequence[str]
    parts: Sequence[Part]
    plain: Sequence[Mapping[str, Floats]]
    compared: Mapping[Key, Compared]


def worse_if_lower(metric: str) -> bool:
    """Whether the smallest of a metric's values is the worst one."""
    return metric not in LOWER_IS_BETTER and metric != "fpr"


def rated_classes(labels: LabelSpace) -> list[int]:
    """Return the classes whose rates are compared: of two exclusive ones the last, of which the other's rates follow."""
    return [1] if labels.exclusive and labels.width == 2 else list(range(labels.width))


def mean_of(values: Floats, compared: Compared) -> Floats:
    """Return (B,) the mean of (B, K) values over the classes that are compared; NaN in a replicate that lost one."""
    if not len(compared.classes):
        return np.full(len(values), np.nan)
    mean: Floats = values[:, compared.classes].mean(axis=1)
    return mean


def rate_block(column: Column, key: Key, levels: Levels) -> dict[str, Any]:
    """Return what is said of a class's rate: the levels at both ends, the gap, and levels that do not count."""
    compared = column.compared[key]
    left = {column.names[place]: why for place, why in compared.left_out.items()}
    ends = ("lowest", "highest") if key[0] == "selection_rate" else _ends(key[0])
    return {**_extremes(column, key, levels, ends), **levels.gap(), **({"not_counted": left} if left else {})}


def metric_block(column: Column, key: Key, levels: Levels, labels: LabelSpace, columns: int) -> dict[str, Any]:
    """Return what is said of a metric, the levels of a column among it; `columns` are all that are looked at."""
    metric, only = key
    compared, (mean, largest) = column.compared[key], levels.psd()
    extremes = _extremes(column, key, levels, _ends(metric))
    counted = dict(zip(map(int, compared.levels), zip(levels.values, levels.differences(columns), strict=True), strict=True))
    told: dict[str, Any] = {}
    for place, name in enumerate(column.names):
        if place in counted:
            told[name] = {"value": float(counted[place][0]), "difference": counted[place][1]}
        else:
            told[name] = {"value": _alone(column.plain[place][metric][0], only), "not_counted": compared.left_out[place]}
    lacking = only is None and 0 < len(compared.classes) < len(column.plain[0][metric][0])
    return {
        "whole": None if np.isnan(levels.whole) else levels.whole,
        **{end: extremes.get(end) for end in ("worst", "best")},
        "gap": levels.gap(),
        "ratio": levels.ratio(),
        "mean_psd": mean,
        "max_psd": largest,
        **({"equity_scaled": levels.equity_scaled()} if metric in EQUITY_SCALED else {}),
        **({"classes_compared": [labels.names[k] for k in compared.classes]} if lacking else {}),
        "levels": told,
    }


def column_report(blocks: Mapping[Key, dict[str, Any]], labels: LabelSpace) -> dict[str, Any]:
    """Return a column's blocks by metric, those of single quantities and rates together."""
    report: dict[str, Any] = {metric: block for (metric, only), block in blocks.items() if only is None}
    if labels.kind == "regression":
        for (metric, only), block in blocks.items():
            if only is not None:
                part = report.setdefault(metric, {"no_mean": "the quantities have different units", "classes": {}})
                part["classes"][labels.names[only]] = block
        return report
    if not all((RATES[0], k) in blocks for k in rated_classes(labels)):
        return {**report, "equalised_odds": TOO_MANY, "demographic_parity": TOO_MANY}
    odds = {labels.names[k]: _odds(blocks["recall", k], blocks["fpr", k]) for k in rated_classes(labels)}
    parity = {labels.names[k]: blocks["selection_rate", k] for k in rated_classes(labels)}
    return {**report, "equalised_odds": _over_classes(odds), "demographic_parity": _over_classes(parity)}


def _ends(metric: str) -> tuple[str, str]:
    """Return what the smallest and the largest value of a metric are."""
    return ("worst", "best") if worse_if_lower(metric) else ("best", "worst")


def _extremes(column: Column, key: Key, levels: Levels, ends: tuple[str, str]) -> dict[str, Any]:
    if len(levels.values) < 2:
        return {}
    places = (int(levels.values.argmin()), int(levels.values.argmax()))
    counted = column.compared[key].levels
    return {
        end: {"level": column.names[counted[place]], "value": float(levels.values[place])}
        for end, place in zip(ends, places, strict=True)
    }


def _alone(values: Floats, only: int | None) -> float | None:
    """Return a level's own value where it does not count: the mean over what is defined."""
    known = values[~np.isnan(values)] if only is None else values[[only]]
    return float(known.mean()) if len(known) and not np.isnan(known).any() else None


def _odds(tpr: dict[str, Any], fpr: dict[str, Any]) -> dict[str, Any]:
    """Return a class's equalised odds difference: the larger gap of the two rates (`fairlearn`'s worst case), and both."""
    report: dict[str, Any] = {
        end: None if tpr[end] is None or fpr[end] is None else max(tpr[end], fpr[end]) for end in ("value", "low", "high")
    }
    return {**report, "tpr": tpr, "fpr": fpr}


def _over_classes(classes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the mean gap over classes, its interval where there is one class, and the classes."""
    known = [gap["value"] for gap in classes.values() if gap["value"] is not None]
    only = next(iter(classes.values())) if len(classes) == 1 else None
    return {
        "value": float(np.mean(known)) if known else None,
        "low": None if only is None else only["low"],
        "high": None if only is None else only["high"],
        **({"no_interval": "a mean of gaps; each class has its own"} if only is None and known else {}),
        "classes": classes,
    }
