"""What a model family is to everything else: a task, with defaults for whatever learns labels.

The loop, evaluation and export know tasks only; none of them asks which family it is. A family writes its difference.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medzoo.data.dataset import Dataset
from medzoo.data.errors import ConfigError, TrainingError
from medzoo.data.samples.preprocess import fit, normalise
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.evaluation.monitor import METRICS, higher_is_better, monitor_value, monitorable
from medzoo.models import finetune
from medzoo.models.backbones.contract import pooled_features
from medzoo.models.build import build_network
from medzoo.settings.schema import LossConfig, ModelConfig, TrainerConfig
from medzoo.store.spec import ModelSpec

if TYPE_CHECKING:
    from medzoo.tasks.bottleneck import Bottleneck
    from medzoo.tasks.contrast import Contrast

Batch = dict[str, Any]


class Runner(Protocol):
    """What runs a task over a split; `medzoo.inference.run.Runner`."""

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        ...

    def predict(self, task: Task, samples: SampleDataset) -> tuple[dict[str, NDArray[Any]], float | None]:
        """Return outputs by name in table order, and the mean loss."""
        ...

    def features(self, task: Task, samples: SampleDataset) -> Tensor:
        """Return (N, F) float32 pooled features in table order, on the CPU."""
        ...


class Task(nn.Module, ABC):
    """Model + objective of one family.

    A batch is a dict of what `medzoo.data.samples.collate` makes, on the model's device: `image` not yet normalised, and, where
    the dataset has them, `target` (N, K), `concepts` (N, M), `text`, `tabular`, `sample_id`.

    Attributes:
        spec: The model's spec.
        model: The network itself: what EMA averages, checkpoints hold and an optimizer trains.
        accumulates: Whether gradients of small batches add up to that of the larger.
        reads_inputs: Whether the tabular inputs of a batch (`tabular`) are looked at; none of medzoo's own families does yet.
        no_copies: What averaging augmented copies at test time is not for, in words; None where it can be done.
        answers_in_training: Whether `training_step` returns `logits`, which `trainer.metrics` follows.
        learns_by_steps: Whether the loop trains it; else `fit` does, once.
        completes: Whether a last step follows the loop; see `complete`.
        heeds: Settings of the trainer that a task which does not learn by steps uses, or that name no number.
        trains_nothing: What it is called where it refuses settings of a training; of one that does not learn by steps.
        chosen_by: What its one checkpoint was chosen by; of one that does not learn by steps.
    """

    accumulates = True
    reads_inputs = False
    no_copies: str | None = None
    answers_in_training = True
    learns_by_steps = True
    completes = False
    heeds: tuple[str, ...] = ("batch_size", "workers", "precision", "trackers", "log_every")
    trains_nothing = ""
    chosen_by = ""

    def __init__(self, spec: ModelSpec, model: nn.Module) -> None:
        super().__init__()
        self.spec = spec
        self.model: Any = model

    @classmethod
    def from_spec(cls, spec: ModelSpec, assets: Mapping[str, bytes]) -> Self:
        """Rebuild a task without its weights; CheckpointError if something is missing.

        `assets` are what its checkpoint holds beside weights and spec, by file name.
        """
        return cls(spec, build_network(spec))

    @classmethod
    def from_config(cls, config: ModelConfig, loss: LossConfig, dataset: Dataset, seed: int) -> Task:
        """Build a task of another package from a configuration, as `medzoo.tasks.setup.families.task_from_config` does."""
        raise ConfigError(f"{cls.__name__} says nothing of how it is built from a configuration: give it from_config")

    # Learning

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Run `training_step`; the form that wrapping for several devices needs."""
        return self.training_step(batch)

    @abstractmethod
    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Return `loss` (scalar, mean over what is observed; 0 when nothing is), `count` (scalar, how much is observed).

        Further scalars are logged as they are, averaged by `count`. `logits` (N, K), without gradient, are what
        `trainer.metrics` follows.
        """

    def surely_learns(self, batch: Batch) -> bool:
        """Whether `training_step` will surely observe something, as far as the host knows: nobody waits for the device then.

        `batch` has `observed` beside what tasks read; see `medzoo.data.samples.feed.Feed`.
        """
        return bool(batch.get("observed"))

    @torch.no_grad()
    def validation_step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the outputs of `predict`, and the scalars of `training_step` where the batch has what they need."""
        return {**self.training_step(batch), **self.predict(batch)}

    def prepare(self, samples: SampleDataset, dataset: Dataset, captions: str = "auto") -> None:
        """Give a split's samples, in place, what the family reads beyond images and targets: nothing.

        `captions` says where captions come from, as `model.captions`.
        """

    def require(self, samples: SampleDataset) -> None:
        """Check that a split has labels to learn from or to choose by; TrainingError if it has none."""
        if samples.targets is None or np.isnan(samples.targets).all():
            raise TrainingError(
                f"the {samples.split} split has no labelled sample among its {len(samples)}; nothing to learn or choose by"
            )

    def choose_monitor(self, asked: str | None, val: SampleDataset) -> tuple[str, str | None]:
        """Return the metric the epoch is chosen by, or the loss where it is undefined on these labels, and then why."""
        assert val.targets is not None
        name = asked or METRICS[self.spec.label_space.kind][0]
        return monitor_or_loss(name, None if name == "loss" else monitorable(self.spec.label_space, val.targets, name))

    def monitor_value(self, name: str, outputs: Mapping[str, NDArray[Any]], val: SampleDataset) -> float | None:
        """Return that metric from the outputs of the whole validation split; None where it is undefined."""
        assert val.targets is not None
        return monitor_value(self.spec.label_space, val.targets, outputs["logits"], name)

    def higher_is_better(self, name: str) -> bool:
        """Whether a larger value of a monitored metric is better."""
        return name != "loss" and higher_is_better(name)

    def can_cache(self, samples: SampleDataset) -> bool:
        """Whether the features of a linear probe can be computed once."""
        return False

    def freeze(self, config: TrainerConfig) -> None:
        """Mark the parameters that shall not be trained; see `medzoo.models.finetune`."""
        finetune.freeze(self.model, config)

    def compile_network(self) -> None:
        """Let torch.compile what `training_step` calls; names of parameters and what is saved stay the same."""
        self.model.compile()

    def set_training(self, config: TrainerConfig) -> None:
        """Put what learns into training mode and what is frozen into evaluation mode."""
        finetune.set_training(self.model, config)

    def fit(self, dataset: Dataset, config: ModelConfig, runner: Runner) -> tuple[Task, list[str]]:
        """Learn at once; of a task that does not learn by steps.

        Args:
            dataset: With train and val splits.
            config: The model's settings.
            runner: What computes predictions and features.

        Returns:
            The task that was learnt, on the CPU, and lines on what was chosen and left out.

        Raises:
            TrainingError: If there is nothing to learn from or to choose by.
        """
        raise TypeError(f"{type(self).__name__} says learns_by_steps = False and has no fit")

    def complete(self, dataset: Dataset, config: ModelConfig, runner: Runner) -> None:
        """Do what only the whole training split allows, when the loop is done; arguments as for `fit`. Ends on the CPU."""
        raise TypeError(f"{type(self).__name__} says completes = True and has no complete")

    # Answering

    @abstractmethod
    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Return float32 outputs by name, without gradient: `logits` and `probabilities` (N, K), others by family."""

    @torch.no_grad()
    def features(self, batch: Batch) -> Tensor:
        """Return (N, F) float32 pooled features, the input of the network's head; of several views their mean."""
        return over_views(lambda images: pooled_features(self.model, self.input(images)).float(), batch)

    def predictions(self, outputs: Mapping[str, NDArray[Any]], concepts: NDArray[np.float32] | None) -> dict[str, Any]:
        """Return fields of `medzoo.evaluation.predictions.Predictions` beside targets, logits and probabilities.

        `outputs` are of all splits, in table order; `concepts` (N, M) what is known of them, where `prepare` gave any.
        """
        return {}

    def answers(self, outputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return a prediction's outputs as a user of the model sees them."""
        return outputs

    @torch.no_grad()
    def cases(self, outputs: Mapping[str, NDArray[Any]], counts: Sequence[int]) -> Tensor:
        """Return (N cases, K) logits, on the CPU, of the outputs of images, case after case, with `counts` images a case."""
        return case_means(outputs["logits"], counts)

    @abstractmethod
    def deploy(self) -> nn.Module:
        """Return the graph to export, in evaluation mode, on the CPU; see `Deployable`."""

    def assets(self) -> dict[str, bytes]:
        """Return what a checkpoint needs beside weights and spec, by file name: nothing."""
        return {}

    @property
    def embedder(self) -> Contrast | None:
        """The task itself where it embeds images and texts: it is scored by retrieval, classifies by prompts, ships as towers."""
        return None

    @property
    def bottleneck(self) -> Bottleneck | None:
        """The task itself where classes follow from concepts, which a person may correct."""
        return None

    def input(self, images: Tensor) -> Tensor:
        """Return (N, C, H, W) or (N, C, D, H, W) images as the network takes them: of the model's size, normalised float32."""
        return normalise(fit(images, self.spec.preprocess), self.spec.preprocess)


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


def monitor_or_loss(name: str, reason: str | None) -> tuple[str, str | None]:
    """Return a metric to choose the epoch by, or the loss where there is a reason that it is undefined, and then a note."""
    if reason is None:
        return name, None
    return "loss", f"{name} is undefined on the val split ({reason}); val loss chooses instead"


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


def case_means(values: NDArray[Any], counts: Sequence[int]) -> Tensor:
    """Return the mean of each run of rows: (N images, K) and images a case → (N cases, K)."""
    parts = torch.split(torch.from_numpy(values), list(counts))  # type: ignore[no-untyped-call]
    return torch.stack([part.mean(dim=0) for part in parts])
