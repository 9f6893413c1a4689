"""What settings of a training do not go together with what is trained."""

from __future__ import annotations

from medzoo.data.errors import ConfigError
from medzoo.settings.schema import TrainerConfig
from medzoo.tasks.task import Task


def check_trainer(config: TrainerConfig, task: Task, processes: int) -> None:
    """Refuse numbers out of range, and what a task cannot be trained with.

    Args:
        config: The trainer's settings.
        task: What is trained.
        processes: How many train it together.

    Raises:
        ConfigError: With what to change.
    """
    if config.epochs < 1 or config.batch_size < 2 or config.accumulate < 1:
        raise ConfigError("trainer.epochs and accumulate must be at least 1, trainer.batch_size at least 2")
    if config.accumulate > 1 and not task.accumulates:
        raise ConfigError(
            "trainer.accumulate does not enlarge a batch whose samples are held against each other (a contrastive one, or "
            "loss.group with any how but balanced), or of several targets with labels missing; raise trainer.batch_size, or use "
            "more devices"
        )
    if processes > 1 and task.alone is not None:
        raise ConfigError(f"this model is trained in one process ({task.alone}): start it without torchrun")
