"""What settings of a training do not go together with what is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.settings.schema import TrainerConfig
from medzoo.tasks.task import Task
from medzoo.train.optim import SCHEDULES

RANGES: Mapping[str, tuple[str, Callable[[float], bool]]] = MappingProxyType({
    "weight_decay": ("a number of at least 0", lambda v: 0 <= v < math.inf),
    "momentum": ("in [0, 1)", lambda v: 0 <= v < 1),
    "warmup_epochs": ("a number of at least 0", lambda v: 0 <= v < math.inf),
    "final_learning_rate": ("a number of at least 0", lambda v: 0 <= v < math.inf),
    "clip": ("a positive number, or null for no clipping", lambda v: 0 < v < math.inf),  # below 0 it would turn gradients round
    "ema": ("in [0, 1), or null for no average", lambda v: 0 <= v < 1),
    "patience": ("at least 1, or null to train to the end", lambda v: v >= 1),
    "save_every": ("at least 0; null or 0 saves at the end of each epoch alone", lambda v: v >= 0),
    "log_every": ("at least 1", lambda v: v >= 1),
    "mixup": ("a number of at least 0", lambda v: 0 <= v < math.inf),
    "cutmix": ("a number of at least 0", lambda v: 0 <= v < math.inf),
})  # fmt: skip
"""What a number of the trainer has to be; of those that may be null, where they are not."""


def check_trainer(config: TrainerConfig, task: Task, processes: int) -> None:
    """Refuse numbers out of range, and what a task cannot be trained with.

    Args:
        config: The trainer's settings.
        task: What is trained.
        processes: How many train it together.

    Raises:
        ConfigError: With what to change.
        UnknownNameError: If there is no such schedule.
    """
    for name, (what, fits) in RANGES.items():
        value = getattr(config, name)
        if value is not None and not fits(value):  # NaN fits nowhere
            raise ConfigError(f"trainer.{name}={value:g} is not {what}")
    if config.schedule not in SCHEDULES:  # asked here: the first step would leave a run directory behind
        raise UnknownNameError("schedule", config.schedule, SCHEDULES)
    for share in config.milestones:
        if not 0 <= share <= 1:
            raise ConfigError(f"trainer.milestones: {share:g} is not in 0..1, a share of the training")
    if config.epochs < 1 or config.batch_size < 2 or config.accumulate < 1:
        raise ConfigError("trainer.epochs and accumulate must be at least 1, trainer.batch_size at least 2")
    if config.accumulate > 1 and not task.accumulates:
        raise ConfigError(
            "trainer.accumulate does not enlarge a batch whose samples are held against each other (a contrastive one, or "
            "loss.group with any how but balanced), or of several targets with labels missing, class weights or loss=corn; raise "
            "trainer.batch_size, or use more devices"
        )
    if processes > 1 and task.alone is not None:
        raise ConfigError(f"this model is trained in one process ({task.alone}): start it without torchrun")
