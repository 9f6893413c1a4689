"""The class layer of a concept bottleneck, fitted to convergence, and the scale that a person's corrections are put on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medzoo.models.heads.bottleneck import BottleneckNetwork
from medzoo.models.heads.linear_layer import choose_penalty, fit_linear, fit_shown, fit_sparse_linear, for_raw_inputs, set_layer
from medzoo.models.heads.prototypes import PrototypeNetwork

PERCENTILES = (0.05, 0.95)
"""Of the training images' concept logits: what stands for "absent" and "present" (Koh et al. 2020, section 5)."""


@dataclass(frozen=True)
class ConceptData:
    """What the class layer is fitted on, of one split.

    Attributes:
        concept_logits: (N, M) predicted; of prototypes (N, M · P) scores.
        concepts: (N, M) true, NaN where missing.
        targets: (N, K) true classes, NaN where missing; quantities standardised for `fit_class_layer`.
        features: (N, F) pooled features; for the residual path.
    """

    concept_logits: Tensor
    concepts: Tensor
    targets: Tensor
    features: Tensor | None = None


@torch.no_grad()
def set_intervention_scale(network: BottleneckNetwork, concept_logits: Tensor) -> None:
    """Set the concept logits that stand for absent and present, from (N, M) of the training images."""
    low, high = (torch.quantile(concept_logits.float(), share, dim=0) for share in PERCENTILES)
    network.low.copy_(low)
    network.high.copy_(torch.maximum(high, low + 1e-3))


@torch.no_grad()
def set_intervention_means(network: PrototypeNetwork, scores: Tensor, concepts: Tensor) -> None:
    """Set the scores of prototypes that stand for absent and present: their means over training images known as such.

    A prototype is learnt by contrast with other concepts' and not with images that lack its own, so that nothing makes its score
    higher where the concept is: percentiles over all images would say nothing of it.

    Args:
        network: Of M concepts with P prototypes each.
        scores: (N, M · P) of the training images.
        concepts: (N, M) truth, NaN where missing; each concept is known to be there in some and not in others.
    """
    known = concepts.repeat_interleave(network.each, dim=1)
    for end, there in ((network.low, known <= 0.5), (network.high, known > 0.5)):  # NaN is neither
        end.copy_((scores.double() * there).sum(dim=0) / there.sum(dim=0))


@torch.no_grad()
def fit_class_layer(
    network: BottleneckNetwork, train: ConceptData, val: ConceptData | None, *, kind: str, on_truth: bool, penalty: float | None,
    l1_ratio: float
) -> float:  # fmt: skip
    """Fit the layer from concepts to classes in place, then a residual path to what it left over.

    Args:
        network: In evaluation mode; its scale of interventions is set.
        train: The training split, not augmented.
        val: The validation split, to choose the penalty by if there is none.
        kind: Label kind.
        on_truth: Fit on true concepts where they are known, not on predicted ones.
        penalty: 1 / C of scikit-learn; None: the one with the smallest validation loss.
        l1_ratio: Share of the L1 norm in it.

    Returns:
        The penalty of the class layer.

    Raises:
        ConfigError: If nothing is labelled, or a penalty is out of range.
    """
    shown = network.shown(train.concept_logits)
    if on_truth:
        shown = torch.where(train.concepts.isnan(), shown, network.on_scale(train.concepts.nan_to_num(0.0)))

    def fit(value: float) -> tuple[Tensor, Tensor]:
        if l1_ratio > 0:
            return fit_sparse_linear(shown, train.targets, kind, penalty=value, l1_ratio=l1_ratio)
        weight, bias = fit_shown(shown, train.targets, kind, penalty=value)
        return weight.float(), bias.float()

    with torch.enable_grad():
        chosen = penalty
        if chosen is None:
            assert val is not None
            chosen = choose_penalty(fit, network.shown(val.concept_logits), val.targets, kind)
        weight, bias = fit(chosen)
    network.head.weight.copy_(weight)
    network.head.bias.copy_(bias)
    if network.residual is not None and train.features is not None:
        _fit_residual(network, train, train.features, val, kind, penalty)
    return chosen


def _fit_residual(
    network: BottleneckNetwork, train: ConceptData, features: Tensor, val: ConceptData | None, kind: str, penalty: float | None
) -> None:
    """Fit what the concepts left over on features of mean 0 and spread 1 (Yuksekgonul et al. 2023, equation 3)."""
    assert network.residual is not None
    mean, spread = features.mean(dim=0), features.std(dim=0, correction=0).clamp_min(1e-6)
    inputs, offset = (features - mean) / spread, network.head(network.shown(train.concept_logits))

    def fit(value: float) -> tuple[Tensor, Tensor]:
        return fit_linear(inputs, train.targets, kind, penalty=value, offset=offset, bias=False)

    with torch.enable_grad():
        if penalty is None:
            assert val is not None
            assert val.features is not None
            others, left = (val.features - mean) / spread, network.head(network.shown(val.concept_logits))
            penalty = choose_penalty(fit, others, val.targets, kind, offset=left)
        weight, bias = fit(penalty)
    set_layer(network.residual, *for_raw_inputs(weight, bias, mean, spread), "the residual path")
