"""The image tower of an image–text model as a backbone: linear probes, fine-tuning and neighbours on CLIP features."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from medzoo.models.backbones.contract import Parted
from medzoo.models.clip.model import build_clip

_NO_TEXT = {"context_length": 4, "vocab_size": 8, "width": 8, "heads": 1, "layers": 1}
"""Stands in for the text tower, which a backbone does not have."""


class ClipImageNetwork(Parted):
    """Unit image embeddings and a linear layer. (N, C, H, W) → (N, K).

    Args:
        visual: An open_clip image tower.
        width: E, of its embeddings.
        outputs: K.
    """

    def __init__(self, visual: nn.Module, width: int, outputs: int) -> None:
        super().__init__()
        self.visual = visual
        self.fc = nn.Linear(width, outputs)

    def forward_features(self, images: Tensor) -> Tensor:
        """Return (N, E) unit embeddings."""
        return F.normalize(self.visual(images), dim=-1)

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Return the embeddings themselves, or their logits."""
        return features if pre_logits else self.fc(features)

    def get_classifier(self) -> nn.Module:
        """Return the last linear layer."""
        return self.fc


def image_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of open_clip's `model_cfg` that the image tower needs."""
    return {key: deepcopy(config[key]) for key in ("embed_dim", "vision_cfg", "quick_gelu") if key in config}


def build_clip_image(config: Mapping[str, Any], outputs: int, seed: int) -> ClipImageNetwork:
    """Build the network with random weights; see `image_config`."""
    model = build_clip({**config, "text_cfg": _NO_TEXT}, seed=seed)
    visual: Any = model.visual
    return ClipImageNetwork(visual, int(config["embed_dim"]), outputs)
