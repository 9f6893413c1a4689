"""The report of a run, from its predictions and embeddings files: metrics.json, plots, lines on a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medzoo.evaluation.bootstrap import Interval
from medzoo.evaluation.embeddings import Embeddings
from medzoo.evaluation.predictions import Predictions
from medzoo.evaluation.report import evaluate, format_report, write_metrics
from medzoo.evaluation.retrieval import format_retrieval, retrieval_report
from medzoo.settings.metric_names import metric_texts
from medzoo.settings.schema import EvaluationConfig
from medzoo.store.directory import RunDirectory
from medzoo.store.figures import figure_png
from medzoo.store.storage import write_file


def report_run(run: RunDirectory, config: EvaluationConfig) -> dict[str, Any]:
    """Score a run's predictions and embeddings files: metrics.json, plots, and lines on the terminal."""
    report: dict[str, Any] = {"splits": {}, "notes": []}
    interval = Interval.of(config)
    if run.predictions.is_file() or not run.embeddings.is_file():
        extra = metric_texts(config.extra, "evaluation.extra")
        predictions = Predictions.read(run.predictions)
        report = evaluate(predictions, splits=config.splits, interval=interval, bins=config.bins, extra=extra)
    if run.embeddings.is_file():
        embeddings = Embeddings.read(run.embeddings)
        report["retrieval"] = retrieval_report(embeddings, config.splits, interval)
        report.setdefault("details", dict(embeddings.details))
    report.setdefault("details", {})
    if config.extra and not report["splits"]:
        report["notes"].append("evaluation.extra needs predictions of labels, and there are none: it was left out")
    write_metrics(run.metrics, report)
    made = [f"{name}={report['details'][name]}" for name in ("checkpoint", "epoch", "tta") if name in report["details"]]
    if made:
        print(f"scored: predictions of {', '.join(made)}")
    for split in report["splits"]:
        plot_reliability(run.plots / f"reliability_{split}.png", report, split)
        print(format_report(report, split))
    for line in format_retrieval(report.get("retrieval", {})):
        print(line)
    said = [report["details"][name] for name in ("training", "choice", "captions_cut") if name in report["details"]]
    for note in [*report["notes"], *said]:
        print(f"note: {note}")
    return report


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
