"""Models by family and name.

A model is a function `(outputs, channels, size, **arguments) -> nn.Module`, whose module maps normalised images to logits and
has `forward_features`, `forward_head(features, pre_logits=...)` and `get_classifier`, as timm's models have. Third-party
packages join by the entry-point group `medzoo.models` (name → function); docs/adding-a-model.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.seeding import derived_seed
from medzoo.models.backbones import timm_backbone
from medzoo.models.backbones.blueprint import Blueprint
from medzoo.models.backbones.rows import create_rows_model
from medzoo.models.backbones.slices import create_slice_model
from medzoo.models.weights_file import load_weights_file, require_weights_file
from medzoo.store.spec import ModelSpec

ENTRY_POINTS = "medzoo.models"
FAMILIES = {
    "cnn": "any convolutional timm backbone",
    "vit": "any transformer timm backbone, or zach_vit",
    "cbm": "a concept bottleneck over any timm backbone",
    "cnn3d": "a MONAI network over volumes",
    "slices": "a timm backbone over the slices of a volume (2.5D)",
    "features": "no network: rows of features from files, pooled",
}
ROWS = "rows"
"""What stands for an architecture where there is none: the family `features`."""
VOLUME_MODELS = {
    "resnet18_3d": "medzoo.models.backbones.volume:resnet18_3d",
    "resnet50_3d": "medzoo.models.backbones.volume:resnet50_3d",
    "densenet121_3d": "medzoo.models.backbones.volume:densenet121_3d",
    "swin_3d": "medzoo.models.backbones.volume_swin:swin_3d",
}
_OWN = {"zach_vit": "medzoo.models.backbones.zach_vit:zach_vit", **VOLUME_MODELS}


def list_models(pattern: str = "*") -> list[str]:
    """Return the architecture names that match a shell pattern, sorted: medzoo's own, third-party ones and timm's."""
    import timm

    names = {*_OWN, *_third_party(), *timm.list_models()}
    return sorted(n for n in names if fnmatch(n, pattern))


def check_name(name: str, family: str) -> None:
    """Check that a family has an architecture: UnknownNameError with the nearest names, ConfigError if it is another family's."""
    if family not in FAMILIES:
        raise UnknownNameError("model family", family, FAMILIES)
    if family == "features":
        if name != ROWS:
            raise ConfigError(f"model=features has no network: leave model.backbone={name} out")
        return
    if family == "cnn3d" and name not in VOLUME_MODELS and name not in _third_party():
        raise UnknownNameError("3D model", name, {*VOLUME_MODELS, *_third_party()})
    if family != "cnn3d" and name in VOLUME_MODELS:
        raise ConfigError(f"{name} is a network over volumes: use model=cnn3d model.backbone={name}")
    if is_timm(name) or family == "slices":
        timm_backbone.check_name(name, others=[*_OWN, *_third_party()])


def check_backbone(name: str, family: str) -> None:
    """Check a name before anything is built, where all names of the family are in the registry; as `check_name`."""
    if family in ("cnn", "vit", "cnn3d", "slices", "features"):
        check_name(name, family)


def takes_volumes(family: str) -> bool:
    """Whether a family's networks take (N, C, D, H, W)."""
    return family in ("cnn3d", "slices")


def is_timm(name: str) -> bool:
    """Whether a name is looked up in timm; own and third-party names come first."""
    return name not in _OWN and name not in _third_party() and name != ROWS


