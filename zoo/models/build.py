"""From a spec to its network, without weights: a backbone, and the head that the spec names around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from medzoo.data.seeding import derived_seed
from medzoo.losses.objective import Objective
from medzoo.models.backbones.contract import pooled_features
from medzoo.models.clip.image import ClipImageNetwork, build_clip_image
from medzoo.models.heads.bottleneck import BottleneckNetwork
from medzoo.models.heads.concept_scores import with_concept_scores
from medzoo.models.heads.neighbours import NeighbourNetwork
from medzoo.models.heads.ordinal import CornLink, CumulativeLink, OrdinalNetwork
from medzoo.models.registry import model_from_spec
from medzoo.store.spec import ModelSpec


def build_network(spec: ModelSpec, *, seed: int = 0, pretrained: bool = False) -> nn.Module:
    """Build a spec's network, its backbone and its head; arguments are those of `medzoo.models.registry.model_from_spec`.

    Raises:
        UnknownNameError: If the architecture is not known.
        ConfigError: If arguments do not fit it.
    """
    if spec.family == "clip_image":
        backbone: nn.Module = build_clip_image(spec.arguments["open_clip"], spec.arguments["outputs"], seed)
    else:
        backbone = model_from_spec(spec, seed=seed, pretrained=pretrained)
    return HEADS[head_of(spec)](backbone, spec, seed)


def head_of(spec: ModelSpec) -> str:
    """Return which of `HEADS` a spec is of: the one that it names, else what its task, arguments and loss say."""
    if spec.head is not None:
        return spec.head
    if spec.task == "bottleneck":
        return "bottleneck"
    if "neighbours" in spec.arguments:
        return "neighbours"
    return "ordinal" if spec.objective.get("loss") in ("corn", "cumulative") else "linear"


def _linear(backbone: nn.Module, spec: ModelSpec, seed: int) -> nn.Module:
    return backbone


def _ordinal(backbone: nn.Module, spec: ModelSpec, seed: int) -> nn.Module:
    corn = spec.objective["loss"] == "corn"
    return OrdinalNetwork(backbone, CornLink() if corn else CumulativeLink(spec.label_space.width))


def _neighbours(backbone: nn.Module, spec: ModelSpec, seed: int) -> nn.Module:
    asked, labels = spec.arguments["neighbours"], spec.label_space
    return NeighbourNetwork(
        backbone, features=_feature_width(backbone, spec), samples=asked["samples"], outputs=labels.width,
        neighbours=asked["count"], kind=labels.kind,
    )  # fmt: skip


def _bottleneck(backbone: nn.Module, spec: ModelSpec, seed: int) -> nn.Module:
    asked = spec.objective
    if asked["regime"] == "language":
        assert isinstance(backbone, ClipImageNetwork)
        backbone = with_concept_scores(backbone, len(asked["concepts"]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "class layer"))
        return BottleneckNetwork(
            backbone, concepts=len(asked["concepts"]), outputs=Objective.from_dict(asked["classes"]).outputs(spec.label_space),
            kind=asked["kind"], features=_feature_width(backbone, spec) if asked["residual"] else None,
            class_layer_rate=asked.get("class_layer_rate", 1.0),
        )  # fmt: skip


HEADS: Mapping[str, Callable[[nn.Module, ModelSpec, int], nn.Module]] = {
    "linear": _linear,
    "ordinal": _ordinal,
    "neighbours": _neighbours,
    "bottleneck": _bottleneck,
}
"""Name of a head → what puts it around a backbone, its random weights a function of the seed."""


def _feature_width(model: nn.Module, spec: ModelSpec) -> int:
    with torch.no_grad():
        zeros = torch.zeros(1, spec.preprocess.channels, *spec.preprocess.size)
        return int(pooled_features(model.eval(), zeros).shape[1])
