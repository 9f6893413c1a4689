"""Runs that left out one domain each, together: every domain's test, and the mean over domains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import mean, stdev

from medzoo.commands.compared.result import FOLDS, Result, common_name, recipe, setting_key
from medzoo.evaluation.bootstrap import value_text
from medzoo.evaluation.comparison.parts import Grid, Part

POOLED = (
    "The mean counts every domain alike, and ± is the standard deviation over domains. With --pool-folds or --paired their "
    "patients are joined, each once, and intervals are over patients."
)


def domain_parts(results: Sequence[Result], columns_of: Callable[[Result], Sequence[str]]) -> list[Part]:
    """Return a part for each setting whose runs left out two domains or more; of several seeds the mean of each domain.

    Args:
        results: All that are compared.
        columns_of: Metrics for a setting, of its first run.
    """
    settings: dict[str, list[Result]] = {}
    for result in results:
        if result.domain:
            settings.setdefault(setting_key(result, FOLDS), []).append(result)
    parts: list[Part] = []
    for members in settings.values():
        domains: dict[str, list[Result]] = {}
        for member in members:
            domains.setdefault(str((member.domain or {})["held_out"]), []).append(member)
        if len(domains) < 2:
            continue
        columns, column = list(columns_of(members[0])), (members[0].domain or {})["column"]
        title = f"Leaving one {column} out: {common_name([member.name for member in members])}"
        grid = Grid([f"{column} left out", "samples", "runs", *columns], _rows(domains, columns))
        parts.append(Part(title, [f"{recipe(members[0])}.", grid, POOLED]))
    return parts


def _rows(domains: dict[str, list[Result]], columns: Sequence[str]) -> list[list[str]]:
    rows, values = [], dict[str, list[float | None]]()
    for level in sorted(domains):
        runs = domains[level]
        row = [level, str(runs[0].report["splits"]["test"]["samples"]), str(len(runs))]
        for column in columns:
            metrics = [run.metric("test", column) for run in runs]
            known = [metric["value"] for metric in metrics if metric["value"] is not None]
            value = mean(known) if len(known) == len(metrics) else None
            alone = metrics[0] if len(metrics) == 1 else {"low": None, "high": None}
            row.append(value_text(value, alone["low"], alone["high"]))
            values.setdefault(column, []).append(value)
        rows.append(row)
    means = []
    for column in columns:
        defined = [value for value in values[column] if value is not None]
        whole = len(defined) == len(domains)  # a mean over the domains that happen to be defined is another quantity
        means.append(f"{mean(defined):.3f} ± {stdev(defined):.3f}" if whole else "undefined")
    return [*rows, ["mean over domains", "", "", *means]]
