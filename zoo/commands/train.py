"""`medzoo train`: a dataset, a model, one loop, then the report of the best checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from omegaconf import DictConfig, OmegaConf

from medzoo.data.dataset import SPLITS, Dataset
from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.registry import PLACES, load_dataset
from medzoo.data.splits.learnt_from import FILE, NOTHING, LearntFrom, read_record, record, refuse_learnt_from
from medzoo.evaluation.run_report import report_run
from medzoo.inference.devices import make_accelerator
from medzoo.inference.predict import predict_run
from medzoo.models.heads.bottleneck import UNTRAINED
from medzoo.models.heads.neighbours import NeighbourNetwork
from medzoo.models.trained import describe_start, is_run
from medzoo.settings.compose import typed
from medzoo.settings.schema import TrainConfig, TrainerConfig
from medzoo.store.checkpoint import find_checkpoint, read_assets, weights_checksum
from medzoo.store.directory import RunDirectory, default_run_path
from medzoo.store.spec import ModelSpec
from medzoo.tasks.bottleneck import Bottleneck
from medzoo.tasks.classify import Classify
from medzoo.tasks.load import TrainableTask, load_checkpoint, task_from_spec
from medzoo.tasks.setup.families import task_from_config
from medzoo.tasks.setup.frozen import concept_source
from medzoo.train.fit import finish_bottleneck, fit_bottleneck, fit_neighbours, save_fitted
from medzoo.train.loop import Trainer

RESUMABLE = ("trainer.workers", "device", "evaluate", "debug", *(f"data.{name}" for name in PLACES))
"""What may differ when a run goes on: none of it changes a number."""
USED_WITHOUT_TRAINING = ("batch_size", "workers", "precision", "trackers", "log_every")
"""Settings of the trainer that a model without training of its own uses, or that name no number."""


def main(config: DictConfig) -> RunDirectory:
    """Train and, unless `evaluate=false`, report. Returns the run directory."""
    settings: TrainConfig = typed(TrainConfig, config)
    for split in settings.evaluation.splits:
        if split not in SPLITS:
            raise UnknownNameError("split", split, SPLITS, where=" in evaluation.splits")
    accelerator = make_accelerator(settings.device)  # one process a device from here on; rank 0 names the directory
    path = [settings.run or str(default_run_path(str(settings.data["name"]), settings.model.backbone))]
    broadcast_object_list(path)
    run = RunDirectory(Path(path[0]))
    if accelerator.is_main_process:
        run.require_empty()
    dataset = load_dataset(**settings.data)
    if settings.evaluate:
        for split in settings.evaluation.splits:
            if not (dataset.table["split"] == split).any():
                raise ConfigError(f"the {split} split is empty; leave it out of evaluation.splits, or change the split options")
    task = task_from_config(settings.model, settings.loss, dataset, settings.seed)
    learnt = _learnt_before(settings, dataset) | record(dataset)
    dataset = refuse_learnt_from(dataset, learnt, _looked_at(settings))
    assets = {**task.assets(), FILE: learnt.to_bytes()}
    yaml_text = OmegaConf.to_yaml(config, resolve=True)
    if isinstance(task.model, NeighbourNetwork) and isinstance(task, Classify):
        _refuse_training(settings)
        return _remember(run, settings, yaml_text, dataset, task, assets)
    if isinstance(task, Bottleneck) and task.regime in UNTRAINED:
        _refuse_training(settings)
        return _fit_layers(run, settings, yaml_text, dataset, task, assets)
    trainer = _trainer(run, settings, yaml_text, dataset, task, resume=False)
    # Only now: a mistake found above leaves no half-made run directory in the way of the next try.
    if accelerator.is_main_process:
        RunDirectory.create(run.path, yaml_text, task.spec, assets)
        if started := describe_start(settings.model.backbone, task.spec):
            print(started)
    trainer.accelerator.wait_for_everyone()
    return _fit(trainer, settings, dataset)


def resume(path: Path, overrides: dict[str, object]) -> RunDirectory:
    """Go on with a run from its last saved state, with its own configuration.

    Args:
        path: The run directory.
        overrides: Settings that may differ, of `RESUMABLE`.

    Raises:
        ConfigError: If another setting is given.
    """
    run = RunDirectory.open(path)
    config = OmegaConf.create(yaml.safe_load(run.config.read_text(encoding="utf-8")))
    for key, value in overrides.items():
        if key not in RESUMABLE:
            raise ConfigError(f"a resumed run keeps its own {key}; only {', '.join(RESUMABLE)} may be given")
        OmegaConf.update(config, key, value)
    settings: TrainConfig = typed(TrainConfig, config)
    bottleneck = settings.model.bottleneck
    if settings.model.neighbours is not None or (bottleneck is not None and bottleneck.regime in UNTRAINED):
        raise ConfigError(f"{path} has no training to go on with; start anew with another run=...")
    dataset = load_dataset(**settings.data)
    task = task_from_spec(ModelSpec.read(run.spec), read_assets(run.path))
    learnt = read_record(path)
    if learnt.complete or task.spec.data.get("learnt_from"):  # a run of an earlier medzoo has no record, and started from none
        dataset = refuse_learnt_from(dataset, learnt, _looked_at(settings))
    return _fit(_trainer(run, settings, run.config.read_text(encoding="utf-8"), dataset, task, resume=True), settings, dataset)


def _learnt_before(settings: TrainConfig, dataset: Dataset) -> LearntFrom:
    """Return what the network that a training starts from or stands on has learnt from."""
    model = settings.model
    learnt = read_record(model.backbone) if is_run(model.backbone) else NOTHING
    if model.bottleneck is not None and model.bottleneck.concept_data:
        learnt = learnt | record(concept_source(model.bottleneck, dataset))
    return learnt


def _looked_at(settings: TrainConfig) -> list[str]:
    """Return the splits that choose an epoch or are reported."""
    return ["val", *(split for split in settings.evaluation.splits if settings.evaluate and split != "val")]


def _trainer(
    run: RunDirectory, settings: TrainConfig, yaml_text: str, dataset: Dataset, task: TrainableTask, *, resume: bool
) -> Trainer:
    trackers = settings.trainer.trackers
    accelerator = make_accelerator(settings.device, settings.trainer.precision, run, trackers)
    return Trainer(task, dataset, settings, yaml_text, run, resume, accelerator)


def _refuse_training(settings: TrainConfig) -> None:
    """Refuse settings that a model without training would ignore."""
    plain = TrainerConfig()
    for name in vars(plain):
        if name not in USED_WITHOUT_TRAINING and getattr(settings.trainer, name) != getattr(plain, name):
            what = "model.neighbours" if settings.model.neighbours is not None else "a bottleneck on a frozen network"
            raise ConfigError(f"{what} trains nothing: trainer.{name} would have no effect; leave it out")


def _remember(
    run: RunDirectory, settings: TrainConfig, yaml_text: str, dataset: Dataset, task: Classify, assets: dict[str, bytes]
) -> RunDirectory:
    accelerator = make_accelerator(settings.device, settings.trainer.precision)
    if accelerator.is_main_process:
        RunDirectory.create(run.path, yaml_text, task.spec, assets)
    accelerator.wait_for_everyone()
    fit_neighbours(
        task, dataset, run, yaml_text, accelerator, batch_size=settings.trainer.batch_size, workers=settings.trainer.workers
    )
    if settings.evaluate:
        _report(run, settings, dataset, {"checkpoint": "best", "chosen_by": "no choice: nothing is trained"})
    return run


def _fit_layers(
    run: RunDirectory, settings: TrainConfig, yaml_text: str, dataset: Dataset, task: Bottleneck, assets: dict[str, bytes]
) -> RunDirectory:
    accelerator = make_accelerator(settings.device, settings.trainer.precision)
    task, notes = fit_bottleneck(task, dataset, settings, accelerator)
    if accelerator.is_main_process:  # only now: a mistake found above leaves no half-made run directory
        RunDirectory.create(run.path, yaml_text, task.spec, assets)
        save_fitted(task, run, yaml_text)
        print("\n".join(notes))
    accelerator.wait_for_everyone()
    if settings.evaluate:
        _report(run, settings, dataset, {"checkpoint": "best", "chosen_by": "validation loss of the fitted layers"})
    return run


def _report(run: RunDirectory, settings: TrainConfig, dataset: Dataset, details: dict[str, Any]) -> None:
    folder = find_checkpoint(run.path, "best")
    predict_run(
        run,
        load_checkpoint(folder),
        dataset,
        settings.evaluation,
        settings.device,
        0,
        {**details, "weights": weights_checksum(folder)},
        augment=settings.trainer.augment,
        captions=settings.model.captions,
    )
    if PartialState().is_main_process:
        report_run(run, settings.evaluation)


def _fit(trainer: Trainer, settings: TrainConfig, dataset: Dataset) -> RunDirectory:
    run = trainer.run
    progress = trainer.fit()
    trainer.display.say(
        f"trained {progress.epoch} epochs; best val {trainer.monitor} {progress.best:.4f} at epoch {progress.best_epoch}"
        if progress.best is not None
        else f"trained {progress.epoch} epochs; {trainer.monitor} was never defined"
    )
    if isinstance(trainer.task, Bottleneck):
        finish_bottleneck(run, dataset, settings, trainer.yaml, trainer.accelerator)
    if settings.evaluate:
        details = {"checkpoint": "best", "epoch": progress.best_epoch, "chosen_by": f"val {trainer.monitor}"}
        _report(run, settings, dataset, details)
    trainer.display.say(f"run directory: {run.path}")
    return run
