"""What `evaluation.calibration` does before anything is scored: a calibrator of the val split replaces the logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from medzoo.data.errors import ConfigError, EvaluationError
from medzoo.data.labels import LabelSpace
from medzoo.evaluation.calibration.fit import fit_calibrator
from medzoo.evaluation.calibration.fitted import Fitted
from medzoo.evaluation.metrics import all_metrics, macro_mean, scored
from medzoo.evaluation.predictions import Predictions
from medzoo.store.directory import EXTERNAL, RunDirectory

FEW_GROUPS = 100
"""Groups of the val split below which a fit is noted to be uncertain."""
FEW_FOR_ISOTONIC = 1000
"""Samples below which an isotonic map is said to follow chance (Niculescu-Mizil and Caruana 2005, section 5)."""


def check_calibration(method: str, splits: Sequence[str], labels: LabelSpace | None) -> None:
    """Refuse a calibration that cannot be fitted, before anything is trained or predicted.

    Raises:
        ConfigError: Of quantities, without labels, or without the val split.
    """
    if method == "none":
        return
    if labels is None or labels.kind == "regression":
        what = "there are no labels" if labels is None else "quantities have no probabilities"
        raise ConfigError(f"evaluation.calibration={method}: {what}; use evaluation.calibration=none")
    if "val" not in splits:
        raise ConfigError(f"evaluation.calibration={method} is fitted on the val split; add it: evaluation.splits=[val,...]")


def fitted_on_val(predictions: Predictions, method: str) -> Fitted:
    """Fit a calibrator to the val split of predictions; no other split is looked at.

    Raises:
        EvaluationError: If there is no val split or no label in it, or labels are quantities.
    """
    if "val" not in set(predictions.split):
        raise EvaluationError(
            f"evaluation.calibration={method} is fitted on the val split, and the predictions are of "
            f"{', '.join(sorted(set(map(str, predictions.split))))}; predict it too: evaluation.splits=[val,...]"
        )
    val = predictions.of_split("val")
    val = val.take(np.asarray((~np.isnan(val.targets)).any(axis=1)))
    calibrator, notes = fit_calibrator(method, predictions.labels, val.targets, val.logits)
    groups, unit = len(set(val.group)), predictions.split_unit
    if groups < FEW_GROUPS:
        notes.append(f"the calibrator was fitted on {len(val)} samples of {groups} {unit} groups: it is uncertain")
    if method == "isotonic" and len(val) < FEW_FOR_ISOTONIC:
        notes.append(f"an isotonic calibrator follows chance on {len(val)} samples; temperature and platt need fewer")
    details = predictions.details
    return Fitted(
        calibrator, predictions.spec_hash, details.get("weights"), int(details.get("tta", 0)), len(val), groups, unit,
        tuple(notes),
    )  # fmt: skip


def recalibrated(predictions: Predictions, fitted: Fitted) -> Predictions:
    """Return predictions with calibrated class logits and probabilities, `calibration` in their details; concepts stay."""
    logits = fitted.calibrator.logits(predictions.logits).astype(np.float32)
    shares = fitted.calibrator.probabilities(predictions.logits).astype(np.float32)
    details = {**predictions.details, "calibration": fitted.calibrator.identity}
    return replace(predictions, logits=logits, probabilities=shares, details=details)


def as_scored(predictions: Predictions, run: RunDirectory, report: Mapping[str, Any]) -> Predictions:
    """Return a run's predictions as its metrics.json scores them: calibrated where that says so.

    Args:
        predictions: Of the run's file, which holds what the model said itself.
        run: Where they are, or a test of it on other data, which took the run's calibrator.
        report: Its metrics.json.

    Raises:
        EvaluationError: If the calibrator is gone, or has been fitted anew since.
    """
    fitted = scored_by(predictions, run, report)
    return predictions if fitted is None else recalibrated(predictions, fitted)


def scored_by(predictions: Predictions, run: RunDirectory, report: Mapping[str, Any]) -> Fitted | None:
    """Return what a run's metrics.json calibrates its predictions by; None: it takes them as they are.

    Arguments and errors are those of `as_scored`.
    """
    identity = report.get("details", {}).get("calibration")
    if identity is None or predictions.details.get("calibration") == identity:
        return None
    path = run.calibration
    if run.path.resolve().parent.name == EXTERNAL:
        path = RunDirectory(run.path.resolve().parent.parent).calibration
    fitted = Fitted.read(path)
    if fitted.calibrator.identity != identity:
        raise EvaluationError(f"{run.metrics} is of another calibration than {path}; run medzoo evaluate again")
    return fitted


def calibrator_for(predictions: Predictions, method: str, path: Path, *, fit: bool) -> Fitted:
    """Return a calibrator, fitted and written to `path`, or of another set's predictions the one that is there.

    Raises:
        EvaluationError: If it cannot be fitted; if the one there is of another method or model.
    """
    if fit:
        fitted = fitted_on_val(predictions, method)
        fitted.write(path)
        return fitted
    fitted = Fitted.read(path)
    if fitted.calibrator.method != method:
        raise EvaluationError(
            f"{path} holds {fitted.calibrator.method}, not {method}: other data are calibrated as the run's own; give "
            f"evaluation.calibration={fitted.calibrator.method}"
        )
    fitted.require_for(path, predictions)
    return fitted


def recalibration_report(
    before: Predictions, after: Predictions, fitted: Fitted, splits: Sequence[str], bins: int
) -> dict[str, Any]:
    """Return what `metrics.json` says of a calibration: the method, its origin, and figures before and after."""
    pairs = {split: (before.of_split(split), after.of_split(split)) for split in splits}
    return {
        "method": fitted.calibrator.method,
        "fitted_on": {"split": "val", "samples": fitted.samples, "groups": fitted.groups, "unit": fitted.unit},
        "notes": list(fitted.notes),
        "splits": {
            split: {"before": _figures(raw, bins), "after": _figures(changed, bins)} for split, (raw, changed) in pairs.items()
        },
    }


def format_recalibration(report: dict[str, Any]) -> list[str]:
    """Return a calibration's lines for a terminal; none without."""
    told = report.get("recalibration")
    if told is None:
        return []
    on = told["fitted_on"]
    lines = [f"calibrated by {told['method']}, fitted on {on['samples']} val samples of {on['groups']} {on['unit']} groups:"]
    for split, pair in told["splits"].items():
        shown = [
            f"{name} {value:.4f} -> {pair['after'][name]:.4f}" if value is not None and pair["after"][name] is not None
            else f"{name} undefined" for name, value in pair["before"].items()
        ]  # fmt: skip
        lines.append(f"  {split}: {', '.join(shown)}")
    return [*lines, *(f"note: {note}" for note in told["notes"])]


def _figures(predictions: Predictions, bins: int) -> dict[str, float | None]:
    """Return the negative log likelihood, Brier score and calibration error; of findings their mean over those that have any."""
    data = scored(predictions.labels, predictions.targets, predictions.logits)
    classes, overall = all_metrics(data, np.ones((1, len(predictions))), bins)
    if predictions.labels.exclusive:
        return {name: None if np.isnan(overall[name][0]) else float(overall[name][0]) for name in ("nll", "brier", "ece")}
    signed = np.where(data.truth == 1, -1.0, 1.0) * predictions.logits
    losses = np.where(data.observed, np.logaddexp(0.0, signed), np.nan)
    means = np.array([column[~np.isnan(column)].mean() if (~np.isnan(column)).any() else np.nan for column in losses.T])
    return {"nll": macro_mean(means), "brier": macro_mean(classes["brier"][0]), "ece": macro_mean(classes["ece"][0])}
