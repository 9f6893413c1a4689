"""Concept bottlenecks: joint, sequential and independent training (Koh et al. 2020, section 3), and two that train no network.

Post-hoc (Yuksekgonul et al. 2023, ICLR, arXiv 2205.15480): concept activation vectors (Kim et al. 2018, section 3.2) in the
features of a trained network. Language: similarities to texts; see `medzoo.models.heads.concept_scores`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medzoo.data.errors import ConfigError, TrainingError, UnknownNameError
from medzoo.data.labels import LabelSpace
from medzoo.data.samples.preprocess import fit, normalise
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.evaluation.monitor import METRICS, higher_is_better, monitor_value, monitorable
from medzoo.losses.masked import binary_cross_entropy
from medzoo.losses.objective import Objective
from medzoo.models import finetune
from medzoo.models.heads.bottleneck import PERCENTILES, UNTRAINED, BottleneckNetwork, Regime
from medzoo.models.heads.linear_layer import choose_penalty, fit_linear, fit_sparse_linear
from medzoo.settings.schema import TrainerConfig
from medzoo.store.spec import ModelSpec
from medzoo.tasks.classify import in_units, probabilities
from medzoo.tasks.task import Batch, over_views

CONCEPT_MONITOR = "concept_auroc"


@dataclass(frozen=True)
class ConceptData:
    """What the class layer is fitted on, of one split.

    Attributes:
        concept_logits: (N, M) predicted.
        concepts: (N, M) true, NaN where missing.
        targets: (N, K) true classes, NaN where missing.
        features: (N, F) pooled features; for the residual path.
    """

    concept_logits: Tensor
    concepts: Tensor
    targets: Tensor
    features: Tensor | None = None


class Bottleneck(nn.Module):
    """A network that classifies through concepts.

    `joint` minimises the class loss and `concept_weight` times the concept loss together. `sequential` and `independent` learn
    the concepts alone; the class layer is then fitted to convergence on predicted or on true concepts of the training split
    (`finish`). Missing concepts are masked; where a true concept is missing, `independent` uses the predicted one.

    Attributes:
        spec: The model's spec, with `labels` and `concepts`.
        model: The network.
        objective: The class loss and what decodes the outputs.
        regime: How it is trained.
        concept_weight: Of the concept loss; 0 where no concept is trained.
    """

    accumulates = True
    """Whether gradients of small batches add up to that of the larger."""

    def __init__(self, spec: ModelSpec, model: BottleneckNetwork) -> None:
        super().__init__()
        assert spec.labels is not None
        assert spec.concepts is not None
        self.spec = spec
        self.model = model
        self.objective = Objective.from_dict(spec.objective["classes"])
        self.loss = self.objective.function(spec.labels)
        self.regime: str = spec.objective["regime"]
        if self.regime not in get_args(Regime):
            raise UnknownNameError("model.bottleneck.regime", self.regime, get_args(Regime))
        self.concept_weight = float(spec.objective.get("concept_weight", 0.0))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Run `training_step`; the form that wrapping for several devices needs."""
        return self.training_step(batch)

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss a sample and the number of samples.

        Both losses are sums over what is observed, a sample's share of the batch: concepts or classes that are missing add
        nothing, and batches add up.
        """
        concept_logits, features = self._concepts(batch)
        rows = torch.tensor(float(len(concept_logits)), device=concept_logits.device)
        mean, count = binary_cross_entropy(concept_logits, batch["concepts"])
        loss = self.concept_weight * mean * count / (rows * concept_logits.shape[1])
        if self.regime == "joint":
            outputs = in_units(self.model.classes(concept_logits, features).float(), self.objective)
            mean, count = self.loss(outputs, batch["target"])
            loss = loss + mean * count / rows
        return {"loss": loss, "count": rows}

    @torch.no_grad()
    def validation_step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the outputs of `predict`, with `loss` and `count` where a network is trained."""
        if self.regime in UNTRAINED:
            return self.predict(batch)
        return {**self.predict(batch), **self.training_step(batch)}

    @torch.no_grad()
    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Return `logits`, `probabilities` (N, K), `concept_logits` (N, M) and `bottleneck_logits` (N, K).

        The latter are the class outputs without the residual path. `concept_values` and `concept_mask` (N, M) in the batch
        correct concepts.
        """
        assert self.spec.labels is not None
        concept_logits, features = self._concepts(batch)
        values, mask = batch.get("concept_values"), batch.get("concept_mask")
        outputs = in_units(self.model.classes(concept_logits, features, values, mask).float(), self.objective)
        without = self.class_logits(concept_logits, values, mask)
        return {
            "logits": outputs,
            "probabilities": probabilities(outputs, self.spec.labels),
            "concept_logits": concept_logits.float(),
            "bottleneck_logits": without,
        }

    @torch.no_grad()
    def class_logits(self, concept_logits: Tensor, values: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Return (N, K) class logits of (N, M) concept logits alone; `values` and `mask` (N, M) correct concepts."""
        return in_units(self.model.classes(concept_logits, None, values, mask).float(), self.objective)

    @torch.no_grad()
    def features(self, batch: Batch) -> Tensor:
        """Return (N, F) pooled features of the backbone."""
        return self._concepts(batch)[1].float()

    def deploy(self) -> nn.Module:
        """Return the graph to export: raw image and optional corrections → logits, probabilities, concepts."""
        return BottleneckGraph(self.spec, self.model)

    @torch.no_grad()
    def finish(self, train: ConceptData, val: ConceptData | None = None) -> float | None:
        """Set what only the whole training split tells: the scale of interventions, and the class layer unless joint.

        Args:
            train: The training split, not augmented.
            val: The validation split, to choose the penalty by if the spec names none.

        Returns:
            The penalty of the class layer; None for a joint bottleneck.

        Raises:
            ConfigError: If nothing is labelled, or a penalty is out of range.
        """
        model = self.model
        model.eval()
        low, high = (torch.quantile(train.concept_logits.float(), share, dim=0) for share in PERCENTILES)
        model.low.copy_(low)
        model.high.copy_(torch.maximum(high, low + 1e-3))
        if self.regime == "joint":
            return None
        assert self.spec.labels is not None
        kind, l1_ratio = self.spec.labels.kind, float(self.spec.objective.get("l1_ratio", 0.0))
        shown, wanted = model.shown(train.concept_logits), self._standardised(train.targets)
        if self.regime == "independent":
            shown = torch.where(train.concepts.isnan(), shown, model.on_scale(train.concepts.nan_to_num(0.0)))

        def fit(penalty: float) -> tuple[Tensor, Tensor]:
            if l1_ratio > 0:
                return fit_sparse_linear(shown, wanted, kind, penalty=penalty, l1_ratio=l1_ratio)
            return fit_linear(shown, wanted, kind, penalty=penalty)

        penalty: float | None = self.spec.objective["penalty"]
        with torch.enable_grad():
            if penalty is None:
                assert val is not None
                penalty = choose_penalty(fit, model.shown(val.concept_logits), self._standardised(val.targets), kind)
            weight, bias = fit(penalty)
        model.head.weight.copy_(weight)
        model.head.bias.copy_(bias)
        if model.residual is not None and train.features is not None:
            self._fit_residual(train, val)
        return penalty

    def _fit_residual(self, train: ConceptData, val: ConceptData | None) -> None:
        """Fit what the concepts left over on features of mean 0 and spread 1 (Yuksekgonul et al. 2023, equation 3)."""
        assert self.spec.labels is not None
        assert self.model.residual is not None
        assert train.features is not None
        kind, head = self.spec.labels.kind, self.model.head
        mean, spread = train.features.mean(dim=0), train.features.std(dim=0, correction=0).clamp_min(1e-6)
        inputs, wanted = (train.features - mean) / spread, self._standardised(train.targets)
        offset = head(self.model.shown(train.concept_logits))

        def fit(penalty: float) -> tuple[Tensor, Tensor]:
            return fit_linear(inputs, wanted, kind, penalty=penalty, offset=offset, bias=False)

        penalty: float | None = self.spec.objective["penalty"]
        with torch.enable_grad():
            if penalty is None:
                assert val is not None
                assert val.features is not None
                others, left = (val.features - mean) / spread, head(self.model.shown(val.concept_logits))
                penalty = choose_penalty(fit, others, self._standardised(val.targets), kind, offset=left)
            weight, _ = fit(penalty)
        weight = weight / spread
        self.model.residual.weight.copy_(weight)
        self.model.residual.bias.copy_(-weight @ mean)

    def _standardised(self, targets: Tensor) -> Tensor:
        if self.objective.mean is None or self.objective.std is None:
            return targets
        return (targets - torch.tensor(self.objective.mean)) / torch.tensor(self.objective.std)

    def require(self, samples: SampleDataset) -> None:
        """Check that a split has labels and concepts.

        Raises:
            TrainingError: If it lacks either.
        """
        if samples.targets is None or np.isnan(samples.targets).all():
            raise TrainingError(f"the {samples.split} split has no labelled sample; nothing to learn or choose by")
        if samples.concepts is None or np.isnan(samples.concepts).all():
            raise TrainingError(f"the {samples.split} split has no sample with a concept; nothing to learn or choose by")
        if samples.split == "train":
            require_known(self.concept_labels.names, samples.concepts)

    def choose_monitor(self, asked: str | None, val: SampleDataset) -> tuple[str, str | None]:
        """Return the metric the epoch is chosen by: of the classes if they are learnt, else of the concepts."""
        assert self.spec.labels is not None
        assert val.targets is not None
        if self.regime != "joint" and asked not in (None, "loss", CONCEPT_MONITOR):
            raise ConfigError(
                f"trainer.monitor={asked}: the class layer of a {self.regime} bottleneck is fitted after training; use "
                f"{CONCEPT_MONITOR} or loss"
            )
        name = asked or (METRICS[self.spec.labels.kind][0] if self.regime == "joint" else CONCEPT_MONITOR)
        if name == "loss":
            return name, None
        if name == CONCEPT_MONITOR:
            reason = monitorable(self.concept_labels, _filled(val.concepts), "auroc")
        else:
            reason = monitorable(self.spec.labels, val.targets, name)
        if reason is None:
            return name, None
        return "loss", f"{name} is undefined on the val split ({reason}); the epoch is chosen by val loss"

    def monitor_value(self, name: str, outputs: Mapping[str, NDArray[Any]], val: SampleDataset) -> float | None:
        """Return a metric over the validation split; None where it is undefined."""
        assert self.spec.labels is not None
        assert val.targets is not None
        if name == CONCEPT_MONITOR:
            return monitor_value(self.concept_labels, _filled(val.concepts), outputs["concept_logits"], "auroc")
        return monitor_value(self.spec.labels, val.targets, outputs["logits"], name)

    @property
    def concept_labels(self) -> LabelSpace:
        """The concepts as findings, for scoring."""
        assert self.spec.concepts is not None
        return LabelSpace("multilabel", self.spec.concepts.names)

    def higher_is_better(self, name: str) -> bool:
        """Whether a larger value of a monitored metric is better."""
        return name == CONCEPT_MONITOR or (name != "loss" and higher_is_better(name))

    def can_cache(self, samples: SampleDataset) -> bool:
        """Whether a linear probe's features can be computed once: not here, concepts are learnt from images."""
        return False

    def freeze(self, config: TrainerConfig) -> None:
        """Mark what shall not be trained: part of the backbone as asked for, and the class layer unless joint."""
        finetune.freeze(self.model.backbone, config)
        for part in (self.model.head, self.model.residual):
            if part is not None:
                part.requires_grad_(self.regime == "joint")

    def set_training(self, config: TrainerConfig) -> None:
        """Put what learns into training mode and what is frozen into evaluation mode."""
        self.model.train()
        finetune.set_training(self.model.backbone, config)

    def assets(self) -> dict[str, bytes]:
        """Return what a checkpoint needs beside weights and spec: nothing."""
        return {}

    def _concepts(self, batch: Batch) -> tuple[Tensor, Tensor]:
        preprocess = self.spec.preprocess

        def step(images: Tensor) -> Tensor:
            return torch.cat(self.model.concepts_and_features(normalise(fit(images, preprocess), preprocess)), dim=1)

        both = over_views(step, batch)
        width = self.model.head.in_features
        return both[:, :width], both[:, width:]


