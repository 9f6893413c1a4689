"""Classification, grading and regression: CNN, ViT and whatever else maps an image to one vector."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from medzoo.data.labels import LabelSpace
from medzoo.data.preprocess import fit, normalise
from medzoo.models.backbone import classify_features, pooled_features
from medzoo.spec import ModelSpec
from medzoo.tasks.objective import Objective
from medzoo.tasks.task import Batch


class Classify(nn.Module):
    """A network of K outputs with a loss on `target`.

    Attributes:
        spec: The model's spec; its `labels` must be set.
        model: (N, C, H, W) or (N, C, D, H, W) normalised float32 → (N, K) logits, or standardised quantities.
        objective: The loss and what decodes the outputs.
    """

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
        """Return the outputs of `predict` with `loss` and `count`."""
        outputs = self.predict(batch)
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
