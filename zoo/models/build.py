"""From a spec to its network, without weights: a backbone, and the head that the spec names around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import nn

from medzoo.data.inputs import InputSpace
from medzoo.data.seeding import derived_seed
from medzoo.losses.objective import Objective
from medzoo.models.backbones.contract import pooled_features
from medzoo.models.clip.image import ClipImageNetwork, build_clip_image
from medzoo.models.clip.text import build_text
from medzoo.models.fusion.inputs import InputEncoder
from medzoo.models.fusion.network import FusionNetwork
from medzoo.models.heads.bag import BagNetwork
from medzoo.models.heads.bottleneck import BottleneckNetwork
from medzoo.models.heads.concept_embeddings import EmbeddingNetwork
from medzoo.models.heads.concept_scores import with_concept_scores
from medzoo.models.heads.neighbours import NeighbourNetwork
from medzoo.models.heads.ordinal import CornLink, CumulativeLink, OrdinalNetwork
from medzoo.models.heads.projection import MaskedPatches, Projected
from medzoo.models.heads.prototypes import PrototypeNetwork, require_places
from medzoo.models.heads.sparse import MaskedConvolutions
from medzoo.models.heads.targets import TargetHeads, TargetsNetwork
from medzoo.models.registry import model_from_spec
from medzoo.store.spec import ModelSpec


def build_network(spec: ModelSpec, *, seed: int = 0, pretrained: bool = False) -> nn.Module:
    """Build a spec's network, its backbone and its head; arguments are those of `medzoo.models.registry.model_from_spec`.

    Raises:
        UnknownNameError: If the architecture is not known.
        ConfigError: If arguments do not fit it.
    """
    if spec.family == "fusion":
        asked = spec.arguments
        of_modalities = {name: build_network(encoder_spec(spec, name), seed=seed) for name in asked["encoders"]}
        for name, about in asked.get("texts", {}).items():
            of_modalities[name] = build_text(about["open_clip"], about.get("text_config"), asked["width"], seed)
        return fusion_network(spec, of_modalities, seed)
    if spec.family == "clip_image":
        backbone: nn.Module = build_clip_image(spec.arguments["open_clip"], spec.arguments["outputs"], seed)
    else:
        backbone = model_from_spec(spec, seed=seed, pretrained=pretrained)
    return HEADS[head_of(spec)](backbone, spec, seed)


def encoder_spec(spec: ModelSpec, name: str) -> ModelSpec:
    """Return the spec of one modality's encoder, a network whose outputs are its token."""
    about = spec.arguments["encoders"][name]
    return ModelSpec(
        family=about["family"], task=spec.task, architecture=about["architecture"], preprocess=spec.preprocess_of(name),
        arguments={**about["arguments"], "outputs": spec.arguments["width"]},
    )  # fmt: skip


def fusion_network(spec: ModelSpec, encoders: Mapping[str, nn.Module], seed: int) -> FusionNetwork:
    """Return a network of several modalities around their encoders; what is random in it is a function of the seed."""
    asked = spec.arguments
    first = spec.of_target(next(iter(spec.targets))) if spec.targets else spec
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "fusion"))
        inputs = None
        if (about := asked.get("inputs")) is not None:
            inputs = InputEncoder(InputSpace.from_dict(about), about["mean"], about["std"], asked["width"])
        link, outputs = _link(first), Objective.from_dict(first.objective).outputs(first.label_space)
        network = FusionNetwork(encoders, inputs, asked["join"], asked["width"], outputs, link)
    if spec.targets:
        network.heads = _target_heads(spec, network.head.in_features, seed)
    return network


def head_of(spec: ModelSpec) -> str:
    """Return which of `HEADS` a spec is of: the one that it names, else what its task, arguments and loss say."""
    if spec.head is not None:
        return spec.head
    if spec.targets:
        return "targets"
    if spec.task in ("simclr", "dino"):
        return "projector"
    if spec.task in ("mae", "spark"):
        return {"mae": "decoder", "spark": "sparse decoder"}[spec.task]
    if "bag" in spec.arguments:
        return "bag"
    if spec.task == "bottleneck":
        return "bottleneck"
    if "neighbours" in spec.arguments:
        return "neighbours"
    return "ordinal" if spec.objective.get("loss") in ("corn", "cumulative") else "linear"


def _linear(backbone: nn.Module, spec: ModelSpec, seed: int) -> nn.Module:
    return backbone


def _ordinal(backbone: nn.Module, spec: ModelSpec, seed: int) -> nn.Module:
    link = _link(spec)
    assert link is not None
    return OrdinalNetwork(backbone, link)