def create_model(
    name: str,
    *,
    outputs: int,
    family: str = "cnn",
    channels: int = 3,
    size: tuple[int, ...] | None = None,
    small_stem: bool = False,
    pretrained: bool = False,
    checkpoint_path: str | Path | None = None,
    arguments: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> nn.Module:
    """Create a model by name, its initial weights a function of `seed`.

    Args:
        name: Architecture, such as `resnet18`, `vit_tiny_patch16_224` or `resnet18_3d`, a timm name with or without a tag; see
            `list_models`.
        outputs: Number of logits, K.
        family: `slices` puts a timm backbone over the slices of a volume; the others differ in name alone.
        channels: Input channels, 1 or 3. Pretrained first layers are adapted as timm does (summed for 1).
        size: (H, W) or (D, H, W) of the input, for models that depend on it.
        small_stem: A 3×3 stride-1 stem in place of a ResNet's 7×7 stride-2 stem and max-pool (timm's ResNet family).
        pretrained: Fetch timm's weights of the name's tag (its default tag if it has none).
        checkpoint_path: A local weights file for the backbone instead (`.safetensors`, or one of `torch.save`, read with
            `weights_only`); its last layer is left out. See `medzoo.models.weights_file.load_weights_file`.
        arguments: Further keyword arguments of the architecture, such as `drop_rate` or `patch_size`.
        seed: Seed of the initial weights; the global generator is left as it was.

    Returns:
        (N, channels, H, W) or (N, channels, D, H, W) normalised float32 → (N, K) logits.

    Raises:
        UnknownNameError: If there is no such model.
        ConfigError: If arguments do not fit it, it has no published weights, or there is no such file.
        CheckpointError: If a weights file cannot be read or does not fit.
    """
    blueprint = Blueprint(name, outputs, channels, size, small_stem, pretrained, checkpoint_path, arguments or {})
    return make(blueprint, family, seed)


def make(blueprint: Blueprint, family: str, seed: int) -> nn.Module:
    """Make a network; see `create_model`."""
    if blueprint.pretrained and blueprint.checkpoint_path is not None:
        raise ConfigError("give model.pretrained=true or model.checkpoint_path, not both")
    if blueprint.checkpoint_path is not None:
        require_weights_file(blueprint.checkpoint_path)  # before a large network is made
    network = _make(blueprint, family, seed)
    if blueprint.checkpoint_path is not None:
        load_weights_file(network, blueprint.checkpoint_path, blueprint.name)
    return network


def _make(blueprint: Blueprint, family: str, seed: int) -> nn.Module:
    name = blueprint.name
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "initial weights"))
        if family == "features":
            return create_rows_model(blueprint)
        if family == "slices":
            return create_slice_model(blueprint)
        if is_timm(name):
            return timm_backbone.create_timm_model(blueprint)
        if blueprint.pretrained:
            raise ConfigError(f"{name} has no published weights; use model.pretrained=false")
        if blueprint.small_stem:
            raise ConfigError(f"model.small_stem is for timm's ResNets; {name} has arguments of its own for its stem")
        create = _creator(name)
        try:
            return create(blueprint.outputs, blueprint.channels, blueprint.size or (224, 224), **blueprint.arguments)
        except TypeError as error:
            raise ConfigError(f"model {name!r} does not take these arguments: {error}") from error


def model_from_spec(spec: ModelSpec, *, seed: int = 0, pretrained: bool = False) -> nn.Module:
    """Build a model's backbone; without `pretrained` nothing but the spec is read.

    Its initial weights are a function of `seed`, or with `pretrained` the published ones of the name.
    """
    check_name(spec.architecture, spec.family)
    arguments = {k: v for k, v in spec.arguments.items() if k not in ("neighbours", "bag")}
    outputs, stem, preprocess = arguments.pop("outputs"), arguments.pop("small_stem", False), spec.preprocess
    blueprint = Blueprint(spec.architecture, outputs, preprocess.channels, preprocess.size, stem, pretrained, arguments=arguments)
    return make(blueprint, spec.family, seed)


def _third_party() -> dict[str, metadata.EntryPoint]:
    return {point.name: point for point in metadata.entry_points(group=ENTRY_POINTS)}


def _creator(name: str) -> Callable[..., nn.Module]:
    point = metadata.EntryPoint(name, _OWN[name], ENTRY_POINTS) if name in _OWN else _third_party()[name]
    loaded: Callable[..., nn.Module] = point.load()
    return loaded
