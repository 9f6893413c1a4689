"""Metrics asked for by name, with the intervals and reasons of our own: patients redrawn, a call of torchmetrics a replicate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from medzoo.evaluation.bootstrap import Interval, Measured, Scarcity, group_codes, replicate_weights
from medzoo.evaluation.extra import WITH_UNIT, Extra
from medzoo.evaluation.extra_values import Feed, Outcome, measure, whole_rows
from medzoo.evaluation.metrics import Floats, Scored

SLOW = {"kendall_rank_corrcoef": 20, "logauc": 5, "precision_at_fixed_recall": 20}
"""Metrics whose calls take that many times longer than the others', on 1,000 samples of 5 classes."""
MOST_VALUES = 50_000_000
"""Values, samples times classes times replicates, that a metric is computed of: seconds to a minute."""
LEAST_REPLICATES = 200
"""Replicates that are made however long they take: fewer say little of where 95% end."""


def affordable(extra: Extra, data: Scored, interval: Interval) -> Interval:
    """Return the interval with no more replicates than a metric's calls allow; it follows from sizes, never from a clock."""
    values = max(data.truth.size, 1) * SLOW.get(extra.name, 1)
    return replace(interval, replicates=min(interval.replicates, max(LEAST_REPLICATES, MOST_VALUES // values)))


def extra_metrics(
    extras: Sequence[Extra], data: Scored, groups: Sequence[str], interval: Interval, unit: str, *, detail: bool
) -> dict[str, Any]:
    """Return metrics by their text, as `metrics` of a report: value, interval, what is undefined and why, and the classes.

    Args:
        extras: Of the label space of `data`.
        data: What was predicted.
        groups: (N) the group of each sample.
        interval: How intervals are made.
        unit: What a group is.
        detail: Report each class, too.
    """
    return {extra.text: _described(extra, data, groups, interval, unit, detail=detail) for extra in extras}


def capped_notes(splits: dict[str, Any], replicates: int) -> list[str]:
    """Return a line on every metric with fewer replicates than were asked for."""
    made: dict[str, list[str]] = {}
    for split, part in splits.items():
        for text, metric in part["extra"].items():
            if "replicates" in metric:
                made.setdefault(text, []).append(f"{metric['replicates']} ({split})")
    return [
        f"{text}: {', '.join(counts)} instead of {replicates} bootstrap replicates, since each is a call of torchmetrics"
        for text, counts in made.items()
    ]


def measure_extra(
    extra: Extra, data: Scored, groups: Sequence[str], interval: Interval, unit: str
) -> tuple[Measured, dict[int, str]]:
    """Return a metric with its replicates, and why it is undefined by the place of a class."""
    feed = Feed.of(data)
    found = measure(extra, feed)
    drawn = _replicates(extra, feed, found, groups, interval)
    classes, overall = ({extra.text: found.values[None]}, {}) if extra.per_class else ({}, {extra.text: found.values})
    return Measured(
        classes, overall, {} if drawn is None else {extra.text: drawn}, interval, Scarcity.of(data, groups, unit), data.labels,
        with_unit=(extra.text,) if extra.name in WITH_UNIT else (),
        biased=(extra.text,) if extra.name == "calibration_error" else (),
    ), found.reasons  # fmt: skip


def _described(
    extra: Extra, data: Scored, groups: Sequence[str], interval: Interval, unit: str, *, detail: bool
) -> dict[str, Any]:  # fmt: skip
    rows = whole_rows(extra, data)
    if extra.form == "whole":
        data = replace(data, observed=data.observed & rows[:, None])
    made = affordable(extra, data, interval).among(len(set(groups)))
    measured, reasons = measure_extra(extra, data, groups, made, unit)
    described = measured.described(extra.text)
    if made.replicates < interval.replicates:
        described["replicates"] = made.replicates
    if not extra.per_class:
        if reasons:
            described["undefined"] = reasons[0]
        if rows.sum() < data.observed.shape[0]:
            described["samples"] = int(rows.sum())
        return described
    if reasons:
        described["undefined"] = {data.labels.names[k]: reason for k, reason in sorted(reasons.items())}
    if detail:
        described["classes"] = {name: measured.of_class(extra.text, k) for k, name in enumerate(data.labels.names)}
    return described


def _replicates(extra: Extra, feed: Feed, found: Outcome, groups: Sequence[str], interval: Interval) -> Floats | None:
    """Return (B, K) or (B,) values, the groups of each replicate being those of our own metrics; None where none are drawn."""
    codes = group_codes(groups)
    if not len(codes) or codes.max() < 1 or interval.replicates < 1 or np.isnan(found.values).all():
        return None
    values = [
        measure(extra, feed.take(torch.from_numpy(np.repeat(np.arange(len(codes)), weights.astype(np.int64))))).values
        for chunk in replicate_weights(codes, interval.replicates, interval.seed)
        for weights in chunk
    ]
    drawn = np.stack(values)
    return drawn if extra.per_class else drawn[:, 0]
