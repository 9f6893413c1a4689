"""Heads of several targets on one backbone: the first target's is the backbone's own, each further one a layer beside it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from medzoo.models.backbones.contract import Around, classify_features


class TargetHeads(nn.Module):
    """The heads of the further targets. (N, F) pooled features → (N, K of all of them).

    Args:
        layers: Target → its last layer, and the ordinal link behind it, or None.
    """

    def __init__(self, layers: Mapping[str, tuple[nn.Linear, nn.Module | None]]) -> None:
        super().__init__()
        # Not by the bare name: a module's own attributes (type, half, ...) are none to have.
        self.layers = nn.ModuleDict({f"to_{name}": layer for name, (layer, _) in layers.items()})
        self.links = nn.ModuleDict({f"to_{name}": link for name, (_, link) in layers.items() if link is not None})

    def forward(self, features: Tensor) -> Tensor:
        """Return the outputs of the further targets side by side."""
        found = {name: layer(features) for name, layer in self.layers.items()}
        found |= {name: link(found[name]) for name, link in self.links.items()}
        return torch.cat(list(found.values()), dim=1)

    def modules_of(self, target: str) -> list[nn.Module]:
        """Return what answers for one target; empty for the first, which has its head elsewhere."""
        name = f"to_{target}"
        return [part[name] for part in (self.layers, self.links) if name in part]


class TargetsNetwork(Around):
    """A backbone whose own head is the first target's, and the heads of the others. Images → (N, K of all) side by side.

    Args:
        backbone: With as many outputs as the first target takes.
        heads: Of the others.
        link: Ordinal link of the first target; None: its outputs stay as they are.
    """

    def __init__(self, backbone: nn.Module, heads: TargetHeads, link: nn.Module | None) -> None:
        super().__init__(backbone)
        self.heads, self.link = heads, link

    def linked(self, outputs: Tensor) -> Tensor:
        """Return the first target's outputs behind its link."""
        result: Tensor = outputs if self.link is None else self.link(outputs)
        return result

    def completed(self, outputs: Tensor, features: Tensor) -> Tensor:
        """Return the outputs of all targets."""
        return torch.cat([outputs, self.heads(features)], dim=1)

    def link_modules(self) -> list[nn.Module]:
        """Return all that stands behind the pooled features but the backbone's own last layer."""
        return [*([] if self.link is None else [self.link]), self.heads]

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Pool features and, unless `pre_logits`, turn them into the outputs of all targets."""
        pooled: Tensor = self.backbone.forward_head(features, pre_logits=True)  # type: ignore[operator]
        return pooled if pre_logits else classify_features(self, pooled)

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, K of all) outputs of normalised images."""
        return self.forward_head(self.forward_features(images))
