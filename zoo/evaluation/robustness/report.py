"""The content of robustness.json: a metric clean and corrupted, every difference on the same replicates. docs/robustness.md."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medzoo.data.errors import ConfigError, EvaluationError, UnknownNameError
from medzoo.data.info import NO_PATIENT
from medzoo.evaluation.bootstrap import Estimate, Interval, Measured, value_text
from medzoo.evaluation.comparison.difference import difference
from medzoo.evaluation.comparison.setting import mean_estimate
from medzoo.evaluation.metrics import scored
from medzoo.evaluation.monitor import METRICS, higher_is_better
from medzoo.evaluation.predictions import Predictions
from medzoo.evaluation.robustness.errors import (
    area_under_severities,
    as_error,
    corruption_error,
    relative_corruption_error,
)

UNDIVIDED = "means over severities of the error, not divided by a baseline's: to be compared on these samples alone"


@dataclass
class Curve:
    """One corruption: what is said of it, and the metric at each severity.

    Attributes:
        about: `source`, `amounts` and whatever else is told of it.
        values: Severity → the metric.
    """

    about: Mapping[str, Any]
    values: dict[int, Estimate] = field(default_factory=dict)


def metric_of(predictions: Predictions, metric: str, interval: Interval) -> Estimate:
    """Return a metric of predictions of one split, with its replicates: the same patients for all predictions of it.

    Raises:
        UnknownNameError: If there is no such metric for these labels.
    """
    kind = predictions.labels.kind
    if metric not in METRICS[kind]:
        raise UnknownNameError("metric", metric, METRICS[kind], where=f" for {kind} labels")
    data = scored(predictions.labels, predictions.targets, predictions.logits)
    return Measured.of(data, list(predictions.group), interval, unit=predictions.split_unit).estimate(metric)


def robustness_report(
    clean: Predictions, metric: str, interval: Interval, clean_value: Estimate, curves: Mapping[str, Curve], *,
    left_out: Mapping[str, str], details: Mapping[str, Any], baseline: Mapping[str, Any] | None = None
) -> dict[str, Any]:  # fmt: skip
    """Return the JSON-ready report.

    Args:
        clean: What the model says of the images as they are, one split.
        metric: What is measured.
        interval: How intervals are made.
        clean_value: The metric of `clean`.
        curves: Of each corruption.
        left_out: Corruption → why it was not tried.
        details: Of the run, the data and the draws.
        baseline: The report of the model whose errors are divided by; None: none is.
    """
    better = higher_is_better(metric)
    error = as_error(clean_value, higher_is_better=better)
    found, own, relative, areas = {}, [], [], []
    for name, curve in curves.items():
        errors = [as_error(value, higher_is_better=better) for value in curve.values.values()]
        theirs, theirs_clean = (None, 0.0) if baseline is None else _errors_of(baseline, name, curve, better)
        own.append(corruption_error(errors, theirs))
        relative.append(relative_corruption_error(errors, error, theirs, theirs_clean))
        areas.append(area_under_severities(clean_value, curve.values))
        found[name] = {
            **curve.about,
            "severities": {
                str(severity): {
                    **value.described(interval), "difference": difference(clean_value, value).described(interval)
                }
                for severity, value in curve.values.items()
            },
            "error": own[-1].described(interval),
            "relative_error": relative[-1].described(interval),
            "area": areas[-1].described(interval),
        }  # fmt: skip
    unit, notes = clean.split_unit, [*clean.notes]
    if unit in NO_PATIENT:
        notes.append(f"the dataset knows no patient: intervals are per {unit} and may be too narrow")
    if baseline is None:
        notes.append(f"corruption errors are {UNDIVIDED}")
    return {
        "spec": clean.spec_hash,
        "split": str(clean.split[0]),
        "samples": len(clean),
        "groups": len(set(map(str, clean.group))),
        "labels": clean.labels.to_dict(),
        "metric": metric,
        "higher_is_better": better,
        "interval": {"method": f"percentile bootstrap over {unit} groups, the same for all", "unit": unit, **interval.told},
        "details": dict(details),
        "clean": clean_value.described(interval),
        "corruptions": found,
        "mean_corruption_error": mean_estimate(own).described(interval),
        "relative_mean_corruption_error": mean_estimate(relative).described(interval),
        "mean_area": mean_estimate(areas).described(interval),
        "left_out": dict(left_out),
        "notes": notes,
    }


def read_robustness(path: Path) -> dict[str, Any]:
    """Read a robustness.json; EvaluationError if it is missing or damaged."""
    if not path.is_file():
        raise EvaluationError(f"no {path.name} at {path.parent}; make it with medzoo robustness run={path.parent}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        whole = {"split", "metric", "clean", "corruptions", "details", "interval"} <= set(content)
    except (OSError, ValueError, TypeError) as error:
        raise EvaluationError(f"{path} is damaged ({type(error).__name__}); run medzoo robustness again") from error
    if not whole:
        raise EvaluationError(f"{path} is damaged (a part is missing); run medzoo robustness again")
    return dict(content)


def require_same(baseline: Mapping[str, Any], path: Path, asked: Mapping[str, Any], names: Sequence[str]) -> None:
    """Refuse a baseline that was measured otherwise.

    Args:
        baseline: Its report.
        path: Of it.
        asked: `split`, `metric`, `data` and `draws` of the run that is measured now.
        names: Its corruptions.

    Raises:
        ConfigError: With what differs first.
    """
    theirs = {
        "split": baseline["split"], "metric": baseline["metric"], "data": baseline["details"].get("data"),
        "draws": baseline["details"].get("draws"),
    }  # fmt: skip
    for key, value in asked.items():
        if theirs[key] != value:
            raise ConfigError(f"baseline {path} was measured otherwise: its {key} is {_short(theirs[key])}, here {_short(value)}")
    lacking = [name for name in names if name not in baseline["corruptions"]]
    if lacking:
        raise ConfigError(f"baseline {path} has no {', '.join(lacking)}; measure it with the same corruptions")


def robustness_lines(report: Mapping[str, Any]) -> list[str]:
    """Return a report as a table for a terminal: a line a corruption, a column a severity."""
    columns = sorted({int(severity) for one in report["corruptions"].values() for severity in one["severities"]})
    width = max(len(name) for name in report["corruptions"])
    cells = {
        (name, severity): _cell(one["severities"][str(severity)])
        for name, one in report["corruptions"].items()
        for severity in columns
    }
    broad = max(map(len, cells.values()))
    lines = [
        f"{report['split']}: {report['samples']} samples, {report['groups']} {report['interval']['unit']} groups; "
        f"{report['metric']} {_shown(report['clean'])} as they are",
        f"  {'':<{width}} {'area':>7}  " + "  ".join(f"{f'severity {severity}':<{broad}}" for severity in columns),
    ]
    for name, one in report["corruptions"].items():
        told = "  ".join(f"{cells[name, severity]:<{broad}}" for severity in columns)
        lines.append(f"  {name:<{width}} {value_text(one['area']['value']):>7}  {told}")
    lines = [line.rstrip() for line in lines]
    for key, text in (
        ("mean_corruption_error", "mean corruption error"), ("relative_mean_corruption_error", "relative to clean images"),
        ("mean_area", "mean area under the severities"),
    ):  # fmt: skip
        lines.append(f"  {text}: {_shown(report[key])}")
    lines += [f"  left out: {why}" for why in report["left_out"].values()]
    return [*lines, *(f"note: {note}" for note in report["notes"])]


def _errors_of(baseline: Mapping[str, Any], name: str, curve: Curve, better: bool) -> tuple[list[float], float]:
    """Return a baseline's errors of a corruption, and its error of clean images."""
    metrics = [baseline["corruptions"][name]["severities"][str(severity)]["value"] for severity in curve.values]
    values = [baseline["clean"]["value"], *metrics]
    if any(value is None for value in values):
        return [0.0], 0.0  # undefined for the baseline: nothing can be divided by it
    clean, *errors = [1 - value if better else value for value in values]
    return errors, clean


def _cell(metric: Mapping[str, Any]) -> str:
    change = metric["difference"]
    if change["value"] is None:
        return value_text(metric["value"])
    text = f"{metric['value']:.3f} ({change['value']:+.3f}"
    return text + (")" if change["low"] is None else f" [{change['low']:+.3f}, {change['high']:+.3f}])")


def _shown(metric: Mapping[str, Any]) -> str:
    text = value_text(metric["value"], metric["low"], metric["high"])
    return f"{text} (no interval: {metric['no_interval']})" if metric.get("no_interval") else text


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:79] + "…"
