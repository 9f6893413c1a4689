"""Concept embedding models: classes follow from two embeddings a concept, mixed by its probability.

Zarlenga et al. 2022, "Concept Embedding Models: Beyond the Accuracy-Explainability Trade-Off" (NeurIPS, arXiv 2209.09056). In
training some of the concepts that are known are shown to the class layer as they are, not as they are predicted (their RandInt),
so that it learns to heed a person's corrections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medzoo.data.dataset import Dataset
from medzoo.data.samples.augment import Augment
from medzoo.data.samples.policies import Policy
from medzoo.data.samples.sample_dataset import Key, Sample, SampleDataset
from medzoo.data.seeding import Draws, derived_seed
from medzoo.models.heads.concept_embeddings import EmbeddingNetwork
from medzoo.models.places import NotLinearError
from medzoo.store.spec import ModelSpec
from medzoo.tasks.bottleneck import Bottleneck
from medzoo.tasks.classify import in_units, probabilities
from medzoo.tasks.task import Batch, Task
from medzoo.tasks.views import case_means

DRAWN = "corrected"
"""What a training batch holds beside the truth: (N, M), where a known concept is shown as it is."""


class EmbeddingBottleneck(Bottleneck):
    """A concept bottleneck whose classes read embeddings. It is trained jointly.

    Attributes:
        random_corrections: Chance in training of each known concept to be shown as its truth.
    """

    model: EmbeddingNetwork

    def __init__(self, spec: ModelSpec, model: nn.Module) -> None:
        super().__init__(spec, model)
        self.random_corrections = float(spec.objective["random_corrections"])

    def samples(
        self, dataset: Dataset, split: str, *, policy: Policy | None = None, augmenter: str = "opencv", seed: int = 0,
        training: bool = False
    ) -> SampleDataset:  # fmt: skip
        """Return a split as samples; of those to learn from, some concepts drawn to be corrected."""
        if not training:
            return super().samples(dataset, split, policy=policy, augmenter=augmenter, seed=seed)
        augment = None if policy is None else Augment(policy, self.spec.preprocess, augmenter)
        made = CorrectedSamples(
            dataset, split, self.spec.preprocess, augment=augment, seed=seed, members=dataset.reader.max_members
        )
        made.names, made.chance = self.concept_labels.names, self.random_corrections
        return made

    def corrections(self, batch: Batch) -> tuple[Tensor | None, Tensor | None]:
        """Return the truth and where it is shown, (N, M) each: of what was drawn, what is known of the sample."""
        if DRAWN not in batch:
            return None, None
        known = ~batch["concepts"].isnan()
        return batch["concepts"].nan_to_num(0.0), (batch[DRAWN] & known).to(batch["concepts"].dtype)

    @torch.no_grad()
    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Return what a bottleneck says, with `absent_logits` (N, K) and `concept_effects` (N, M, K).

        The class outputs where every concept is absent, and what each adds to them where it is there; logits are the former and
        the latter times the concepts' probabilities. `concept_values` and `concept_mask` (N, M) in the batch correct concepts.
        """
        concept_logits, embeddings = self._concepts(batch)
        values, mask = batch.get("concept_values"), batch.get("concept_mask")
        outputs = in_units(self.model.classes(concept_logits, embeddings, values, mask).float(), self.objective)
        absent, effects = (part.float() for part in self.model.parts(embeddings))
        spread = 1.0 if self.objective.std is None else effects.new_tensor(self.objective.std)
        return {
            "logits": outputs,
            "probabilities": probabilities(outputs, self.spec.label_space),
            "concept_logits": concept_logits.float(),
            "bottleneck_logits": outputs,
            "absent_logits": in_units(absent, self.objective),
            "concept_effects": effects * spread,
        }

    @torch.no_grad()
    def features(self, batch: Batch) -> Tensor:
        """Return (N, F) pooled features of the backbone."""
        return Task.features(self, batch)

    def predictions(self, outputs: Mapping[str, NDArray[Any]], concepts: NDArray[np.float32] | None) -> dict[str, Any]:
        """Return the concepts, true and predicted, and what each does to the classes of its sample."""
        own = {name: outputs[name] for name in ("absent_logits", "concept_effects")}
        return {**super().predictions(outputs, concepts), **own}

    @torch.no_grad()
    def cases(self, outputs: Mapping[str, NDArray[Any]], counts: Sequence[int]) -> Tensor:
        """Return class logits of the mean concept logits and the mean embeddings."""
        shown = self.model.shown(case_means(outputs["concept_logits"], counts))
        effects = case_means(outputs["concept_effects"], counts)
        return case_means(outputs["absent_logits"], counts) + torch.einsum("nm,nmk->nk", shown, effects)

    def linear_head(self) -> tuple[Tensor, Tensor]:
        """Refuse: embeddings are bent, and mixed by what they say themselves."""
        self.concept_head()

    def concept_head(self) -> NoReturn:
        """Refuse: a concept's logit is no straight line of the features."""
        raise NotLinearError("concepts and classes are read off embeddings, which are not linear in the features")


class CorrectedSamples(SampleDataset):
    """A training split whose samples hold `corrected`, (M,) bool: where a concept that is known is to be shown as it is.

    Each is drawn for itself, as a function of the seed, the epoch (and how often the sample came in it), the sample and the
    concept's name. Arguments are those of `SampleDataset`.

    Attributes:
        names: Of the M concepts.
        chance: Of each to be drawn, in 0..1.
    """

    names: Sequence[str] = ()
    chance = 0.0

    def fields(self, keys: Sequence[Key]) -> dict[str, Any]:
        """Return a batch without its images, with what is drawn."""
        drawn = torch.stack([self._corrected((key[0], *key[2:]), key[1]) for key in keys])
        return {**super().fields(keys), DRAWN: drawn}

    def _beside(self, times: tuple[int, ...], index: int) -> Sample:
        return {**super()._beside(times, index), DRAWN: self._corrected(times, index)}

    def _corrected(self, times: tuple[int, ...], index: int) -> Tensor:
        words: tuple[int | str, ...] = ("random corrections", *map(int, times), self._ids.hash(index))
        return torch.tensor([Draws(derived_seed(self.seed, *words, name)).random() < self.chance for name in self.names])
