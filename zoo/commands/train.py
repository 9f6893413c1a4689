"""`medzoo train`: a dataset, a model, one loop, then the report of the best checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from accelerate import Accelerator, PartialState
from accelerate.utils import broadcast_object_list
from omegaconf import DictConfig, OmegaConf

from medzoo.data.dataset import Dataset
from medzoo.data.errors import ConfigError, EvaluationError, TrainingError
from medzoo.data.registry import load_dataset
from medzoo.data.splits.learnt_from import FILE, NOTHING, LearntFrom, read_record, record, refuse_learnt_from
from medzoo.evaluation.calibration.prediction_sets import check_conformal
from medzoo.evaluation.calibration.recalibrate import check_calibration
from medzoo.evaluation.decisions.report import Decisions
from medzoo.evaluation.extra import check_extras
from medzoo.evaluation.run_report import report_run
from medzoo.evaluation.several import report_targets, settings_of
from medzoo.inference.devices import enough_memory, make_accelerator
from medzoo.inference.predict import carried_columns, predict_run, run_dataset
from medzoo.inference.run import Runner
from medzoo.models.trained import describe_start, is_run
from medzoo.models.weights_file import describe_loaded
from medzoo.settings.compose import typed
from medzoo.settings.evaluation import check_evaluation
from medzoo.settings.robustness import robustness_columns
from medzoo.settings.schema import TrainConfig, TrainerConfig
from medzoo.store.checkpoint import find_checkpoint, read_assets, weights_checksum
from medzoo.store.directory import RunDirectory, bundle_around, default_run_path
from medzoo.store.spec import ModelSpec
from medzoo.tasks.frozen import concept_source
from medzoo.tasks.load import load_checkpoint, task_from_spec
from medzoo.tasks.setup.adversary import oppose
from medzoo.tasks.setup.families import task_from_config
from medzoo.tasks.setup.pretraining import refuse_answers
from medzoo.tasks.setup.probe import find_probe
from medzoo.tasks.setup.teacher import teach, teacher_of
from medzoo.tasks.task import Task
from medzoo.train.fit import complete_checkpoints, fit_at_once
from medzoo.train.loop import Trainer
from medzoo.train.sampling import evened_twice
from medzoo.train.state import RESUMABLE, Progress, refuse_changed_settings
from medzoo.train.stopping import others_alive

FEW_SAMPLES = 20
"""Validation samples below which a report says how few have chosen the epoch."""


Stops = Callable[[Progress], bool]
"""What is asked before each epoch: whether a training is left there."""


def main(config: DictConfig, dataset: Dataset | None = None, stops: Stops | None = None) -> RunDirectory:
    """Train and, unless `evaluate=false`, report. Returns the run directory.

    Args:
        config: Composed.
        dataset: That of the configuration, where it is loaded already.
        stops: Whether to leave the training before an epoch.
    """
    settings: TrainConfig = typed(TrainConfig, config)
    check_evaluation(settings.evaluation)
    if settings.model.ssl is not None:
        refuse_answers(settings.trainer.sampling, settings.evaluation)
    accelerator = make_accelerator(settings.device)  # one process a device from here on; rank 0 names the directory
    path = [settings.run or str(default_run_path(str(settings.data["name"]), settings.model.backbone))]
    broadcast_object_list(path)
    run = RunDirectory(Path(path[0]))
    if accelerator.is_main_process:
        run.require_empty()
    dataset = load_dataset(**settings.data) if dataset is None else dataset
    if settings.evaluate:
        for split in settings.evaluation.splits:
            if not (dataset.table["split"] == split).any():
                raise ConfigError(f"the {split} split is empty; leave it out of evaluation.splits, or change the split options")
    if dataset.targets:
        settings_of(settings.evaluation, dataset.targets)
    else:
        _check_scoring(settings, dataset)
    robustness_columns(settings.evaluation.robustness_index, dataset.subgroups)
    carried_columns(dataset, settings.evaluation.by)
    task = task_from_config(settings.model, settings.loss, dataset, settings.seed)
    task, steps = find_probe(task, settings.trainer, settings.loss, dataset)
    if task.learns_by_steps:
        task = oppose(teach(task, settings.trainer, settings.seed), settings.trainer, settings.seed)
    before = learnt_before(settings, dataset)
    dataset = refuse_learnt_from(dataset, before, _looked_at(settings), own=True)
    if accelerator.is_main_process and dataset.info.populations:  # of the user's own data, what was read how
        print("".join(f"note: {note}\n" for note in dataset.info.notes), end="")
    if accelerator.is_main_process and steps:
        print(f"note: {steps}")
    if accelerator.is_main_process and (twice := evened_twice(settings.trainer.sampling, settings.loss)) is not None:
        print(f"note: {twice}")
    learnt = before | record(dataset)
    assets = {**task.assets(), FILE: learnt.to_bytes()}
    yaml_text = OmegaConf.to_yaml(config, resolve=True)
    if not task.learns_by_steps:
        _refuse_training(settings, task)
        return _fit_at_once(run, settings, yaml_text, dataset, task, assets)
    with others_alive(run.path):
        trainer = _trainer(run, settings, yaml_text, dataset, task, resume=False)
        # Only now: a mistake found above leaves no half-made run directory in the way of the next try.
        if accelerator.is_main_process:
            RunDirectory.create(run.path, yaml_text, task.spec, assets)
            if started := describe_start(settings.model.backbone, task.spec):
                print(started)
        trainer.accelerator.wait_for_everyone()
        return _fit(trainer, settings, dataset, stops)


def resume(path: Path, overrides: dict[str, object], stops: Stops | None = None) -> RunDirectory:
    """Go on with a run from its last saved state, with its own configuration.

    Args:
        path: The run directory.
        overrides: Settings that may differ, of `RESUMABLE`, with or without the plus that `medzoo evaluate` wants before some.
        stops: As for `main`.

    Raises:
        ConfigError: If another setting is given, or it is a bundle.
    """
    if bundle_around(path) is not None:  # where a copy would help no one: the state of the training is not in it
        raise ConfigError(
            f"{path} is a bundle, which holds no state to go on from: resume the run that it was made of, or start a new one "
            f"from it with model.backbone={path} and run=..."
        )
    run = RunDirectory.open(path)
    config = OmegaConf.create(run.settings())
    refuse_changed_settings(run)
    given: dict[str, object] = {}
    for word, value in overrides.items():
        key = word.removeprefix("+")
        if key in given:
            raise ConfigError(f"{key} is given twice, with and without a plus; leave one out")
        given[key] = value
        if key not in RESUMABLE:
            raise ConfigError(f"a resumed run keeps its own {key}; only {', '.join(RESUMABLE)} may be given")
        OmegaConf.update(config, key, value)
    settings: TrainConfig = typed(TrainConfig, config)
    task = task_from_spec(ModelSpec.read(run.spec), read_assets(run.path))
    if not task.learns_by_steps or task.spec.training is not None:
        raise ConfigError(f"{path} has no training to go on with; start anew with another run=...")
    task = oppose(teach(task, settings.trainer, settings.seed), settings.trainer, settings.seed)
    dataset = run_dataset(run, {key[5:]: value for key, value in given.items() if key.startswith("data.")}, task.spec)
    learnt = read_record(path)
    if learnt.complete or task.spec.data.get("learnt_from"):  # a run of an earlier medzoo has no record, and started from none
        dataset = refuse_learnt_from(dataset, learnt, _looked_at(settings), own=True)
    with others_alive(run.path):
        trainer = _trainer(run, settings, run.config.read_text(encoding="utf-8"), dataset, task, resume=True)
        return _fit(trainer, settings, dataset, stops)


def _check_scoring(settings: TrainConfig, dataset: Dataset) -> None:
    """Refuse figures that the labels do not allow, before anything is trained; ConfigError."""
    check_extras(settings.evaluation.extra, dataset.labels)
    Decisions.of(settings.evaluation).check(dataset.labels)
    if settings.evaluate:
        check_calibration(settings.evaluation.calibration, settings.evaluation.splits, dataset.labels)
        check_conformal(settings.evaluation.conformal, settings.evaluation.splits, dataset.labels)


def learnt_before(settings: TrainConfig, dataset: Dataset) -> LearntFrom:
    """Return what the network that a training starts from or stands on, and its teacher, have learnt from."""
    model = settings.model
    learnt = read_record(model.backbone) if is_run(model.backbone) else NOTHING
    for about in (model.fusion.encoders if model.fusion is not None else {}).values():
        start = about if isinstance(about, str) else (about or {}).get("backbone", "")
        learnt = learnt | read_record(start) if is_run(str(start)) else learnt
    if (teacher := teacher_of(settings.trainer)) is not None:
        learnt = learnt | read_record(teacher)
    if model.bottleneck is not None and model.bottleneck.concept_data:
        learnt = learnt | record(concept_source(model.bottleneck, dataset))
    return learnt


def _looked_at(settings: TrainConfig) -> list[str]:
    """Return the splits that choose an epoch or are reported."""
    return ["val", *(split for split in settings.evaluation.splits if settings.evaluate and split != "val")]


def _trainer(run: RunDirectory, settings: TrainConfig, yaml_text: str, dataset: Dataset, task: Task, *, resume: bool) -> Trainer:
    trackers = settings.trainer.trackers
    accelerator = make_accelerator(settings.device, settings.trainer.precision, run, trackers)
    with _memory(settings):  # a frozen network's features are computed here
        return Trainer(task, dataset, settings, yaml_text, run, resume, accelerator)


def _memory(settings: TrainConfig) -> AbstractContextManager[None]:
    """Say what to change where a GPU's memory does not hold a training."""
    return enough_memory(
        TrainingError, f"trainer.batch_size={settings.trainer.batch_size}",
        "train with a smaller one into another run=... (trainer.accumulate, raised by as much, keeps the larger one's gradient), "
        "or with trainer.precision=bf16 or a smaller model.preprocess.size",
    )  # fmt: skip


