"""The contract between a model family and everything else.

The loop, evaluation and export know tasks only; none of them asks which family it is.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from medzoo.spec import ModelSpec

Batch = dict[str, Any]


@runtime_checkable
class Task(Protocol):
    """Model + objective of one family; an `nn.Module`.

    A batch is a dict of what `medzoo.data.samples.collate` makes, on the model's device: `image` not yet normalised, and,
    where the dataset has them, `target` (N, K), `concepts` (N, M), `text`, `tabular`, `sample_id`.

    Attributes:
        spec: The model's spec.
        model: The network itself: what EMA averages, checkpoints hold and an optimizer trains.
    """

    spec: ModelSpec
    model: nn.Module

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Return `loss` (scalar, mean over what is observed; 0 when nothing is), `count` (scalar, how much is observed).

        Further scalars are logged as they are, averaged by `count`.
        """
        ...

    def validation_step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the outputs of `predict` together with the scalars of `training_step`, without gradient."""
        ...

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Return float32 outputs by name, without gradient: `logits` and `probabilities` (N, K), others by family."""
        ...

    def deploy(self) -> nn.Module:
        """Return the graph to export, in evaluation mode, on the CPU; see `Deployable`."""
        ...


@runtime_checkable
class Deployable(Protocol):
    """One graph: raw image in, named outputs out, preprocessing inside. An `nn.Module`.

    Its `forward(image)` takes (N, H, W, C), or (N, D, H, W, C) for volumes, of `spec.preprocess.dtype`, any N, H and W, and
    returns a tuple of float32 tensors in the order of `outputs`.

    Attributes:
        spec: The model's spec.
        outputs: Output names; the first two are `logits` and `probabilities` for whatever has labels.
    """

    spec: ModelSpec
    outputs: tuple[str, ...]

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs for a batch of raw images."""
        ...
