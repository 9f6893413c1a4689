"""What a model family is to everything else: a task, with defaults for whatever learns labels.

The loop, evaluation and export know tasks only; none of them asks which family it is. A family writes its difference.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medzoo.data.dataset import Dataset
from medzoo.data.errors import ConfigError, TrainingError
from medzoo.data.samples.augment import Augment
from medzoo.data.samples.policies import Policy
from medzoo.data.samples.preprocess import fit, normalise
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.evaluation.monitor import METRICS, higher_is_better, monitor_value, monitorable
from medzoo.models import finetune
from medzoo.models.backbones.contract import pooled_features
from medzoo.models.build import build_network
from medzoo.models.places import NotLinearError
from medzoo.settings.schema import LossConfig, ModelConfig, TrainerConfig
from medzoo.store.spec import ModelSpec
from medzoo.tasks.deployable import Deployable as Deployable
from medzoo.tasks.views import case_means, over_views

if TYPE_CHECKING:
    from medzoo.tasks.bottleneck import Bottleneck
    from medzoo.tasks.contrast import Contrast

Batch = dict[str, Any]
STANDS_IN = "stands_in"
"""Key that only a batch has whose sample belongs to another process, and is here so that nobody waits: it shall not count."""
DRAWS = "draws"
"""Key of a batch that is learnt from: the seed of what is drawn for the whole of it, the same for all processes that share it."""


class Runner(Protocol):
    """What runs a task over a split; `medzoo.inference.run.Runner`."""

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        ...

    def predict(self, task: Task, samples: SampleDataset) -> tuple[dict[str, NDArray[Any]], float | None]:
        """Return outputs by name in table order, and the mean loss."""
        ...

    def outputs(self, step: Callable[[Batch], dict[str, Tensor]], samples: SampleDataset) -> dict[str, NDArray[Any]]:
        """Return what a step gives of each batch, by name in table order."""
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
        guide: What leads its learning beside its loss, with what that has learnt; None: nothing. States hold it, no checkpoint.
        learns_by_guide: Whether it can learn from weighed samples, weighed groups and a teacher.
        accumulates: Whether gradients of small batches add up to that of the larger.
        alone: Why several processes cannot train it together, in words; None where they can.
        uses_all: Whether all that learns takes part in the loss of every batch.
        kept_whole: Why processes cannot each hold a share of it (`trainer.fsdp`), in words; None where they can.
        reads_inputs: Whether the tabular inputs of a batch (`tabular`) are looked at.
        reads_modalities, reads_texts: Whether several images, and the texts, of a sample are, each by its name.
        texts: Text → what makes its tokens, of a task that reads some.
        bag_input: Of samples of any number of members the graph's input of them (`image`, or `members` for rows of features);
            its second input, `counts`, says how many each has. None: the graph takes images, one by one.
        no_copies: What averaging augmented copies at test time is not for, in words; None where it can be done.
        answers_in_training: Whether `training_step` returns `logits`, which `trainer.metrics` follows.
        learns_by_steps: Whether the loop trains it; else `fit` does, once.
        completes: Whether a last step follows the loop; see `complete`.
        heeds: Settings of the trainer that a task which does not learn by steps uses, or that name no number.
        trains_nothing: What it is called where it refuses settings of a training; of one that does not learn by steps.
        chosen_by: What its one checkpoint was chosen by; of one that does not learn by steps.
    """

    learns_by_guide = False
    accumulates = True
    alone: str | None = None
    uses_all = True
    kept_whole: str | None = None
    reads_inputs = False
    reads_modalities = False
    reads_texts = False
    texts: Mapping[str, Callable[[Sequence[str]], NDArray[np.int64]]] = MappingProxyType({})
    no_copies: str | None = None
    bag_input: str | None = None
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
        self.guide: Any = None

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

    def learnt_beside(self) -> dict[str, Tensor]:
        """Return the tensors of the guide, which a training goes on with beside the network, by name."""
        return {} if self.guide is None else dict(self.guide.state_dict())

    def surely_learns(self, batch: Batch) -> bool:
        """Whether `training_step` will surely observe something, as far as the host knows: nobody waits for the device then.

        `batch` has `observed` beside what tasks read; see `medzoo.data.samples.feed.Feed`.
        """
        return bool(batch.get("observed"))

    @torch.no_grad()
    def validation_step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the outputs of `predict`, and the scalars of `training_step` where the batch has what they need."""
        return {**self.training_step(batch), **self.predict(batch)}

    def whole_loss(self, outputs: Mapping[str, NDArray[Any]], samples: SampleDataset, batch_size: int) -> float | None:
        """Return the mean loss of a split, from its outputs in table order, where `validation_step` gives none of a batch.

        Of a loss that does not add up: in it the samples of a batch are held against each other, whoever predicted them.
        """
        return None

    def samples(
        self, dataset: Dataset, split: str, *, policy: Policy | None = None, augmenter: str = "opencv", seed: int = 0,
        training: bool = False
    ) -> SampleDataset:  # fmt: skip
        """Return a split of a dataset as the samples that the model takes.

        Args:
            dataset: Of which.
            split: Of it.
            policy: What may happen to an image; None: nothing.
            augmenter: What runs it.
            seed: Of what is random in a sample.
            training: Whether they are learnt from: of bags not all members then, of modalities some left out.
        """
        augment = None if policy is None else Augment(policy, self.spec.preprocess, augmenter)
        members = dataset.reader.max_members if training else None
        return SampleDataset(dataset, split, self.spec.preprocess, augment=augment, seed=seed, members=members)

    def validation_samples(self, dataset: Dataset, augmenter: str, seed: int) -> SampleDataset:
        """Return the samples that an epoch is chosen by; arguments as for `samples`."""
        return self.samples(dataset, "val")

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

    def followed(self, outputs: Mapping[str, NDArray[Any]], val: SampleDataset) -> dict[str, float | None]:
        """Return metrics that an epoch's row says beside the monitored one, by name: none."""
        return {}

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

    def recompute_activations(self, config: TrainerConfig) -> None:
        """Let the network compute its activations again on the way back; see `medzoo.models.finetune.recompute`."""
        finetune.recompute(self.model, config)

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

    def record(self) -> dict[str, bytes]:
        """Return files for the run directory that say what `complete` found in the training split, by name: none."""
        return {}

    # Answering

    @abstractmethod
    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Return float32 outputs by name, without gradient: `logits` and `probabilities` (N, K), others by family."""

    @torch.no_grad()
    def features(self, batch: Batch) -> Tensor:
        """Return (N, F) float32 pooled features, the input of the network's head; of several views their mean."""
        return over_views(lambda images: pooled_features(self.model, self.input(images)).float(), batch)

    def scores(self, inputs: Tensor) -> Tensor:
        """Return (N, K) class outputs, with gradient, of images as `input` returns them; ConfigError where there are none."""
        raise ConfigError(f"{type(self).__name__} gives no class outputs of an image alone: nothing to make a map of")

    def linear_head(self) -> tuple[Tensor, Tensor]:
        """Return (K, F) weights and (K,) bias from pooled features to `scores`; NotLinearError where that is no straight line."""
        raise NotLinearError(f"{type(self).__name__} has no linear layer from features to classes")

    def predictions(self, outputs: Mapping[str, NDArray[Any]], concepts: NDArray[np.float32] | None) -> dict[str, Any]:
        """Return fields of `medzoo.evaluation.predictions.Predictions` beside targets, logits and probabilities.

        `outputs` are of all splits, in table order; `concepts` (N, M) what is known of them, where `prepare` gave any.
        """
        return {}

    def without_modalities(self, samples: SampleDataset, runner: Runner, seed: int) -> dict[tuple[str, str, int], NDArray[Any]]:
        """Return what a model of several modalities says without them, see `Fusion`; nothing of one image."""
        return {}

    def answers(self, outputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return a prediction's outputs as a user of the model sees them."""
        return outputs

    @torch.no_grad()
    def cases(self, outputs: Mapping[str, NDArray[Any]], counts: Sequence[int]) -> Tensor:
        """Return (N cases, K) logits, on the CPU, of the outputs of images, case after case, with `counts` images a case."""
        return case_means(outputs["logits"], counts)

    def member_features(self, batch: Batch) -> Tensor:
        """Return (M, F) float32 features of images that are members of bags, before they are pooled; of a `bag_input`."""
        raise TypeError(f"{type(self).__name__} says bag_input and has no member_features")

    def of_members(self, features: Tensor, counts: Sequence[int], views: Tensor | None = None) -> dict[str, Tensor]:
        """Return what `predict` does, of features of members, bag after bag, and codes of what they show, of a `bag_input`."""
        raise TypeError(f"{type(self).__name__} says bag_input and has no of_members")

    @abstractmethod
    def deploy(self) -> nn.Module:
        """Return the graph to export, in evaluation mode, on the CPU; see `Deployable`."""

    def deploy_map(self) -> nn.Module:
        """Return the graph of `deploy` with a map over the image as its last output; NotLinearError where none is exact."""
        raise NotLinearError(f"{type(self).__name__} has no linear layer from features to classes")

    def blank(self) -> Tensor:
        """Return one image of the network's input size, all 0, where the network is."""
        device = next(self.model.parameters()).device
        return torch.zeros(1, self.spec.preprocess.channels, *self.spec.preprocess.size, device=device)

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


def monitor_or_loss(name: str, reason: str | None) -> tuple[str, str | None]:
    """Return a metric to choose the epoch by, or the loss where there is a reason that it is undefined, and then a note."""
    if reason is None:
        return name, None
    return "loss", f"{name} is undefined on the val split ({reason}); val loss chooses instead"
