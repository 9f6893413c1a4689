"""Activations that are computed again on the way back instead of being kept: less memory, more time, the same gradients.

Chen et al. 2016 (Training deep nets with sublinear memory cost). What goes through a network in parts is recomputed part by
part, so that memory does not grow with their number; every other network block by block. Recomputing draws the same dropout and
leaves the running statistics of batch normalisation alone, which torch's own checkpoint would update a second time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.checkpoint import checkpoint

from medzoo.data.errors import ConfigError

CHUNK = 8
"""Slices that are recomputed together where nobody says how many go through the network together."""


class InChunks(ABC):
    """What sends slices through a flat network, so many at a time.

    Attributes:
        chunk: Slices that go through it together, which batch normalisation then takes its statistics of; None: those of a batch.
        recompute: Whether a chunk's activations are computed again on the way back.
    """

    chunk: int | None = None
    recompute = False

    @property
    @abstractmethod
    def flat(self) -> nn.Module:
        """The flat network."""

    def in_chunks(self, look: Callable[[Tensor], Tensor], slices: Tensor) -> Tensor:
        """Return (M, F), what `look` makes of (M, C, H, W) slices by the flat network, in their order."""
        if torch.compiler.is_exporting():  # a graph takes any number of volumes
            return look(slices)
        again = self.recompute and torch.is_grad_enabled()
        chunk = self.chunk or (CHUNK if again else len(slices))
        parts = [recomputed(self.flat, look, part) if again else look(part) for part in torch.split(slices, chunk)]  # type: ignore[no-untyped-call]
        return parts[0] if len(parts) == 1 else torch.cat(parts)


def check_chunk(chunk: Any, name: str) -> None:
    """Refuse a number of slices that is none; ConfigError names the setting."""
    if chunk is not None and (not isinstance(chunk, int) or isinstance(chunk, bool) or chunk < 1):
        raise ConfigError(f"{name}={chunk} is no number of slices that go through the network together; give 1 or more, or null")


def recompute_activations(network: nn.Module) -> None:
    """Let a network compute its activations again on the way back, in place; call it once its frozen parts are marked.

    Raises:
        ConfigError: If it has neither slices nor blocks.
    """
    slicing = [module for module in network.modules() if isinstance(module, InChunks)]
    apart = [module for module in slicing if module.chunk is not None or _each_alone(module.flat)]
    for module in apart:
        module.recompute = True
    inside = {part for module in apart for part in module.flat.modules()}
    blocks = [block for block in _blocks(network) if block not in inside]
    if not apart and not blocks:
        raise ConfigError(
            f"trainer.checkpoint_activations: {type(network).__name__} is built of no blocks that could be computed again; "
            "set it to false"
        )
    for block in blocks:
        block.forward = partial(_again, block, block.forward)


def recomputed(module: nn.Module, function: Callable[..., Any], *inputs: Any, **named: Any) -> Any:
    """Return what a function of a module's gives, whose activations are not kept."""

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _still(module)

    return checkpoint(function, *inputs, use_reentrant=False, context_fn=contexts, **named)


def _again(module: nn.Module, function: Callable[..., Any], *inputs: Any, **named: Any) -> Any:
    if not torch.is_grad_enabled() or torch.compiler.is_exporting():
        return function(*inputs, **named)
    return recomputed(module, function, *inputs, **named)


@contextmanager
def _still(module: nn.Module) -> Iterator[None]:
    """Keep batch normalisation from counting a batch again that it has counted."""
    counting = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.training and part.track_running_stats]
    before = [(part.momentum, None if (seen := part.num_batches_tracked) is None else seen.clone()) for part in counting]
    for part in counting:
        part.momentum = 0.0
    try:
        yield
    finally:
        for part, (momentum, seen) in zip(counting, before, strict=True):
            part.momentum = momentum
            if seen is not None and part.num_batches_tracked is not None:
                part.num_batches_tracked.copy_(seen)


def _each_alone(network: nn.Module) -> bool:
    """Whether in training a slice's features follow from that slice alone: from no other, and from no draw."""
    for part in network.modules():
        if isinstance(part, _BatchNorm) and (not part.affine or any(p.requires_grad for p in part.parameters())):
            return False
        dropped = part.p if isinstance(part, _DropoutNd) else getattr(part, "drop_prob", None) or getattr(part, "prob", None) or 0
        if dropped and isinstance(dropped, int | float):
            return False
    return True


def _blocks(network: nn.Module) -> list[nn.Module]:
    """Return a network's blocks: what stands in a sequence, has parts of its own, and holds no such sequence itself."""
    found: dict[nn.Module, None] = {}
    for module in network.modules():
        found |= dict.fromkeys(part for part in _members(module) if not any(_members(inner) for inner in part.modules()))
    return list(found)


def _members(module: nn.Module) -> list[nn.Module]:
    """Return what of a sequence has parts of its own."""
    if not isinstance(module, nn.Sequential | nn.ModuleList):
        return []
    return [part for part in module if any(True for _ in part.children())]
