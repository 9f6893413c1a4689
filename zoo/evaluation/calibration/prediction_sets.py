"""`evaluation.conformal`: prediction sets fitted on val, `conformal.json` of a run, and what they hold on its other splits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from medzoo.data.errors import ConfigError, EvaluationError
from medzoo.data.labels import LabelSpace
from medzoo.data.splits.subgroups import level_names
from medzoo.evaluation.bootstrap import Interval
from medzoo.evaluation.calibration.calibrator import Calibrator
from medzoo.evaluation.calibration.conformal import Conformal
from medzoo.evaluation.calibration.conformal_fit import fit_conformal
from medzoo.evaluation.calibration.conformal_report import conformal_part
from medzoo.evaluation.predictions import Predictions
from medzoo.settings.evaluation import ConformalConfig
from medzoo.store.storage import write_file

CAVEAT = (
    "prediction sets: val chose the epoch{also}, so that the coverage is that of new patients like val's only about; the splits "
    "below measure it"
)


@dataclass(frozen=True)
class FittedSets:
    """Thresholds of prediction sets and their origin.

    Attributes:
        conformal: The thresholds.
        calibrator: What the logits had passed; None: they were the model's own.
        spec: SHA-256 of the model's spec.
        weights: SHA-256 of its weights; None where the predictions do not say.
        tta: Augmented copies that the logits were averaged over.
        fitted_on: How many samples of val, and images before one a group was drawn.
        notes: What is to be said of them.
    """

    conformal: Conformal
    calibrator: Calibrator | None
    spec: str
    weights: str | None
    tta: int
    fitted_on: dict[str, int]
    notes: tuple[str, ...] = ()

    def write(self, path: Path) -> None:
        """Write the file in one step."""
        told = {
            "format": 1, "spec": self.spec, "weights": self.weights, "tta": self.tta, "fitted_on": self.fitted_on,
            "calibrator": None if self.calibrator is None else self.calibrator.to_dict(), "conformal": self.conformal.to_dict(),
            "notes": list(self.notes),
        }  # fmt: skip
        write_file(path, json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False).encode("utf-8"))

    @classmethod
    def read(cls, path: Path) -> FittedSets:
        """Read the file; EvaluationError if it is missing or damaged."""
        if not path.is_file():
            raise EvaluationError(
                f"no prediction sets at {path}; fit them with medzoo evaluate run={path.parent} "
                "'evaluation.conformal={coverage: 0.9}'"
            )
        try:
            told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            calibrator = None if told["calibrator"] is None else Calibrator.from_dict(told["calibrator"])
            on = {str(name): int(count) for name, count in told["fitted_on"].items()}
            return cls(
                Conformal.from_dict(told["conformal"]), calibrator, str(told["spec"]), told["weights"], int(told["tta"]), on,
                tuple(told["notes"]),
            )  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise EvaluationError(f"{path} is damaged ({type(error).__name__}); fit it again with medzoo evaluate") from error

    def require(self, path: Path, spec: str, weights: str | None, tta: int, calibrator: Calibrator | None) -> None:
        """Refuse thresholds of other probabilities than a model's of now; EvaluationError names what differs."""
        pairs: list[tuple[str, object, object]] = [
            ("spec", self.spec, spec), ("weights", self.weights, weights), ("evaluation.tta", self.tta, tta),
            ("calibration", self.calibrator, calibrator),
        ]  # fmt: skip
        for what, own, given in pairs:
            if own != given and not (what == "weights" and None in (own, given)):
                raise EvaluationError(
                    f"{path} is of another {what} than these probabilities; fit it again: medzoo evaluate run={path.parent}"
                )


def check_conformal(asked: ConformalConfig | None, splits: Sequence[str], labels: LabelSpace | None) -> None:
    """Refuse prediction sets that cannot be fitted, before anything is trained or predicted.

    Raises:
        ConfigError: Without labels or the val split, or by class of labels that do not exclude each other.
    """
    if asked is None:
        return
    if labels is None:
        raise ConfigError("evaluation.conformal needs labels, and there are none; leave it out")
    if asked.by == "class" and not labels.exclusive:
        raise ConfigError(f"evaluation.conformal.by=class is of classes that exclude each other, not of {labels.kind} labels")
    if "val" not in splits:
        raise ConfigError("evaluation.conformal is fitted on the val split; add it: evaluation.splits=[val,...]")


def fitted_sets(
    predictions: Predictions, asked: ConformalConfig, calibrator: Calibrator | None, path: Path, seed: int, *, fit: bool
) -> FittedSets:
    """Return prediction sets, fitted and written to `path`, or for another set's predictions those that are there.

    Args:
        predictions: Calibrated by `calibrator`.
        asked: Coverage and kind.
        calibrator: What the predictions have passed; None: nothing.
        path: `conformal.json` of the model's run.
        seed: Of the draw of one image a group.
        fit: Fit them to these predictions.

    Raises:
        EvaluationError: If they cannot be fitted, or those there are of other settings or another model.
    """
    tta, weights = int(predictions.details.get("tta", 0)), predictions.details.get("weights")
    if not fit:
        found = FittedSets.read(path)
        found.require(path, predictions.spec_hash, weights, tta, calibrator)
        if (found.conformal.coverage, found.conformal.by) != (asked.coverage, asked.by):
            raise EvaluationError(
                f"{path} holds sets of another coverage or kind: other data get the run's own, ask for the same"
            )
        return found
    check_conformal(asked, ["val"], predictions.labels)
    conformal, told, notes = fit_conformal(predictions, asked.coverage, asked.by, seed)
    notes.append(CAVEAT.format(also="" if calibrator is None else " and the calibrator"))
    found = FittedSets(conformal, calibrator, predictions.spec_hash, weights, tta, told, tuple(notes))
    found.write(path)
    return found


def conformal_report(fitted: FittedSets, predictions: Predictions, splits: Sequence[str], interval: Interval) -> dict[str, Any]:
    """Return what `metrics.json` says of prediction sets: thresholds, origin, and what they hold on splits other than val."""
    levels = {str(name): level_names(column) for name, column in predictions.subgroups.items()}
    predictions = replace(predictions, subgroups=pd.DataFrame(levels, index=predictions.subgroups.index))
    told = fitted.conformal.to_dict()
    del told["labels"]
    return {
        **told, "fitted_on": {"split": "val", **fitted.fitted_on}, "notes": list(fitted.notes),
        "splits": {s: conformal_part(fitted.conformal, predictions.of_split(s), interval) for s in splits if s != "val"},
    }  # fmt: skip


def format_conformal(report: dict[str, Any]) -> list[str]:
    """Return the lines of prediction sets for a terminal; none without."""
    told = report.get("conformal")
    if told is None:
        return []
    count = told["fitted_on"]["samples"]
    lines = [f"prediction sets for a coverage of {told['coverage']:g} (by {told['by']}), fitted on {count} val samples:"]
    for split, part in told["splits"].items():
        shown = [f"{name} {_text(part[name])}" for name in ("coverage", "missed", "size", "empty", "singleton") if name in part]
        if "size" not in part:
            shown = [f"{name}: coverage {_text(c['coverage'])}, width {c['width']}" for name, c in part["classes"].items()]
        lines.append(f"  {split}: {', '.join(shown)}")
    return [*lines, *(f"note: {note}" for note in told["notes"])]


def _text(described: dict[str, Any] | None) -> str:
    if described is None or described["value"] is None:
        return "undefined"
    low = "" if described["low"] is None else f" [{described['low']:.3f}, {described['high']:.3f}]"
    return f"{described['value']:.3f}{low}"
