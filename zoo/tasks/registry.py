"""Tasks from a configuration and a dataset, and tasks from a spec."""

from __future__ import annotations

from importlib import metadata
from typing import Any

from medzoo.config import ModelConfig, PreprocessConfig
from medzoo.data.dataset import Dataset
from medzoo.data.errors import CheckpointError, ConfigError, UnknownNameError
from medzoo.data.preprocess import Preprocess
from medzoo.models import timm_backbone
from medzoo.models.registry import FAMILIES, create_model, model_from_spec
from medzoo.spec import ModelSpec
from medzoo.tasks.classify import Classify
from medzoo.tasks.losses import default_loss

DEFAULT_SIZE = 224
LIBRARIES = ("medzoo", "torch", "timm", "numpy")


def task_from_config(config: ModelConfig, dataset: Dataset, seed: int) -> Classify:
    """Build the task that trains a model on a dataset; its spec is frozen from here on.

    Raises:
        UnknownNameError: If the family or the backbone is not known.
        ConfigError: If the model and the dataset do not go together.
    """
    if config.family not in FAMILIES:
        raise UnknownNameError("model family", config.family, FAMILIES)
    if dataset.labels is None:
        raise ConfigError(f"{dataset.info.name} has no labels to classify; choose a dataset or an option with labels")
    timm_backbone.check_name(config.backbone)
    preprocess = choose_preprocess(config, dataset)
    if preprocess.is_volume:
        raise ConfigError(
            f"{dataset.info.name} holds volumes; the backbone {config.backbone!r} takes flat images: use a 2D dataset"
        )
    size = (preprocess.size[-2], preprocess.size[-1])
    from_scratch = not config.pretrained and config.checkpoint_path is None
    small_stem = config.small_stem
    if small_stem is None:
        small = max(size) <= timm_backbone.SMALL_INPUT
        small_stem = from_scratch and small and timm_backbone.is_resnet(config.backbone)
    outputs = dataset.labels.width
    model = create_model(
        config.backbone,
        outputs=outputs,
        channels=preprocess.channels,
        size=size,
        small_stem=small_stem,
        pretrained=config.pretrained,
        checkpoint_path=config.checkpoint_path,
        arguments=config.arguments,
        seed=seed,
    )
    timm_backbone.check_input(model, preprocess.channels, size)
    spec = ModelSpec(
        family=config.family,
        task="classify",
        architecture=config.backbone,
        arguments={**config.arguments, "outputs": outputs, "small_stem": small_stem},
        preprocess=preprocess,
        labels=dataset.labels,
        concepts=None,
        data=data_card(dataset),
        versions={name: metadata.version(name) for name in LIBRARIES},
    )
    return Classify(spec, model, default_loss(dataset.labels))


def task_from_spec(spec: ModelSpec) -> Classify:
    """Rebuild a task without its weights.

    Raises:
        CheckpointError: If this medzoo has no such task.
    """
    if spec.task != "classify" or spec.labels is None:
        raise CheckpointError(f"this medzoo has no task {spec.task!r}; update it")
    return Classify(spec, model_from_spec(spec), default_loss(spec.labels))


def choose_preprocess(config: ModelConfig, dataset: Dataset) -> Preprocess:
    """Decide how a dataset's images become the input of a model: given values, else the weights' own, else plain ones."""
    asked: PreprocessConfig = config.preprocess
    shape = dataset.reader.shape
    weights: dict[str, Any] = {}
    if config.pretrained or config.checkpoint_path is not None:
        weights = timm_backbone.pretrained_preprocess(config.backbone)
    size = asked.size if asked.size is not None else weights.get("size")
    if size is None:
        size = timm_backbone.own_size(config.backbone)
    if size is None:
        size = shape[1:] if shape is not None else (DEFAULT_SIZE, DEFAULT_SIZE)
    if isinstance(size, int):
        size = (size,) * (len(shape) - 1 if shape is not None else 2)
    channels = asked.channels
    if channels is None:
        channels = 3 if weights else (shape[0] if shape is not None else 3)
    return Preprocess(
        size=tuple(int(s) for s in size),
        mode=asked.mode,  # type: ignore[arg-type]  # checked by Preprocess
        interpolation=asked.interpolation or weights.get("interpolation", "bilinear"),  # type: ignore[arg-type]
        channels=channels,
        dtype="uint8" if dataset.info.value_type == "uint8" else "float32",
        mean=_per_channel(asked.mean, weights.get("mean"), channels),
        std=_per_channel(asked.std, weights.get("std"), channels),
    )


def data_card(dataset: Dataset) -> dict[str, Any]:
    """Return what a spec says of its training data: the card, the options and the size of each split."""
    counts = dataset.table["split"].value_counts()
    return {
        **dataset.info.to_dict(),
        "options": dict(dataset.options),
        "samples": {str(split): int(n) for split, n in sorted(counts.items())},
        "subgroups": list(dataset.subgroups),
    }


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
