"""Tasks with random weights, to measure the speed of a network by its name."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.labels import LabelSpace
from medzoo.data.samples.preprocess import Preprocess
from medzoo.losses.objective import objective_from_config
from medzoo.models.backbones import timm_backbone
from medzoo.models.build import build_network
from medzoo.models.clip.model import find_clip
from medzoo.models.registry import check_name, is_timm, takes_volumes
from medzoo.settings.schema import LossConfig
from medzoo.store.spec import ModelSpec
from medzoo.tasks.classify import Classify
from medzoo.tasks.contrast import Contrast
from medzoo.tasks.setup.contrast import clip_spec, contrast_from_source
from medzoo.tasks.setup.preprocess import DEFAULT_SIZE, clip_preprocess
from medzoo.tasks.task import Task

FAMILIES = ("cnn", "vit", "cnn3d", "slices", "clip")


def random_task(backbone: str, family: str, size: Any, channels: int, seed: int) -> Task:
    """Return a task of ten classes (for family clip: an image–text model) with random weights, none of them constant.

    Published initialisations start residual branches at zero: a proof of such a graph would prove nothing.

    Raises:
        UnknownNameError: If the family or the backbone is not known.
        ConfigError: If the size does not suit it.
    """
    if family not in FAMILIES:
        raise UnknownNameError("model family", family, FAMILIES, where=" (others: bench a run=)")
    if family == "clip":
        task: Task = _random_clip(backbone, size, seed)
    else:
        check_name(backbone, family)
        preprocess = Preprocess(_size(backbone, family, size), channels=channels, mean=(0.5,) * channels, std=(0.5,) * channels)
        labels = LabelSpace("multiclass", tuple(f"class {number}" for number in range(10)))
        objective = objective_from_config(LossConfig(), labels, np.eye(10, dtype=np.float32)).to_dict()
        spec = ModelSpec(family, "classify", backbone, preprocess, labels, arguments={"outputs": 10}, objective=objective)
        task = Classify(spec, build_network(spec, seed=seed))
    with torch.no_grad():
        noise = torch.Generator().manual_seed(seed)
        for parameter in task.model.parameters():
            if parameter.numel() > 1 and parameter.std() == 0:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=noise))
    return task.eval()


def _random_clip(name: str, size: Any, seed: int) -> Contrast:
    if size is not None:
        raise ConfigError(f"{name} has a size of its own; leave size out")
    source = find_clip(name)
    objective = {"loss": "clip", "freeze": [], "captions": "column"}
    return contrast_from_source(
        clip_spec(source, source.config, clip_preprocess(source), data={}, objective=objective), source, seed
    )


def _size(backbone: str, family: str, size: Any) -> tuple[int, ...]:
    volume = takes_volumes(family)
    if size is None:
        own = timm_backbone.own_size(backbone) if is_timm(backbone) else None
        if volume:
            raise ConfigError(f"family={family} takes volumes: give size=[depth,height,width]")
        return own or (DEFAULT_SIZE, DEFAULT_SIZE)
    sides = (size,) * (3 if volume else 2) if isinstance(size, int) else tuple(size)
    if not all(type(side) is int for side in sides) or len(sides) != (3 if volume else 2):
        raise ConfigError(f"size={size} is not pixels a side, or {'[depth,height,width]' if volume else '[height,width]'}")
    return sides
