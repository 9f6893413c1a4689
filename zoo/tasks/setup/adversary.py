"""The head that tells groups from a network's features, and what of a training does not go with penalties on features."""

from __future__ import annotations

from typing import Any

import torch

from medzoo.data.errors import ConfigError
from medzoo.data.seeding import derived_seed
from medzoo.losses.domains import GroupAdversary
from medzoo.models.backbones.contract import head_modules
from medzoo.settings.schema import TrainerConfig
from medzoo.tasks.task import Task


def oppose(task: Task, config: TrainerConfig, seed: int) -> Task:
    """Draw what a classifier's features are held against where `loss.group` asks for it; itself otherwise.

    Args:
        task: Changed in place; about to be trained, or built again from its spec to go on.
        config: Of the training.
        seed: Of the head's first weights.

    Raises:
        ConfigError: If features that nothing trains are to be changed.
    """
    penalty = None if task.guide is None else task.guide.penalty
    if penalty is None or not penalty.wants_features:
        return task
    if config.finetune == "linear":
        how = task.spec.objective["groups"]["how"]
        raise ConfigError(
            f"loss.group with how={how} changes features, and trainer.finetune=linear trains none: use full or partial, or "
            "how=dro, fis, balanced or irm"
        )
    if isinstance(penalty, GroupAdversary):
        layer: Any = head_modules(task.model)[0]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(seed, "adversary"))
            penalty.begin(int(layer.weight.shape[1]))
    return task
