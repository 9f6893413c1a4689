"""Any timm backbone by name (families `cnn` and `vit`), with a head of the width a dataset needs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import timm
import torch
from torch import nn

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.models.backbones.blueprint import Blueprint

SMALL_INPUT = 32
"""Pixels up to which a ResNet trained from scratch gets the 3×3 stem of He et al. 2016 (section 4.2, CIFAR-10)."""


def create_timm_model(blueprint: Blueprint) -> nn.Module:
    """Create a timm model: (N, channels, H, W) float32 → (N, K) logits.

    Raises:
        UnknownNameError: If timm has no such model or tag.
        ConfigError: If an argument does not fit the model, weights cannot be had, or a stem cannot be replaced.
    """
    name, size = blueprint.name, blueprint.size
    check_name(name)
    if blueprint.small_stem and blueprint.has_weights:
        raise ConfigError("model.small_stem=true would throw away the first layer of the weights; set it to false")
    options: dict[str, Any] = {"num_classes": blueprint.outputs, "in_chans": blueprint.channels, **blueprint.arguments}
    if size is not None and takes_image_size(name):
        options.setdefault("img_size", size[-2:])
    model = _create(name, blueprint.pretrained, options)
    if blueprint.small_stem:
        replace_stem(model, blueprint.channels)
    published: Any = model.pretrained_cfg
    if not blueprint.pretrained or blueprint.outputs != published["num_classes"]:  # else it is a trained one
        calm_head(model)
    return model


def check_name(architecture: str, others: Iterable[str] = ()) -> None:
    """Check that timm has a model and, if the name bears one, its tag: UnknownNameError with the nearest names, if not.

    `others` are names that are not timm's and may be offered as the nearest.
    """
    base, _, tag = architecture.partition(".")
    if not timm.is_model(base):
        raise UnknownNameError("model", base, [*timm.list_models(), *others])
    tagged = timm.list_pretrained(f"{base}.*")
    if tag and architecture not in tagged:
        raise UnknownNameError("pretrained tag", architecture, tagged)


def is_resnet(architecture: str) -> bool:
    """Whether a timm name belongs to the ResNet family, whose stem can be replaced for small images."""
    base = architecture.partition(".")[0]
    return bool(timm.is_model(base) and timm.models.is_model_in_modules(base, ["resnet"]))


def pretrained_preprocess(architecture: str) -> dict[str, Any]:
    """Return what a pretrained timm model expects: `size` (H, W), `mean`, `std` and `interpolation`."""
    config = timm.get_pretrained_cfg(architecture)
    if config is None:
        raise ConfigError(f"timm has no pretrained weights for {architecture!r}; use model.pretrained=false")
    interpolation = config.interpolation if config.interpolation in ("bilinear", "bicubic") else "bilinear"
    return {
        "size": tuple(config.input_size[1:]),
        "mean": tuple(config.mean),
        "std": tuple(config.std),
        "interpolation": interpolation,
    }


def own_size(architecture: str) -> tuple[int, int] | None:
    """Return the (H, W) a model was designed for if it takes no other by itself (most transformers), else None."""
    config = timm.get_pretrained_cfg(architecture, allow_unregistered=True)
    if config is None or not config.fixed_input_size:
        return None
    return int(config.input_size[-2]), int(config.input_size[-1])


def check_input(model: nn.Module, channels: int, size: tuple[int, ...]) -> None:
    """Run one black image, or volume, through a model; ConfigError if it cannot take images of this size."""
    was_training = model.training
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, channels, *size))
    except (AssertionError, RuntimeError, ValueError) as error:
        shape, reason = "x".join(map(str, size)), " ".join(str(error).split())[:200]
        remedy = "set model.preprocess.size" if len(size) == 2 else "volumes need model=cnn3d or model=slices"
        raise ConfigError(f"the model cannot take {shape} input ({reason}); {remedy}") from error
    model.train(was_training)


def replace_stem(model: nn.Module, channels: int) -> None:
    """Give a timm ResNet a 3×3 stride-1 stem without max-pool, in place.

    Raises:
        ConfigError: If the model is not a ResNet with a single-convolution or deep stem.
    """
    if getattr(model, "conv1", None) is None or not hasattr(model, "maxpool"):
        raise ConfigError("model.small_stem=true is for the ResNet family; this model has another stem")
    width: int = model.bn1.num_features  # type: ignore[union-attr, assignment]
    stem = nn.Conv2d(channels, width, kernel_size=3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    model.conv1 = stem
    model.maxpool = nn.Identity()


def calm_head(model: nn.Module) -> None:
    """Draw a last linear layer anew, in place, as torch draws one, where it was drawn many times larger.

    timm draws those of EfficientNet and its kin within ±1/√outputs, as TensorFlow does for a thousand classes. For five classes
    on 1,280 features the first logits are then in tens, and the first epochs do nothing but shrink them.
    """
    head: Any = getattr(model, "get_classifier", nn.Identity)()
    if isinstance(head, nn.Linear) and head.weight.detach().square().mean() > 4 / head.in_features:
        bias = None if head.bias is None else head.bias.detach().clone()
        head.reset_parameters()
        if bias is not None:
            head.bias.data.copy_(bias)


def takes_image_size(architecture: str) -> bool:
    """Whether a timm model is made for images of one size, which it must be told."""
    config = timm.get_pretrained_cfg(architecture, allow_unregistered=True)
    # timm marks the models that need a size when created; the others raise on an unknown `img_size`.
    return bool(config is not None and config.fixed_input_size) or timm.models.is_model_in_modules(
        architecture.partition(".")[0], ["vision_transformer", "swin_transformer", "swin_transformer_v2", "eva", "beit"]
    )


def _create(architecture: str, load: bool, options: dict[str, Any]) -> nn.Module:
    try:
        model: nn.Module = timm.create_model(architecture, pretrained=load, **options)
    except TypeError as error:
        raise ConfigError(f"model {architecture!r} does not take these arguments: {error}") from error
    except (AssertionError, ValueError, RuntimeError, KeyError) as error:
        what = "the weights do not fit" if load else "cannot build"
        raise ConfigError(f"{what} model {architecture!r}: {error}") from error
    except Exception as error:  # whatever the hub's client raises without a network
        if not load:
            raise
        raise ConfigError(
            f"cannot fetch the pretrained weights of {architecture!r} ({type(error).__name__}); without a network give "
            "model.checkpoint_path=<local file> or model.pretrained=false"
        ) from error
    return model
