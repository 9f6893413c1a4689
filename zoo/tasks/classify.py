"""Classification of images: CNN, ViT and whatever else maps an image to one vector of logits."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medzoo.data.labels import LabelSpace
from medzoo.data.preprocess import fit, normalise
from medzoo.models.timm_backbone import pooled_features
from medzoo.spec import ModelSpec
from medzoo.tasks.losses import Loss
from medzoo.tasks.task import Batch


class Classify(nn.Module):
    """A network of K logits with a loss on `target`.

    Attributes:
        spec: The model's spec; its `labels` must be set.
        model: (N, C, H, W) or (N, C, D, H, W) normalised float32 → (N, K) logits.
        loss: Masked objective; see `medzoo.tasks.losses`.
    """

    def __init__(self, spec: ModelSpec, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.spec = spec
        self.model = model
        self.loss = loss

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
        """Return `logits` and `probabilities`, (N, K) float32."""
        assert self.spec.labels is not None
        logits = self._logits(batch)
        return {"logits": logits, "probabilities": probabilities(logits, self.spec.labels)}

    @torch.no_grad()
    def features(self, batch: Batch) -> Tensor:
        """Return (N, F) float32 pooled features, the input of the network's head."""
        return pooled_features(self.model, self._input(batch["image"])).float()

    def deploy(self) -> nn.Module:
        """Return the graph to export: raw image → logits, probabilities."""
        return ClassifyGraph(self.spec, self.model)

    def _logits(self, batch: Batch) -> Tensor:
        logits: Tensor = self.model(self._input(batch["image"])).float()
        return logits

    def _input(self, images: Tensor) -> Tensor:
        return normalise(fit(images, self.spec.preprocess), self.spec.preprocess)


class ClassifyGraph(nn.Module):
    """The deployable form of `Classify`; see `medzoo.tasks.task.Deployable`."""

    outputs = ("logits", "probabilities")

    def __init__(self, spec: ModelSpec, model: nn.Module) -> None:
        super().__init__()
        self.spec = spec
        self.model = model
        self.eval()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return logits and probabilities of (N, [D,] H, W, C) raw images."""
        assert self.spec.labels is not None
        values = fit(image.movedim(-1, 1), self.spec.preprocess)
        logits = self.model(normalise(values, self.spec.preprocess))
        return logits, probabilities(logits, self.spec.labels)


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
