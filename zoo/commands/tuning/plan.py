"""What is known of a search before anything trains: that its settings compose, by which metric it judges, on which rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from optuna.study import StudyDirection

from medzoo.commands.suites.written import Words, compose_training
from medzoo.commands.train import learnt_before
from medzoo.commands.tuning.asked import Asked
from medzoo.commands.tuning.propose import foresee
from medzoo.data.dataset import Dataset, table_checksum
from medzoo.data.errors import ConfigError, MedzooError
from medzoo.data.registry import load_dataset
from medzoo.data.splits.learnt_from import refuse_learnt_from
from medzoo.settings.metric_names import metric_text
from medzoo.settings.schema import TrainConfig
from medzoo.tasks.prepare import learning_splits
from medzoo.tasks.setup.families import task_from_config

CONTENT = "evaluate=false"
"""A trial predicts nothing but val."""


@dataclass(frozen=True)
class Plan:
    """What is the same for all trials of a search.

    Attributes:
        monitor: The validation metric that judges them.
        direction: Whether more of it is better.
        rows: Of each part of a trial the checksum of its val rows.
        epochs: The most that a trial trains.
    """

    monitor: str
    direction: StudyDirection
    rows: tuple[str, ...]
    epochs: int


def parts_of(asked: Asked) -> list[Words]:
    """Return what a trial's trainings differ by: its inner folds, or nothing of one training."""
    if asked.inner is None:
        return [()]
    return [(f"data.folds={asked.inner}", f"data.fold={fold}") for fold in range(asked.inner)]


def plan(asked: Asked, further: Words, folder: Path, *, every: bool = True) -> Plan:
    """Compose what can be composed, load the data, and see by which metric trials are judged.

    Args:
        asked: What is searched.
        further: Settings of every trial beside `asked.common`: the outer fold.
        folder: Where trials go.
        every: Whether all settings that are known are composed; else those of the first trial alone.

    Raises:
        MedzooError: Of what is wrong, before anything trains.
    """
    known = foresee(asked) if every else foresee(asked)[:1]
    first, parts = known[0], parts_of(asked)
    trials: dict[str, TrainConfig] = {}
    for number, values in enumerate(known):
        trials[f"trial {number}"] = _compose(asked, values, (*further, *parts[0]), folder, f"trial {number}")
    settings = [_compose(asked, first, (*further, *part), folder, "trial 0") for part in parts]
    datasets = [load_dataset(**one.data) for one in settings]
    if asked.inner is not None and datasets[0].options.get("domain") is not None:
        raise ConfigError("inner folds and data.domain do not go together: with a domain a fold chooses which one is test")
    for one, dataset in zip(settings, datasets, strict=True):
        require_unseen(one, dataset, judged_on(further))
    rows = tuple(val_rows(dataset) for dataset in datasets)
    for setting in asked.space if every else ():
        for value in setting.ends():
            words = setting.words(value)
            place = f"space.{setting.name}={value}"
            trials[place] = composed = _compose(asked, {**first, setting.name: value}, (*further, *parts[0]), folder, place)
            if any(word.lstrip("+").startswith(("data.", "data=", "experiment=")) for word in words):
                require_rows(load_dataset(**composed.data), rows[0], place)
    monitor, higher = require_one_yardstick(trials, datasets[0])
    epochs = max(one.trainer.epochs for one in trials.values())
    return Plan(monitor, StudyDirection.MAXIMIZE if higher else StudyDirection.MINIMIZE, rows, epochs)


def require_one_yardstick(trials: Mapping[str, TrainConfig], dataset: Dataset) -> tuple[str, bool]:
    """Refuse trials whose figures are not of one kind and scale.

    Args:
        trials: By what they are called, trial 0 first.
        dataset: Of trial 0.

    Returns:
        The metric that chooses their epochs, and whether more of it is better.

    Raises:
        ConfigError: If one is judged by another metric than trial 0, or by a loss that is not the same.
    """
    first = next(iter(trials.values()))
    known: dict[Any, _Yardstick] = {}
    for place, one in trials.items():
        model = one.model
        sort = (model.family, model.ssl is None, model.bottleneck is None, model.fusion is None)
        if sort not in known:  # a network is built once of each sort
            known[sort] = _yardstick(one, dataset)
        own, of_first = known[sort], next(iter(known.values()))
        if own.monitor != of_first.monitor:
            raise ConfigError(
                f"{place} is judged by {own.monitor}, trial 0 by {of_first.monitor}: what the two reach cannot be compared"
            )
        if own.monitor == "loss" and (own, *_loss_of(one, own)) != (of_first, *_loss_of(first, of_first)):
            raise ConfigError(
                f"{place} minimises another loss than trial 0: what the two reach cannot be compared; judge trials by a metric "
                "(trainer.monitor), or search settings that leave the loss as it is"
            )
    found = next(iter(known.values()))
    return found.monitor, found.higher_is_better


@dataclass(frozen=True)
class _Yardstick:
    """By what an epoch is chosen, and whether more of it is better; of which task; whether its loss looks at no labels."""

    monitor: str
    higher_is_better: bool
    task: str
    contrasts: bool


def _loss_of(settings: TrainConfig, of: _Yardstick) -> tuple[Any, ...]:
    """Return all that the scale of a validation loss depends on: it is of the labels alone, without groups and a teacher."""
    model = settings.model
    weighed = None if model.bottleneck is None else (model.bottleneck.kind, model.bottleneck.concept_weight)
    batch = settings.trainer.batch_size if of.contrasts else None  # a contrast is with what else is in the batch
    return replace(settings.loss, group=None, logit_adjustment=None), model.ssl, model.captions, weighed, batch


def require_rows(dataset: Dataset, rows: str, place: str) -> None:
    """Refuse a trial whose val split is not the others': figures of other rows cannot be compared; ConfigError."""
    if val_rows(dataset) != rows:
        raise ConfigError(f"{place} validates on other rows or labels than trial 0: what the two reach cannot be compared")


def require_unseen(settings: TrainConfig, dataset: Dataset, splits: Sequence[str]) -> None:
    """Refuse rows that a network which a trial starts from, or its teacher, has learnt from; DatasetError."""
    refuse_learnt_from(dataset, learnt_before(settings, dataset), splits, own=True)


def judged_on(further: Words) -> tuple[str, ...]:
    """Return the splits that a trial's figures come from: within an outer fold its test split, too."""
    return ("val", "test") if further else ("val",)


def val_rows(dataset: Dataset) -> str:
    """Return the checksum of what trials are judged on, which rows' weights are no part of: they count in training alone."""
    return table_checksum(replace(dataset, table=dataset.table.drop(columns="sample_weight", errors="ignore")), "val")


def _compose(asked: Asked, values: Mapping[str, Any], further: Words, folder: Path, place: str) -> TrainConfig:
    try:
        return compose_training([*asked.words(values), *further, CONTENT], folder / "trials")[1]
    except MedzooError as error:
        raise ConfigError(f"{place}: {error}") from error


def _yardstick(settings: TrainConfig, dataset: Dataset) -> _Yardstick:
    task = task_from_config(settings.model, settings.loss, dataset, settings.seed)
    _, val = learning_splits(task, dataset, settings.model)
    asked = None if settings.trainer.monitor is None else metric_text(settings.trainer.monitor, "trainer.monitor")
    monitor, _ = task.choose_monitor(asked, val)
    return _Yardstick(monitor, task.higher_is_better(monitor), task.spec.task, task.spec.labels is None)
