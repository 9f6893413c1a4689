"""From a configuration and a dataset to the task that is trained: which family builds it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from medzoo.data.dataset import Dataset
from medzoo.data.errors import ConfigError
from medzoo.models.heads.bottleneck import FROZEN
from medzoo.models.trained import is_run
from medzoo.settings.schema import LossConfig, ModelConfig
from medzoo.tasks.registry import third_party_tasks
from medzoo.tasks.setup.bottleneck import bottleneck_from_config
from medzoo.tasks.setup.classify import classify_from_config
from medzoo.tasks.setup.contrast import contrast_from_config
from medzoo.tasks.setup.frozen import frozen_from_config
from medzoo.tasks.setup.source import refuse_own_weights
from medzoo.tasks.task import Task

REMOTE = ("hf-hub:", "local-dir:")
"""How names of open_clip's begin that are no paths."""


def _bottleneck_from_config(config: ModelConfig, loss: LossConfig, dataset: Dataset, seed: int) -> Task:
    assert config.bottleneck is not None
    build = frozen_from_config if config.bottleneck.regime in FROZEN else bottleneck_from_config
    return build(config, loss, dataset, seed)


SETUPS: Mapping[str, Callable[[ModelConfig, LossConfig, Dataset, int], Task]] = {
    "clip": contrast_from_config,
    "cbm": _bottleneck_from_config,
}
"""Family → what builds its task; the others classify."""


def task_from_config(config: ModelConfig, loss: LossConfig, dataset: Dataset, seed: int) -> Task:
    """Build the task that trains a model on a dataset; its spec is frozen from here on.

    Args:
        config: Which model.
        loss: What it minimises.
        dataset: What it is trained on.
        seed: Of the initial weights.

    Raises:
        UnknownNameError: If the family, the backbone or the loss is not known.
        ConfigError: If the model and the dataset do not go together.
        CheckpointError: If a run or weights do not fit.
    """
    if config.family in (others := third_party_tasks()):
        task: Task = others[config.family].load().from_config(config, loss, dataset, seed)
    else:
        task = _own_task(config, loss, dataset, seed)
    if (asked := dataset.options.get("inputs")) and not task.reads_inputs:
        raise ConfigError(
            f"data.inputs={asked}: model={config.family} looks at images alone and would ignore them; leave them out"
        )
    return task


def _own_task(config: ModelConfig, loss: LossConfig, dataset: Dataset, seed: int) -> Task:
    if os.sep in config.backbone and not is_run(config.backbone) and not config.backbone.startswith(REMOTE):
        raise ConfigError(f"model.backbone={config.backbone}: there is no run directory; train one first, or give a model's name")
    refuse_own_weights(config)
    if config.family != "clip":
        _check_labelled(config, dataset)
    return SETUPS.get(config.family, classify_from_config)(config, loss, dataset, seed)


def _check_labelled(config: ModelConfig, dataset: Dataset) -> None:
    """Refuse settings of image–text models and of bottlenecks where there is none, and a dataset without labels."""
    if config.freeze or config.captions != "auto":
        raise ConfigError("model.freeze and model.captions are for model=clip")
    if (config.family == "cbm") != (config.bottleneck is not None):
        raise ConfigError("model.bottleneck belongs to model=cbm")
    if dataset.labels is None:
        raise ConfigError(f"{dataset.info.name} has no labels to classify; choose a dataset or an option with labels")