def _link(spec: ModelSpec) -> nn.Module | None:
    """Return what makes grades of a last layer's outputs; None where the outputs are what is said."""
    links: Mapping[str, Callable[[], nn.Module]] = {
        "corn": CornLink,
        "cumulative": partial(CumulativeLink, spec.label_space.width),
    }
    return links[spec.objective["loss"]]() if spec.objective["loss"] in links else None


def _targets(backbone: nn.Module, spec: ModelSpec, seed: int) -> nn.Module:
    heads = _target_heads(spec, _feature_width(backbone, spec), seed)
    return TargetsNetwork(backbone, heads, _link(spec.of_target(next(iter(spec.targets)))))


def _target_heads(spec: ModelSpec, features: int, seed: int) -> TargetHeads:
    """Return the heads of all targets but the first; what is random in one is a function of the seed and its name."""
    made = {}
    for name in list(spec.targets)[1:]:
        alone = spec.of_target(name)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(seed, "target", name))
            layer = nn.Linear(features, Objective.from_dict(alone.objective).outputs(alone.label_space))
        made[name] = (layer, _link(alone))
    return TargetHeads(made)


def _neighbours(backbone: nn.Module, spec: ModelSpec, seed: int) -> nn.Module:
    asked, labels = spec.arguments["neighbours"], spec.label_space
    return NeighbourNetwork(
        backbone, features=_feature_width(backbone, spec), samples=asked["samples"], outputs=labels.width,
        neighbours=asked["count"], kind=labels.kind,
    )  # fmt: skip


def _bag(backbone: nn.Module, spec: ModelSpec, seed: int) -> nn.Module:
    plain = replace(spec, head=None, arguments={name: value for name, value in spec.arguments.items() if name != "bag"})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "bag"))
        inner = HEADS[head_of(plain)](backbone, plain, seed)
        return BagNetwork(inner, features=_feature_width(backbone, spec), **spec.arguments["bag"])


def _bottleneck(backbone: nn.Module, spec: ModelSpec, seed: int) -> nn.Module:
    asked = spec.objective
    if asked["regime"] == "language":
        assert isinstance(backbone, ClipImageNetwork)
        backbone = with_concept_scores(backbone, len(asked["concepts"]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "class layer"))
        concepts, outputs = len(asked["concepts"]), Objective.from_dict(asked["classes"]).outputs(spec.label_space)
        if asked["kind"] == "embedding":
            rate = asked["class_layer_rate"]
            return EmbeddingNetwork(backbone, concepts=concepts, outputs=outputs, width=asked["width"], class_layer_rate=rate)
        if asked["kind"] == "prototype":
            blank = torch.zeros(1, spec.preprocess.channels, *spec.preprocess.size)
            return PrototypeNetwork(
                backbone, require_places(backbone, blank), concepts=concepts, outputs=outputs,
                features=_feature_width(backbone, spec), prototypes=asked["prototypes"]["count"],
                width=asked["prototypes"]["width"], class_layer_rate=asked["class_layer_rate"],
            )  # fmt: skip
        return BottleneckNetwork(
            backbone, concepts=concepts, outputs=outputs, kind=asked["kind"],
            features=_feature_width(backbone, spec) if asked["residual"] else None,
            class_layer_rate=asked.get("class_layer_rate", 1.0),
        )  # fmt: skip


def _projector(backbone: nn.Module, spec: ModelSpec, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "projector"))
        return Projected(backbone, spec.task, spec.objective["hidden"], spec.objective["outputs"])


def _decoder(backbone: nn.Module, spec: ModelSpec, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "decoder"))
        height, width = spec.preprocess.size[-2:]  # of volumes, too, whose networks are refused by name
        return MaskedPatches(backbone, spec.preprocess.channels, (height, width), *spec.objective["decoder"])


def _sparse_decoder(backbone: nn.Module, spec: ModelSpec, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "decoder"))
        height, width = spec.preprocess.size[-2:]
        return MaskedConvolutions(backbone, spec.preprocess.channels, (height, width), *spec.objective["decoder"])


HEADS: Mapping[str, Callable[[nn.Module, ModelSpec, int], nn.Module]] = {
    "linear": _linear,
    "ordinal": _ordinal,
    "neighbours": _neighbours,
    "bottleneck": _bottleneck,
    "bag": _bag,
    "targets": _targets,
    "projector": _projector,
    "decoder": _decoder,
    "sparse decoder": _sparse_decoder,
}
"""Name of a head → what puts it around a backbone, its random weights a function of the seed."""


def _feature_width(model: nn.Module, spec: ModelSpec) -> int:
    with torch.no_grad():
        zeros = torch.zeros(1, spec.preprocess.channels, *spec.preprocess.size)
        return int(pooled_features(model.eval(), zeros).shape[1])
