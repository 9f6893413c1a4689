"""Concepts by text: how near an image lies to each concept's wording in a frozen image–text model, and which concepts to keep.

Label-free concept bottlenecks (Oikarinen et al. 2023, ICLR, arXiv 2304.06129, section 3) and robust medical ones (Yan et al.
2023, arXiv 2310.03182): the score of a concept is the cosine between image and concept embedding, standardised over the training
images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from medzoo.models.clip.image import ClipImageNetwork

TOP = 5
"""How many of the highest training scores say whether a concept occurs (Oikarinen et al. 2023, section 3.1)."""


class ConceptScores(nn.Linear):
    """Unit image embeddings → standardised similarities to concepts. (N, E) → (N, M).

    Args:
        width: E.
        concepts: M.

    Attributes:
        weight: (M, E) unit text embeddings; not trained.
        mean: (M,) of the similarities over the training images.
        std: (M,) likewise, above 0.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, width: int, concepts: int) -> None:
        super().__init__(width, concepts, bias=False)
        self.weight.requires_grad_(False)
        self.register_buffer("mean", torch.zeros(concepts))
        self.register_buffer("std", torch.ones(concepts))

    def similarities(self, embeddings: Tensor) -> Tensor:
        """Return (N, M) cosines in −1..1 of (N, E) unit image embeddings."""
        return F.linear(embeddings, self.weight)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return (N, M) standardised similarities."""
        return (self.similarities(embeddings) - self.mean) / self.std

    @torch.no_grad()
    def standardise(self, similarities: Tensor) -> None:
        """Take mean and spread from (N, M) similarities of the training images."""
        self.mean.copy_(similarities.mean(dim=0))
        self.std.copy_(similarities.std(dim=0, correction=0).clamp_min(1e-6))

    @torch.no_grad()
    def keep(self, places: Sequence[int]) -> ConceptScores:
        """Return the scores of some of the concepts."""
        chosen = ConceptScores(self.in_features, len(places))
        for name, tensor in chosen.state_dict().items():
            tensor.copy_(self.state_dict()[name][list(places)])
        return chosen


def with_concept_scores(network: ClipImageNetwork, concepts: int) -> ClipImageNetwork:
    """Give an image tower concept scores in place of its linear layer."""
    scores: Any = ConceptScores(network.fc.in_features, concepts)
    network.fc = scores
    return network


def redundant_concepts(
    names: Sequence[str], concepts: NDArray[np.float32], classes: NDArray[np.float32], *, class_similarity: float,
    concept_similarity: float
) -> dict[str, str]:  # fmt: skip
    """Return the concepts whose wording says too little of its own, with the reason.

    Args:
        names: Of the M concepts.
        concepts: (M, E) unit text embeddings.
        classes: (K, E) of the class names; a concept as near to one as `class_similarity` names the class again.
        class_similarity: Cosine, up to 1.
        concept_similarity: Of two concepts as near as this the later goes.
    """
    dropped: dict[str, str] = {}
    kept: list[int] = []
    for place, name in enumerate(names):
        nearest = float((classes @ concepts[place]).max()) if len(classes) else -1.0
        twins = [other for other in kept if float(concepts[other] @ concepts[place]) >= concept_similarity]
        if nearest >= class_similarity:
            dropped[name] = f"its wording is a class name's (similarity {nearest:.3f}, limit {class_similarity:g})"
        elif twins:
            near = float(concepts[twins[0]] @ concepts[place])
            dropped[name] = f"its wording is that of {names[twins[0]]!r} (similarity {near:.3f}, limit {concept_similarity:g})"
        else:
            kept.append(place)
    return dropped


def absent_concepts(
    names: Sequence[str], similarities: NDArray[np.float32], *, activation: float | None, spread: float = 1e-5
) -> dict[str, str]:
    """Return the concepts that the training images do not show, with the reason.

    Args:
        names: Of the M concepts.
        similarities: (N, M) of the training images.
        activation: Least mean of the five highest similarities; None: any.
        spread: Least standard deviation: what is the same for every image tells nothing.
    """
    dropped: dict[str, str] = {}
    top = np.sort(similarities, axis=0)[-TOP:].mean(axis=0)
    for place, name in enumerate(names):
        if similarities[:, place].std() < spread:
            dropped[name] = f"its score is the same for every training image (spread {similarities[:, place].std():.1e})"
        elif activation is not None and top[place] < activation:
            dropped[name] = f"no training image shows it (its {TOP} highest scores: {top[place]:.3f}, limit {activation:g})"
    return dropped
