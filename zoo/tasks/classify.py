"""Classification, grading and regression: CNN, ViT and whatever else maps an image to one vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medzoo.data.errors import TrainingError
from medzoo.data.labels import LabelSpace
from medzoo.data.samples.preprocess import fit, normalise
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.evaluation.monitor import METRICS, higher_is_better, monitor_value, monitorable
from medzoo.losses.objective import Objective
from medzoo.models import finetune
from medzoo.models.backbones.contract import classify_features, pooled_features
from medzoo.settings.schema import TrainerConfig
from medzoo.store.spec import ModelSpec
from medzoo.tasks.task import Batch, over_views


class Classify(nn.Module):
    """A network of K outputs with a loss on `target`.

    Attributes:
        spec: The model's spec; its `labels` must be set.
        model: (N, C, H, W) or (N, C, D, H, W) normalised float32 → (N, K) logits, or standardised quantities.
        objective: The loss and what decodes the outputs.
    """

    accumulates = True
    """Whether gradients of small batches add up to that of the larger."""

    def __init__(self, spec: ModelSpec, model: nn.Module) -> None:
        super().__init__()
        assert spec.labels is not None
        self.spec = spec
        self.model = model
        self.objective = Objective.from_dict(spec.objective)
        self.loss = self.objective.function(spec.labels)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Run `training_step`; the form that wrapping for several devices needs."""
        return self.training_step(batch)

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the masked mean loss and how many targets it is over."""
        loss, count = self.loss(self._logits(batch), batch["target"])
        return {"loss": loss, "count": count}

    @torch.no_grad()
    def validation_step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the outputs of `predict`, with `loss` and `count` where the batch has targets."""
        outputs = self.predict(batch)
        if "target" not in batch:
            return outputs
        loss, count = self.loss(outputs["logits"], batch["target"])
        return {**outputs, "loss": loss, "count": count}

    @torch.no_grad()
    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Return `logits` and `probabilities`, (N, K) float32; for regression both are the values, in the labels' units."""
        assert self.spec.labels is not None
        logits = self._logits(batch)
        return {"logits": logits, "probabilities": probabilities(logits, self.spec.labels)}

    @torch.no_grad()
    def features(self, batch: Batch) -> Tensor:
        """Return (N, F) float32 pooled features, the input of the network's head; of several views their mean."""

        def step(images: Tensor) -> Tensor:
            return pooled_features(self.model, self._input(images)).float()

        return over_views(step, batch)

    def deploy(self) -> nn.Module:
        """Return the graph to export: raw image → logits, probabilities."""
        return ClassifyGraph(self.spec, self.model)

    def require(self, samples: SampleDataset) -> None:
        """Check that a split has labels to learn from or to choose by.

        Raises:
            TrainingError: If it has none.
        """
        if samples.targets is None or np.isnan(samples.targets).all():
            raise TrainingError(
                f"the {samples.split} split has no labelled sample among its {len(samples)}; nothing to learn or choose by"
            )

    def choose_monitor(self, asked: str | None, val: SampleDataset) -> tuple[str, str | None]:
        """Return the metric the epoch is chosen by, or the loss where it is undefined on these labels, and then why."""
        assert self.spec.labels is not None
        assert val.targets is not None
        name = asked or METRICS[self.spec.labels.kind][0]
        reason = None if name == "loss" else monitorable(self.spec.labels, val.targets, name)
        if reason is None:
            return name, None
        return "loss", f"{name} is undefined on the val split ({reason}); the epoch is chosen by val loss"

    def monitor_value(self, name: str, outputs: Mapping[str, NDArray[Any]], val: SampleDataset) -> float | None:
        """Return a metric over the validation split; None where it is undefined."""
        assert self.spec.labels is not None
        assert val.targets is not None
        return monitor_value(self.spec.labels, val.targets, outputs["logits"], name)

    def higher_is_better(self, name: str) -> bool:
        """Whether a larger value of a monitored metric is better."""
        return name != "loss" and higher_is_better(name)

    def can_cache(self, samples: SampleDataset) -> bool:
        """Whether a linear probe's features can be computed once: not those of several views.

        An ordinal head is not linear: it would see the mean of features, not of answers.
        """
        return samples.views is None

    def freeze(self, config: TrainerConfig) -> None:
        """Mark what shall not be trained; see `medzoo.models.finetune`."""
        finetune.freeze(self.model, config)

    def set_training(self, config: TrainerConfig) -> None:
        """Put what learns into training mode and what is frozen into evaluation mode."""
        finetune.set_training(self.model, config)

    def assets(self) -> dict[str, bytes]:
        """Return what a checkpoint needs beside weights and spec: nothing."""
        return {}

    def _logits(self, batch: Batch) -> Tensor:
        if "features" in batch:  # computed once, by a linear probe
            outputs = classify_features(self.model, batch["features"])
        else:
            outputs = over_views(lambda images: self.model(self._input(images)), batch)
        return in_units(outputs.float(), self.objective)

    def _input(self, images: Tensor) -> Tensor:
        return normalise(fit(images, self.spec.preprocess), self.spec.preprocess)


class ClassifyGraph(nn.Module):
    """The deployable form of `Classify`; see `medzoo.tasks.task.Deployable`."""

    outputs = ("logits", "probabilities")

    def __init__(self, spec: ModelSpec, model: nn.Module) -> None:
        super().__init__()
        self.spec = spec
        self.model = model
        self.objective = Objective.from_dict(spec.objective)
        self.eval()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return logits and probabilities of (N, [D,] H, W, C) raw images."""
        assert self.spec.labels is not None
        values = fit(image.movedim(-1, 1), self.spec.preprocess)
        logits = in_units(self.model(normalise(values, self.spec.preprocess)), self.objective)
        return logits, probabilities(logits, self.spec.labels)


def in_units(outputs: Tensor, objective: Objective) -> Tensor:
    """Turn standardised quantities (N, K) into the labels' units; what is not standardised stays as it is."""
    if objective.mean is None or objective.std is None:
        return outputs
    return outputs * outputs.new_tensor(objective.std) + outputs.new_tensor(objective.mean)


def probabilities(logits: Tensor, labels: LabelSpace) -> Tensor:
    """Turn (N, K) logits into what they mean.

    Returns:
        (N, K): softmax for multiclass and ordinal, sigmoid for multilabel, the values themselves for regression.
    """
    if labels.exclusive:
        return logits.softmax(dim=1)
    if labels.kind == "multilabel":
        return logits.sigmoid()
    return logits
