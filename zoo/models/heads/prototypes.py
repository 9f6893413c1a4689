"""Prototypes of concepts: the classes follow from how near an image's places lie to what each concept has been seen to look like.

Concept-based similarity reasoning (Huy et al. 2025, CVPR, arXiv 2503.06873). A linear head at each place makes a concept's map,
whose mean is its logit. A projector takes the features of each place into a space where each concept has P prototypes, vectors
that are learnt. The cosines of a prototype with all places are its similarity map; the largest is its score. The classes are
linear on the M · P scores and see nothing else.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medzoo.data.errors import ConfigError
from medzoo.models.backbones.contract import classify_features
from medzoo.models.heads.bottleneck import BottleneckNetwork
from medzoo.models.places import Evidence, NotLinearError, applied, find_evidence, last_linear

NOWHERE = -2.0
"""Less than any cosine: the similarity of a place that does not count."""


class PrototypeNetwork(BottleneckNetwork):
    """Images → concept logits, and scores of each concept's prototypes → class outputs.

    What `classes` reads beside concept logits, and all that it reads, are the scores, (N, M · P): those of a concept side by
    side. Of several views they are averaged as the logits are.

    Args:
        backbone: With M outputs, one a concept, linear on the mean of its features over places.
        evidence: How its features lie in places.
        concepts: M.
        outputs: K.
        features: F, width of the backbone's features.
        prototypes: P, prototypes a concept.
        width: D, numbers of each.
        class_layer_rate: Learning rate of a class layer that is trained jointly, times the backbone's.

    Attributes:
        head: (K, M · P) linear layer from scores to classes.
        projector: From the features of a place, (F,), to (D,).
        prototypes: (M, P, D), of any length: only their direction counts.
        low: (M · P,) score of each prototype where its concept is corrected to 0; not always below `high`, and equal to it until
            the last step of training.
        high: (M · P,) the same where it is corrected to 1.
    """

    def __init__(
        self, backbone: nn.Module, evidence: Evidence, *, concepts: int, outputs: int, features: int, prototypes: int, width: int,
        class_layer_rate: float = 1.0
    ) -> None:  # fmt: skip
        super().__init__(
            backbone, concepts=concepts, outputs=outputs, kind="prototype", class_layer_rate=class_layer_rate, width=prototypes
        )
        self.evidence, self.each = evidence, prototypes
        self.projector = nn.Sequential(nn.Linear(features, width), nn.ReLU(), nn.Linear(width, width))
        self.prototypes = nn.Parameter(torch.randn(concepts, prototypes, width))
        self.low, self.high = torch.zeros(concepts * prototypes), torch.zeros(concepts * prototypes)

    @property
    def unfinished(self) -> str | None:  # type: ignore[override]
        """What the last step of training would still do."""
        return None if bool((self.high != self.low).any()) else "fits the class layer to the prototypes"

    def concepts_and_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return (N, M) concept logits of normalised images, and (N, M · P) scores."""
        concept_logits, places = self.concepts_and_places(images)
        return concept_logits, self.beside(places)

    def concepts_and_places(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return (N, M) concept logits of normalised images, and (N, F, *grid) features of their places."""
        return self._placed(self.forward_features(images))

    def similarities(self, places: Tensor) -> Tensor:
        """Return (N, M, P, *grid) cosines of each prototype with each place, of (N, F, *grid) features: similarity maps."""
        projected = self.projected(places.flatten(2).transpose(1, 2))
        found = projected @ self.directions().flatten(0, 1).T
        return found.transpose(1, 2).reshape(-1, self.concepts, self.each, *places.shape[2:])

    def beside(self, places: Tensor, counts: Tensor | None = None) -> Tensor:
        """Return (N, M · P) scores of (N, F, *grid) features; where `counts` (N, M, *grid) is 0, a place counts for no prototype.

        NaN where no place counts for a concept.
        """
        maps = self.similarities(places).flatten(3)
        if counts is None:
            return maps.amax(dim=3).flatten(1)
        there = counts.flatten(2)[:, :, None] > 0
        scores = torch.where(there, maps, NOWHERE).amax(dim=3)
        return torch.where(there.float().amax(dim=3) > 0, scores, torch.nan).flatten(1)

    def local_vectors(self, places: Tensor) -> Tensor:
        """Return (N, M, F): the features of an image's places, those weighing most where a concept's map is highest (softmax)."""
        maps = applied(last_linear(self.backbone)[0].detach(), places).flatten(2)
        return maps.softmax(dim=2) @ places.flatten(2).transpose(1, 2)

    def projected(self, features: Tensor) -> Tensor:
        """Return (..., D) unit vectors of (..., F) features."""
        return F.normalize(self.projector(features).float(), dim=-1)

    def directions(self) -> Tensor:
        """Return (M, P, D): the prototypes as unit vectors."""
        return F.normalize(self.prototypes.float(), dim=-1)

    def kept_but(self, chosen: Tensor, concept_logits: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and scores, where those of concepts that are not `chosen` (M,) are the first row's."""
        own = torch.where(chosen.repeat_interleave(self.each), features, features[:1])
        return torch.where(chosen, concept_logits, concept_logits[:1]), own

    def classes(
        self, concept_logits: Tensor, features: Tensor | None = None, values: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Return (N, K) class outputs of (N, M · P) scores, which it cannot do without; concept logits are not looked at.

        `values` and `mask`, (N, M) or (1, M), correct concepts: all scores of one that is corrected stand between `low` and
        `high`.
        """
        assert features is not None
        outputs: Tensor = self.head(self.corrected(features, values, mask))
        return outputs

    def corrected(self, concept_logits: Tensor, values: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Return (N, M · P) scores, those of corrected concepts on the same scale.

        What it is given first are scores: they stand here where concepts' logits do in other bottlenecks.
        """
        if values is None or mask is None:
            return concept_logits
        by_concept = concept_logits.reshape(-1, self.concepts, self.each)
        given = self.on_scale(values).reshape(-1, self.concepts, self.each)
        return torch.where(mask[:, :, None] > 0.5, given, by_concept).flatten(1)

    def shown(self, concept_logits: Tensor) -> Tensor:
        """Return what the class layer sees: scores, as they are."""
        return concept_logits

    def on_scale(self, values: Tensor) -> Tensor:
        """Return (N, M · P) scores that stand for (N, M) concept values in 0..1."""
        low, high = (end.reshape(self.concepts, self.each) for end in (self.low, self.high))
        return (low + values[:, :, None] * (high - low)).flatten(1)

    def parts(self, scores: Tensor) -> Tensor:
        """Return (N, M, K): what each concept's scores, (N, M · P), add to the class outputs; with the bias they sum to them."""
        weight = self.head.weight.reshape(-1, self.concepts, self.each)
        return torch.einsum("nmp,kmp->nmk", scores.reshape(-1, self.concepts, self.each), weight)

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Pool the backbone's features and, unless `pre_logits`, return class outputs."""
        if pre_logits:
            pooled: Tensor = self.backbone.forward_head(features, pre_logits=True)  # type: ignore[operator]
            return pooled
        concept_logits, places = self._placed(features)
        return self.classes(concept_logits, self.beside(places))

    def _placed(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        pooled: Tensor = self.backbone.forward_head(raw, pre_logits=True)  # type: ignore[operator]
        return classify_features(self.backbone, pooled), self.evidence.placed(raw)


def require_places(backbone: nn.Module, blank: Tensor) -> Evidence:
    """Return how a backbone's features lie in places, as it does for one normalised image of its input size.

    Raises:
        ConfigError: If concepts would not be linear on the mean of features over several places.
    """
    other = "take a backbone that averages them (a ResNet), or another model.bottleneck.kind"
    try:
        evidence = find_evidence(backbone.eval(), blank)
        last_linear(backbone)
    except NotLinearError as error:
        raise ConfigError(f"prototypes are of the places of an image, and {error}; {other}") from error
    if evidence.slices is not None:
        raise ConfigError(f"prototypes are of the places of an image, and slices give their features pooled already; {other}")
    if math.prod(evidence.layout.grid) == 1:
        raise ConfigError(
            f"prototypes are of the places of an image, and of {'x'.join(map(str, blank.shape[2:]))} pixels this network tells "
            "one apart; raise model.preprocess.size, or take model.small_stem=true"
        )
    return evidence
