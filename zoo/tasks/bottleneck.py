"""Concept bottlenecks: joint, sequential and independent training (Koh et al. 2020, section 3), and two that train no network.

Post-hoc (Yuksekgonul et al. 2023, ICLR, arXiv 2205.15480): concept activation vectors (Kim et al. 2018, section 3.2) in the
features of a trained network. Language: similarities to texts; see `medzoo.models.heads.concept_scores`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medzoo.data.dataset import Dataset
from medzoo.data.errors import ConfigError, TrainingError, UnknownNameError
from medzoo.data.labels import LabelSpace
from medzoo.data.regions.evidence import CHOSEN, PLACES, REGION
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.evaluation.monitor import monitor_value, monitorable
from medzoo.losses.masked import binary_cross_entropy
from medzoo.losses.objective import Objective
from medzoo.models import finetune
from medzoo.models.heads.bottleneck import BottleneckNetwork, Regime
from medzoo.models.heads.class_layer import ConceptData, fit_class_layer, set_intervention_scale
from medzoo.models.linear_head import linear_head
from medzoo.models.places import PlacedHead
from medzoo.settings.schema import ModelConfig, TrainerConfig
from medzoo.store.spec import ModelSpec
from medzoo.tasks.bottleneck_graph import BottleneckGraph
from medzoo.tasks.classify import head_in_units, in_units, probabilities
from medzoo.tasks.places_left import PlacesLeft
from medzoo.tasks.prepare import concept_truth, prepare_samples
from medzoo.tasks.task import Batch, Runner, Task, monitor_or_loss
from medzoo.tasks.views import case_means, over_views

CONCEPT_MONITOR = "concept_auroc"


class Bottleneck(Task):
    """A network that classifies through concepts.

    `joint` minimises the class loss and `concept_weight` times the concept loss together. `sequential` and `independent` learn
    the concepts alone; the class layer is then fitted to convergence on predicted or on true concepts of the training split
    (`finish`). Missing concepts are masked; where a true concept is missing, `independent` uses the predicted one.

    Attributes:
        spec: The model's spec, with `labels` and `concepts`.
        model: The network.
        classes_read: Output of `predict` that the class layer reads.
        objective: The class loss and what decodes the outputs.
        regime: How it is trained.
        concept_weight: Of the concept loss; 0 where no concept is trained.
    """

    model: BottleneckNetwork
    completes = True
    classes_read = "concept_logits"
    no_copies = "concept bottlenecks, whose classes must follow from one set of concepts"

    def __init__(self, spec: ModelSpec, model: nn.Module) -> None:
        super().__init__(spec, model)
        self.objective = Objective.from_dict(spec.objective["classes"])
        self.loss = self.objective.function(spec.label_space)
        self.validation_loss = self.objective.function(spec.label_space, training=False)
        self.regime: str = spec.objective["regime"]
        if self.regime not in get_args(Regime):
            raise UnknownNameError("model.bottleneck.regime", self.regime, get_args(Regime))
        self.answers_in_training = self.regime == "joint"
        self.concept_weight = float(spec.objective.get("concept_weight", 0.0))

    @property
    def bottleneck(self) -> Bottleneck:
        """The task itself."""
        return self

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss a sample and the number of samples.

        Both losses are sums over what is observed, a sample's share of the batch: concepts or classes that are missing add
        nothing, and batches add up.
        """
        concept_logits, features = self._concepts(batch)
        rows = torch.full((), float(len(concept_logits)), device=concept_logits.device)
        mean, count = binary_cross_entropy(concept_logits, batch["concepts"])
        loss = self.concept_weight * mean * count / (rows * concept_logits.shape[1])
        if self.regime == "joint":
            outputs = in_units(self.model.classes(concept_logits, features, *self.corrections(batch)).float(), self.objective)
            mean, count = self.class_loss(outputs, batch["target"])
            loss = loss + mean * count / rows
            return {"loss": loss, "count": rows, "logits": outputs.detach()}
        return {"loss": loss, "count": rows}

    def class_loss(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of (N, K) class outputs, and how much it is over; where nothing learns, what validation judges by."""
        return (self.loss if self.training else self.validation_loss)(outputs, targets)

    def corrections(self, batch: Batch) -> tuple[Tensor | None, Tensor | None]:
        """Return values and mask (N, M) of the concepts of a training batch that are corrected: none are."""
        return None, None

    def compile_network(self) -> None:
        """Compile the backbone's features: neither it nor the network around it is called as a whole."""
        backbone: Any = self.model.backbone
        backbone.forward_features = torch.compile(backbone.forward_features)

    def surely_learns(self, batch: Batch) -> bool:
        """Whether there is a sample: each counts, whatever is known of it."""
        return True

    @torch.no_grad()
    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Return `logits`, `probabilities` (N, K), `concept_logits` (N, M) and `bottleneck_logits` (N, K).

        The latter are the class outputs without the residual path. `concept_values` and `concept_mask` (N, M) in the batch
        correct concepts.
        """
        return self.said(*self._concepts(batch), batch)

    def said(self, concept_logits: Tensor, beside: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return what `predict` does, of (N, M) concept logits and (N, F) what `classes` reads beside them."""
        values, mask = batch.get("concept_values"), batch.get("concept_mask")
        outputs = in_units(self.model.classes(concept_logits, beside, values, mask).float(), self.objective)
        without = self.class_logits(concept_logits, values, mask)
        return {
            "logits": outputs,
            "probabilities": probabilities(outputs, self.spec.label_space),
            "concept_logits": concept_logits.float(),
            "bottleneck_logits": without,
        }

    def scores(self, inputs: Tensor) -> Tensor:
        """Return (N, K) class outputs in the labels' units, with gradient, of images as `input` returns them."""
        return in_units(self.model.classes(*self.model.concepts_and_features(inputs)).float(), self.objective)

    def linear_head(self) -> tuple[Tensor, Tensor]:
        """Return (K, F) weights and (K,) bias from pooled features to `scores`; NotLinearError where that is no straight line."""
        return head_in_units(*linear_head(self.model), self.objective)

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

    def concept_head(self) -> tuple[Tensor, Tensor]:
        """Return (M, F) weights and (M,) bias from pooled features to concept logits; NotLinearError where that is no line."""
        return linear_head(self.model.backbone)

    def concept_evidence(self) -> PlacedHead:
        """Return what each place says of each concept; NotLinearError where concepts do not read the mean over places."""
        return PlacedHead(self.model, self.concept_head(), self.blank())

    def deploy_map(self) -> nn.Module:
        """Return the graph with `map` (N, M, h, w), or (N, M, d, h, w): of concepts, whose logits are its mean and the bias."""
        return BottleneckGraph(self.spec, self.model, self.concept_evidence())

    @torch.no_grad()
    def predict_within(self, batch: Batch) -> dict[str, Tensor]:
        """Return `predict` where a person takes a region away from concepts.

        `region` (N, *size, 1), `region_mask` (N, M) and `region_places` (N, M, *grid) in the batch say what; see `PlacesLeft`. A
        concept's logit is then that of the mean over the places left, NaN where none is. A path beside the concepts still sees
        the whole image. `concept_values` and `concept_mask` correct concepts, as in `predict`.

        Raises:
            NotLinearError: If the concepts do not read the mean over places.
        """
        evidence = self.concept_evidence()
        features = evidence.features(self.input(batch["image"]))
        left = PlacesLeft(self.spec.preprocess, evidence.grid).to(features.device)
        counts = left(batch[REGION], batch[CHOSEN], batch[PLACES])
        concept_logits = evidence.said_of(evidence.maps(features), counts.to(features))
        return self.said(concept_logits, self.model.beside(features, counts), batch)

    def finish(self, train: ConceptData, val: ConceptData | None = None) -> float | None:
        """Set what only the whole training split tells: the scale of interventions, and the class layer unless joint.

        `train` is not augmented; by `val` the penalty is chosen if the spec names none. Returns the penalty of the class layer,
        None for a joint bottleneck; ConfigError if nothing is labelled, or a penalty is out of range.
        """
        self.set_scale(train)
        if self.regime == "joint":
            return None
        train, val = self._standardised(train), None if val is None else self._standardised(val)
        return fit_class_layer(
            self.model, train, val, kind=self.spec.label_space.kind, on_truth=self.regime == "independent",
            penalty=self.spec.objective["penalty"], l1_ratio=float(self.spec.objective.get("l1_ratio", 0.0)),
        )  # fmt: skip

    def set_scale(self, train: ConceptData) -> None:
        """Set what of the bottleneck's own scale stands for a concept that is corrected to 0 and to 1."""
        set_intervention_scale(self.model.eval(), train.concept_logits)

    def _standardised(self, data: ConceptData) -> ConceptData:
        if self.objective.mean is None or self.objective.std is None:
            return data
        targets = (data.targets - torch.tensor(self.objective.mean)) / torch.tensor(self.objective.std)
        return replace(data, targets=targets)

    def prepare(self, samples: SampleDataset, dataset: Dataset, captions: str = "auto") -> None:
        """Give a split what is known of the bottleneck's own concepts."""
        samples.concepts = concept_truth(self.spec, samples, dataset)

    def complete(self, dataset: Dataset, config: ModelConfig, runner: Runner) -> None:
        """Fit the class layer (unless joint) and the scale of interventions on the training split, not augmented.

        Doing it again gives the same network.
        """
        samples = self.samples(dataset, "train")
        prepare_samples(self, samples, dataset, config)
        self.to(runner.device).eval()
        outputs, _ = runner.predict(self, samples)
        features = None if self.model.residual is None else runner.features(self, samples)
        self.to("cpu")
        assert samples.concepts is not None
        assert samples.targets is not None
        # Copies: pandas' own memory cannot be written, of which torch warns.
        concepts, targets = torch.from_numpy(samples.concepts.copy()), torch.from_numpy(samples.targets.copy())
        self.finish(ConceptData(torch.from_numpy(outputs[self.classes_read]), concepts, targets, features))

    def require(self, samples: SampleDataset) -> None:
        """Check that a split has labels and concepts; TrainingError if it lacks either."""
        super().require(samples)
        known = known_concepts(samples)
        if samples.split == "train":
            require_known(self.concept_labels.names, known)

    def choose_monitor(self, asked: str | None, val: SampleDataset) -> tuple[str, str | None]:
        """Return the metric the epoch is chosen by: of the classes if they are learnt, else of the concepts."""
        if self.regime == "joint" and asked != CONCEPT_MONITOR:
            return super().choose_monitor(asked, val)
        if asked not in (None, "loss", CONCEPT_MONITOR):
            raise ConfigError(
                f"trainer.monitor={asked}: the class layer of a {self.regime} bottleneck is fitted after training; use "
                f"{CONCEPT_MONITOR} or loss"
            )
        if asked == "loss":
            return asked, None
        return monitor_or_loss(CONCEPT_MONITOR, monitorable(self.concept_labels, known_concepts(val), "auroc"))

    def monitor_value(self, name: str, outputs: Mapping[str, NDArray[Any]], val: SampleDataset) -> float | None:
        """Return a metric over the validation split; None where it is undefined."""
        if name == CONCEPT_MONITOR:
            return monitor_value(self.concept_labels, known_concepts(val), outputs["concept_logits"], "auroc")
        return super().monitor_value(name, outputs, val)

    @property
    def concept_labels(self) -> LabelSpace:
        """The concepts as findings, for scoring."""
        assert self.spec.concepts is not None
        return LabelSpace("multilabel", self.spec.concepts.names)

    def higher_is_better(self, name: str) -> bool:
        """Whether a larger value of a monitored metric is better."""
        return name == CONCEPT_MONITOR or super().higher_is_better(name)

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

    def predictions(self, outputs: Mapping[str, NDArray[Any]], concepts: NDArray[np.float32] | None) -> dict[str, Any]:
        """Return the concepts, true and predicted, and what a residual path adds."""
        found: dict[str, Any] = {
            "concepts": self.spec.concepts,
            "concept_targets": concepts,
            "concept_logits": outputs["concept_logits"],
            "concept_scale": "score" if self.model.kind == "score" else "logit",
        }
        if self.model.residual is not None:
            found["residual_logits"] = outputs["logits"] - outputs["bottleneck_logits"]
        return found

    def answers(self, outputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Add `concepts` (N, M) in 0..1."""
        logits = torch.from_numpy(outputs["concept_logits"]).to(self.model.low.device)
        return {**outputs, "concepts": self.model.values(logits).cpu().numpy()}

    @torch.no_grad()
    def cases(self, outputs: Mapping[str, NDArray[Any]], counts: Sequence[int]) -> Tensor:
        """Return class logits of the mean concept logits, with the mean of what a residual path adds."""
        device = self.model.low.device
        mean = self.class_logits(case_means(outputs["concept_logits"], counts).to(device)).cpu()
        return mean + case_means(outputs["logits"] - outputs["bottleneck_logits"], counts)

    def _concepts(self, batch: Batch) -> tuple[Tensor, Tensor]:
        both = over_views(lambda images: torch.cat(self.model.concepts_and_features(self.input(images)), dim=1), batch)
        return both[:, : self.model.concepts], both[:, self.model.concepts :]


def known_concepts(samples: SampleDataset) -> NDArray[np.float32]:
    """Return (N, M): what is known of a split's concepts, NaN where nothing is; TrainingError if nothing is known of any."""
    if samples.concepts is None or np.isnan(samples.concepts).all():
        raise TrainingError(f"the {samples.split} split has no sample with a concept; nothing to learn or choose by")
    return samples.concepts


def require_known(names: Sequence[str], concepts: NDArray[np.float32]) -> None:
    """Raise TrainingError if the train split says nothing of a concept: its column of `concepts` (N, M) is NaN throughout."""
    for name, column in zip(names, concepts.T, strict=True):
        if np.isnan(column).all():
            raise TrainingError(
                f"no sample of the train split says anything of concept {name!r}: it cannot be learnt; leave it out "
                "(model.bottleneck.concepts=[...]), or train on more samples"
            )
