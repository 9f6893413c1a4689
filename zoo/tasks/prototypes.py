"""Bottlenecks of prototypes: classes follow from how near an image's places lie to what each concept looks like.

Concept-based similarity reasoning (Huy et al. 2025, CVPR, arXiv 2503.06873). Its stages are one loop here: concepts are learnt as
in any bottleneck, and beside them, by contrast, a projector and the prototypes. `sequential` keeps what the stages keep apart:
the backbone learns from concepts alone, prototypes from its features as they are at the time, and the class layer is fitted when
both are done. `joint` lets every loss reach everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medzoo.data.dataset import Dataset
from medzoo.data.errors import TrainingError
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.losses.masked import binary_cross_entropy
from medzoo.losses.prototypes import prototype_contrast
from medzoo.models.heads.class_layer import ConceptData, set_intervention_means
from medzoo.models.heads.prototypes import NOWHERE, PrototypeNetwork
from medzoo.settings.schema import ModelConfig
from medzoo.store.directory import PROTOTYPES
from medzoo.store.spec import ModelSpec
from medzoo.tasks.bottleneck import Bottleneck
from medzoo.tasks.classify import in_units, probabilities
from medzoo.tasks.prepare import prepare_samples
from medzoo.tasks.task import Batch, Runner, Task
from medzoo.tasks.views import over_views, those_there


class PrototypeBottleneck(Bottleneck):
    """A concept bottleneck whose classes read the scores of prototypes.

    Attributes:
        contrast: Weight of the contrastive loss, and its arguments.
        nearest: What the last step found: one row a prototype, see `nearest_places`; None before.
    """

    model: PrototypeNetwork
    classes_read = "prototype_scores"

    def __init__(self, spec: ModelSpec, model: nn.Module) -> None:
        super().__init__(spec, model)
        self.contrast: dict[str, float] = {
            name: float(spec.objective["prototypes"][name]) for name in ("weight", "temperature", "assignment", "margin")
        }
        self.nearest: pd.DataFrame | None = None

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss a sample and the number of samples.

        To what any bottleneck minimises comes the contrast of the concepts that a sample is known to have, a sum over what is
        observed, too.
        """
        concept_logits, scores, local = self._seen(batch)
        rows = torch.full((), float(len(concept_logits)), device=concept_logits.device)
        mean, count = binary_cross_entropy(concept_logits, batch["concepts"])
        loss = self.concept_weight * mean * count / (rows * concept_logits.shape[1])
        contrast = {name: value for name, value in self.contrast.items() if name != "weight"}
        vectors = self.model.projected(local)
        mean, count = prototype_contrast(vectors, self.model.directions(), batch["concepts"], **contrast)
        loss = loss + self.contrast["weight"] * mean * count / (rows * concept_logits.shape[1])
        if self.regime != "joint":
            return {"loss": loss, "count": rows}
        outputs = in_units(self.model.classes(concept_logits, scores).float(), self.objective)
        mean, count = self.class_loss(outputs, batch["target"])
        return {"loss": loss + mean * count / rows, "count": rows, "logits": outputs.detach()}

    def said(self, concept_logits: Tensor, beside: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return what a bottleneck says, with `prototype_scores` (N, M · P), of concept logits and these scores."""
        values, mask = batch.get("concept_values"), batch.get("concept_mask")
        outputs = in_units(self.model.classes(concept_logits, beside, values, mask).float(), self.objective)
        return {
            "logits": outputs,
            "probabilities": probabilities(outputs, self.spec.label_space),
            "concept_logits": concept_logits.float(),
            "bottleneck_logits": outputs,
            "prototype_scores": beside.float(),
        }

    @torch.no_grad()
    def features(self, batch: Batch) -> Tensor:
        """Return (N, F) pooled features of the backbone."""
        return Task.features(self, batch)

    @torch.no_grad()
    def similarity_maps(self, batch: Batch) -> Tensor:
        """Return (N, M, P, *grid): the cosine of each prototype with each place of images (N, C, ...), not of views."""
        return self.model.similarities(self.model.concepts_and_places(self.input(batch["image"]))[1])

    def set_scale(self, train: ConceptData) -> None:
        """Set the scores that stand for a concept corrected to 0 and to 1: the means where it is not there, and where it is."""
        set_intervention_means(self.model.eval(), train.concept_logits, train.concepts)

    def require(self, samples: SampleDataset) -> None:
        """Check that a split has labels and concepts; of training also each concept in some samples, and others without it."""
        super().require(samples)
        if samples.split != "train" or samples.concepts is None:
            return
        for name, column in zip(self.concept_labels.names, samples.concepts.T, strict=True):
            if not (column > 0.5).any() or not (column <= 0.5).any():
                lacks = "has" if (column > 0.5).any() else "lacks"
                raise TrainingError(
                    f"every sample of the train split {lacks} concept {name!r}, as far as is known: prototypes learn from both; "
                    "leave it out (model.bottleneck.concepts=[...]), or train on more samples"
                )

    def complete(self, dataset: Dataset, config: ModelConfig, runner: Runner) -> None:
        """Do what any bottleneck does when the loop is done, and look for the training images that look like each prototype."""
        super().complete(dataset, config, runner)
        samples = self.samples(dataset, "train")
        prepare_samples(self, samples, dataset, config)
        self.to(runner.device).eval()
        found = runner.outputs(self._places, samples)
        self.to("cpu")
        assert samples.concepts is not None
        self.nearest = nearest_places(
            found, samples.concepts, self.concept_labels.names, list(map(str, samples.sample_ids)),
            self.model.evidence.layout.grid, several=samples.views is not None and samples.views > 1,
        )  # fmt: skip

    def record(self) -> dict[str, bytes]:
        """Return `prototypes.csv`, where the last step has been done."""
        if self.nearest is None:
            return {}
        return {PROTOTYPES: self.nearest.to_csv(index=False, float_format="%.6f", lineterminator="\n").encode("utf-8")}

    def predictions(self, outputs: Mapping[str, NDArray[Any]], concepts: NDArray[np.float32] | None) -> dict[str, Any]:
        """Return the concepts, true and predicted, and the prototypes' scores."""
        return {**super().predictions(outputs, concepts), "prototype_scores": outputs["prototype_scores"]}

    @torch.no_grad()
    def cases(self, outputs: Mapping[str, NDArray[Any]], counts: Sequence[int]) -> Tensor:
        """Return the mean of the images' class logits, which is what their mean scores say."""
        return Task.cases(self, outputs, counts)

    def _seen(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return (N, M) concept logits, (N, M · P) scores and (N, M, F) local vectors; of several views their means."""
        network, count = self.model, self.model.concepts

        def step(images: Tensor) -> Tensor:
            logits, places = network.concepts_and_places(self.input(images))
            places = places if self.regime == "joint" else places.detach()
            return torch.cat([logits, network.beside(places), network.local_vectors(places).flatten(1)], dim=1)

        logits, scores, local = over_views(step, batch).tensor_split((count, count * (1 + network.each)), dim=1)
        return logits, scores, local.reshape(len(local), count, -1)

    @torch.no_grad()
    def _places(self, batch: Batch) -> dict[str, Tensor]:
        """Return, (N, M · P) each, the largest similarity of each prototype, its place, counted flat, and its view."""
        images, mask = batch["image"], batch.get("view_mask")
        several = images if mask is None else those_there(images, mask)
        tops, places = self.similarity_maps({"image": several}).flatten(3).flatten(1, 2).max(dim=2)
        if mask is None:
            return {"similarity": tops, "place": places, "view": torch.zeros_like(places)}
        there = mask.to(tops.device)
        every = tops.new_full((*mask.shape, tops.shape[1]), NOWHERE).masked_scatter(there[..., None], tops)
        at = places.new_zeros(every.shape).masked_scatter(there[..., None], places)
        best, view = every.max(dim=1)
        return {"similarity": best, "place": at.gather(1, view[:, None])[:, 0], "view": view}


def nearest_places(
    found: Mapping[str, NDArray[Any]], concepts: NDArray[np.float32], names: Sequence[str], samples: Sequence[str],
    grid: tuple[int, ...], *, several: bool = False
) -> pd.DataFrame:  # fmt: skip
    """Return the training image and the place nearest to each prototype, of images that are known to have its concept.

    Args:
        found: `similarity`, `place` and `view`, (N, M · P) each: of each image the nearest place of each prototype.
        concepts: (N, M) truth, NaN where missing; each concept is there in some image.
        names: Of the M concepts.
        samples: Of the N images.
        grid: Places along each axis, (h, w) or (d, h, w).
        several: Whether samples have several views.

    Returns:
        One row a prototype: `concept`, `prototype` (from 0), `sample`, `view` (of several, from 0), `slice` (of volumes), `row`,
        `column` (places, from 0), `rows` and `columns` (places there are), `similarity`.
    """
    each = found["similarity"].shape[1] // len(names)
    rows: list[dict[str, Any]] = []
    for column in range(each * len(names)):
        concept, prototype = divmod(column, each)
        has = np.flatnonzero(concepts[:, concept] > 0.5)
        best = int(has[found["similarity"][has, column].argmax()])
        row: dict[str, Any] = {"concept": names[concept], "prototype": prototype, "sample": samples[best]}
        row |= {"view": int(found["view"][best, column])} if several else {}
        at = np.unravel_index(int(found["place"][best, column]), grid)
        row |= dict(zip(("slice", "row", "column")[-len(grid) :], map(int, at), strict=True))
        rows.append({**row, "rows": grid[-2], "columns": grid[-1], "similarity": float(found["similarity"][best, column])})
    return pd.DataFrame(rows)
