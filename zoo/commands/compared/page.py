"""Runs side by side, as a Markdown page or as rows, made from their metrics.json, spec.json and config.yaml alone.

Of a bottleneck on a trained run, that run's config.yaml is read, too, where it is at hand.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from medzoo.commands.compared.domains import domain_parts
from medzoo.commands.compared.result import Result, common_name, recipe, setting_key
from medzoo.data.errors import EvaluationError
from medzoo.evaluation.bootstrap import value_text
from medzoo.evaluation.comparison.parts import Grid, Part, markdown

DEFAULT_METRICS = {
    "multiclass": ("auroc", "balanced_accuracy", "f1", "ece"),
    "ordinal": ("kappa", "mae", "auroc", "balanced_accuracy", "f1"),
    "multilabel": ("auroc", "ap", "f1", "ece"),
    "regression": ("mae", "r2", "spearman"),
}


def comparison(
    results: Sequence[Result], *, split: str = "test", metrics: Sequence[str] | None = None, title: str = "Results",
    notes: Sequence[str] = ()
) -> str:  # fmt: skip
    """Return a Markdown page: a section a dataset and table, a row a setting, with mean and spread over seeds, then every run.

    Runs that left one domain out each have a section of their own, for their test splits differ; one more shows them together.

    Args:
        results: At least one.
        split: Which split's figures.
        metrics: Columns; None: by label kind, with what all runs of a section were evaluated by, too.
        title: Heading.
        notes: Paragraphs below it.

    Raises:
        UnknownNameError: If a run lacks the split or a metric.
    """
    return markdown(title, notes, side_by_side(results, split=split, metrics=metrics))


def side_by_side(results: Sequence[Result], *, split: str = "test", metrics: Sequence[str] | None = None) -> list[Part]:
    """Return the parts of `comparison`; arguments and errors are its."""
    parts = []
    for (dataset, table), members in by_test_set(results, split).items():
        columns = _columns(members, split, metrics)
        part = members[0].report["splits"].get(split, {})
        unit = members[0].report["interval"]["unit"]
        rows = f", table {table[:12]}" if table else ""
        interval = members[0].report["interval"]
        methods = dict.fromkeys(member.report["interval"]["method"] for member in members)
        every = f"Every run, with {interval['level']:.0%} intervals ({', '.join(methods)}):"
        title = f"{dataset}, {split} ({part.get('samples')} samples, {part.get('groups')} {unit} groups{rows})"
        parts.append(Part(title, [
            Grid(["setting", "training", "runs", *columns], _pooled(members, split, columns)),
            Grid(["run", "seed", *columns], _single(members, split, columns), every),
        ]))  # fmt: skip
    if split == "test":
        parts += domain_parts(results, lambda result: metrics or DEFAULT_METRICS[result.report["labels"]["kind"]])
    return parts


def comparison_csv(results: Sequence[Result], *, split: str = "test", metrics: Sequence[str] | None = None) -> str:
    """Return a row for each run and metric, its value and interval in full; arguments and errors are those of `comparison`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["dataset", "split", "table", "run", "training", "seed", "metric", "value", "low", "high", "why"])
    for (dataset, table), members in by_test_set(results, split).items():
        _pooled(members, split, ())  # refuses what is there twice
        for result in members:
            for column in _columns(members, split, metrics):
                metric = result.metric(split, column)
                row = [dataset, split, table[:12], result.name, recipe(result), result.config["seed"], column]
                writer.writerow([*row, metric["value"], metric["low"], metric["high"], _why(metric)])
    return text.getvalue()


def _why(metric: Mapping[str, Any]) -> str:
    """Return why a metric, or its interval, is not there; empty where both are."""
    reason = next((metric[key] for key in ("undefined", "no_mean", "no_interval") if metric.get(key)), "")
    return "; ".join(f"{name}: {one}" for name, one in reason.items()) if isinstance(reason, Mapping) else str(reason)


def by_test_set(results: Sequence[Result], split: str) -> dict[tuple[str, str], list[Result]]:
    """Return runs by dataset and table that they were tested on."""
    sections: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        sections.setdefault((result.dataset, result.tested_on(split)), []).append(result)
    return sections


def _columns(members: Sequence[Result], split: str, metrics: Sequence[str] | None) -> list[str]:
    shared = [text for text in members[0].extra(split) if all(text in member.extra(split) for member in members)]
    return list(metrics or [*DEFAULT_METRICS[members[0].report["labels"]["kind"]], *shared])


def _pooled(members: Sequence[Result], split: str, columns: Sequence[str]) -> list[list[str]]:
    groups: dict[str, list[Result]] = {}
    for result in members:
        groups.setdefault(setting_key(result), []).append(result)
    for group in groups.values():
        seeds = [r.config["seed"] for r in group]
        twice = next((seed for seed in seeds if seeds.count(seed) > 1), None)
        if twice is not None:
            same = [r.name for r in group if r.config["seed"] == twice]
            raise EvaluationError(f"{' and '.join(same)} have the same settings and the same seed {twice}; leave one out")
    rows = []
    for group in groups.values():
        row = [common_name([r.name for r in group]), recipe(group[0]), str(len(group))]
        for column in columns:
            values = [r.metric(split, column)["value"] for r in group]
            known = [v for v in values if v is not None]
            spread = f" ± {stdev(known):.3f}" if len(known) > 1 else ""
            row.append(f"{mean(known):.3f}{spread}" if known else "undefined")
        rows.append(row)
    return rows


def _single(members: Sequence[Result], split: str, columns: Sequence[str]) -> list[list[str]]:
    rows = []
    for result in members:
        metrics = [result.metric(split, column) for column in columns]
        texts = [value_text(metric["value"], metric["low"], metric["high"]) for metric in metrics]
        rows.append([result.name, str(result.config["seed"]), *texts])
    return rows
