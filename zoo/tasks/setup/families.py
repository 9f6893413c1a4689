"""From a configuration and a dataset to the task that is trained: which family builds it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from medzoo.data.dataset import Dataset
from medzoo.data.errors import ConfigError
from medzoo.data.images.bags import VIEW
from medzoo.models.heads.bag import check_pool
from medzoo.models.heads.bottleneck import FROZEN
from medzoo.models.trained import is_run
from medzoo.settings.schema import LossConfig, ModelConfig, PreprocessConfig
from medzoo.tasks.registry import third_party_tasks
from medzoo.tasks.setup.bottleneck import bottleneck_from_config
from medzoo.tasks.setup.classify import classify_from_config
from medzoo.tasks.setup.contrast import contrast_from_config
from medzoo.tasks.setup.frozen import frozen_from_config
from medzoo.tasks.setup.fusion import fusion_from_config
from medzoo.tasks.setup.pretraining import pretraining_from_config
from medzoo.tasks.setup.source import refuse_own_weights
from medzoo.tasks.setup.targets import targets_from_config
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
    "fusion": fusion_from_config,
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
    said = next((name for name in ("inputs", "visit_inputs", "history") if dataset.options.get(name)), None)
    if said is not None and not task.reads_inputs:
        raise ConfigError(
            f"data.{said}={dataset.options[said]}: model={config.family} looks at images alone and would ignore them; leave them "
            "out, or use model=fusion"
        )
    if dataset.modalities and not task.reads_modalities:
        raise ConfigError(
            f"data.modalities=[{', '.join(dataset.modalities)}]: model={config.family} looks at one image a sample and would "
            "ignore the others; leave them out, or use model=fusion"
        )
    if dataset.targets and not task.spec.targets:
        raise ConfigError(
            f"data.targets=[{', '.join(dataset.targets)}]: model={config.family} learns one target and would ignore the others; "
            "name one, or use a network with a head for each (docs/targets.md)"
        )
    if loss.targets is not None and not dataset.targets:
        raise ConfigError(
            "loss.targets weighs several targets, and the data have one; name them in data.targets, or leave it out"
        )
    if dataset.texts and not task.reads_texts:
        raise ConfigError(
            f"data.texts=[{', '.join(dataset.texts)}]: model={config.family} reads no text beside images and would ignore it; "
            "leave it out, or use model=fusion"
        )
    if not task.learns_by_guide:
        _refuse_weighing(config, loss, dataset)
    return task


def _refuse_weighing(config: ModelConfig, loss: LossConfig, dataset: Dataset) -> None:
    """Refuse what weighs samples and groups where a family's loss would ignore it."""
    if loss.group is not None:
        raise ConfigError(f"loss.group weighs the samples of a classifier's loss, not of model={config.family}; leave it out")
    if "sample_weight" in dataset.table.columns:
        raise ConfigError(f"data.weight: model={config.family} counts all samples alike and would ignore it; leave it out")


def _own_task(config: ModelConfig, loss: LossConfig, dataset: Dataset, seed: int) -> Task:
    if os.sep in config.backbone and not is_run(config.backbone) and not config.backbone.startswith(REMOTE):
        raise ConfigError(f"model.backbone={config.backbone}: there is no run directory; train one first, or give a model's name")
    refuse_own_weights(config)
    check_bags(config, dataset)
    if config.ssl is not None:
        return pretraining_from_config(config, loss, dataset, seed)
    if config.family != "clip":
        _check_labelled(config, dataset)
    plain = targets_from_config if dataset.targets else classify_from_config
    return SETUPS.get(config.family, plain)(config, loss, dataset, seed)


def check_bags(config: ModelConfig, dataset: Dataset) -> None:
    """Refuse a model and a dataset that do not have bags, or rows of features, alike; ConfigError."""
    check_pool(config.pool)
    reader, rows = dataset.reader, dataset.reader.row_width is not None
    if rows != (config.family == "features"):
        said = "has rows of features" if rows else "has images"
        raise ConfigError(
            f"{dataset.info.name} {said}: "
            + ("use model=features" if rows else "model=features is for data.features of data=table")
        )
    if rows and config.preprocess != PreprocessConfig():
        raise ConfigError("model.preprocess is of images, and data.features are taken as they are: leave it out")
    if config.pool == "mean" and VIEW in dataset.table:
        raise ConfigError("data.view: model.pool=mean would ignore what members show; use attention or max, or leave it out")
    if config.pool == "mean":
        return
    if not (rows or reader.views or reader.bag):
        raise ConfigError(
            f"model.pool={config.pool} is for samples of several images (data.bag, several data.image, data.features), and "
            f"{dataset.info.name} has one each; leave it out"
        )
    if config.family in ("clip", "cbm") or config.neighbours is not None:
        what = "model.neighbours" if config.neighbours is not None else f"model={config.family}"
        raise ConfigError(f"model.pool={config.pool} is not for {what}, which averages over a sample's images: use mean")


def _check_labelled(config: ModelConfig, dataset: Dataset) -> None:
    """Refuse settings of image–text models and of bottlenecks where there is none, and a dataset without labels."""
    if config.freeze or config.captions != "auto":
        raise ConfigError("model.freeze and model.captions are for model=clip")
    if config.slices is not None:
        raise ConfigError("model.slices is for model=clip; model=slices pools by model.arguments.pool")
    if (config.family == "cbm") != (config.bottleneck is not None):
        raise ConfigError("model.bottleneck belongs to model=cbm")
    if (config.family == "fusion") != (config.fusion is not None):
        raise ConfigError("model.fusion belongs to model=fusion")
    if dataset.labels is None:
        raise ConfigError(f"{dataset.info.name} has no labels to classify; choose a dataset or an option with labels")
