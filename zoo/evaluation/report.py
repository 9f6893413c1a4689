"""The report: every metric with its interval, per class, macro, per subgroup, with calibration. docs/evaluation.md."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from medzoo.data.info import NO_PATIENT
from medzoo.data.labels import LabelSpace
from medzoo.evaluation.attention import attention
from medzoo.evaluation.bootstrap import DEFAULT_INTERVAL, Interval, Measured, value_text
from medzoo.evaluation.calibration.measures import calibration_report
from medzoo.evaluation.calibration.reliability import reliability_rows
from medzoo.evaluation.decisions.report import NO_DECISIONS, Decisions, format_points
from medzoo.evaluation.extra import Extra, find_extra
from medzoo.evaluation.extra_report import capped_notes, extra_metrics
from medzoo.evaluation.fairness.disparity import disparity, headline
from medzoo.evaluation.fairness.levels import few_groups, named_levels
from medzoo.evaluation.fairness.lines import subgroup_lines
from medzoo.evaluation.hierarchy.report import hierarchy, hierarchy_lines
from medzoo.evaluation.metrics import Scored, all_metrics, macro_mean, scored
from medzoo.evaluation.predictions import Predictions
from medzoo.store.storage import write_file

SLOPES = ("slope", "in_the_large")
"""Figures of calibration that a terminal shows; metrics.json has the others."""
LISTED, NAMED = 25, 5
"""Classes that a terminal shows, and those that it names as undefined, of more."""
RANKING = ("auroc", "ap")
"""Metrics that need an order alone, neither threshold nor probability."""


def evaluate(
    predictions: Predictions, *, splits: Sequence[str] = ("val", "test"), interval: Interval = DEFAULT_INTERVAL, bins: int = 15,
    extra: Sequence[str] = (), intersections: Any = (), decisions: Decisions = NO_DECISIONS
) -> dict[str, Any]:  # fmt: skip
    """Score predictions.

    Args:
        predictions: Of one model.
        splits: Splits to report; each must be in the predictions.
        interval: How intervals are made.
        bins: Bins of the calibration error.
        extra: Metrics of torchmetrics, as `medzoo.evaluation.extra.find_extra` takes them.
        intersections: Of subgroup columns, as `medzoo.evaluation.fairness.levels.named_levels` takes them.
        decisions: Operating points and decision curves.

    Returns:
        The JSON-ready content of `metrics.json`; an undefined value is null and its reason stands beside it.
    """
    extras = [find_extra(text, predictions.labels) for text in extra]
    named, left_out = named_levels(predictions.subgroups, intersections)
    predictions = replace(predictions, subgroups=named)
    unit = predictions.split_unit
    notes = [*predictions.notes, *left_out]
    if unit in NO_PATIENT:
        notes.append(f"the dataset knows no patient: intervals are per {unit} and may be too narrow")
    parts = {split: _report_split(predictions.of_split(split), interval, bins, extras) for split in splits}
    if extras:
        notes += capped_notes(parts, interval.replicates)
    report: dict[str, Any] = {
        "labels": predictions.labels.to_dict(),
        "spec": predictions.spec_hash,
        "interval": {"method": f"{interval.method} over {unit} groups", "unit": unit, **interval.told},
        "bins": bins,
        "notes": notes,
        "details": dict(predictions.details),
        **({"extra": {"by": f"torchmetrics {version('torchmetrics')}", "metrics": list(extra)}} if extras else {}),
        "splits": parts,
    }
    decisions.add_to(report, predictions, interval)
    return {**report, "attention": attention(report)}


def write_metrics(path: Path, report: dict[str, Any]) -> None:
    """Write a report as JSON in one step; NaN never enters it."""
    write_file(path, json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False).encode("utf-8"))


def medmnist_metrics(predictions: Predictions) -> dict[str, float | None]:
    """Return AUC and ACC as the MedMNIST evaluator defines them (Yang et al. 2023; medmnist `evaluator.py`).

    AUC is the mean one-against-rest area (ordinal too), of the last column for two classes; ACC is the share of right
    classes, or the mean over findings at 0.5.
    """
    classes, overall = all_metrics(_scored(predictions), np.ones((1, len(predictions))))
    if "auroc" not in classes:
        return {}
    area = classes["auroc"][0]
    area = area[-1:] if predictions.labels.exclusive and predictions.labels.width == 2 else area
    right = overall["accuracy"] if "accuracy" in overall else classes["accuracy"][0]
    return {"auc": macro_mean(area), "acc": macro_mean(right)}


def format_report(report: dict[str, Any], split: str) -> str:
    """Return a split's results as lines for a terminal."""
    part = report["splits"][split]
    lines = [f"{split}: {part['samples']} samples, {part['groups']} {report['interval']['unit']} groups"]
    if part["ties"]:
        lines.append(f"  {part['ties']} soft targets without one largest class: left out of all but soft_cross_entropy")
    for name, metric in part["metrics"].items():
        lines.append(f"  {name:<18} {_shown(metric)}")
        if name == "auroc":
            lines += _class_lines(metric.get("classes", {}))
        elif metric.get("no_mean"):
            lines += [f"    {c:<24} {_shown(v)}" for c, v in metric.get("classes", {}).items()]
    lines += [f"  {name:<18} {_shown(part['calibration'][name])}" for name in SLOPES if name in part["calibration"]]
    if "extra" in part:
        lines.append("  by name, of torchmetrics:")
        lines += [f"    {name:<24} {_shown(metric)}" for name, metric in part["extra"].items()]
    if "hierarchy" in part:
        lines += hierarchy_lines(part["hierarchy"])
    if "concepts" in part:
        lines.append(f"  concepts: auroc {_shown(part['concepts']['auroc'])}")
        lines += _class_lines(part["concepts"]["auroc"]["classes"])
    lines += format_points(part)
    lines += subgroup_lines(part, headline(LabelSpace.from_dict(report["labels"])), _shown)
    return "\n".join(lines)


