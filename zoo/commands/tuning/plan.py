"""What is known of a search before anything trains: that its settings compose, by which metric it judges, on which rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    epochs = 0
    for number, values in enumerate(known):
        epochs = max(epochs, _compose(asked, values, (*further, *parts[0]), folder, f"trial {number}").trainer.epochs)
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
            composed = _compose(asked, {**first, setting.name: value}, (*further, *parts[0]), folder, place)
            epochs = max(epochs, composed.trainer.epochs)
            if any(word.lstrip("+").startswith(("data.", "data=", "experiment=")) for word in words):
                require_rows(load_dataset(**composed.data), rows[0], place)
    monitor, higher = _monitor(settings[0], datasets[0])
    return Plan(monitor, StudyDirection.MAXIMIZE if higher else StudyDirection.MINIMIZE, rows, epochs)


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
    """Return the checksum of what trials are judged on."""
    return table_checksum(dataset, "val")


def _compose(asked: Asked, values: Mapping[str, Any], further: Words, folder: Path, place: str) -> TrainConfig:
    try:
        return compose_training([*asked.words(values), *further, CONTENT], folder / "trials")[1]
    except MedzooError as error:
        raise ConfigError(f"{place}: {error}") from error


def _monitor(settings: TrainConfig, dataset: Dataset) -> tuple[str, bool]:
    """Return the metric that an epoch is chosen by, and whether more of it is better."""
    task = task_from_config(settings.model, settings.loss, dataset, settings.seed)
    _, val = learning_splits(task, dataset, settings.model)
    asked = None if settings.trainer.monitor is None else metric_text(settings.trainer.monitor, "trainer.monitor")
    monitor, _ = task.choose_monitor(asked, val)
    return monitor, task.higher_is_better(monitor)
