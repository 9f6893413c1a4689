"""Classification, grading and regression: CNN, ViT and whatever else maps an image to one vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medzoo.data.labels import LabelSpace
from medzoo.data.samples.preprocess import fit, normalise
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.losses.objective import Objective
from medzoo.models.backbones.contract import classify_features
from medzoo.store.spec import ModelSpec
from medzoo.tasks.task import Batch, Task, over_views


class Classify(Task):
    """A network of K outputs with a loss on `target`.

    Attributes:
        spec: The model's spec; its `labels` must be set.
        model: (N, C, H, W) or (N, C, D, H, W) normalised float32 → (N, K) logits, or standardised quantities.
        objective: The loss and what decodes the outputs.
    """

    def __init__(self, spec: ModelSpec, model: nn.Module) -> None:
        super().__init__(spec, model)
        self.objective = Objective.from_dict(spec.objective)
        self.loss = self.objective.function(spec.label_space)

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the masked mean loss, how many targets it is over, and the logits."""
        logits = self.logits(batch)
        loss, count = self.loss(logits, batch["target"])
        return {"loss": loss, "count": count, "logits": logits.detach()}

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
        logits = self.logits(batch)
        return {"logits": logits, "probabilities": probabilities(logits, self.spec.label_space)}

    def deploy(self) -> nn.Module:
        """Return the graph to export: raw image → logits, probabilities."""
        return ClassifyGraph(self.spec, self.model)

    def can_cache(self, samples: SampleDataset) -> bool:
        """Whether a linear probe's features can be computed once: not those of several views.

        An ordinal head is not linear: it would see the mean of features, not of answers.
        """
        return samples.views is None

    def logits(self, batch: Batch) -> Tensor:
        """Return (N, K) float32 logits, or quantities in the labels' units, with gradient."""
        if "features" in batch:  # computed once, by a linear probe
            outputs = classify_features(self.model, batch["features"])
        else:
            outputs = over_views(lambda images: self.model(self.input(images)), batch)
        return in_units(outputs.float(), self.objective)


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
        values = fit(image.movedim(-1, 1), self.spec.preprocess)
        logits = in_units(self.model(normalise(values, self.spec.preprocess)), self.objective)
        return logits, probabilities(logits, self.spec.label_space)


def in_units(outputs: Tensor, objective: Objective) -> Tensor:
    """Turn standardised quantities (N, K) into the labels' units; what is not standardised stays as it is."""
    if objective.mean is None or objective.std is None:
        return outputs
    if outputs.is_cuda:  # never waited for
        spread, middle = (torch.tensor(values).to(outputs, non_blocking=True) for values in (objective.std, objective.mean))
        return outputs * spread + middle
    return outputs * outputs.new_tensor(objective.std) + outputs.new_tensor(objective.mean)


def probabilities(logits: Tensor, labels: LabelSpace) -> Tensor:
    """(N, K) logits → (N, K): softmax for multiclass and ordinal, sigmoid for multilabel, the values themselves of regression."""
    if labels.exclusive:
        return logits.softmax(dim=1)
    if labels.kind == "multilabel":
        return logits.sigmoid()
    return logits.clone()  # a tensor of its own: torch 2.9's exporter gives one tensor one name
