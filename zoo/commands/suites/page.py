"""A suite's results as one page: models by their mean rank over datasets, differences from the reference, every run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean

from medzoo.commands.compared.page import DEFAULT_METRICS, side_by_side
from medzoo.commands.compared.paired import compare_runs
from medzoo.commands.compared.result import Result
from medzoo.commands.suites.grid import Grid, Job
from medzoo.data.errors import MedzooError, UnknownNameError
from medzoo.evaluation.bootstrap import Interval
from medzoo.evaluation.comparison.page import parts
from medzoo.evaluation.comparison.paired import Asked
from medzoo.evaluation.comparison.parts import Grid as Text
from medzoo.evaluation.comparison.parts import Part
from medzoo.evaluation.monitor import higher_is_better

FOR_FRIEDMAN = 3
"""Models and datasets that the test needs at least."""


def suite_parts(grid: Grid, done: Mapping[Job, Result], split: str, interval: Interval) -> list[Part]:
    """Return the parts of the page: ranks, then of each dataset the paired differences, every run, and its tests on other data.

    Args:
        grid: What was asked for.
        done: Jobs that ended well, with their results, in the order of the grid.
        split: Whose figures; folds are pooled, on `val` each patient once.
        interval: Of the paired differences.
    """
    own = {job: result for job, result in done.items() if job.kind != "evaluate"}
    metrics = {name: grid.metric or _first_metric(own, name) for name in grid.data}
    found = [_ranks(scores(grid, own, split, metrics), metrics)]
    for dataset in grid.data:
        results = [result for job, result in own.items() if job.dataset == dataset]
        if len({job.model for job in own if job.dataset == dataset}) > 1:
            found += _differences(grid, own, dataset, split, metrics[dataset], interval)
        found += side_by_side(results, split=split) if results else []
        for test in grid.external.get(dataset, {}):
            elsewhere = [r for job, r in done.items() if job.kind == "evaluate" and job.dataset == dataset and job.name.endswith(
                f"/external/{test}")]  # fmt: skip
            found += side_by_side(elsewhere, split="test") if elsewhere else []
    return found


def scores(
    grid: Grid, done: Mapping[Job, Result], split: str, metrics: Mapping[str, str]
) -> dict[str, dict[str, float | None]]:  # fmt: skip
    """Return dataset → model → the mean of its runs' metric; None where a run is missing, undefined or not measured by it.

    Raises:
        UnknownNameError: If no run is measured by it; a metric of some datasets (grades' kappa) leaves the others unranked.
    """
    jobs = [job for job in grid.jobs() if job.kind != "evaluate"]
    figures: dict[Job, float | None] = {}
    unknown: list[UnknownNameError] = []
    for job in jobs:
        try:
            figures[job] = done[job].metric(split, metrics[job.dataset])["value"] if job in done else None
        except UnknownNameError as error:
            unknown.append(error)
            figures[job] = None
    if unknown and len(unknown) == sum(job in done for job in jobs):
        raise unknown[0]
    found: dict[str, dict[str, float | None]] = {}
    for dataset in grid.data:
        row: dict[str, float | None] = {}
        for model in (*grid.models, *grid.zeroshot):
            values = [figures[job] for job in jobs if (job.dataset, job.model) == (dataset, model)]
            known = [value for value in values if value is not None]
            row[model] = mean(known) if values and len(known) == len(values) else None
        found[dataset] = row
    return found


def _ranks(table: Mapping[str, Mapping[str, float | None]], metrics: Mapping[str, str]) -> Part:
    """Return the models by mean rank: 1 is the best, equal ones share the mean of their ranks (scipy.stats.rankdata)."""
    from scipy.stats import friedmanchisquare, rankdata

    models = list(next(iter(table.values())))
    whole = {name: row for name, row in table.items() if None not in row.values()}
    ranks = {
        name: dict(zip(models, rankdata([_lower(row[model], metrics[name]) for model in models]).tolist(), strict=True))
        for name, row in whole.items()
    }
    means = {model: mean(ranks[name][model] for name in whole) if whole else None for model in models}
    order = sorted(models, key=lambda model: (means[model] is None, means[model] or 0, models.index(model)))
    rows = []
    for model in order:
        cells = []
        for name in table:
            value, rank = table[name][model], f" ({ranks[name][model]:g})" if name in ranks else ""
            cells.append("undefined" if value is None else f"{value:.3f}{rank}")
        rows.append([model, "–" if means[model] is None else f"{means[model]:.2f}", *cells])
    header = ["model", "mean rank", *(f"{name}: {metrics[name]}" for name in table)]
    said: list[str | Text] = [Text(header, rows, "Mean over runs, and in brackets the rank on that dataset: 1 is the best.")]
    if without := [name for name in table if name not in whole]:
        said.append(f"Not ranked: {', '.join(without)}, where a model has no figure.")
    if len(models) >= FOR_FRIEDMAN and len(whole) >= FOR_FRIEDMAN:
        test = friedmanchisquare(*([ranks[name][model] for name in whole] for model in models))
        said.append(
            f"Friedman's test that all models rank alike (Demšar 2006, section 3.2.2): chi-squared {test.statistic:.3f}, "
            f"p {test.pvalue:.4f}, of {len(whole)} datasets."
        )
    return Part("Ranks", said)


def _lower(value: float | None, metric: str) -> float:
    """Return a figure as one of which less is better."""
    assert value is not None
    return -value if higher_is_better(metric) else value


def _differences(
    grid: Grid, own: Mapping[Job, Result], dataset: str, split: str, metric: str, interval: Interval
) -> Sequence[Part]:  # fmt: skip
    """Return the paired differences from the reference on one dataset; of what cannot be paired the reason."""
    here = [job for job in own if job.dataset == dataset]
    order = sorted(here, key=lambda job: job.model != grid.reference)
    try:
        report = compare_runs([own[job] for job in order], split, Asked((metric,), interval), pool_folds=bool(grid.folds))
    except MedzooError as error:
        return [Part(f"{dataset}: differences", [f"Not paired: {error}"])]
    found = parts(report)
    notes = [f"- {note}" for note in report["notes"]]
    return [Part(f"{dataset}: differences from {grid.reference}", [*(block for part in found for block in part.blocks), *notes])]


def _first_metric(own: Mapping[Job, Result], dataset: str) -> str:
    kind = next((result.report["labels"]["kind"] for job, result in own.items() if job.dataset == dataset), "multiclass")
    return DEFAULT_METRICS[kind][0]
