"""Mixing the images and targets of a batch: mixup and cutmix, as a function of the batch's own seed."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from medzoo.data.errors import ConfigError
from medzoo.settings.schema import TrainerConfig
from medzoo.store.spec import ModelSpec
from medzoo.tasks.task import Batch


def check_mixing(config: TrainerConfig, spec: ModelSpec, *, cached: bool, views: bool) -> None:
    """Check a batch's mixing: ConfigError if there are no single images or targets, or cutmix meets quantities."""
    if (config.mixup or config.cutmix) and cached:
        raise ConfigError("mixup and cutmix need images, not cached features; set trainer.cache_features=false")
    if (config.mixup or config.cutmix) and views:
        raise ConfigError("mixup and cutmix mix single images, not cases of several; set both to 0")
    if (config.mixup or config.cutmix) and spec.labels is None and not spec.targets:
        raise ConfigError("mixup and cutmix mix targets, and image–text pairs have none; set both to 0")
    if (config.mixup or config.cutmix) and spec.objective.get("groups"):
        raise ConfigError("mixup and cutmix mix samples of two groups, which loss.group weighs apart; set both to 0")
    kinds = [labels.kind for labels in (spec.labels, *spec.targets.values()) if labels is not None]
    if config.cutmix and "regression" in kinds:
        raise ConfigError("cutmix is for classes: a quantity is not shared out by area; use mixup")


def mix_batch(batch: Batch, config: TrainerConfig, rng: np.random.Generator) -> Batch:
    """Mix each sample with another of its batch.

    Mixup (Zhang et al. 2018, equation 1) blends whole images; cutmix (Yun et al. 2019, equations 1 and 2) puts a box of the
    other image in, its targets weighted by area. A target or concept missing in either sample is missing in the mixture; how
    much the two count is mixed, too.

    Args:
        batch: With `image` and `target`, and `concepts` if there are any; the batch itself is not changed.
        config: `mixup` and `cutmix` are the parameters of the symmetric beta distribution; with both, one is drawn.
        rng: All that is random here.

    Returns:
        The batch as it is when both are off; else with float32 images in 0..1.
    """
    if not (config.mixup or config.cutmix):
        return batch
    cut = config.cutmix > 0 and (config.mixup == 0 or rng.random() < 0.5)
    share = float(rng.beta(config.cutmix, config.cutmix) if cut else rng.beta(config.mixup, config.mixup))
    images, targets = batch["image"], batch["target"]
    partner = torch.from_numpy(rng.permutation(len(targets))).to(targets.device)
    values = images.float() / 255.0 if images.dtype == torch.uint8 else images
    if cut:
        values, share = _cut(values, partner, share, rng)
    else:
        values = share * values + (1 - share) * values[partner]
    further: dict[str, Tensor] = {
        name: share * batch[name] + (1 - share) * batch[name][partner]
        for name in ("target", "concepts", "weight")
        if name in batch
    }
    return {**batch, "image": values, **further}


def _cut(images: Tensor, partner: Tensor, share: float, rng: np.random.Generator) -> tuple[Tensor, float]:
    """Put a box of the partner into each image; returns the images and the share that is left of their own."""
    sides = images.shape[2:]
    scale = (1 - share) ** (1 / len(sides))
    box, volume = [slice(None), slice(None)], 1.0
    for side in sides:
        length, centre = scale * side, rng.integers(side)
        start, stop = max(0, round(centre - length / 2)), min(side, round(centre + length / 2))
        box.append(slice(start, max(start, stop)))
        volume *= max(0, stop - start) / side
    mixed = images.clone()
    mixed[tuple(box)] = images[partner][tuple(box)]
    return mixed, 1 - volume
