"""Bags: features of any number of members → one vector, by their mean, their largest values, or gated attention.

Attention is `medzoo.models.backbones.attention`. Members have no order: a bag in another order is the same. Where members say
what they show, a learnt vector of it is added to a member's features before they are pooled.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medzoo.data.errors import ConfigError
from medzoo.models.backbones.attention import HIDDEN, GatedAttention
from medzoo.models.backbones.contract import Around, pooled_features

POOLS = ("mean", "max", "attention")
"""What `model.pool` may be."""


class BagNetwork(Around):
    """A backbone that sees the members of bags one by one, and pools their features before its last layer.

    As a network of images it takes each for a bag of its own, whose only member has all the weight.

    Args:
        backbone: With a linear last layer; an ordinal head around it stays.
        features: F, width of its pooled features.
        pool: One of `POOLS`.
        hidden: Width of the attention.
        views: What members may show, by code from 1 on; 0 is a member that does not say it.
    """

    def __init__(self, backbone: nn.Module, *, features: int, pool: str, hidden: int = HIDDEN, views: Sequence[str] = ()) -> None:
        super().__init__(backbone)
        self.pool = pool
        # Zero at first, and for what is not said as long as no training shows such a member.
        self.view = nn.Embedding(len(views) + 1, features) if views else None
        if self.view is not None:
            nn.init.zeros_(self.view.weight)
        self.attention = GatedAttention(features, hidden) if pool == "attention" else None

    def member_features(self, images: Tensor) -> Tensor:
        """Return (M, F) float32 features of normalised images, members of whatever bags."""
        return pooled_features(self.backbone, images).float()

    def seen_as(self, features: Tensor, views: Tensor | None) -> Tensor:
        """Return (M, F) features of members joined with what they show, (M,) codes; None: nobody says."""
        if self.view is None:
            return features
        codes = torch.zeros(features.shape[0], dtype=torch.int64, device=features.device) if views is None else views
        joined: Tensor = features + self.view(codes)
        return joined

    def pooled(self, features: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Pool the members of each bag.

        Args:
            features: (M, F), bag after bag.
            counts: (N,) int64, how many members each bag has, at least 1; M in all.

        Returns:
            (N, F), and (M,) the weight of each member in its bag: of `max` the share of features that are its own.
        """
        ends = counts.cumsum(0)
        places = torch.arange(features.shape[0], device=features.device)
        bag = (places[:, None] >= ends[None]).sum(dim=1)
        if self.pool == "max":
            lowest = torch.full((counts.shape[0], features.shape[1]), -torch.inf, dtype=features.dtype, device=features.device)
            largest = lowest.scatter_reduce(0, bag[:, None].expand(-1, features.shape[1]), features, "amax")
            return largest, (features == largest[bag]).float().mean(dim=1)
        scores = features.new_zeros(features.shape[0]) if self.attention is None else self.attention(features)
        inside = bag[None] == torch.arange(counts.shape[0], device=features.device)[:, None]
        weights = scores[None].masked_fill(~inside, -torch.inf).softmax(dim=1)  # (N, M), 0 outside the bag
        return weights @ features, weights.sum(dim=0)

    def linked(self, outputs: Tensor) -> Tensor:
        """Return what the head of the backbone makes of its last layer's outputs."""
        return self.backbone.linked(outputs) if isinstance(self.backbone, Around) else outputs

    def link_modules(self) -> list[nn.Module]:
        """Return what is trained with the last layer: attention, vectors of views, the modules of an ordinal head."""
        inner = self.backbone.link_modules() if isinstance(self.backbone, Around) else []
        return [*inner, *(module for module in (self.attention, self.view) if module is not None)]

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Return the backbone's own."""
        seen: Tensor = self.backbone.forward_head(features, pre_logits=pre_logits)  # type: ignore[operator]
        return seen

    def forward(self, images: Tensor) -> Tensor:
        """Return (M, K) outputs of normalised images, each a bag of its own."""
        outputs: Tensor = self.backbone(images)
        return outputs


def check_pool(pool: str) -> None:
    """Refuse a pooling that there is not; ConfigError."""
    if pool not in POOLS:
        raise ConfigError(f"model.pool={pool} is none of {', '.join(POOLS)}")
