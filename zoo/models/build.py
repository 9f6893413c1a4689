"""From a spec to its network, without weights."""

from __future__ import annotations

from typing import Any

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


def _network(spec: ModelSpec, **initial: Any) -> nn.Module:
    """Build a spec's backbone and what stands around it: an ordinal link, or a memory of neighbours."""
    assert spec.labels is not None
    bottleneck = spec.task == "bottleneck"
    objective, labels = Objective.from_dict(spec.objective["classes"] if bottleneck else spec.objective), spec.labels
    if spec.family == "clip_image":
        model: nn.Module = build_clip_image(spec.arguments["open_clip"], spec.arguments["outputs"], initial.get("seed", 0))
    else:
        model = model_from_spec(spec, **initial)
    if bottleneck:
        asked = spec.objective
        if asked["regime"] == "language":
            assert isinstance(model, ClipImageNetwork)
            model = with_concept_scores(model, len(asked["concepts"]))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(initial.get("seed", 0), "class layer"))
            return BottleneckNetwork(
                model, concepts=len(asked["concepts"]), outputs=objective.outputs(labels), kind=asked["kind"],
                features=_feature_width(model, spec) if asked["residual"] else None,
                class_layer_rate=asked.get("class_layer_rate", 1.0),
            )  # fmt: skip
    if "neighbours" in spec.arguments:
        asked = spec.arguments["neighbours"]
        width = _feature_width(model, spec)
        return NeighbourNetwork(
            model, features=width, samples=asked["samples"], outputs=labels.width, neighbours=asked["count"], kind=labels.kind
        )
    if objective.loss in ("corn", "cumulative"):
        return OrdinalNetwork(model, CornLink() if objective.loss == "corn" else CumulativeLink(labels.width))
    return model


def _feature_width(model: nn.Module, spec: ModelSpec) -> int:
    with torch.no_grad():
        zeros = torch.zeros(1, spec.preprocess.channels, *spec.preprocess.size)
        return int(pooled_features(model.eval(), zeros).shape[1])
