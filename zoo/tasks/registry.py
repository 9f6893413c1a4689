"""Tasks from a configuration and a dataset, and tasks from a spec."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medzoo.config import LossConfig, ModelConfig, PreprocessConfig
from medzoo.data.card import data_card
from medzoo.data.dataset import Dataset, target_matrix
from medzoo.data.errors import CheckpointError, ConfigError
from medzoo.data.preprocess import Preprocess
from medzoo.data.samples import SampleDataset, require_prepared
from medzoo.data.seeding import derived_seed, generator
from medzoo.losses.objective import Objective, objective_from_config
from medzoo.models import timm_backbone
from medzoo.models.backbone import pooled_features
from medzoo.models.bottleneck import BottleneckNetwork
from medzoo.models.clip_image import ClipImageNetwork, build_clip_image, find_image_tower, image_config
from medzoo.models.concept_scores import with_concept_scores
from medzoo.models.neighbours import NeighbourNetwork
from medzoo.models.ordinal import CornLink, CumulativeLink, OrdinalNetwork
from medzoo.models.registry import check_name, is_timm, model_from_spec
from medzoo.store.spec import ModelSpec
from medzoo.tasks.bottleneck import UNTRAINED, Bottleneck
from medzoo.tasks.bottleneck_setup import bottleneck_objective, chosen_concepts, concept_truth
from medzoo.tasks.classify import Classify
from medzoo.tasks.contrast import Contrast
from medzoo.tasks.contrast_setup import clip_preprocess, contrast_from_config, contrast_from_spec, write_captions
from medzoo.tasks.frozen_bottleneck import frozen_bottleneck
from medzoo.tasks.task import Task
from medzoo.tasks.trained_backbone import (
    TrainedBackbone,
    is_image_text_run,
    is_run,
    load_backbone,
    load_start,
    refuse_own_weights,
    run_cards,
    starting_backbone,
)

DEFAULT_SIZE = 224
VOLUME_FAMILIES = ("cnn3d", "slices")
LIBRARIES = ("medzoo", "torch", "timm", "numpy")
REMOTE = ("hf-hub:", "local-dir:")
"""How names of open_clip's begin that are no paths."""


TrainableTask = Classify | Contrast | Bottleneck


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


def task_from_spec(spec: ModelSpec, assets: Mapping[str, bytes] | None = None) -> TrainableTask:
    """Rebuild a task without its weights.

    Args:
        spec: The task's spec.
        assets: What its checkpoint holds beside weights and spec, by file name.

    Raises:
        CheckpointError: If this medzoo has no such task.
    """
    if spec.task == "contrast":
        return contrast_from_spec(spec, assets or {})
    if spec.task not in ("classify", "bottleneck") or spec.labels is None:
        raise CheckpointError(f"this medzoo has no task {spec.task!r}; update it")
    model = _network(spec)
    return Bottleneck(spec, model) if isinstance(model, BottleneckNetwork) else Classify(spec, model)


def prepare_samples(task: Task, samples: SampleDataset, dataset: Dataset, config: ModelConfig) -> None:
    """Give a split's samples what a task learns from beyond images and targets: captions."""
    if task.spec.task == "contrast":
        write_captions(samples, dataset, config.captions)
    if isinstance(task, Bottleneck):
        samples.concepts = concept_truth(task.spec, samples, dataset)
    if config.bottleneck is not None and config.bottleneck.shuffle_concepts and samples.concepts is not None:
        # The same for every seed: what leaks is then compared between models, not between permutations.
        order = generator(0, "shuffled concepts", samples.split).permutation(len(samples))
        samples.concepts = samples.concepts[order]


def bottleneck_from_weights(spec: ModelSpec, weights: Mapping[str, Tensor], seed: int = 0) -> Bottleneck:
    """Build a bottleneck on a network that is trained already.

    Args:
        spec: The bottleneck's.
        weights: State dict of the network; what it lacks of the last layer is fitted later.
        seed: Of what is not in `weights`.

    Raises:
        CheckpointError: If the weights are of another network.
    """
    model = _network(spec, seed=seed)
    assert isinstance(model, BottleneckNetwork)
    load_backbone(model.backbone, weights, spec.architecture)
    return Bottleneck(spec, model)


