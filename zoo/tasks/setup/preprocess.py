"""How a dataset's images become a model's input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medzoo.data.dataset import Dataset
from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.samples.prepared import has_planes, require_prepared
from medzoo.data.samples.preprocess import Preprocess, sides
from medzoo.models.backbones import timm_backbone
from medzoo.models.clip.model import RESIZE_MODES, ClipSource
from medzoo.models.registry import is_timm, takes_volumes
from medzoo.settings.schema import ModelConfig, PreprocessConfig

OPENAI_MEAN, OPENAI_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of OpenAI's training images; open_clip's default."""
DEFAULT_SIZE = 224


def choose_preprocess(config: ModelConfig, dataset: Dataset, own: Mapping[str, Any] | None = None) -> Preprocess:
    """Decide how a dataset's images become the input of a model: given values, else the weights' own, else plain ones.

    Args:
        config: Of the model.
        dataset: Whose images they are.
        own: What published weights expect: `size`, `mean`, `std`, `interpolation`, `channels`; None: as timm says of the name.
    """
    if (width := dataset.reader.row_width) is not None:  # a member is an image of one row, whose values are no grey levels
        return Preprocess((1, width), channels=1, dtype="float32", mean=(0.0,), std=(1.0,))
    asked: PreprocessConfig = config.preprocess
    shape = dataset.reader.shape
    weights: dict[str, Any] = dict(own or {})
    if own is None and is_timm(config.backbone) and (config.pretrained or config.checkpoint_path is not None):
        weights = timm_backbone.pretrained_preprocess(config.backbone)
    volume = takes_volumes(config.family)
    size = weights.get("size")
    if asked.size is not None:
        size = sides(asked.size, "model.preprocess.size", 3 if volume else 2)
    if size is None and is_timm(config.backbone):
        size = timm_backbone.own_size(config.backbone)
    if size is None:
        size = shape[1:] if shape is not None else (DEFAULT_SIZE, DEFAULT_SIZE)
    if volume and len(size) == 2:
        if shape is None or len(shape) != 4:
            raise ConfigError(f"model={config.family} takes volumes: give model.preprocess.size=[depth,height,width]")
        size = (shape[1], *size)
    channels = asked.channels
    if has_planes(dataset.reader):
        channels = dataset.reader.channels if shape is None else shape[0]
        if asked.channels not in (None, channels):
            raise ConfigError(f"model.preprocess.channels={asked.channels}, and {dataset.info.name} has {channels}: leave it out")
    if channels is None:
        # A 2.5D network makes its own channels of neighbouring slices.
        given = shape[0] if shape is not None else dataset.reader.channels
        channels = weights.get("channels") or (3 if weights and not volume else given or (1 if volume else 3))
    prepared = dataset.reader.prepared
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
    if given is None:  # of weights for colours, which gray and other planes are not
        return (float(sum(values) / len(values)),) * channels
    raise ConfigError(f"preprocess mean and std need {channels} values, got {len(values)}")


def clip_preprocess(source: ClipSource, config: ModelConfig | None = None) -> Preprocess:
    """Return a model's preprocessing: what is asked for, else its own (open_clip's `preprocess_cfg`).

    Raises:
        ConfigError: If another size is asked for than the image tower has.
    """
    own = source.preprocess
    asked = None if config is None else config.preprocess
    size = own.get("size", source.config["vision_cfg"].get("image_size", 224))
    size = (int(size),) * 2 if isinstance(size, int) else tuple(int(side) for side in size)
    if asked is not None and asked.size is not None:
        wanted = sides(asked.size, "model.preprocess.size")
        if wanted != size:
            raise ConfigError(f"{source.name} takes images of {list(size)}, not {list(wanted)}; leave model.preprocess.size null")
    if asked is not None and asked.channels not in (None, 3):
        raise ConfigError(f"{source.name} takes 3 channels; leave model.preprocess.channels null (gray images are repeated)")
    interpolation = (asked.interpolation if asked else None) or (own.get("interpolation") or "bicubic")
    resize_mode = own.get("resize_mode") or "shortest"
    if resize_mode not in RESIZE_MODES:
        raise UnknownNameError("resize_mode", resize_mode, RESIZE_MODES, where=f" in the preprocessing of {source.name}")
    mode = RESIZE_MODES[resize_mode]
    if asked is not None and asked.mode != "auto":
        mode = asked.mode
    mean = (asked.mean if asked else None) or own.get("mean", OPENAI_MEAN)
    std = (asked.std if asked else None) or own.get("std", OPENAI_STD)
    return Preprocess(
        size=size,
        mode=mode,  # type: ignore[arg-type]  # checked by Preprocess
        interpolation="bicubic" if interpolation == "random" else interpolation,  # type: ignore[arg-type]
        channels=3,
        dtype="uint8",
        mean=_each(mean),
        std=_each(std),
        fill=own.get("fill_color") or 0,
    )


def _each(values: Any) -> tuple[float, ...]:
    """Return one value a channel; open_clip takes one number for all."""
    return (float(values),) * 3 if isinstance(values, int | float) else tuple(float(value) for value in values)
