"""Several targets of one model: diagnosis and skin tone, disease and biomarkers, each with its own head, loss and report.

What a batch holds as `target`, and what a network of several targets gives, are the vectors of all targets side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medzoo.data.columns import targets_matrix
from medzoo.data.dataset import Dataset
from medzoo.data.errors import ConfigError, TrainingError, UnknownNameError
from medzoo.data.samples.policies import Policy
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.evaluation.monitor import METRICS, higher_is_better, monitor_value, monitorable
from medzoo.losses.gathered import gathered, processes
from medzoo.losses.several import Part, parts_of
from medzoo.models.heads.targets import TargetHeads
from medzoo.models.places import NotLinearError
from medzoo.settings.schema import TrainerConfig
from medzoo.tasks.classify import Classify, probabilities
from medzoo.tasks.fusion import Fusion
from medzoo.tasks.targets_graph import TargetsGraph
from medzoo.tasks.task import STANDS_IN, Batch, monitor_or_loss


class SeveralTargets(Classify):
    """What parts several targets from one; the network is that of a class beside it, `Classify` or another derived from it.

    Attributes:
        parts: Each target with its loss, in their order.
    """

    learns_by_guide = False
    answers_in_training = False
    no_copies = "several targets, whose probabilities are of several kinds"

    def _set_loss(self) -> None:
        self.parts: tuple[Part, ...] = tuple(parts_of(self.objective, self.spec.targets))
        self.accumulates = self._adds_up(lambda part: part.observed == 1)

    def _adds_up(self, complete: Callable[[Part], bool]) -> bool:
        """Whether losses of small batches add up to that of the larger one.

        They are sums of means over what counts of each target: they do where every batch has the same share of it all.
        """
        trained = [part for part in self.parts if part.weight]
        return len(trained) == 1 or all(part.even and complete(part) for part in trained)

    def samples(
        self, dataset: Dataset, split: str, *, policy: Policy | None = None, augmenter: str = "opencv", seed: int = 0,
        training: bool = False
    ) -> SampleDataset:  # fmt: skip
        """Return a split as samples whose target is that of all targets, side by side; ConfigError if the dataset has others."""
        found = super().samples(dataset, split, policy=policy, augmenter=augmenter, seed=seed, training=training)
        require_targets(self.spec.targets, dataset)
        found.targets = targets_matrix(found.rows, dataset.targets)
        return found

    def prepare(self, samples: SampleDataset, dataset: Dataset, captions: str = "auto") -> None:
        """Give the samples nothing: what is learnt of all targets is there."""

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted sum of the targets' masked mean losses, and how much is observed of those that weigh anything."""
        logits, targets = self.logits(batch), batch["target"]
        if processes() == 1 or self.accumulates:
            loss, count = self._loss(logits, targets, training=True)
        else:  # means over what all processes observe of each target, and this one's share of them
            own = 0 if STANDS_IN in batch else len(logits)
            whole = gathered([logits[:own], targets[:own]])
            loss, count = self._loss(*whole, training=True)
            count = count * own / len(whole[0])
        return {"loss": loss, "count": count, "logits": logits.detach()}

    def surely_learns(self, batch: Batch) -> bool:
        """Whether a target is surely observed that weighs anything."""
        return all(part.weight for part in self.parts) and super().surely_learns(batch)

    @torch.no_grad()
    def whole_loss(self, outputs: Mapping[str, NDArray[Any]], samples: SampleDataset, batch_size: int) -> float | None:
        """Return the loss of a split in batches of the table's order where it does not add up; None where it does."""
        known = samples.targets
        if known is None or self._adds_up(lambda part: not np.isnan(known[:, part.place]).any()):
            return None
        logits = torch.from_numpy(outputs["logits"])
        targets = torch.from_numpy(known).to(logits.dtype)
        batches = zip(logits.split(batch_size), targets.split(batch_size), strict=True)  # type: ignore[no-untyped-call]
        parts = [self._loss(*batch) for batch in batches]
        total = sum(float(count) for _, count in parts)
        return sum(float(loss) * float(count) for loss, count in parts) / total if total else None

    @torch.no_grad()
    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Return `logits` and `probabilities` of all targets side by side, float32."""
        logits = self.logits(batch)
        return {"logits": logits, "probabilities": torch.cat([self._probabilities(part, logits) for part in self.parts], dim=1)}

    def answers(self, outputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return a prediction's outputs by the target that they are of: `<target>.logits`, `<target>.probabilities`."""
        kinds = ("logits", "probabilities")
        return {f"{part.name}.{kind}": outputs[kind][:, part.place] for part in self.parts for kind in kinds}

    def require(self, samples: SampleDataset) -> None:
        """Check that a split to learn from has each target that weighs anything, and another any; TrainingError if it has not."""
        super().require(samples)
        assert samples.targets is not None
        for part in self.parts:
            if samples.split == "train" and part.weight and np.isnan(samples.targets[:, part.place]).all():
                raise TrainingError(
                    f"target {part.name!r} is missing in all {len(samples)} samples of the train split: nothing can be learnt of "
                    "it; leave it out of data.targets, or give it the weight 0 in loss.targets"
                )

    def choose_monitor(self, asked: str | None, val: SampleDataset) -> tuple[str, str | None]:
        """Return the metric of one target, `<target>.<metric>`, that the epoch is chosen by, or the loss; see `Task`."""
        assert val.targets is not None
        if asked is None:
            first = next(part for part in self.parts if part.weight)
            asked = f"{first.name}.{METRICS[first.labels.kind][0]}"
        if asked == "loss":
            return monitor_or_loss(asked, None)
        part, metric = self._named(asked)
        if not part.weight:
            raise ConfigError(f"trainer.monitor={asked}: {part.name} has the weight 0 and is not trained; monitor another target")
        return monitor_or_loss(asked, monitorable(part.labels, val.targets[:, part.place], metric))

    def monitor_value(self, name: str, outputs: Mapping[str, NDArray[Any]], val: SampleDataset) -> float | None:
        """Return that metric from the outputs of the whole validation split; None where it is undefined."""
        assert val.targets is not None
        part, metric = self._named(name)
        return monitor_value(part.labels, val.targets[:, part.place], outputs["logits"][:, part.place], metric)

    def followed(self, outputs: Mapping[str, NDArray[Any]], val: SampleDataset) -> dict[str, float | None]:
        """Return the usual metric of each target that is trained, by `<target>.<metric>`."""
        names = [f"{part.name}.{METRICS[part.labels.kind][0]}" for part in self.parts if part.weight]
        return {name: self.monitor_value(name, outputs, val) for name in names}

    def higher_is_better(self, name: str) -> bool:
        """Whether a larger value of a monitored metric is better."""
        return name != "loss" and higher_is_better(self._named(name)[1])

    def freeze(self, config: TrainerConfig) -> None:
        """Mark what shall not be trained: as asked for of the whole, and the heads of targets that weigh nothing."""
        super().freeze(config)
        heads: TargetHeads = self.model.heads
        for place, part in enumerate(self.parts):
            link = getattr(self.model, "link", None)
            own = heads.modules_of(part.name) if place else [self.model.get_classifier(), *([] if link is None else [link])]
            for module in own if not part.weight else ():
                module.requires_grad_(False)

    def scores(self, inputs: Tensor) -> Tensor:
        """Refuse: a map is of one target."""
        raise ConfigError("maps are of models of one target, and this one answers for several")

    def linear_head(self) -> tuple[Tensor, Tensor]:
        """Refuse: there are several heads."""
        raise NotLinearError("the model has a head for each of several targets")

    def deploy(self) -> nn.Module:
        """Return the graph to export: raw image → logits and probabilities of each target by its name."""
        return TargetsGraph(super().deploy())

    def deploy_map(self) -> nn.Module:
        """Refuse: there are several heads."""
        raise NotLinearError("the model has a head for each of several targets")

    def _named(self, name: str) -> tuple[Part, str]:
        target, dot, metric = name.partition(".")
        by_name = {part.name: part for part in self.parts}
        if not dot:
            first = self.parts[0]
            raise ConfigError(
                f"trainer.monitor={name} says of no target: write <target>.<metric>, such as "
                f"{first.name}.{METRICS[first.labels.kind][0]}, or loss; the targets are {', '.join(by_name)}"
            )
        if target not in by_name:
            raise UnknownNameError("target", target, by_name, where=f" in trainer.monitor={name}")
        return by_name[target], metric

    def _loss(self, logits: Tensor, targets: Tensor, *, training: bool = False) -> tuple[Tensor, Tensor]:
        """Return the weighted sum of the targets' losses, and how much is observed of those that weigh anything."""
        total = count = None
        for part in self.parts:
            if part.weight:
                loss, seen = (part.loss if training else part.validation_loss)(logits[:, part.place], targets[:, part.place])
                loss = loss if part.weight == 1 else part.weight * loss
                total, count = (loss, seen) if total is None or count is None else (total + loss, count + seen)
        assert total is not None
        assert count is not None
        return total, count

    def _probabilities(self, part: Part, logits: Tensor) -> Tensor:
        return probabilities(logits[:, part.place], part.labels)


class Targets(SeveralTargets):
    """Several targets of one image."""


class FusionTargets(SeveralTargets, Fusion):
    """Several targets of several modalities."""


def require_targets(own: Mapping[str, Any], dataset: Dataset) -> None:
    """Refuse a dataset of other targets than a model's, or of others' labels; ConfigError names the first."""
    for name, labels in own.items():
        if dataset.targets.get(name) != labels:
            has = ", ".join(dataset.targets) or "one target alone"
            what = f"it has {has}" if name not in dataset.targets else "its labels are others"
            raise ConfigError(f"{dataset.info.name} has not the model's target {name!r}: {what}")
    if list(own) != list(dataset.targets):
        raise ConfigError(f"{dataset.info.name} has the targets {', '.join(dataset.targets)}, the model {', '.join(own)}")
