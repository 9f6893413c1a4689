"""Classification, grading and regression: CNN, ViT and whatever else maps an image to one vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medzoo.data.dataset import Dataset
from medzoo.data.labels import LabelSpace
from medzoo.data.samples.preprocess import fit, normalise
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.losses.objective import Objective
from medzoo.models.backbones.contract import classify_features, pooled_features
from medzoo.models.linear_head import linear_head
from medzoo.models.places import PlacedHead
from medzoo.store.spec import ModelSpec
from medzoo.tasks.guide.groups import GROUP, WEIGHT, group_codes
from medzoo.tasks.guide.loss import guide_of
from medzoo.tasks.task import Batch, Task
from medzoo.tasks.views import over_views


class Classify(Task):
    """A network of K outputs with a loss on `target`.

    Attributes:
        spec: The model's spec; its `labels` must be set.
        model: (N, C, H, W) or (N, C, D, H, W) normalised float32 → (N, K) logits, or standardised quantities.
        objective: The loss and what decodes the outputs.
        guide: Of groups or a teacher; see `medzoo.tasks.guide.loss`.
    """

    learns_by_guide = True

    def __init__(self, spec: ModelSpec, model: nn.Module) -> None:
        super().__init__(spec, model)
        self.objective = Objective.from_dict(spec.objective)
        self._set_loss()

    def _set_loss(self) -> None:
        """Make what `training_step` minimises of the objective, and what `validation_step` judges by."""
        self.loss = self.objective.function(self.spec.label_space)
        self.validation_loss = self.objective.function(self.spec.label_space, training=False)
        self.guide = guide_of(self.spec.label_space, self.spec.objective)
        self.accumulates = self.objective.groups is None or self.objective.groups["how"] == "balanced"

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the masked mean loss, how many targets it is over, and the logits."""
        features = None
        if self.guide is None:
            logits = self.logits(batch)
            weighed = {"sample_weights": batch[WEIGHT]} if WEIGHT in batch else {}
            loss, count = self.loss(logits, batch["target"], **weighed)
        else:
            logits, features = self._seen(batch) if self.guide.wants_features else (self.logits(batch), None)
            loss, count = self.guide(self.loss, logits, features, batch)
        return {"loss": loss, "count": count, "logits": logits.detach()}

    def surely_learns(self, batch: Batch) -> bool:
        """Whether a target is surely observed; to a teacher every sample is."""
        return super().surely_learns(batch) or (self.guide is not None and self.guide.teaching is not None)

    def prepare(self, samples: SampleDataset, dataset: Dataset, captions: str = "auto") -> None:
        """Give the samples of the training split the group that each is of, where groups are weighed."""
        if self.objective.groups is not None and samples.split == "train":
            samples.further[GROUP] = group_codes(self.objective.groups, dataset, samples.split)

    @torch.no_grad()
    def validation_step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the outputs of `predict`, with `loss` and `count` where the batch has targets."""
        outputs = self.predict(batch)
        if "target" not in batch:
            return outputs
        loss, count = self._loss(outputs["logits"], batch["target"])
        return {**outputs, "loss": loss, "count": count}

    @torch.no_grad()
    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Return `logits` and `probabilities`, (N, K) float32; for regression both are the values, in the labels' units."""
        logits = self.logits(batch)
        return {"logits": logits, "probabilities": probabilities(logits, self.spec.label_space)}

    def deploy(self) -> nn.Module:
        """Return the graph to export: raw image → logits, probabilities."""
        return ClassifyGraph(self.spec, self.model)

    def scores(self, inputs: Tensor) -> Tensor:
        """Return (N, K) outputs in the labels' units, with gradient, of images as `input` returns them."""
        return in_units(self.model(inputs).float(), self.objective)

    def linear_head(self) -> tuple[Tensor, Tensor]:
        """Return (K, F) weights and (K,) bias from pooled features to `scores`; NotLinearError where that is no straight line."""
        return head_in_units(*linear_head(self.model), self.objective)

    def deploy_map(self) -> nn.Module:
        """Return the graph with `map` (N, K, h, w), or (N, K, d, h, w), whose mean and the bias are the logits."""
        return MapGraph(self)

    def can_cache(self, samples: SampleDataset) -> bool:
        """Whether a linear probe's features can be computed once: not those of several views.

        An ordinal head is not linear: it would see the mean of features, not of answers. A teacher wants images.
        """
        return samples.views is None and (self.guide is None or self.guide.teaching is None)

    def logits(self, batch: Batch) -> Tensor:
        """Return (N, K) float32 logits, or quantities in the labels' units, with gradient."""
        if "features" in batch:  # computed once, by a linear probe
            outputs = classify_features(self.model, batch["features"])
        else:
            outputs = over_views(lambda images: self.model(self.input(images)), batch)
        return in_units(outputs.float(), self.objective)

    def _loss(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of labels alone, without what is of training alone, and how many it is over."""
        return self.validation_loss(logits, targets)

    def _seen(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return `logits`, and the (N, F) pooled features that they follow from, with gradient."""

        def both(images: Tensor) -> Tensor:
            features = pooled_features(self.model, self.input(images))
            return torch.cat([classify_features(self.model, features).float(), features.float()], dim=1)

        found, width = over_views(both, batch), self.spec.label_space.width
        return in_units(found[:, :width], self.objective), found[:, width:]


class ClassifyGraph(nn.Module):
    """The deployable form of `Classify`; see `medzoo.tasks.task.Deployable`."""

    outputs = ("logits", "probabilities")

    def __init__(self, spec: ModelSpec, model: nn.Module) -> None:
        super().__init__()
        self.spec = spec
        self.model = model
        self.objective = Objective.from_dict(spec.objective)
        self.eval()

    def logits(self, image: Tensor) -> Tensor:
        """Return logits of (N, [D,] H, W, C) raw images."""
        values = fit(image.movedim(-1, 1), self.spec.preprocess)
        return in_units(self.model(normalise(values, self.spec.preprocess)), self.objective)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return logits and probabilities of (N, [D,] H, W, C) raw images."""
        logits = self.logits(image)
        return logits, probabilities(logits, self.spec.label_space)


class MapGraph(nn.Module):
    """The graph of `Classify` with the evidence of each place: no gradient is taken, so that ONNX can hold it.

    Raises:
        NotLinearError: If the head is not linear on the mean over places.
    """

    outputs = (*ClassifyGraph.outputs, "map")

    def __init__(self, task: Classify) -> None:
        super().__init__()
        self.spec = task.spec
        self.model = task.model
        self.head = PlacedHead(task.model, task.linear_head(), task.blank())
        self.eval()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return logits, probabilities and maps of (N, [D,] H, W, C) raw images."""
        values = normalise(fit(image.movedim(-1, 1), self.spec.preprocess), self.spec.preprocess)
        maps = self.head.maps(self.head.features(values))
        logits = maps.flatten(2).mean(dim=2) + self.head.bias
        return logits, probabilities(logits, self.spec.label_space), maps


def in_units(outputs: Tensor, objective: Objective) -> Tensor:
    """Turn standardised quantities (N, K) into the labels' units; what is not standardised stays as it is."""
    if objective.mean is None or objective.std is None:
        return outputs
    if outputs.is_cuda:  # never waited for
        spread, middle = (torch.tensor(values).to(outputs, non_blocking=True) for values in (objective.std, objective.mean))
        return outputs * spread + middle
    return outputs * outputs.new_tensor(objective.std) + outputs.new_tensor(objective.mean)


def head_in_units(weight: Tensor, bias: Tensor, objective: Objective) -> tuple[Tensor, Tensor]:
    """Return a linear head, (K, F) and (K,), that says what `in_units` would make of its outputs."""
    if objective.std is None:
        return weight, bias
    return weight * weight.new_tensor(objective.std)[:, None], in_units(bias[None], objective)[0]


def probabilities(logits: Tensor, labels: LabelSpace) -> Tensor:
    """(N, K) logits → (N, K): softmax for multiclass and ordinal, sigmoid for multilabel, the values themselves of regression."""
    if labels.exclusive:
        return logits.softmax(dim=1)
    if labels.kind == "multilabel":
        return logits.sigmoid()
    return logits.clone()  # a tensor of its own: torch 2.9's exporter gives one tensor one name
