"""How an image–text model comes to take volumes: slices by its flat image tower, or a network over volumes in its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from medzoo.data.dataset import Dataset
from medzoo.data.errors import ConfigError
from medzoo.data.samples.preprocess import InputType, Preprocess, sides
from medzoo.models.clip.volume import slice_settings
from medzoo.models.registry import VOLUME_MODELS
from medzoo.settings.schema import ModelConfig
from medzoo.tasks.setup.preprocess import choose_preprocess


def has_volume_tower(config: ModelConfig) -> bool:
    """Whether a network over volumes shall stand in place of the image tower; ConfigError for settings that are not for one."""
    if config.image_tower not in VOLUME_MODELS:
        return False
    for name in ("slices", "image_pretrained"):
        if getattr(config, name):
            raise ConfigError(f"model.{name} is for flat towers, and {config.image_tower} takes volumes whole: leave it out")
    return True


def without_size(config: ModelConfig) -> ModelConfig:
    """Return the settings of the flat image tower of a model over slices, whose size is asked for with a depth."""
    return config if config.slices is None else replace(config, preprocess=replace(config.preprocess, size=None))


def over_slices(config: ModelConfig, flat: Preprocess, dataset: Dataset | None) -> tuple[Preprocess, dict[str, Any]]:
    """Return how volumes become the input of a flat image tower, slice by slice, and what the spec says of it.

    Args:
        config: Of the model.
        flat: Of its images; returned as it is where no slices are asked for.
        dataset: Whose volumes they are; None: of 8-bit ones.

    Raises:
        ConfigError: If it has no volumes, or volumes that nobody has asked a model for, or the size is not the tower's.
    """
    shape = None if dataset is None else dataset.reader.shape
    if config.slices is None:
        if shape is not None and dataset is not None and len(shape) == 4:
            raise ConfigError(
                f"{dataset.info.name} has volumes: give model.slices=mean or attention, which lets the image tower see their "
                "slices, or model.image_tower=resnet18_3d"
            )
        return flat, {}
    _require_volumes("model.slices", dataset)
    height, width = flat.size
    if config.preprocess.size is not None:
        size = sides(config.preprocess.size, "model.preprocess.size", 3)
        if len(size) != 3 or size[1:] != flat.size:
            raise ConfigError(
                f"{config.backbone} takes slices of {list(flat.size)}: give model.preprocess.size=[depth,{height},{width}], "
                f"not {list(size)}"
            )
    elif shape is not None:
        size = (shape[1], *flat.size)
    else:
        raise ConfigError(f"model.slices needs a number of slices: give model.preprocess.size=[depth,{height},{width}]")
    dtype: InputType = "float32" if dataset is not None and dataset.info.value_type == "float32" else "uint8"
    return replace(flat, size=size, dtype=dtype), {"slices": slice_settings(config.slices)}


def whole_volumes(config: ModelConfig, dataset: Dataset | None) -> tuple[Preprocess, Mapping[str, Any]]:
    """Return how volumes become the input of a network over them, and what the spec says of it; ConfigError without volumes."""
    assert config.image_tower is not None
    if dataset is None:
        raise ConfigError(f"{config.image_tower} has random weights; train it with medzoo train")
    _require_volumes(f"model.image_tower={config.image_tower}", dataset)
    asked = replace(config.preprocess, mode="stretch") if config.preprocess.mode == "auto" else config.preprocess
    own = replace(config, family="cnn3d", backbone=config.image_tower, pretrained=False, preprocess=asked)
    about = {"architecture": config.image_tower, "arguments": dict(config.arguments)}
    return choose_preprocess(own, dataset), {"volume_tower": about}


def _require_volumes(setting: str, dataset: Dataset | None) -> None:
    if dataset is not None and dataset.reader.shape is not None and len(dataset.reader.shape) != 4:
        raise ConfigError(f"{setting} is for volumes, and {dataset.info.name} has flat images: leave it out")
