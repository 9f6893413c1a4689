"""The image side of an image–text model over volumes: the flat image tower slice by slice, or a 3D network in its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.seeding import derived_seed
from medzoo.models.backbones.attention import HIDDEN, GatedAttention
from medzoo.models.backbones.blueprint import Blueprint
from medzoo.models.backbones.recompute import InChunks, check_chunk
from medzoo.models.registry import make

SLICE_POOLS = ("mean", "attention")
VOLUME_KEYS = ("slices", "volume_tower")
"""Arguments of a spec by which its image side takes volumes: the pooling of slices, or a network over volumes."""
NO_IMAGE = {"layers": 1, "width": 8, "head_width": 8, "patch_size": 32, "image_size": 32}
"""Stands in for the flat image tower where a network over volumes takes its place."""


class SliceTower(InChunks, nn.Module):
    """(N, C, D, H, W) volumes → (N, E): the embeddings of their slices, pooled before they are brought to length 1.

    A volume of one slice has the embedding that its slice has.

    Args:
        tower: A flat image tower, (M, C, H, W) → (M, E).
        width: E.
        pool: `mean`, or `attention`: a mean by weights that are learnt, and equal before they are.
        chunk: Slices that go through the tower together; None: all of a batch.
    """

    def __init__(self, tower: nn.Module, width: int, pool: str, chunk: int | None = None) -> None:
        super().__init__()
        self.tower = tower
        self.chunk = chunk
        self.attention = GatedAttention(width, HIDDEN) if pool == "attention" else None
        if self.attention is not None:  # a trained tower is then as good as its mean from the first step on
            nn.init.zeros_(self.attention.score.weight)

    @property
    def flat(self) -> nn.Module:
        """The flat image tower."""
        return self.tower

    def cut(self, volumes: Tensor) -> Tensor:
        """Return (N · D, C, H, W) slices, volume after volume."""
        return volumes.movedim(2, 1).flatten(0, 1)

    def forward(self, volumes: Tensor) -> Tensor:
        """Return the embeddings, of any length."""
        seen = self.in_chunks(self.tower, self.cut(volumes))
        by_slice = seen.reshape(-1, volumes.shape[2], seen.shape[-1])
        if self.attention is None:
            return by_slice.mean(dim=1)
        weights = self.attention(seen).reshape(-1, volumes.shape[2], 1).softmax(dim=1)
        pooled: Tensor = (weights * by_slice).sum(dim=1)
        return pooled


def with_volumes(
    model: nn.Module, arguments: Mapping[str, Any], size: tuple[int, ...], channels: int, seed: int = 0
) -> nn.Module:  # fmt: skip
    """Let an image–text model take volumes, in place, where its spec's arguments say so; returns the model.

    Args:
        model: Of flat images, its weights loaded.
        arguments: Of its spec.
        size: (D, H, W) of the volumes.
        channels: Of them.
        seed: Of what is random in it.

    Raises:
        ConfigError: If a network over volumes cannot be built, or is not of such volumes.
    """
    width = int(arguments["open_clip"]["embed_dim"])
    if (about := arguments.get("slices")) is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(seed, "slices"))
            model.visual = SliceTower(model.visual, width, **about)  # type: ignore[arg-type]
    elif (about := arguments.get("volume_tower")) is not None:
        blueprint = Blueprint(about["architecture"], width, channels, size, arguments=about["arguments"])
        model.visual = make(blueprint, "cnn3d", seed)
    return model


def slice_settings(asked: Any) -> dict[str, Any]:
    """Return `model.slices` as a spec holds it, {pool, chunk}.

    Raises:
        ConfigError: If it is neither a pooling nor a mapping with one, or the chunk is no number of slices.
        UnknownNameError: If there is no such pooling, or key.
    """
    given = {"pool": asked} if isinstance(asked, str) else asked
    if not isinstance(given, Mapping) or "pool" not in given:
        raise ConfigError(f"model.slices={asked} is not mean, attention, or {{pool: mean, chunk: 8}}")
    for key in given:
        if key not in ("pool", "chunk"):
            raise UnknownNameError("key", str(key), ("pool", "chunk"), where=" of model.slices")
    if given["pool"] not in SLICE_POOLS:
        raise UnknownNameError("slice pooling", str(given["pool"]), SLICE_POOLS, where=" in model.slices")
    check_chunk(given.get("chunk"), "model.slices.chunk")
    return {"pool": given["pool"], "chunk": given.get("chunk")}


def refuse_volumes(arguments: Mapping[str, Any], name: str, what: str) -> None:
    """Refuse an image–text model of volumes where a flat image tower is wanted; ConfigError."""
    if any(key in arguments for key in VOLUME_KEYS):
        raise ConfigError(f"{name} is an image–text model of volumes, and {what} takes the image tower of one of flat images")
