"""The contract between a model family and everything else.

The loop, evaluation and export know tasks only; none of them asks which family it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.settings.schema import TrainerConfig
from medzoo.store.spec import ModelSpec

Batch = dict[str, Any]


@runtime_checkable
class Task(Protocol):
    """Model + objective of one family; an `nn.Module`.

    A batch is a dict of what `medzoo.data.samples.sample_dataset.collate` makes, on the model's device: `image` not yet
    normalised, and, where the dataset has them, `target` (N, K), `concepts` (N, M), `text`, `tabular`, `sample_id`.

    Attributes:
        spec: The model's spec.
        model: The network itself: what EMA averages, checkpoints hold and an optimizer trains.
        accumulates: Whether gradients of small batches add up to that of the larger.
    """

    spec: ModelSpec
    accumulates: bool

    @property
    def model(self) -> nn.Module:
        """The network itself."""
        ...

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Return `loss` (scalar, mean over what is observed; 0 when nothing is), `count` (scalar, how much is observed).

        Further scalars are logged as they are, averaged by `count`.
        """
        ...

    def validation_step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the outputs of `predict`, and the scalars of `training_step` where the batch has what they need."""
        ...

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Return float32 outputs by name, without gradient: `logits` and `probabilities` (N, K), others by family."""
        ...

    def deploy(self) -> nn.Module:
        """Return the graph to export, in evaluation mode, on the CPU; see `Deployable`."""
        ...

    def features(self, batch: Batch) -> Tensor:
        """Return (N, F) float32 features of the images, without gradient."""
        ...

    def require(self, samples: SampleDataset) -> None:
        """Raise a `TrainingError` if a split holds nothing to learn from."""
        ...

    def choose_monitor(self, asked: str | None, val: SampleDataset) -> tuple[str, str | None]:
        """Return the metric the epoch is chosen by (`loss` always exists), and why it is not the one asked for."""
        ...

    def monitor_value(self, name: str, outputs: Mapping[str, NDArray[Any]], val: SampleDataset) -> float | None:
        """Return that metric from the outputs of the whole validation split; None where it is undefined."""
        ...

    def higher_is_better(self, name: str) -> bool:
        """Whether a larger value of it is better."""
        ...

    def can_cache(self, samples: SampleDataset) -> bool:
        """Whether the features of a linear probe can be computed once."""
        ...

    def freeze(self, config: TrainerConfig) -> None:
        """Mark the parameters that shall not be trained."""
        ...

    def set_training(self, config: TrainerConfig) -> None:
        """Put what learns into training mode and what is frozen into evaluation mode."""
        ...

    def assets(self) -> dict[str, bytes]:
        """Return what a checkpoint needs beside weights and spec, by file name."""
        ...

    def to(self, device: torch.device) -> Any:
        """Move to a device; `nn.Module`'s own."""
        ...

    def eval(self) -> Any:
        """Put into evaluation mode; `nn.Module`'s own."""
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

    def forward(self, image: Tensor, *further: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs for a batch of raw images (and what further inputs a graph declares)."""
        ...


def over_views(step: Callable[[Tensor], Tensor], batch: Batch) -> Tensor:
    """Apply a network to a batch's images; of several views, average what it says over those that are there.

    Absent views never reach the network, so that they count in no batch statistics. Under a linear head the mean of logits is
    the logit of mean features: the exported graph of one image is then exact for cases too, its logits averaged.

    Args:
        step: (M, C, H, W) → (M, K).
        batch: `image` (N, C, H, W); or (N, V, C, H, W) with `view_mask` (N, V).

    Returns:
        (N, K).
    """
    images = batch["image"]
    if "view_mask" not in batch:
        return step(images)
    mask = batch["view_mask"]
    outputs = step(images[mask])
    case = torch.arange(len(mask), device=mask.device).repeat_interleave(mask.sum(dim=1))
    total = outputs.new_zeros(len(mask), outputs.shape[1]).index_add_(0, case, outputs)
    mean: Tensor = total / mask.sum(dim=1, keepdim=True)
    return mean