def _report_split(predictions: Predictions, interval: Interval, bins: int, extras: Sequence[Extra]) -> dict[str, Any]:
    data, interval = _scored(predictions), interval.among(len(set(predictions.group)))
    part: dict[str, Any] = {
        "samples": len(predictions),
        "labelled": int((~np.isnan(predictions.targets)).any(axis=1).sum()),
        "groups": len(set(predictions.group)),
        "ties": data.tied,
        "metrics": _with_intervals(predictions, data, interval, bins, detail=True),
        **_extra(predictions, data, interval, extras, detail=True),
        "medmnist": medmnist_metrics(predictions),
        "calibration": calibration_report(data, list(predictions.group), interval, bins, predictions.split_unit),
        "reliability": reliability_rows(data, list(predictions.group), interval, bins),
        "subgroups": {},
    }
    if predictions.labels.parents is not None:
        part["hierarchy"] = hierarchy(predictions, interval)
    if predictions.concept_targets is not None and not np.isnan(predictions.concept_targets).all():
        concepts = predictions.as_concepts()
        measured = _with_intervals(concepts, _scored(concepts), interval, bins, detail=True)
        if predictions.concept_scale == "score":  # these rank; a threshold or a probability they have not
            measured = {name: value for name, value in measured.items() if name in RANKING}
        part["concepts"] = measured
    for column in predictions.subgroups.columns:
        text = predictions.subgroups[column].to_numpy(dtype=object)
        levels: dict[str, Any] = {}
        for level in sorted(set(text)):
            rows = predictions.take(text == level)
            data = _scored(rows)
            measured = _with_intervals(rows, data, interval, bins, detail=False)
            further = _extra(rows, data, interval, extras, detail=False)
            counted = {"samples": len(rows), "groups": len(set(rows.group))}
            flag = few_groups(counted["groups"], predictions.split_unit)
            levels[str(level)] = {**counted, **({"few": flag} if flag else {}), "metrics": measured, **further}
        part["subgroups"][str(column)] = levels
    columns = {str(name): list(column) for name, column in predictions.subgroups.items()}
    groups, unit = list(predictions.group), predictions.split_unit
    part["disparity"] = disparity(_scored(predictions), groups, columns, interval, bins=bins, unit=unit)
    return part


def _with_intervals(predictions: Predictions, data: Scored, interval: Interval, bins: int, *, detail: bool) -> dict[str, Any]:
    measured = Measured.of(data, list(predictions.group), interval, bins=bins, unit=predictions.split_unit)
    names, result = data.labels.names, {}
    for metric in (*measured.classes, *measured.overall):
        described = measured.described(metric)
        if metric in measured.overall:
            result[metric] = described
            continue
        defined = ~np.isnan(measured.classes[metric][0])
        if not defined.all():
            described["undefined"] = {names[k]: _reason(data, int(k)) for k in np.flatnonzero(~defined)}
        if detail:
            described["classes"] = {
                name: {
                    **measured.of_class(metric, k),
                    **({"positives": int(data.truth[:, k].sum())} if data.labels.kind != "regression" else {}),
                }
                for k, name in enumerate(names)
            }
        result[metric] = described
    return result


def _extra(
    predictions: Predictions, data: Scored, interval: Interval, extras: Sequence[Extra], *, detail: bool
) -> dict[str, Any]:
    """Return the part of metrics that were asked for by name, where any were."""
    if not extras:
        return {}
    measured = extra_metrics(extras, data, list(predictions.group), interval, predictions.split_unit, detail=detail)
    return {"extra": measured}


def _reason(data: Scored, k: int) -> str:
    observed = data.observed[:, k]
    if not observed.any():
        return "every label is missing"
    if data.labels.kind == "regression":
        return "targets do not vary"
    return "no positive sample" if not data.truth[observed, k].any() else "no negative sample"


def _scored(predictions: Predictions) -> Scored:
    return scored(predictions.labels, predictions.targets, predictions.logits)


def _shown(metric: dict[str, Any]) -> str:
    text = value_text(metric["value"], metric["low"], metric["high"])
    if metric.get("no_mean"):
        return f"{text}  ({metric['no_mean']}; each stands below)"
    if metric.get("no_interval"):
        text += f"  (no interval: {metric['no_interval']})"
    if isinstance(metric.get("undefined"), str):  # of one value, not of classes
        return f"{text}  ({metric['undefined']})"
    if metric["value"] is None or not metric.get("undefined"):
        return text
    names = list(metric["undefined"])
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED + 1 else ""
    return f"{text}  (without {', '.join(names[:NAMED] if more else names)}{more}: undefined)"


def _class_lines(classes: Mapping[str, Any]) -> list[str]:
    """Return a line a class with its area; of very many those that are defined and lowest, and how many there are."""
    known = [name for name, metric in classes.items() if metric["value"] is not None]
    chosen = set(classes)
    if len(classes) > LISTED:
        chosen = set(sorted(known, key=lambda name: classes[name]["value"])[:LISTED])
    lines = [f"    {name:<24} {_shown(metric)}" for name, metric in classes.items() if name in chosen]
    if len(chosen) < len(classes):
        lines.append(f"    the lowest {len(chosen)} of {len(classes)}; all are in metrics.json")
    return lines
