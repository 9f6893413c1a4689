"""Tasks from a configuration and a dataset, and tasks from a spec."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib import metadata
from typing import Any

import numpy as np
from torch import nn

from medzoo.data.dataset import Dataset, data_card, target_matrix
from medzoo.data.errors import ConfigError
from medzoo.data.samples.preprocess import Preprocess
from medzoo.losses.objective import objective_from_config
from medzoo.models.backbones import timm_backbone
from medzoo.models.build import _network
from medzoo.models.clip.image import image_config
from medzoo.models.heads.bottleneck import UNTRAINED, BottleneckNetwork
from medzoo.models.registry import check_name, is_timm
from medzoo.models.trained import TrainedBackbone, find_image_tower, is_image_text_run, is_run, load_start, run_cards
from medzoo.settings.schema import LossConfig, ModelConfig
from medzoo.store.spec import ModelSpec
from medzoo.tasks.bottleneck import Bottleneck
from medzoo.tasks.classify import Classify
from medzoo.tasks.load import TrainableTask, bottleneck_from_weights
from medzoo.tasks.setup.bottleneck import bottleneck_objective, chosen_concepts
from medzoo.tasks.setup.contrast import clip_preprocess, contrast_from_config
from medzoo.tasks.setup.frozen import frozen_bottleneck
from medzoo.tasks.setup.preprocess import choose_preprocess
from medzoo.tasks.setup.start import refuse_own_weights, starting_backbone

LIBRARIES = ("medzoo", "torch", "timm", "numpy")
REMOTE = ("hf-hub:", "local-dir:")
"""How names of open_clip's begin that are no paths."""


def task_from_config(config: ModelConfig, loss: LossConfig, dataset: Dataset, seed: int) -> TrainableTask:
    """Build the task that trains a model on a dataset; its spec is frozen from here on.

    Raises:
        UnknownNameError: If the family, the backbone or the loss is not known.
        ConfigError: If the model and the dataset do not go together.
    """
    if os.sep in config.backbone and not is_run(config.backbone) and not config.backbone.startswith(REMOTE):
        raise ConfigError(f"model.backbone={config.backbone}: there is no run directory; train one first, or give a model's name")
    refuse_own_weights(config)
    if config.family == "clip":
        return contrast_from_config(config, loss, dataset, seed)
    if config.freeze or config.captions != "auto":
        raise ConfigError("model.freeze and model.captions are for model=clip")
    if (config.family == "cbm") != (config.bottleneck is not None):
        raise ConfigError("model.bottleneck belongs to model=cbm")
    if dataset.labels is None:
        raise ConfigError(f"{dataset.info.name} has no labels to classify; choose a dataset or an option with labels")
    if config.bottleneck is not None and config.bottleneck.regime in UNTRAINED:
        spec, weights = frozen_bottleneck(config, loss, dataset)
        return bottleneck_from_weights(spec, weights, seed)
    tower: nn.Module | None = None
    start: TrainedBackbone | None = None
    image_text = is_image_text_run(config.backbone)
    if image_text and config.family != "clip_image":
        raise ConfigError(f"{config.backbone} holds an image–text model: use model=clip_image, or model=clip to train it further")
    if is_run(config.backbone) and not image_text:
        start, preprocess = starting_backbone(config, dataset)
        architecture, own = start.architecture, start.arguments
    elif config.family == "clip_image":
        source, tower = find_image_tower(config.backbone, config.pretrained or None, config.checkpoint_path)
        preprocess, architecture = clip_preprocess(source, config), source.name
        own = {"open_clip": image_config(source.config)}
    else:
        if not isinstance(config.pretrained, bool):
            raise ConfigError(f"model.pretrained={config.pretrained!r} is not true or false; a tag goes into the backbone's name")
        check_name(config.backbone, config.family)
        preprocess, architecture = choose_preprocess(config, dataset), config.backbone
        own = {**config.arguments, "small_stem": _small_stem(config, preprocess)}
    train = target_matrix(dataset.rows("train"), dataset.labels)
    objective = objective_from_config(loss, dataset.labels, train)
    arguments: dict[str, Any] = {**own, "outputs": objective.outputs(dataset.labels)}
    if config.neighbours is not None:
        if loss != LossConfig():
            raise ConfigError("model.neighbours trains nothing: leave loss at its default")
        labelled = int((~np.isnan(train)).any(axis=1).sum())
        if not 1 <= config.neighbours <= labelled:
            raise ConfigError(
                f"model.neighbours={config.neighbours} is not between 1 and the {labelled} labelled training samples"
            )
        arguments["neighbours"] = {"count": config.neighbours, "samples": labelled}
        objective = replace(objective, mean=None, std=None)  # neighbours answer in the labels' own units
    described: dict[str, Any] = objective.to_dict()
    if config.bottleneck is not None:
        described = bottleneck_objective(config, dataset, described)
        arguments["outputs"] = len(described["concepts"])
    libraries = (*LIBRARIES, "monai") if config.family == "cnn3d" else LIBRARIES
    spec = ModelSpec(
        family=config.family,
        task="classify" if config.bottleneck is None else "bottleneck",
        architecture=architecture,
        arguments=arguments,
        preprocess=preprocess,
        labels=dataset.labels,
        concepts=None if config.bottleneck is None else chosen_concepts(config.bottleneck, dataset),
        objective=described,
        data=data_card(dataset, learnt_from=run_cards(config.backbone)),
        versions={name: metadata.version(name) for name in libraries},
    )
    if start is not None:
        model = _network(spec, seed=seed)
        load_start(model, spec, start)
    elif tower is None:
        model = _network(spec, seed=seed, pretrained=config.pretrained, checkpoint_path=config.checkpoint_path)
    else:
        model = _network(spec, seed=seed)
        inner: Any = getattr(model, "backbone", model)
        inner.visual.load_state_dict(tower.state_dict())
    timm_backbone.check_input(model, preprocess.channels, preprocess.size)
    return Bottleneck(spec, model) if isinstance(model, BottleneckNetwork) else Classify(spec, model)


def _small_stem(config: ModelConfig, preprocess: Preprocess) -> bool:
    if config.small_stem is not None:
        return config.small_stem
    if config.pretrained or config.checkpoint_path is not None or not is_timm(config.backbone):
        return False
    in_plane = max(preprocess.size[-2:])
    return in_plane <= timm_backbone.SMALL_INPUT and timm_backbone.is_resnet(config.backbone)
