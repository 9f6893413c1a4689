"""What export asks of a graph."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from medzoo.store.spec import ModelSpec

TAKEN = ("optional_inputs", "extra_inputs", "examples", "views")
"""Attributes that say what a graph takes beside the image: whoever traces and proves it asks for them by name."""


@runtime_checkable
class Deployable(Protocol):
    """One graph: raw image in, named outputs out, preprocessing inside. An `nn.Module`.

    Its `forward(image)` takes (N, H, W, C), or (N, D, H, W, C) for volumes, of `spec.preprocess.dtype`, any N, H and W, and
    returns a tuple of float32 tensors in the order of `outputs`.

    Attributes:
        spec: The model's spec.
        outputs: Output names; the first two are `logits` and `probabilities` for whatever has labels.

    A graph may also have `optional_inputs`, `extra_inputs`, `examples` and `views`, which say what it takes beside the image, and
    `metadata` (key → text) for the file beside what every file has.
    """

    spec: ModelSpec
    outputs: tuple[str, ...]

    def forward(self, image: Tensor, *further: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs for a batch of raw images (and what further inputs a graph declares)."""
        ...


def take_as(graph: Any, around: nn.Module) -> None:
    """Let a graph around another take what that one takes beside the image."""
    for name in TAKEN:
        if hasattr(graph, name):
            setattr(around, name, getattr(graph, name))
