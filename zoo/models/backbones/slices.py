"""2.5D: a flat backbone looks at every slice of a volume with its neighbours, and what it sees is pooled over the depth.

The neighbours come as channels (Roth et al. 2014, MICCAI, 2.5D representation), so that pretrained RGB weights fit a gray
volume with one neighbour on either side.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.models.backbones.blueprint import Blueprint
from medzoo.models.backbones.contract import Around, Parted, pooled_features
from medzoo.models.backbones.recompute import InChunks, check_chunk
from medzoo.models.backbones.timm_backbone import create_timm_model

POOLS = ("mean", "max")


class SliceNetwork(InChunks, Parted, Around):
    """(N, C, D, H, W) → (N, K) by way of a 2D backbone over D slices.

    Args:
        backbone: A timm model of C · (2 · context + 1) input channels.
        context: Neighbours on either side of a slice; the outermost slices repeat themselves.
        pool: `mean` or `max` of the slices' features.
        chunk: Slices that go through the backbone together; None: all of a batch.
    """

    is_head = False  # a backbone itself, over volumes

    def __init__(self, backbone: nn.Module, context: int, pool: str, chunk: int | None = None) -> None:
        super().__init__(backbone)
        self.context = context
        self.pool = pool
        self.chunk = chunk

    @property
    def flat(self) -> nn.Module:
        """The backbone."""
        return self.backbone

    def cut(self, volumes: Tensor) -> Tensor:
        """Return (N · D, C · (2 · context + 1), H, W) slices with their neighbours, volume after volume."""
        depth = volumes.shape[2]
        places = torch.arange(depth, device=volumes.device)
        shifted = [
            volumes.index_select(2, (places + offset).clamp(0, depth - 1)) for offset in range(-self.context, self.context + 1)
        ]
        return torch.cat(shifted, dim=1).movedim(2, 1).flatten(0, 1)

    def forward_features(self, volumes: Tensor) -> Tensor:
        """Return (N, F) features pooled over slices."""
        depth, slices = volumes.shape[2], self.cut(volumes)
        seen = self.in_chunks(partial(pooled_features, self.backbone), slices)
        by_slice: Tensor = seen.reshape(-1, depth, seen.shape[-1])
        return by_slice.mean(dim=1) if self.pool == "mean" else by_slice.amax(dim=1)

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Return the features themselves, or their logits."""
        return features if pre_logits else self.get_classifier()(features)


def create_slice_model(blueprint: Blueprint) -> nn.Module:
    """Create a 2.5D model of any timm name.

    Args:
        blueprint: Of volumes; among its arguments `context`, neighbouring slices on either side that come as further channels
            (1), `pool`, how slices become one (`mean` or `max`), and `chunk`, slices that go through the backbone together (all
            of a batch); the others are the timm model's.

    Raises:
        ConfigError: If the input is no volume, or an argument is out of range.
    """
    given, size = dict(blueprint.arguments), blueprint.size or ()
    context, pool = given.pop("context", 1), given.pop("pool", "mean")
    chunk = given.pop("chunk", None)
    if len(size) != 3:
        raise ConfigError(f"model=slices takes volumes [depth, height, width], not images of {list(size)}; use model=cnn")
    if pool not in POOLS:
        raise UnknownNameError("slice pooling", pool, POOLS, where=" in model.arguments.pool")
    if not 0 <= context <= 8:
        raise ConfigError(f"model.arguments.context={context} is not between 0 and 8")
    check_chunk(chunk, "model.arguments.chunk")
    flat = replace(blueprint, channels=blueprint.channels * (2 * context + 1), size=size[1:], arguments=given)
    return SliceNetwork(create_timm_model(flat), context, pool, chunk)
