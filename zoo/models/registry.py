"""Models by family and name."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medzoo.data.errors import UnknownNameError
from medzoo.data.seeding import derived_seed
from medzoo.models import timm_backbone
from medzoo.spec import ModelSpec

FAMILIES = {
    "cnn": "any convolutional timm backbone",
    "vit": "any transformer timm backbone",
}


def list_models(pattern: str = "*") -> list[str]:
    """Return the architecture names that match a shell pattern, sorted."""
    import timm

    return sorted(n for n in timm.list_models() if fnmatch(n, pattern))


def create_model(
    name: str,
    *,
    outputs: int,
    channels: int = 3,
    size: tuple[int, int] | None = None,
    small_stem: bool = False,
    pretrained: bool = False,
    checkpoint_path: str | Path | None = None,
    arguments: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> nn.Module:
    """Create a model by name, its initial weights a function of `seed`.

    Args:
        name: Architecture, such as `resnet18` or `vit_tiny_patch16_224`; see `list_models`.
        outputs: Number of logits, K.
        channels: Input channels, 1 or 3.
        size: (H, W) of the input, for models that depend on it.
        small_stem: A 3×3 stem for small images (ResNet family).
        pretrained: Fetch the published weights of the name.
        checkpoint_path: Start from a local weights file instead.
        arguments: Further arguments of the architecture.
        seed: Seed of the initial weights; the global generator is left as it was.

    Returns:
        (N, channels, H, W) normalised float32 → (N, K) logits.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "initial weights"))
        return timm_backbone.create_timm_model(
            name,
            outputs=outputs,
            channels=channels,
            size=size,
            small_stem=small_stem,
            pretrained=pretrained,
            checkpoint_path=checkpoint_path,
            arguments=arguments,
        )


def model_from_spec(spec: ModelSpec) -> nn.Module:
    """Rebuild a model's architecture, without its weights; reads neither the network nor the original paths."""
    if spec.family not in FAMILIES:
        raise UnknownNameError("model family", spec.family, FAMILIES)
    arguments = dict(spec.arguments)
    return create_model(
        spec.architecture,
        outputs=arguments.pop("outputs"),
        channels=spec.preprocess.channels,
        size=(spec.preprocess.size[-2], spec.preprocess.size[-1]),
        small_stem=arguments.pop("small_stem", False),
        arguments=arguments,
    )