def _network(spec: ModelSpec, **initial: Any) -> nn.Module:
    """Build a spec's backbone and what stands around it: an ordinal link, or a memory of neighbours."""
    assert spec.labels is not None
    bottleneck = spec.task == "bottleneck"
    objective, labels = Objective.from_dict(spec.objective["classes"] if bottleneck else spec.objective), spec.labels
    if spec.family == "clip_image":
        model: nn.Module = build_clip_image(spec.arguments["open_clip"], spec.arguments["outputs"], initial.get("seed", 0))
    else:
        model = model_from_spec(spec, **initial)
    if bottleneck:
        asked = spec.objective
        if asked["regime"] == "language":
            assert isinstance(model, ClipImageNetwork)
            model = with_concept_scores(model, len(asked["concepts"]))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(initial.get("seed", 0), "class layer"))
            return BottleneckNetwork(
                model, concepts=len(asked["concepts"]), outputs=objective.outputs(labels), kind=asked["kind"],
                features=_feature_width(model, spec) if asked["residual"] else None,
                class_layer_rate=asked.get("class_layer_rate", 1.0),
            )  # fmt: skip
    if "neighbours" in spec.arguments:
        asked = spec.arguments["neighbours"]
        width = _feature_width(model, spec)
        return NeighbourNetwork(
            model, features=width, samples=asked["samples"], outputs=labels.width, neighbours=asked["count"], kind=labels.kind
        )
    if objective.loss in ("corn", "cumulative"):
        return OrdinalNetwork(model, CornLink() if objective.loss == "corn" else CumulativeLink(labels.width))
    return model


def _feature_width(model: nn.Module, spec: ModelSpec) -> int:
    with torch.no_grad():
        zeros = torch.zeros(1, spec.preprocess.channels, *spec.preprocess.size)
        return int(pooled_features(model.eval(), zeros).shape[1])


def _small_stem(config: ModelConfig, preprocess: Preprocess) -> bool:
    if config.small_stem is not None:
        return config.small_stem
    if config.pretrained or config.checkpoint_path is not None or not is_timm(config.backbone):
        return False
    in_plane = max(preprocess.size[-2:])
    return in_plane <= timm_backbone.SMALL_INPUT and timm_backbone.is_resnet(config.backbone)


def choose_preprocess(config: ModelConfig, dataset: Dataset) -> Preprocess:
    """Decide how a dataset's images become the input of a model: given values, else the weights' own, else plain ones."""
    asked: PreprocessConfig = config.preprocess
    shape = dataset.reader.shape
    weights: dict[str, Any] = {}
    if is_timm(config.backbone) and (config.pretrained or config.checkpoint_path is not None):
        weights = timm_backbone.pretrained_preprocess(config.backbone)
    volume = config.family in VOLUME_FAMILIES
    size = asked.size if asked.size is not None else weights.get("size")
    if size is None and is_timm(config.backbone):
        size = timm_backbone.own_size(config.backbone)
    if size is None:
        size = shape[1:] if shape is not None else (DEFAULT_SIZE, DEFAULT_SIZE)
    if isinstance(size, int):
        size = (size,) * (3 if volume else 2)
    if volume and len(size) == 2:
        if shape is None or len(shape) != 4:
            raise ConfigError(f"model={config.family} takes volumes: give model.preprocess.size=[depth,height,width]")
        size = (shape[1], *size)
    channels = asked.channels
    if channels is None:
        # A 2.5D network makes its own channels of neighbouring slices.
        channels = 3 if weights and not volume else (shape[0] if shape is not None else 1 if volume else 3)
    prepared: Preprocess | None = getattr(dataset.reader, "prepared", None)
    interpolation = asked.interpolation or weights.get("interpolation") or (prepared.interpolation if prepared else "bilinear")
    chosen = Preprocess(
        size=tuple(int(s) for s in size),
        mode=asked.mode,  # type: ignore[arg-type]  # checked by Preprocess
        interpolation=interpolation,  # type: ignore[arg-type]
        channels=channels,
        dtype="uint8" if dataset.info.value_type == "uint8" else "float32",
        mean=_per_channel(asked.mean, weights.get("mean"), channels),
        std=_per_channel(asked.std, weights.get("std"), channels),
    )
    require_prepared(prepared, chosen)
    return chosen


def _per_channel(given: list[float] | None, weights: tuple[float, ...] | None, channels: int) -> tuple[float, ...]:
    values = tuple(given) if given is not None else weights
    if values is None:
        return (0.5,) * channels
    if len(values) == channels:
        return tuple(float(v) for v in values)
    if len(values) == 1:
        return (float(values[0]),) * channels
    if given is None and channels == 1:
        return (float(sum(values) / len(values)),)
    raise ConfigError(f"preprocess mean and std need {channels} values, got {len(values)}")
