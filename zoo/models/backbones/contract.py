"""What every backbone can be asked, whoever wrote it: features, head, depth of its parameters.

A backbone has `forward_features`, `forward_head(features, pre_logits=...)` and `get_classifier()`, as timm's models have, and
where its layers are to be trained apart `group_matcher(coarse)`.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from medzoo.data.errors import ConfigError
from medzoo.models.backbones.slices import SliceNetwork
from medzoo.models.heads.ordinal import OrdinalNetwork


def pooled_features(model: nn.Module, images: Tensor) -> Tensor:
    """Return (N, F) features before the head, pooled as the head would.

    Raises:
        ConfigError: If the model does not part features from head.
    """
    if not hasattr(model, "forward_features") or not hasattr(model, "forward_head"):
        raise ConfigError(f"{type(model).__name__} has no forward_features and forward_head: its features cannot be had")
    features: Tensor = model.forward_head(model.forward_features(images), pre_logits=True)  # type: ignore[operator]
    return features


def classify_features(model: nn.Module, features: Tensor) -> Tensor:
    """Return the (N, K) outputs of a model for its own pooled features (N, F)."""
    classifier = _classifier(model)
    if isinstance(classifier, nn.Conv2d):  # some timm heads are 1×1 convolutions
        logits: Tensor = classifier(features[..., None, None]).flatten(1)
    else:
        logits = classifier(features)
    return model.link(logits) if isinstance(model, OrdinalNetwork) else logits


def head_modules(model: nn.Module) -> list[nn.Module]:
    """Return the modules between pooled features and outputs: the last layer, and the link of an ordinal head."""
    return [_classifier(model), *([model.link] if isinstance(model, OrdinalNetwork) else [])]


def depth_groups(model: nn.Module) -> list[list[str]]:
    """Return parameter names by depth, from the stem to the last block; the head is in none.

    Raises:
        ConfigError: If the model does not say how deep its layers lie.
    """
    from timm.models import group_parameters

    inner, prefix = model, ""
    while isinstance(inner, OrdinalNetwork | SliceNetwork):
        inner, prefix = inner.backbone, f"{prefix}backbone."
    if not hasattr(inner, "group_matcher"):
        raise ConfigError(f"{type(inner).__name__} does not say how deep its layers lie (group_matcher); train it whole")
    groups: dict[Any, list[str]] = group_parameters(inner, inner.group_matcher(coarse=True))  # type: ignore[operator]
    head = {id(p) for module in head_modules(model) for p in module.parameters()}
    named = dict(model.named_parameters())
    ordered = [[prefix + name for name in groups[key]] for key in sorted(groups)]
    ordered = [[name for name in names if name in named and id(named[name]) not in head] for names in ordered]
    return [names for names in ordered if names]


def _classifier(model: nn.Module) -> nn.Module:
    classifier: Any = model.get_classifier() if hasattr(model, "get_classifier") else None  # type: ignore[operator]
    if not isinstance(classifier, nn.Linear | nn.Conv2d):
        raise ConfigError(f"the head of {type(model).__name__} is not one linear layer; train it whole (trainer.finetune=full)")
    return classifier
