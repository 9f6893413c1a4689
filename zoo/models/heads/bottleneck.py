"""Concept bottlenecks: a backbone says which concepts it sees, a linear layer says the class from the concepts alone.

Koh et al. 2020 (ICML, arXiv 2007.04612). What stands between concepts and classes is the `kind` of bottleneck: the concepts'
probabilities (`soft`), their hard 0 or 1 (`hard`), their logits (`logit`), or standardised scores that are no logits (`score`,
such as image–text similarities); two embeddings a concept, mixed (`embedding`), and prototypes that places of an image are held
against (`prototype`) are networks of their own, in `medzoo.models.heads.concept_embeddings` and `medzoo.models.heads.prototypes`.
A person may correct a concept: its probability 0..1 is put on the bottleneck's own scale, for logits and scores between the 5th
and 95th percentile of those of the training images (their section 5).
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from medzoo.data.errors import UnknownNameError
from medzoo.models.backbones.contract import Around, Parted, classify_features, pooled_features

BottleneckKind = Literal["soft", "hard", "logit", "score", "embedding", "prototype"]
Regime = Literal["joint", "sequential", "independent", "posthoc", "language"]
FROZEN = ("posthoc", "language")
"""Regimes whose network stays as it is."""


class BottleneckNetwork(Parted, Around):
    """Images → concept logits → class outputs.

    Args:
        backbone: With M outputs, one a concept; see `medzoo.models.backbones.contract`.
        concepts: M.
        outputs: K.
        kind: What the class layer sees of the concepts.
        class_layer_rate: Learning rate of the class layer in joint training, times the backbone's.
        features: F, width of the backbone's features for a residual path beside the concepts (CBM-h, Yuksekgonul et al.
            2023, section 3); None: a pure bottleneck.
        width: Numbers that the class layer sees of each concept.

    Attributes:
        concepts: M.
        head: (K, M · width) linear layer from concepts to classes.
        residual: (K, F) linear layer from features to classes, or None.
        low: (M,) concept logit that stands for "absent" in an intervention on a `logit` or `score` bottleneck; equal to
            `high` until the last step of training, which fits the class layer too.
        high: (M,) concept logit that stands for "present".
        learning_rate_scales: Parameter → factor on its learning rate. A class layer over probabilities needs weights far from 0,
            which steps of a backbone's size do not reach.
    """

    low: Tensor
    high: Tensor

    def __init__(
        self, backbone: nn.Module, *, concepts: int, outputs: int, kind: BottleneckKind, features: int | None = None,
        class_layer_rate: float = 1.0, width: int = 1
    ) -> None:  # fmt: skip
        super().__init__(backbone)
        if kind not in get_args(BottleneckKind):
            raise UnknownNameError("model.bottleneck.kind", kind, get_args(BottleneckKind))
        self.kind, self.concepts = kind, concepts
        self.head = nn.Linear(concepts * width, outputs)
        self.learning_rate_scales = {f"head.{name}": class_layer_rate for name in ("weight", "bias")}
        self.residual = None if features is None else nn.Linear(features, outputs)
        if self.residual is not None:
            nn.init.zeros_(self.residual.weight)
            nn.init.zeros_(self.residual.bias)
        self.register_buffer("low", torch.zeros(concepts))
        self.register_buffer("high", torch.zeros(concepts))

    @property
    def unfinished(self) -> str | None:  # type: ignore[override]
        """What the last step of training would still do: before it, the class layer may be what it was initialised to."""
        return None if bool((self.high > self.low).all()) else "fits the class layer to the concepts"

    def concepts_and_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return (N, M) concept logits of normalised images, and (N, F) what `classes` reads beside them."""
        return self.concepts_of(pooled_features(self.backbone, images))

    def concepts_of(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return (N, M) concept logits of pooled features, and (N, F) what `classes` reads beside them: these features."""
        return classify_features(self.backbone, features), features

    def beside(self, places: Tensor, counts: Tensor | None = None) -> Tensor:
        """Return (N, F) what `classes` reads beside concept logits, of the (N, F, *grid) features of places: their mean.

        `counts` (N, M, *grid), 1 where a place counts for a concept, changes nothing: the path beside the concepts sees all.
        """
        return places.flatten(2).mean(dim=2)

    def kept_but(self, chosen: Tensor, concept_logits: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `concepts_of` gave, where concepts that are not `chosen` (M,) are those of the first row."""
        return torch.where(chosen, concept_logits, concept_logits[:1]), features

    def classes(
        self, concept_logits: Tensor, features: Tensor | None = None, values: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Return (N, K) class outputs of concepts.

        Args:
            concept_logits: (N, M).
            features: (N, F), for the residual path.
            values: (N, M) or (1, M), corrected concepts in 0..1.
            mask: Like `values`, 1 where a concept is corrected.
        """
        outputs: Tensor = self.head(self.corrected(concept_logits, values, mask))
        return outputs if self.residual is None or features is None else outputs + self.residual(features)

    def corrected(self, concept_logits: Tensor, values: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Return what `shown` does, corrected concepts on the same scale; arguments as for `classes`."""
        shown = self.shown(concept_logits)
        return shown if values is None or mask is None else torch.where(mask > 0.5, self.on_scale(values), shown)

    def shown(self, concept_logits: Tensor) -> Tensor:
        """Return what the class layer sees of (N, M) concept logits."""
        if self.kind in ("logit", "score"):
            return concept_logits
        soft = concept_logits.sigmoid()
        if self.kind != "hard":
            return soft
        hard = (concept_logits > 0).to(soft.dtype)
        # The gradient of the soft value passes through the step (Bengio et al. 2013, straight-through).
        return hard + soft - soft.detach() if self.training else hard

    def on_scale(self, values: Tensor) -> Tensor:
        """Return concept values in 0..1 on the bottleneck's scale."""
        if self.kind in ("logit", "score"):
            return self.low + values * (self.high - self.low)
        return (values > 0.5).to(values.dtype) if self.kind == "hard" else values

    def values(self, concept_logits: Tensor) -> Tensor:
        """Return (N, M) concepts in 0..1: probabilities; of scores the place between `low` and `high`, cut there."""
        if self.kind == "score":
            return ((concept_logits - self.low) / (self.high - self.low)).clamp(0, 1)
        return concept_logits.sigmoid()

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Pool features and, unless `pre_logits`, return class outputs."""
        pooled: Tensor = self.backbone.forward_head(features, pre_logits=True)  # type: ignore[operator]
        return pooled if pre_logits else self.classes(*self.concepts_of(pooled))

    def get_classifier(self) -> nn.Module:
        """Return the network itself: two linear layers with concepts between, not one."""
        return self
