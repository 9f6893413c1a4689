"""What every backbone can be asked, whoever wrote it: features, head, depth of its parameters.

A backbone has `forward_features`, `forward_head(features, pre_logits=...)` and `get_classifier()`, as timm's models have, and
where its layers are to be trained apart `group_matcher(coarse)`. What stands around one (`Around`) has the same.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from medzoo.data.errors import ConfigError


class Parted(nn.Module):
    """A network whose whole is its two parts, `forward_features` and then `forward_head`."""

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, K) outputs of normalised images, or volumes."""
        outputs: Tensor = self.forward_head(self.forward_features(images))  # type: ignore[operator]
        return outputs


class Around(nn.Module):
    """What stands around a backbone, with the backbone's own interface: a derived class writes its difference.

    Args:
        backbone: With `forward_features`, `forward_head` and `get_classifier`.

    Attributes:
        is_head: Whether it answers for the backbone; false for what is a backbone itself (a flat one over slices).
        unfinished: What the last step of training would still do; None when nothing is left.
    """

    is_head = True
    unfinished: str | None = None

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def linked(self, outputs: Tensor) -> Tensor:
        """Turn the backbone's (N, J) outputs into (N, K)."""
        return outputs

    def link_modules(self) -> list[nn.Module]:
        """Return the modules `linked` consists of."""
        return []

    def completed(self, outputs: Tensor, features: Tensor) -> Tensor:
        """Return linked outputs (N, K) with what else is said of the same pooled features (N, F): nothing."""
        return outputs

    def forward_features(self, images: Tensor) -> Tensor:
        """Return the backbone's features before pooling."""
        features: Tensor = self.backbone.forward_features(images)  # type: ignore[operator]
        return features

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Pool features and, unless `pre_logits`, turn them into outputs."""
        seen: Tensor = self.backbone.forward_head(features, pre_logits=pre_logits)  # type: ignore[operator]
        return seen if pre_logits else self.linked(seen)

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, K) outputs of normalised images."""
        return self.linked(self.backbone(images))

    def get_classifier(self) -> nn.Module:
        """Return the backbone's last linear layer."""
        classifier: nn.Module = self.backbone.get_classifier()  # type: ignore[operator]
        return classifier


def pooled_features(model: nn.Module, images: Tensor) -> Tensor:
    """Return (N, F) features before the head, pooled as the head would; ConfigError if the model does not part them from it."""
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
    return model.completed(model.linked(logits), features) if isinstance(model, Around) else logits


def head_modules(model: nn.Module) -> list[nn.Module]:
    """Return the modules between pooled features and outputs: the last layer, and the link of an ordinal head."""
    return [_classifier(model), *(model.link_modules() if isinstance(model, Around) else [])]


def depth_groups(model: nn.Module) -> list[list[str]]:
    """Return parameter names by depth, from stem to last block, none of the head's; ConfigError if the model does not say it."""
    from timm.models import group_parameters

    inner, prefix = model, ""
    while isinstance(inner, Around):
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