def _runner(settings: TrainConfig, accelerator: Accelerator) -> Runner:
    return Runner(accelerator, settings.trainer.batch_size, settings.trainer.workers)


def _refuse_training(settings: TrainConfig, task: Task) -> None:
    """Refuse settings that a model without training would ignore."""
    plain = TrainerConfig()
    for name in vars(plain):
        if name not in task.heeds and getattr(settings.trainer, name) != getattr(plain, name):
            raise ConfigError(f"{task.trains_nothing} trains nothing: trainer.{name} would have no effect; leave it out")


def _fit_at_once(
    run: RunDirectory, settings: TrainConfig, yaml_text: str, dataset: Dataset, task: Task, assets: dict[str, bytes]
) -> RunDirectory:
    accelerator = make_accelerator(settings.device, settings.trainer.precision)
    with _memory(settings):
        notes = fit_at_once(task, dataset, settings.model, run, yaml_text, assets, _runner(settings, accelerator))
    if accelerator.is_main_process:
        if task.spec.initial_weights:
            notes.insert(0, describe_loaded(task.spec.initial_weights))
        print("".join(f"{note}\n" for note in [*notes, f"run directory: {run.path}"]), end="")
    if settings.evaluate:
        _report(run, settings, dataset, {"checkpoint": "best", "chosen_by": task.chosen_by})
    return run


