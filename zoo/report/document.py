"""A run's page: its sections, in the order a reader needs them, in one HTML file that fetches nothing."""

from __future__ import annotations

from importlib.resources import files
from itertools import combinations
from typing import Any

from medzoo.data.dataset import SPLITS, Dataset
from medzoo.data.errors import EvaluationError, UnknownNameError
from medzoo.evaluation.calibration.recalibrate import as_scored
from medzoo.evaluation.predictions import Predictions
from medzoo.report import (
    calibration_sections,
    concept_sections,
    decision_sections,
    embedding_sections,
    group_sections,
    metric_sections,
    modality_sections,
    robustness_sections,
    run_sections,
    visit_sections,
)  # fmt: skip
from medzoo.report.blocks import Section
from medzoo.report.cases import Look, cases
from medzoo.store.directory import RunDirectory
from medzoo.store.spec import ModelSpec

TEMPLATE, STYLE, SCRIPT = "report.html", "report.css", "report.js"
FOOTER = (
    "Every figure stands in metrics.json, or follows from predictions.parquet, beside this page; hovering over a figure says "
    "where. † says why a figure has no interval or is to be read with care."
)


def report_page(
    run: RunDirectory, *, split: str, each: int, dataset: Dataset | None, command: list[str], look: Look | None = None
) -> str:
    """Return the page of an evaluated run. The same files give the same bytes.

    Args:
        run: With metrics.json and predictions.parquet.
        split: Whose figures are shown in detail.
        each: Cases of a kind; 0: none.
        dataset: The run's, for images and for comparing its splits; None: it is not at hand.
        command: What made the page.
        look: Shows where the model looked in the cases; None: it does not.

    Raises:
        EvaluationError: If a file is missing or damaged, or metrics.json is of other predictions or another calibration.
        UnknownNameError: If there is no such split.
    """
    report, spec = group_sections.read_metrics(run.metrics), ModelSpec.read(run.whole.spec)
    if run.whole is not run:
        spec = spec.of_target(run.path.resolve().name)
    splits = list(report["splits"])
    if not splits:
        raise EvaluationError(f"{run.metrics} holds no results of labels, of which a page could be made")
    if split not in splits:
        raise UnknownNameError("split", split, splits, where=f" of {run.metrics}")
    predictions = Predictions.read(run.predictions)
    if predictions.spec_hash != report["spec"] or any(
        len(predictions.of_split(name)) != report["splits"][name]["samples"] for name in splits
    ):
        raise EvaluationError(f"{run.metrics} is not of {run.predictions.name}; run medzoo evaluate run={run.path} again")
    shown = as_scored(predictions, run, report).of_split(split)
    sections = [
        metric_sections.summary(report, splits),
        metric_sections.metrics(report, split),
        metric_sections.curves(report, split, shown),
        metric_sections.confusion(split, shown),
        calibration_sections.calibration(report, splits),
        calibration_sections.prediction_sets(report),
        decision_sections.operating_points(report, split),
        decision_sections.decision_curve(report, split),
        group_sections.subgroups(report, split),
        group_sections.disparity(report, split),
        group_sections.hierarchy(report, split),
        concept_sections.concepts(report, split),
        concept_sections.interventions(run.path, report),
        concept_sections.prototypes(run.path),
        visit_sections.carried(report, split),
        modality_sections.modalities(report),
        embedding_sections.embeddings(report, split),
        cases(shown, dataset, each, look),
        group_sections.external_tests(run.path),
        robustness_sections.robustness(run.path, report),
        run_sections.data(spec, report, overlaps(dataset)),
        run_sections.model(spec, report),
        run_sections.made(run, spec, command),
    ]
    return render(f"{spec.architecture} on {spec.data.get('title', spec.data.get('name', ''))}", run.path.name, sections)


def render(title: str, name: str, sections: list[Section], footer: str = FOOTER) -> str:
    """Return sections as a page; those without content are left out, and the footer says where figures come from."""
    import jinja2

    here = files("medzoo.report")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(here.joinpath(TEMPLATE).read_text(encoding="utf-8"))
    parts: dict[str, Any] = {
        part: here.joinpath(file).read_text(encoding="utf-8") for part, file in (("style", STYLE), ("script", SCRIPT))
    }
    return template.render(title=title, name=name, sections=[s for s in sections if s.blocks], footer=footer, **parts) + "\n"


def overlaps(dataset: Dataset | None) -> dict[str, int] | None:
    """Return how many groups two splits share, by `train and val`; None without a dataset."""
    if dataset is None:
        return None
    groups = {split: set(dataset.rows(split)["group"].astype(str)) for split in SPLITS}
    return {f"{a} and {b}": len(groups[a] & groups[b]) for a, b in combinations(SPLITS, 2) if groups[a] and groups[b]}
