"""`medzoo evaluate`: predict with a checkpoint (or take the predictions that are there), score, report."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from medzoo.data.audit.between import images_learnt_from
from medzoo.data.dataset import SPLITS, Dataset
from medzoo.data.errors import CheckpointError, ConfigError, EvaluationError, MedzooError, UnknownNameError
from medzoo.data.operating_points import OperatingPoints
from medzoo.data.registry import PLACES, load_dataset
from medzoo.data.splits.learnt_from import read_record, refuse_learnt_from
from medzoo.evaluation.calibration.fitted import Fitted
from medzoo.evaluation.calibration.prediction_sets import FittedSets, check_conformal
from medzoo.evaluation.calibration.recalibrate import check_calibration
from medzoo.evaluation.decisions.report import Decisions
from medzoo.evaluation.embeddings import Embeddings
from medzoo.evaluation.extra import check_extras
from medzoo.evaluation.grouped.report import report_groups
from medzoo.evaluation.predictions import Predictions
from medzoo.evaluation.run_report import report_run
from medzoo.evaluation.several import report_groups_of_targets, report_targets, settings_of, targets_of
from medzoo.inference.devices import SMALLER_BATCH, enough_memory, make_accelerator
from medzoo.inference.external import in_terms_of, names_of
from medzoo.inference.name_map import read_name_map
from medzoo.inference.predict import evaluated_data, predict_run, run_dataset
from medzoo.inference.run import Runner
from medzoo.ranks import world
from medzoo.settings.evaluation import EvaluationConfig, by_columns, check_evaluation
from medzoo.settings.verbs import EvaluateConfig
from medzoo.store.checkpoint import find_checkpoint, weights_checksum
from medzoo.store.directory import EXTERNAL, RunDirectory
from medzoo.store.operating_points import read_points
from medzoo.tasks.load import load_checkpoint
from medzoo.tasks.task import Task
from medzoo.train.state import training_left

USED_BY_PREDICTING = ("device", "workers", "evaluation.batch_size", "evaluation.tta", "evaluation.audit")
"""Settings that scoring predictions which are there already would ignore."""

NOT_COMPARED = "its images were not compared with those that the run has learnt from: evaluation.audit=true does, and reads both"


def main(config: EvaluateConfig) -> None:
    """Run the command."""
    if config.run is None:
        raise ConfigError("say which run to evaluate: run=<run directory>")
    check_evaluation(config.evaluation)
    run = RunDirectory.open_to_write(Path(config.run))
    result, evaluation, points, renamed = run, config.evaluation, None, dict[str, str | None]()
    _check_elsewhere(config)
    if config.predict:
        checkpoint = find_checkpoint(run.path, config.checkpoint)
        task = load_checkpoint(checkpoint)
        if task.spec.targets:
            _check_targets(config, task)
        elif task.embedder is None:
            check_extras(config.evaluation.extra, task.spec.labels)
            Decisions.of(config.evaluation).check(task.spec.labels)
            check_calibration(config.evaluation.calibration, evaluation.splits, task.spec.labels)
            check_conformal(config.evaluation.conformal, evaluation.splits, task.spec.labels)
        if config.on and evaluation.calibration != "none":
            Fitted.read(run.calibration)
        if config.on and evaluation.conformal is not None:
            FittedSets.read(run.conformal)
        if config.on:
            dataset, result, renamed = _elsewhere(run, task, config)
            points = _own_points(run, task, weights_checksum(checkpoint), evaluation)
            evaluation = replace(evaluation, splits=["test"], audit=False)
        else:
            dataset = run_dataset(run, config.data, task.spec)
        learnt = read_record(run.path)
        if config.on or learnt.complete or task.spec.data.get("learnt_from") or set(config.data) - {*PLACES, "file"}:
            dataset = refuse_learnt_from(dataset, learnt, evaluation.splits, options="on" if config.on else "data")
        settings = run.settings()
        trainer, captions = settings["trainer"], settings["model"].get("captions", "auto")
        details: dict[str, Any] = {"checkpoint": config.checkpoint, "weights": weights_checksum(checkpoint)}
        if config.on:
            if config.evaluation.audit:
                own = run_dataset(run, config.data, task.spec)
                details["learnt_images"] = images_learnt_from(own, dataset, max(1, config.workers))
            else:
                dataset = replace(dataset, info=replace(dataset.info, notes=(*dataset.info.notes, NOT_COMPARED)))
            details["external"] = {"run": run.path.resolve().name, "map": renamed, "splits": config.on_splits or "all"}
        if left := training_left(run):
            details["training"] = left
        runner = Runner(make_accelerator(config.device), config.evaluation.batch_size or 64, config.workers)
        drawn = {name: trainer[name] for name in ("augment", "augmenter")}
        if config.on and drawn["augment"] == "auto":  # the run's own, whatever the other dataset is of
            drawn["augment"] = task.spec.data["modality"]
        with enough_memory(EvaluationError, f"evaluation.batch_size={runner.batch_size}", SMALLER_BATCH):
            predict_run(result, task, dataset, evaluation, runner, details, **drawn, captions=captions)
        if not runner.accelerator.is_main_process:  # it shared the predicting; one scores
            return
    else:
        if world() > 1:
            raise ConfigError("predict=false scores what is there, which is the work of one process: start it without torchrun")
        _refuse_predicting(config)
        _require_current(run, config.checkpoint, asked=config.evaluation.embeddings)
    if targets_of(run):
        (report_groups_of_targets if by_columns(evaluation.by) and not config.predict else report_targets)(run, evaluation)
        return
    if by_columns(evaluation.by) and not config.predict:  # the run's own report, whatever it was asked for, stays as it is
        report_groups(run, evaluation, run)
        return
    report_run(result, evaluation, points, run if config.on else None)


def _check_targets(config: EvaluateConfig, task: Task) -> None:
    """Refuse what models of several targets do not have; ConfigError."""
    if config.on:
        raise ConfigError(f"on=... tests models of one target on other data, and this one has {', '.join(task.spec.targets)}")
    settings_of(config.evaluation, task.spec.targets)


def _check_elsewhere(config: EvaluateConfig) -> None:
    """Refuse settings of an external test that mean nothing."""
    alone = [name for name in ("on_splits", "map", "name") if getattr(config, name)]
    if alone and not config.on:
        raise ConfigError(
            f"{', '.join(alone)}: of a test on another dataset, which on=<dataset> names; leave out, or give on=..."
        )
    if not config.on:
        return
    if not config.on.get("name"):
        raise ConfigError("on names no dataset: give on=<dataset>, such as on=table, beside its options")
    if config.evaluation.splits != EvaluationConfig().splits:
        raise ConfigError("evaluation.splits is of the run's own data; which splits of the other are taken is on_splits=[test]")
    if config.evaluation.operating_points:
        raise ConfigError(
            "evaluation.operating_points are chosen on the run's own val split: evaluate the run with them first, without "
            "on=...; another dataset is then judged at them by itself"
        )
    if config.data and not config.evaluation.audit:
        raise ConfigError("data is the run's own dataset and on another one; where the other lies is told with on.root=...")
    if not config.predict:
        raise ConfigError("predict=false scores the run's own predictions; leave it out, or leave out on=...")
    for split in config.on_splits or []:
        if split not in SPLITS:
            raise UnknownNameError("split", split, SPLITS, where=" in on_splits")


def _own_points(run: RunDirectory, task: Task, weights: str, settings: EvaluationConfig) -> OperatingPoints | None:
    """Return the points that the run has chosen on its own data, if they are of these weights."""
    points = read_points(run.path, task.spec.labels)
    calibration = None if settings.calibration == "none" else Fitted.read(run.calibration).calibrator.identity
    if points is not None and (other := points.not_of(task.spec.hash, weights, settings.tta, calibration)):
        own = Fitted.read(run.calibration).calibrator if run.calibration.is_file() else None
        if own is not None and not points.not_of(task.spec.hash, weights, settings.tta, own.identity):
            other += f"; give evaluation.calibration={own.method} here, too"
        print(f"note: {run.operating_points} is not applied: {other}")
        return None
    return points


def _tested(result: RunDirectory) -> tuple[Any, Any, Any]:
    """Return what an earlier external test was of: the dataset's name, its rows, the map."""
    try:
        details = json.loads(result.metrics.read_text(encoding="utf-8"))["details"]
        return details["data"]["name"], details["data"]["splits"], details["external"]["map"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{result.metrics} cannot be read; remove {result.path}, or give another name=...") from error


def _elsewhere(
    run: RunDirectory, task: Task, config: EvaluateConfig
) -> tuple[Dataset, RunDirectory, dict[str, str | None]]:  # fmt: skip
    """Return another dataset in the model's terms, where its results go, and which names were called otherwise."""
    if task.embedder is not None:
        raise ConfigError(
            f"an image–text model is tested on other data by its prompts: medzoo zeroshot trained={run.path} data=..."
        )
    dataset = _other_dataset(config.on)
    theirs, ours = names_of(dataset.labels, dataset.concepts), names_of(task.spec.labels, task.spec.concepts)
    renamed = read_name_map(config.map, theirs, ours)
    dataset = in_terms_of(task.spec, dataset, renamed, config.on_splits)
    name = config.name or re.sub(r"[^\w.-]+", "-", dataset.info.name).strip("-.")
    if not re.fullmatch(r"[\w][\w.-]*", name):
        raise ConfigError(f"name={name!r} is no name of a folder: letters, digits, '.', '_' and '-'")
    result = RunDirectory(run.path / EXTERNAL / name)
    if result.path.exists() and not result.path.is_dir():
        raise ConfigError(f"{result.path} is no folder; give another name=...")
    if result.metrics.is_file():
        now = evaluated_data(dataset, ["test"])
        if _tested(result) != (now["name"], now["splits"], renamed):
            raise ConfigError(
                f"{result.path} holds a test on other data, or by another map; give this one a name of its own: name=..."
            )
    return dataset, result, renamed


def _other_dataset(on: Mapping[str, Any]) -> Dataset:
    """Return the dataset that `on` names; what is said of its options names them as they were given, on.<option>."""
    try:
        return load_dataset(**on)
    except MedzooError as error:
        error.args = tuple(re.sub(r"(?<![\w./])data\.(?=[a-z_]+)", "on.", said) for said in error.args)
        raise


def _refuse_predicting(config: EvaluateConfig) -> None:
    """Refuse settings that would have an effect on predicting alone."""
    plain = EvaluateConfig()
    ignored = [name for name in USED_BY_PREDICTING if attrgetter(name)(config) != attrgetter(name)(plain)]
    ignored += [f"data.{name}" for name in config.data]
    if ignored:
        have, them = ("has", "it") if len(ignored) == 1 else ("have", "them")
        raise ConfigError(f"{', '.join(ignored)} {have} no effect with predict=false; leave {them} out")


def _require_current(run: RunDirectory, checkpoint: str, *, asked: bool) -> None:
    """Refuse to score predictions of another checkpoint than is asked for, or of weights that training has replaced since.

    A run that was sent without its weights passes. `best` is no exception although it is the default: who leaves the
    checkpoint out takes the figures for those of the best one. `asked` says whether embeddings are asked for.
    """
    own = run.of_target(next(iter(targets_of(run)))) if targets_of(run) else run  # those of all targets were made at once
    files: list[Predictions | Embeddings] = [Predictions.read(own.predictions)] if own.predictions.is_file() else []
    if run.embeddings.is_file():
        embeddings = Embeddings.read(run.embeddings)
        # Features that nobody asks for may be of weights of before: they enter no report.
        files += [embeddings] if asked or not files or embeddings.text_embedding is not None else []
    for file in files:
        path, details = run.predictions if isinstance(file, Predictions) else run.embeddings, file.details
        which = str(details.get("checkpoint", "best"))
        if which != checkpoint:
            raise ConfigError(
                f"{path} was made with checkpoint={which}, not {checkpoint}; give checkpoint={which} to score it, or leave out "
                "predict=false"
            )
        try:
            current = weights_checksum(find_checkpoint(run.path, which))
        except CheckpointError:
            continue
        if details.get("weights", current) != current:
            raise ConfigError(f"{path} was made by other weights than checkpoint={which} has now; leave out predict=false")
