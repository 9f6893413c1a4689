"""The disparity part of a report: of every subgroup column and intersection, who is served worst, and by how much."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.labels import LabelSpace
from medzoo.evaluation.bootstrap import Interval, group_codes
from medzoo.evaluation.fairness.blocks import Column, Key, column_report, mean_of, metric_block, rate_block, rated_classes
from medzoo.evaluation.fairness.gaps import Levels
from medzoo.evaluation.fairness.measured import RATES, Part, comparable, replicates
from medzoo.evaluation.metrics import WITH_UNIT, Floats, Scored

NO_SHARES = frozenset({"nll", "brier", "soft_cross_entropy", "kappa", "mae", "rmse", "r2", "spearman"})
"""Metrics that are no share of anything, 0 to 1."""
MOST_VALUES = 20_000_000
"""Levels times classes times replicates up to which rates of single classes are compared (160 MB of replicates)."""

Drawn = dict[tuple[str, Key], list[Floats]]


def headline(labels: LabelSpace) -> str:
    """Return the metric that a report leads with: a ranking for classes, for quantities of one unit their error."""
    if labels.kind != "regression":
        return "auroc"
    return "mae" if labels.one_unit else "r2"


def disparity(
    data: Scored, groups: Sequence[str], columns: Mapping[str, Sequence[str]], interval: Interval, *, bins: int, unit: str
) -> dict[str, Any]:
    """Measure the disparity of every metric between the levels of each column.

    Args:
        data: Of a split.
        groups: (N,) the group of each sample.
        columns: Column, or intersection of several → (N,) each sample's level.
        interval: How intervals are made.
        bins: Of the calibration error.
        unit: What a group is.

    Returns:
        Column → metric → `whole`, `worst`, `best`, `gap`, `ratio`, `mean_psd`, `max_psd`, of some `equity_scaled`, and `levels`;
        for classes also `equalised_odds` and `demographic_parity`. JSON-ready.
    """
    codes = group_codes(groups)
    if not columns or not len(codes):
        return {}
    whole = Part.of(data, codes, np.arange(len(codes)))
    plain = whole.values(np.ones((1, codes.max() + 1)), bins)
    keys = _keys(data.labels, plain)
    found = {
        name: _column(data, codes, np.asarray(named, dtype=object), keys, interval, bins, unit) for name, named in columns.items()
    }
    drawn, drawn_whole = _redrawn(whole, found, replicates(int(codes.max()) + 1, interval), bins)
    comparisons = 2 * len(rated_classes(data.labels)) * len(columns)
    report: dict[str, Any] = {}
    for name, column in found.items():
        blocks: dict[Key, dict[str, Any]] = {}
        for key, compared in column.compared.items():
            metric, only = key
            values = np.array([mean_of(column.plain[place][metric], compared)[0] for place in compared.levels])
            shared = replace(interval, level=1 - (1 - interval.level) / comparisons)  # of rates: Bonferroni over all of them
            levels = Levels.of(
                compared,
                (values, float(mean_of(plain[metric], compared)[0])),
                (_joined(drawn[name, key], (0, len(values))), _joined(drawn_whole[name, key], (0,))),
                shared if only is not None and metric in ("recall", "fpr") else interval,
                share=metric not in NO_SHARES,
            )
            rate = only is not None and metric in RATES
            blocks[key] = (
                rate_block(column, key, levels) if rate else metric_block(column, key, levels, data.labels, len(columns))
            )
        report[name] = column_report(blocks, data.labels)
    return report


def _column(
    data: Scored, codes: NDArray[np.int64], named: NDArray[np.object_], keys: Sequence[Key], interval: Interval, bins: int,
    unit: str
) -> Column:  # fmt: skip
    """Take a column apart into its levels, and find what can be compared."""
    names = sorted(set(named))
    parts = [Part.of(data, codes, np.flatnonzero(named == name)) for name in names]
    plain = [part.values(np.ones((1, codes.max() + 1)), bins) for part in parts]
    fits = len(names) * len(RATES) * data.labels.width * interval.replicates <= MOST_VALUES
    compared = {
        (metric, only): comparable(parts, metric, [values[metric][0] for values in plain], unit, only)
        for metric, only in keys
        if fits or only is None or metric not in RATES
    }
    return Column(names, parts, plain, compared)


def _redrawn(whole: Part, found: Mapping[str, Column], weights_of: Any, bins: int) -> tuple[Drawn, Drawn]:
    """Return the replicates of every column's metrics: (b, L) of its levels, and (b,) of the whole, a chunk each."""
    drawn, drawn_whole = defaultdict(list), defaultdict(list)
    for weights in weights_of:
        of_whole = whole.values(weights, bins)
        for name, column in found.items():
            of_levels = [part.values(weights, bins) for part in column.parts]
            for key, compared in column.compared.items():
                values = [mean_of(of_levels[place][key[0]], compared) for place in compared.levels]
                drawn[name, key].append(np.stack(values, axis=1) if values else np.empty((len(weights), 0)))
                drawn_whole[name, key].append(mean_of(of_whole[key[0]], compared))
    return drawn, drawn_whole


def _joined(chunks: Sequence[Floats], shape: tuple[int, ...]) -> Floats:
    return np.concatenate(chunks) if chunks else np.empty(shape)


def _keys(labels: LabelSpace, values: Mapping[str, Floats]) -> list[Key]:
    """Return every metric, of quantities of different units one by one, and the rates of each class."""
    keys: list[Key] = []
    for metric in values:
        if metric in WITH_UNIT and labels.kind == "regression" and not labels.one_unit:
            keys += [(metric, k) for k in range(labels.width)]
        elif metric not in ("fpr", "selection_rate"):
            keys.append((metric, None))
    return keys + ([(rate, k) for rate in RATES for k in rated_classes(labels)] if labels.kind != "regression" else [])
