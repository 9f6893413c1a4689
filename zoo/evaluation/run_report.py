"""The report of a run, from its predictions and embeddings files: metrics.json, plots, lines on a terminal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from medzoo.data.operating_points import OperatingPoints
from medzoo.evaluation.attention import attention_lines
from medzoo.evaluation.bootstrap import Interval
from medzoo.evaluation.calibration.prediction_sets import conformal_report, fitted_sets, format_conformal
from medzoo.evaluation.calibration.recalibrate import (
    calibrator_for,
    format_recalibration,
    recalibrated,
    recalibration_report,
    scored_by,
)
from medzoo.evaluation.comparison.carried import carried_lines, carried_report
from medzoo.evaluation.decisions.plot import plot_curve
from medzoo.evaluation.decisions.report import Decisions
from medzoo.evaluation.embeddings import Embeddings
from medzoo.evaluation.grouped.report import report_groups
from medzoo.evaluation.modalities.report import modalities_lines, modalities_report
from medzoo.evaluation.modalities.variants import Variants
from medzoo.evaluation.nearest.report import embedding_lines, embeddings_report
from medzoo.evaluation.predictions import Predictions
from medzoo.evaluation.report import evaluate, format_report, write_metrics
from medzoo.evaluation.retrieval import format_retrieval, retrieval_report
from medzoo.settings.evaluation import EvaluationConfig, by_columns
from medzoo.settings.metric_names import metric_texts
from medzoo.store.directory import RunDirectory
from medzoo.store.figures import figure_png
from medzoo.store.operating_points import read_points, write_points
from medzoo.store.storage import write_file


def report_run(
    run: RunDirectory, config: EvaluationConfig, points: OperatingPoints | None = None, model: RunDirectory | None = None
) -> dict[str, Any]:
    """Score a run's predictions and embeddings files: metrics.json, plots, and lines on the terminal.

    Args:
        run: Where the files are.
        config: How they are scored.
        points: Operating points that are applied as they are; None: those that the configuration asks for are chosen and written
            beside the metrics.
        model: The run whose model was tested on other data, whose calibrator is then used as it is; None: `run` itself.
    """
    report: dict[str, Any] = {"splits": {}, "notes": []}
    interval = Interval.of(config)
    if run.predictions.is_file() or not run.embeddings.is_file():
        raw = Predictions.read(run.predictions)
        report = report_predictions(raw, config, model or run, points, fit=model is None)
        if run.modalities.is_file():
            variants = Variants.read(run.modalities)
            if variants.split in config.splits and variants.of_the_same(raw):
                fitted = scored_by(raw, run, report)
                report["modalities"] = modalities_report(raw, variants, interval, fitted.calibrator if fitted else None)
    if run.embeddings.is_file() or config.embeddings:
        embeddings = Embeddings.read(run.embeddings)
        features = embeddings.length is not None  # of a network, not of an image–text model
        if embeddings.text_embedding is not None or not (report["splits"] or features):
            report["retrieval"] = retrieval_report(embeddings, config.splits, interval)
        if config.embeddings or (features and not report["splits"]):
            report["embeddings"] = embeddings_report(embeddings, config.splits, interval, config.robustness_index)
        report.setdefault("details", dict(embeddings.details))
    report.setdefault("details", {})
    if config.extra and not report["splits"]:
        report["notes"].append("evaluation.extra needs predictions of labels, and there are none: it was left out")
    if Decisions.of(config) and not report["splits"]:
        report["notes"].append("operating points and decision curves need predictions of labels, and there are none")
    write_metrics(run.metrics, report)
    if points is None and config.operating_points and "operating_points" in report:
        write_points(run, report["operating_points"])
    made = [f"{name}={report['details'][name]}" for name in ("checkpoint", "epoch", "tta") if name in report["details"]]
    if made:
        print(f"scored: predictions of {', '.join(made)}")
    for line in (*attention_lines(report.get("attention", [])), *format_recalibration(report), *format_conformal(report)):
        print(line)
    for split in report["splits"]:
        plot_reliability(run.plots / f"reliability_{split}.png", report, split)
        plot_curve(run.plots / f"decision_curve_{split}.png", report["splits"][split].get("decision_curve"), split)
        print(format_report(report, split))
    for line in [
        *carried_lines(report.get("carried", {})),
        *modalities_lines(report.get("modalities", {})),
        *format_retrieval(report.get("retrieval", {})),
        *embedding_lines(report.get("embeddings", {})),
    ]:
        print(line)
    said = [report["details"][name] for name in ("training", "choice", "captions_cut") if name in report["details"]]
    for note in [*report["notes"], *said]:
        print(f"note: {note}")
    if by_columns(config.by) and report["splits"]:
        report_groups(run, config, model or run)
    return report


def report_predictions(
    raw: Predictions, config: EvaluationConfig, model: RunDirectory, points: OperatingPoints | None = None, *, fit: bool = True
) -> dict[str, Any]:
    """Score predictions, calibrated first where that is asked for.

    Args:
        raw: What a model said.
        config: How it is scored.
        model: The model's run, which holds its calibrator.
        points: Operating points that are applied as they are; None: those that are asked for are chosen, and where none are,
            those that the run has chosen before still stand.
        fit: Fit that to these predictions and write it; False: take the one that is there.
    """
    predictions, fitted = raw, None
    if config.calibration != "none":
        fitted = calibrator_for(raw, config.calibration, model.calibration, fit=fit)
        predictions = recalibrated(raw, fitted)
    extra = metric_texts(config.extra, "evaluation.extra")
    interval = replace(Interval.of(config), expanded=config.interval == "expanded")
    standing, unfit = None, ""
    if points is None and fit and not config.operating_points:
        standing, unfit = _standing_points(predictions, model)
    report = evaluate(
        predictions, splits=config.splits, interval=interval, bins=config.bins, extra=extra,
        intersections=config.intersections, decisions=Decisions.of(config, points or standing),
    )  # fmt: skip
    if unfit:
        report["notes"].append(unfit)
    if predictions.carried is not None:
        report["carried"] = carried_report(predictions, config.splits, Interval.of(config))
    if fitted is not None:
        report["recalibration"] = recalibration_report(raw, predictions, fitted, config.splits, config.bins)
    if config.conformal is not None:
        own = None if fitted is None else fitted.calibrator
        sets = fitted_sets(predictions, config.conformal, own, model.conformal, config.seed, fit=fit)
        report["conformal"] = conformal_report(sets, predictions, config.splits, Interval.of(config))
    return report


def _standing_points(predictions: Predictions, model: RunDirectory) -> tuple[OperatingPoints | None, str]:
    """Return the points that a run has chosen before, or why they are none of what it says now; empty if it has none."""
    points, details = read_points(model.path, predictions.labels), predictions.details
    if points is None:
        return None, ""
    made = {name: details.get(name) for name in ("weights", "calibration")}
    unfit = points.not_of(predictions.spec_hash, str(made["weights"]), details.get("tta") or 0, made["calibration"])
    if unfit:
        return None, f"{model.operating_points.name} is not applied: {unfit}; evaluation.operating_points=[...] chooses others"
    return points, ""


def plot_reliability(path: Path, report: dict[str, Any], split: str) -> None:
    """Draw predicted confidence against observed frequency as a PNG; the area of a point is its share of samples."""
    from matplotlib.figure import Figure

    rows = [row for row in report["splits"][split]["reliability"] if row["count"]]
    if not rows:
        return
    total = sum(row["count"] for row in rows)
    figure = Figure(figsize=(4, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="perfect")
    sizes = [20 + 400 * row["count"] / total for row in rows]
    axes.scatter([r["confidence"] for r in rows], [r["frequency"] for r in rows], s=sizes, alpha=0.7)
    axes.set(xlabel="predicted probability", ylabel="observed frequency", title=split, xlim=(0, 1), ylim=(0, 1))
    axes.legend(frameon=False)
    write_file(path, figure_png(figure))
