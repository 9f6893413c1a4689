"""Results of several targets: a folder each with all that a model of one has, `targets/<name>/`, and one file of all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from medzoo.data.errors import ConfigError, EvaluationError
from medzoo.data.labels import LabelSpace
from medzoo.evaluation.calibration.prediction_sets import check_conformal
from medzoo.evaluation.calibration.recalibrate import check_calibration
from medzoo.evaluation.decisions.report import Decisions
from medzoo.evaluation.extra import check_extras
from medzoo.evaluation.grouped.report import report_groups
from medzoo.evaluation.predictions import FORMAT, Predictions
from medzoo.evaluation.report import write_metrics
from medzoo.evaluation.run_report import report_run
from medzoo.settings.evaluation import EvaluationConfig
from medzoo.settings.metric_names import metric_texts
from medzoo.store.directory import TARGETS, RunDirectory
from medzoo.store.parquet import write_parquet
from medzoo.store.spec import ModelSpec

MATRICES = (("target", "targets"), ("logit", "logits"), ("prob", "probabilities"))
"""Prefix of the columns of all targets, and the field of a target's predictions."""
OF_LABELS = ("operating_points", "prevalence", "decision_curve", "calibration", "conformal")
"""Settings that are for some kinds of labels and not for others, as each metric of `extra` is."""


def write_predictions(run: RunDirectory, found: Mapping[str, Predictions]) -> None:
    """Write target → its predictions, of the same samples: a file each, and all side by side in that of the run.

    The columns of all are `target.<target>.<name>`, `logit.<target>.<name>` and `prob.<target>.<name>`; its other columns are
    those of one target's file.
    """
    one = next(iter(found.values()))
    columns: dict[str, Any] = {"sample_id": one.sample_id, "split": one.split, "group": one.group}
    for prefix, field in MATRICES:
        for target, own in found.items():
            named = enumerate(own.labels.names)
            columns |= {f"{prefix}.{target}.{name}": getattr(own, field)[:, place] for place, name in named}
    columns |= one.further_columns()
    about = {
        "format": FORMAT, "labels": None, "targets": {target: own.labels.to_dict() for target, own in found.items()},
        "spec": one.spec_hash, "split_unit": one.split_unit, "notes": list(one.notes), "details": dict(one.details),
    }  # fmt: skip
    for target, own in found.items():
        own.write(run.of_target(target).predictions)
    write_parquet(run.predictions, columns, about)


def report_targets(run: RunDirectory, config: EvaluationConfig) -> dict[str, Any]:
    """Score the predictions of each target as those of a model of it alone.

    Args:
        run: With predictions of each target.
        config: How they are scored: what is not for a target's kind of labels is left out of its report, with a note.

    Returns:
        The content of the run's metrics.json: `targets`, target → its report.
    """
    targets = targets_of(run)
    reports = {}
    for name, (own, notes) in settings_of(config, targets).items():
        print(f"target {name}")
        for note in notes:
            print(f"note: {note}")
        reports[name] = report_run(run.of_target(name), own)
    told = next(iter(reports.values()))["details"]  # of one target it says its name, and the rows with its labels
    details = {key: value for key, value in told.items() if key not in ("target", "data")}
    report = {"targets": reports, "details": details}
    write_metrics(run.metrics, report)
    return report


def report_groups_of_targets(run: RunDirectory, config: EvaluationConfig) -> None:
    """Score what groups of rows say of each target together; see `medzoo.evaluation.grouped.report`."""
    for name, (own, _) in settings_of(config, targets_of(run)).items():
        print(f"target {name}")
        report_groups(run.of_target(name), own, run.of_target(name))


def targets_of(run: RunDirectory) -> Mapping[str, LabelSpace]:
    """Return target → what its outputs mean, of a run's model; empty of a model of one."""
    return ModelSpec.read(run.spec).targets


def refuse_whole(path: Path, report: Mapping[str, Any]) -> None:
    """Refuse the metrics of several targets where those of one are wanted; EvaluationError names them."""
    if "targets" in report and "splits" not in report:
        places = ", ".join(str(path / TARGETS / name) for name in report["targets"])
        raise EvaluationError(f"{path} answers for several targets: give the results of one, {places}")


def settings_of(config: EvaluationConfig, targets: Mapping[str, LabelSpace]) -> dict[str, tuple[EvaluationConfig, list[str]]]:
    """Return target → how its predictions are scored, and what was left out of that for its kind of labels.

    Raises:
        ConfigError: If something is for none of the targets, or for models of one alone.
    """
    for name in ("embeddings", "tta"):
        if getattr(config, name):
            raise ConfigError(f"evaluation.{name} is for models of one target, and this one has {len(targets)}; leave it out")
    metric_texts(config.extra, "evaluation.extra")
    bare = replace(config, extra=[], **{name: getattr(EvaluationConfig(), name) for name in OF_LABELS})
    found = dict.fromkeys(targets, bare)
    notes: dict[str, list[str]] = {name: [] for name in targets}
    asked: list[tuple[str, Any]] = [("extra", [metric]) for metric in config.extra]
    asked += [(name, getattr(config, name)) for name in OF_LABELS if getattr(config, name) != getattr(bare, name)]
    for setting, value in asked:
        refused: list[ConfigError] = []
        for name, labels in targets.items():
            try:
                _check(replace(bare, **{setting: value}), labels)
            except ConfigError as error:
                refused.append(error)
                shown = value[0] if setting == "extra" else setting
                notes[name].append(f"{shown} is not for {name}, whose labels are {labels.kind}: left out")
                continue
            whole: Any = [*found[name].extra, *value] if setting == "extra" else value
            found[name] = replace(found[name], **{setting: whole})
        if len(refused) == len(targets):
            raise refused[0]
    return {name: (found[name], notes[name]) for name in targets}


def _check(config: EvaluationConfig, labels: LabelSpace) -> None:
    """Refuse what labels do not allow, before anything is predicted; ConfigError."""
    check_extras(config.extra, labels)
    Decisions.of(config).check(labels)
    check_calibration(config.calibration, config.splits, labels)
    check_conformal(config.conformal, config.splits, labels)
