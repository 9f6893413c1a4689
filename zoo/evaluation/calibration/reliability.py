"""The reliability diagram: of each bin what was forecast, and what happened, with an interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from medzoo.evaluation.bootstrap import FEWEST_GROUPS, Interval, group_codes, replicate_weights
from medzoo.evaluation.calibration.bins import equal_width
from medzoo.evaluation.metrics import Floats, Scored


def reliability_rows(data: Scored, groups: Sequence[str], interval: Interval, bins: int) -> list[dict[str, Any]]:
    """Return the diagram's bins: the top class of exclusive labels, every finding's entries of multilabel; none of quantities.

    Args:
        data: What was forecast, and what was true.
        groups: (N,) what is redrawn as a whole.
        interval: How intervals are made.
        bins: Of equal width.

    Returns:
        A row a bin: its bounds `low` and `high`, `count`, the mean `confidence` and the observed `frequency`, both null of an
        empty bin; `frequency_low` and `frequency_high`, or `no_interval`, why there is none.
    """
    if data.labels.kind == "regression":
        return []
    forecast, outcome, known = _entries(data)
    place = equal_width(forecast, bins)
    # (N, bins) sums over a sample's entries: whole samples are redrawn, whatever number of findings they have.
    counts, hits, sums = (np.zeros((len(forecast), bins)) for _ in range(3))
    rows = np.repeat(np.arange(len(forecast)), forecast.shape[1]).reshape(forecast.shape)
    for total, values in ((counts, known.astype(float)), (hits, known * outcome), (sums, known * forecast)):
        np.add.at(total, (rows, place), values)
    drawn = _drawn(counts, hits, groups, interval)
    codes = np.asarray(groups, dtype=str)
    found: list[dict[str, Any]] = []
    for index in range(bins):
        count = counts[:, index].sum()
        row: dict[str, Any] = {"low": index / bins, "high": (index + 1) / bins, "count": int(count)}
        row["confidence"] = float(sums[:, index].sum() / count) if count else None
        row["frequency"] = frequency = float(hits[:, index].sum() / count) if count else None
        there = len(set(codes[counts[:, index] > 0]))
        few = f"{there} groups in the bin, at least {FEWEST_GROUPS} are needed" if 0 < there < FEWEST_GROUPS else ""
        told = interval.described(frequency, None if drawn is None else drawn[:, index], few)
        row |= {"frequency_low": told["low"], "frequency_high": told["high"]}
        if "no_interval" in told:
            row["no_interval"] = told["no_interval"]
        found.append(row)
    return found


def _entries(data: Scored) -> tuple[Floats, Floats, Floats]:
    """Return forecasts, outcomes and 1 where it is known, (N, 1) or (N, K) each."""
    if not data.labels.exclusive:
        return data.probabilities, data.truth, data.observed.astype(np.float64)
    right = data.probabilities.argmax(axis=1) == data.truth.argmax(axis=1)
    return data.probabilities.max(axis=1)[:, None], right[:, None].astype(np.float64), data.observed[:, :1].astype(np.float64)


def _drawn(counts: Floats, hits: Floats, groups: Sequence[str], interval: Interval) -> Floats | None:
    """Return (B, bins) frequencies of the replicates; None where there is nothing to redraw."""
    codes = group_codes(groups)
    if not len(codes) or codes.max() < 1 or not interval.replicates:
        return None
    parts = []
    for weights in replicate_weights(codes, interval.replicates, interval.seed):
        below = weights @ counts
        parts.append(np.divide(weights @ hits, below, out=np.full(below.shape, np.nan), where=below > 0))
    return np.concatenate(parts)