def require_known(names: Sequence[str], concepts: NDArray[np.float32]) -> None:
    """Raise TrainingError if training says nothing of a concept.

    Args:
        names: Of the M concepts.
        concepts: (N, M) of the train split, NaN where missing.
    """
    for name, column in zip(names, concepts.T, strict=True):
        if np.isnan(column).all():
            raise TrainingError(
                f"no sample of the train split says anything of concept {name!r}: it cannot be learnt; leave it out "
                "(model.bottleneck.concepts=[...]), or train on more samples"
            )


class BottleneckGraph(nn.Module):
    """The deployable form: raw image, and where a person corrects concepts their values and a mask.

    Outputs `logits`, `probabilities` (N, K) and `concepts` (N, M), the predicted concepts in 0..1 before any correction.
    """

    outputs = ("logits", "probabilities", "concepts")

    def __init__(self, spec: ModelSpec, model: BottleneckNetwork) -> None:
        super().__init__()
        self.spec = spec
        self.model = model
        self.objective = Objective.from_dict(spec.objective["classes"])
        width = len(spec.objective["concepts"])
        # Nothing is corrected unless a person says so.
        self.optional_inputs = {name: torch.zeros(1, width) for name in ("concept_values", "concept_mask")}
        self.eval()

    def forward(self, image: Tensor, concept_values: Tensor, concept_mask: Tensor) -> tuple[Tensor, ...]:
        """Return class outputs and concepts of (N, [D,] H, W, C) raw images; corrections are (N, M) or (1, M) float32."""
        assert self.spec.labels is not None
        values = normalise(fit(image.movedim(-1, 1), self.spec.preprocess), self.spec.preprocess)
        concept_logits, features = self.model.concepts_and_features(values)
        outputs = in_units(self.model.classes(concept_logits, features, concept_values, concept_mask), self.objective)
        return outputs, probabilities(outputs, self.spec.labels), self.model.values(concept_logits)


def _filled(concepts: NDArray[np.float32] | None) -> NDArray[np.float32]:
    assert concepts is not None
    return concepts
