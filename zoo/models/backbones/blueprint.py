"""What a network is made of, before it is made: one object for every maker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Blueprint:
    """A network by name and what changes its shape or its first weights.

    Attributes:
        name: Architecture, such as `resnet18`, `vit_tiny_patch16_224` or `resnet18_3d`; a timm name with or without a tag.
        outputs: Number of logits, K.
        channels: Input channels, 1 or 3. Pretrained first layers are adapted as timm does (summed for 1).
        size: (H, W) or (D, H, W) of the input, for models that depend on it.
        small_stem: A 3×3 stride-1 stem in place of a ResNet's 7×7 stride-2 stem and max-pool (timm's ResNet family).
        pretrained: Fetch timm's weights of the name's tag (its default tag if it has none).
        checkpoint_path: A local weights file for the backbone instead (`.safetensors`, or `.pth` read with `weights_only`); its
            head is left out where its width differs from timm's for the name.
        arguments: Further keyword arguments of the architecture, such as `drop_rate` or `patch_size`.
    """

    name: str
    outputs: int
    channels: int = 3
    size: tuple[int, ...] | None = None
    small_stem: bool = False
    pretrained: bool = False
    checkpoint_path: str | Path | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_weights(self) -> bool:
        """Whether it brings weights of its own."""
        return self.pretrained or self.checkpoint_path is not None
