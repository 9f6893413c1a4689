"""The line from a network's pooled features to its outputs, where there is one: of a bottleneck, through its concepts."""

from __future__ import annotations

from torch import Tensor, nn

from medzoo.models.heads.bottleneck import BottleneckNetwork
from medzoo.models.places import NotLinearError, last_linear


def linear_head(model: nn.Module) -> tuple[Tensor, Tensor]:
    """Return (K, F) weights and (K,) bias from pooled features to outputs; NotLinearError if anything but a line is between."""
    if isinstance(model, BottleneckNetwork):
        if model.kind not in ("logit", "score"):
            raise NotLinearError(f"classes follow from concepts by a {model.kind} step; the concepts' own maps are exact")
        weight, bias = linear_head(model.backbone)
        first, shift = model.head.weight @ weight, model.head.weight @ bias + model.head.bias
        if model.residual is not None:
            first, shift = first + model.residual.weight, shift + model.residual.bias
        return first, shift
    return last_linear(model)
