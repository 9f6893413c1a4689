"""Concept embeddings: two vectors a concept, mixed by its probability.

Zarlenga et al. 2022 (NeurIPS, arXiv 2209.09056, figure 2). Of pooled features h a concept i has c⁺ = LeakyReLU(W⁺ᵢ h + b⁺ᵢ),
what it looks like where it is there, and c⁻ likewise, where it is not. One layer for all concepts, s, makes its logit of both, so
that p = σ(s([c⁺; c⁻])). The classes are linear on all concepts' p c⁺ + (1 − p) c⁻ side by side. What a concept says beside its
probability thus reaches the classes, and a person still corrects it: p becomes 1 and the classes see c⁺ alone, or 0 and c⁻.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medzoo.models.backbones.contract import classify_features
from medzoo.models.heads.bottleneck import BottleneckNetwork


class EmbeddingNetwork(BottleneckNetwork):
    """Images → two embeddings a concept → concept logits → class outputs.

    What `classes` reads beside concept logits are the embeddings, (N, M · 2 · m): of each concept c⁺, then c⁻. Of several views
    they are averaged as the logits are.

    Args:
        backbone: With M · 2 · m outputs; its last layer is the linear half of the embeddings.
        concepts: M.
        outputs: K.
        width: m, numbers an embedding.
        class_layer_rate: Learning rate of the class layer, times the backbone's.

    Attributes:
        head: (K, M · m) linear layer from mixtures to classes.
        scorer: From both embeddings of any concept, (2 · m), to its logit; shared.
    """

    def __init__(self, backbone: nn.Module, *, concepts: int, outputs: int, width: int, class_layer_rate: float = 1.0) -> None:
        super().__init__(
            backbone, concepts=concepts, outputs=outputs, kind="embedding", class_layer_rate=class_layer_rate, width=width
        )
        self.width = width
        self.scorer = nn.Linear(2 * width, 1)

    def concepts_of(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return (N, M) concept logits of pooled features, and (N, M · 2 · m) embeddings."""
        embeddings = F.leaky_relu(classify_features(self.backbone, features))
        return self.scorer(embeddings.reshape(-1, self.concepts, 2 * self.width)).squeeze(-1), embeddings

    def kept_but(self, chosen: Tensor, concept_logits: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and embeddings, where those of concepts that are not `chosen` (M,) are the first row's."""
        own = torch.where(chosen.repeat_interleave(2 * self.width), features, features[:1])
        return torch.where(chosen, concept_logits, concept_logits[:1]), own

    def classes(
        self, concept_logits: Tensor, features: Tensor | None = None, values: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Return (N, K) class outputs of (N, M) concept logits and (N, M · 2 · m) embeddings, which it cannot do without.

        `values` and `mask`, (N, M) or (1, M), correct concepts: what is corrected to 1 is c⁺, to 0 is c⁻.
        """
        assert features is not None
        present, absent = self._both(features)
        shown = self.corrected(concept_logits, values, mask).unsqueeze(-1)
        outputs: Tensor = self.head((shown * present + (1 - shown) * absent).flatten(1))
        return outputs

    def parts(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Take class outputs apart, which are linear in the concepts' probabilities: absent + Σᵢ pᵢ effectᵢ.

        Args:
            features: (N, M · 2 · m) embeddings.

        Returns:
            (N, K) class outputs where every concept is absent; (N, M, K) what each adds where it is there.
        """
        present, absent = self._both(features)
        weight = self.head.weight.reshape(-1, self.concepts, self.width)
        return self.head(absent.flatten(1)), torch.einsum("nmw,kmw->nmk", present - absent, weight)

    def _both(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return c⁺ and c⁻, each (N, M, m)."""
        both = features.reshape(-1, self.concepts, 2, self.width)
        return both[:, :, 0], both[:, :, 1]
