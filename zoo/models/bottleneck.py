"""Concept bottlenecks: a backbone says which concepts it sees, a linear layer says the class from the concepts alone.

Koh et al. 2020 (ICML, arXiv 2007.04612). What stands between concepts and classes is the `kind` of bottleneck: the concepts'
probabilities (`soft`), their hard 0 or 1 (`hard`), or their logits (`logit`). A person may correct a concept: its probability
0..1 is put on the bottleneck's own scale, for logits between the 5th and 95th percentile of the training logits (their
section 5).
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.models.backbone import classify_features, pooled_features

BottleneckKind = Literal["soft", "hard", "logit"]
PERCENTILES = (0.05, 0.95)


class BottleneckNetwork(nn.Module):
    """Images → concept logits → class outputs.

    Args:
        backbone: With M outputs, one a concept; see `medzoo.models.backbone`.
        concepts: M.
        outputs: K.
        kind: What the class layer sees of the concepts.
        features: F, width of the backbone's features for a residual path beside the concepts (CBM-h, Yuksekgonul et al.
            2023, section 3); None: a pure bottleneck.

    Attributes:
        head: (K, M) linear layer from concepts to classes.
        residual: (K, F) linear layer from features to classes, or None.
        low: (M,) concept logit that stands for "absent" in an intervention on a `logit` bottleneck.
        high: (M,) concept logit that stands for "present".
    """

    low: Tensor
    high: Tensor

    def __init__(
        self, backbone: nn.Module, *, concepts: int, outputs: int, kind: BottleneckKind, features: int | None = None
    ) -> None:
        super().__init__()
        if kind not in get_args(BottleneckKind):
            raise UnknownNameError("model.bottleneck.kind", kind, get_args(BottleneckKind))
        self.backbone = backbone
        self.kind = kind
        self.head = nn.Linear(concepts, outputs)
        self.residual = None if features is None else nn.Linear(features, outputs, bias=False)
        if self.residual is not None:
            nn.init.zeros_(self.residual.weight)
        self.register_buffer("low", torch.full((concepts,), -3.0))
        self.register_buffer("high", torch.full((concepts,), 3.0))

    def concepts_and_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return (N, M) concept logits and (N, F) pooled features of normalised images."""
        features = pooled_features(self.backbone, images)
        return classify_features(self.backbone, features), features

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
        shown = self.shown(concept_logits)
        if values is not None and mask is not None:
            shown = torch.where(mask > 0.5, self.on_scale(values), shown)
        outputs: Tensor = self.head(shown)
        return outputs if self.residual is None or features is None else outputs + self.residual(features)

    def shown(self, concept_logits: Tensor) -> Tensor:
        """Return what the class layer sees of (N, M) concept logits."""
        if self.kind == "logit":
            return concept_logits
        soft = concept_logits.sigmoid()
        if self.kind == "soft":
            return soft
        hard = (concept_logits > 0).to(soft.dtype)
        # The gradient of the soft value passes through the step (Bengio et al. 2013, straight-through).
        return hard + soft - soft.detach() if self.training else hard

    def on_scale(self, values: Tensor) -> Tensor:
        """Return concept values in 0..1 on the bottleneck's scale."""
        if self.kind == "soft":
            return values
        if self.kind == "hard":
            return (values > 0.5).to(values.dtype)
        return self.low + values * (self.high - self.low)

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, K) class outputs of normalised images."""
        concept_logits, features = self.concepts_and_features(images)
        return self.classes(concept_logits, features)

    def forward_features(self, images: Tensor) -> Tensor:
        """Return the backbone's features."""
        features: Tensor = self.backbone.forward_features(images)  # type: ignore[operator]
        return features

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Pool features and, unless `pre_logits`, return class outputs."""
        pooled: Tensor = self.backbone.forward_head(features, pre_logits=True)  # type: ignore[operator]
        return pooled if pre_logits else self.classes(classify_features(self.backbone, pooled), pooled)


def fit_linear(
    inputs: Tensor, targets: Tensor, kind: str, *, penalty: float, offset: Tensor | None = None, bias: bool = True
) -> tuple[Tensor, Tensor]:
    """Fit a linear layer to convergence: the convex half of sequential and independent training.

    Minimises Σ loss + penalty / 2 · ‖weights‖² (the bias is free), scikit-learn's objective for `C = 1 / penalty`, by L-BFGS in
    float64.

    Args:
        inputs: (N, M).
        targets: (N, K) one-hot, soft or multi-hot targets, or standardised values; NaN where missing.
        kind: Label kind: softmax cross-entropy, sigmoid cross-entropy entry by entry, or half the squared error.
        penalty: At least 0.
        offset: (N, K) added to the outputs and not fitted.
        bias: Whether a bias is fitted.

    Returns:
        (K, M) weights and (K,) bias, float32.

    Raises:
        ConfigError: If the penalty is negative or nothing is labelled.
    """
    if penalty < 0:
        raise ConfigError(f"model.bottleneck.penalty={penalty:g} must be at least 0")
    exclusive = kind in ("multiclass", "ordinal")
    observed = ~targets.isnan()
    rows = observed.all(dim=1) if exclusive else observed.any(dim=1)
    if not rows.any():
        raise ConfigError("no labelled training sample to fit the class layer on")
    x, y, seen = inputs[rows].double(), targets[rows].double().nan_to_num(0.0), observed[rows].double()
    start = torch.zeros(len(x), targets.shape[1], dtype=torch.float64) if offset is None else offset[rows].double()
    weight = torch.zeros(targets.shape[1], inputs.shape[1], dtype=torch.float64, requires_grad=True)
    shift = torch.zeros(targets.shape[1], dtype=torch.float64, requires_grad=bias)
    solver = torch.optim.LBFGS(
        [weight, shift] if bias else [weight], lr=1.0, max_iter=2000, tolerance_grad=1e-9, tolerance_change=1e-14,
        history_size=50, line_search_fn="strong_wolfe",
    )  # fmt: skip

    def objective() -> Tensor:
        outputs = start + x @ weight.T + shift
        if exclusive:
            loss = -(y * outputs.log_softmax(dim=1)).sum()
        elif kind == "multilabel":
            loss = (seen * nn.functional.binary_cross_entropy_with_logits(outputs, y, reduction="none")).sum()
        else:
            loss = (seen * (outputs - y) ** 2).sum() / 2
        # Divided by the number of rows for the solver's sake alone: the minimum stays where it is.
        return (loss + penalty / 2 * (weight**2).sum()) / len(x)

    def closure() -> Tensor:
        solver.zero_grad()
        value = objective()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    solver.step(closure)  # type: ignore[no-untyped-call]
    return weight.detach().float(), shift.detach().float()