def _report(run: RunDirectory, settings: TrainConfig, dataset: Dataset, details: dict[str, Any]) -> None:
    folder = find_checkpoint(run.path, "best")
    runner = Runner(make_accelerator(settings.device), settings.evaluation.batch_size or 64)
    task = load_checkpoint(folder)
    remedy = f"the training is done; medzoo evaluate run={run.path} evaluation.batch_size=... reports it with a smaller one"
    with enough_memory(EvaluationError, f"evaluation.batch_size={runner.batch_size}", remedy):
        predict_run(
            run, task, dataset, settings.evaluation, runner, {**details, "weights": weights_checksum(folder)},
            augment=settings.trainer.augment, augmenter=settings.trainer.augmenter, captions=settings.model.captions,
        )  # fmt: skip
    if PartialState().is_main_process:
        (report_targets if task.spec.targets else report_run)(run, settings.evaluation)


def weak_choice(progress: Progress, monitor: str, samples: int) -> str:
    """Return what is to be said of an epoch that little speaks for: equal ones, or few validation samples; empty of others.

    Args:
        progress: Of a finished training.
        monitor: The metric it was chosen by.
        samples: How many validation samples there are.
    """
    equal = [row["epoch"] for row in progress.history if row.get(f"val_{monitor}") == progress.best]
    equal = [str(epoch) for epoch in equal if epoch != progress.best_epoch]
    said = []
    if progress.best is not None and equal:
        more = f" and {len(equal) - 5} more" if len(equal) > 5 else ""
        said.append(f"epoch {progress.best_epoch} is the first of equals: epochs {', '.join(equal[:5])}{more} are as good")
    if samples < FEW_SAMPLES:
        said.append(f"the epoch was chosen by {samples} validation samples")
    return "; ".join(said)


def _fit(trainer: Trainer, settings: TrainConfig, dataset: Dataset, stops: Stops | None) -> RunDirectory:
    run = trainer.run
    with _memory(settings):
        progress = trainer.fit(stops)
    if progress.best is None and progress.finished:
        last = "" if trainer.task.completes else f"; medzoo evaluate run={run.path} checkpoint=last reports the last epoch"
        raise TrainingError(
            f"val {trainer.monitor} was undefined after each of {progress.epoch} epochs, so that none is the best: train anew "
            f"with another trainer.monitor, such as loss, into another run=...{last}"
        )
    trainer.display.say(
        f"trained {progress.epoch} epochs; best val {trainer.monitor} {progress.best:.4f} at epoch {progress.best_epoch}"
        if progress.best is not None
        else f"trained {progress.epoch} epochs; {trainer.monitor} was never defined"
    )
    if trainer.task.completes and progress.finished:
        with _memory(settings):
            complete_checkpoints(run, dataset, settings.model, trainer.yaml, _runner(settings, trainer.accelerator))
    weak = weak_choice(progress, trainer.monitor, len(dataset.rows("val")))
    if weak:
        trainer.display.say(f"note: {weak}")
    if settings.evaluate:
        details = {"checkpoint": "best", "epoch": progress.best_epoch, "chosen_by": f"val {trainer.monitor}"}
        _report(run, settings, dataset, {**details, **({"choice": weak} if weak else {})})
    trainer.display.say(f"run directory: {run.path}")
    return run
