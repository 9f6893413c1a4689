"""Where in an image a network's features lie: the evidence of each place, and the layer that gradients are taken at.

Where a linear head reads the mean of features over places, the head applied to each place is a map whose mean, with the bias, is
the output (class activation maps, Zhou et al. 2016, section 2). Whether a head does is tried out, not looked up by name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from medzoo.data.errors import ConfigError
from medzoo.models.backbones.contract import Around
from medzoo.models.backbones.slices import SliceNetwork
from medzoo.models.clip.volume import SliceTower


class NotLinearError(ConfigError):
    """A network's outputs are not linear in the mean of its features over places."""


@dataclass(frozen=True)
class Layout:
    """How features lie in a tensor.

    Attributes:
        grid: Places along each axis of an image, (h, w) or (d, h, w).
        tokens: Whether they come as (N, T, F).
        prefix: Tokens before the first place, such as a class token.
        last: Whether they come as (N, h, w, F).
    """

    grid: tuple[int, ...]
    tokens: bool = False
    prefix: int = 0
    last: bool = False

    def placed(self, features: Tensor) -> Tensor:
        """Return (N, F, *grid)."""
        if self.tokens:
            return features[:, self.prefix :].transpose(1, 2).reshape(-1, features.shape[2], *self.grid)
        return features.movedim(-1, 1) if self.last else features


@dataclass(frozen=True)
class Evidence:
    """A network whose pooled features are the mean over places.

    Attributes:
        network: The flat or volume network whose features are pooled.
        layout: How they lie.
        rectified: Whether negative features are cut off before they are pooled.
        slices: What cuts volumes into slices for a flat network; None: the network takes the images as they are.
    """

    network: Any
    layout: Layout
    rectified: bool = False
    slices: SliceNetwork | None = None

    def features(self, inputs: Tensor) -> Tensor:
        """Return (N, F, *grid) features of normalised images; their mean over places is what the head reads."""
        given = inputs if self.slices is None else self.slices.cut(inputs)
        found = self.placed(self.network.forward_features(given))
        return found if self.slices is None else found.reshape(-1, inputs.shape[2], *found.shape[1:]).transpose(1, 2)

    def placed(self, features: Tensor) -> Tensor:
        """Return (N, F, *grid) of what the network's `forward_features` gives."""
        found = self.layout.placed(features)
        return found.relu() if self.rectified else found


def applied(weight: Tensor, features: Tensor) -> Tensor:
    """Return (N, K, *grid): a head's weights (K, F), without its bias, at each place of (N, F, *grid) features."""
    return (weight @ features.flatten(2)).reshape(-1, len(weight), *features.shape[2:])


def find_evidence(model: nn.Module, inputs: Tensor) -> Evidence:
    """Return how a network pools the features of its places, as it does for (1, C, ...) normalised images.

    Raises:
        NotLinearError: If it is no mean over places; says what it is.
    """
    network: Any = inner_network(model)
    slices = network if isinstance(network, SliceNetwork) else None
    if slices is not None:
        if slices.pool != "mean":
            raise NotLinearError(f"slices are pooled by their {slices.pool}, not their mean")
        network, inputs = inner_network(slices.backbone), slices.cut(inputs)[:1]
    if not hasattr(network, "forward_features") or not hasattr(network, "forward_head"):
        raise NotLinearError(f"{type(network).__name__} does not part its features from its head")
    with torch.no_grad():
        features = network.forward_features(inputs)
        if features.ndim < 3:
            raise NotLinearError(f"{type(network).__name__} gives its features pooled already")
        # Numbers that no image would give, some negative: what is the mean of these is the mean of any.
        drawn = torch.randn(features.shape, generator=torch.Generator().manual_seed(0)).to(features)
        pooled = network.forward_head(drawn.clone(), pre_logits=True)
        for layout in _layouts(network, inputs, features, pooled.shape[1] if pooled.ndim == 2 else 0):
            placed = layout.placed(drawn)
            for rectified in (False, True):
                mean = (placed.relu() if rectified else placed).flatten(2).mean(dim=2)
                if mean.shape == pooled.shape and torch.allclose(mean, pooled, rtol=1e-4, atol=1e-5):
                    return Evidence(network, layout, rectified, slices)
    raise NotLinearError(f"{type(network).__name__} does not read the plain mean of its features over places")


class PlacedHead(nn.Module):
    """A linear head at each place of a network: what the place says of each output.

    Args:
        model: The network; NotLinearError if its pooled features are not the mean over places.
        head: (K, F) weights and (K,) bias from pooled features to outputs.
        blank: One image of its input size.

    Attributes:
        grid: Places along each axis of an image, (h, w) or (d, h, w).
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, model: nn.Module, head: tuple[Tensor, Tensor], blank: Tensor) -> None:
        super().__init__()
        for name, part in zip(("weight", "bias"), head, strict=True):
            self.register_buffer(name, part.detach())
        self.evidence = find_evidence(model.eval(), blank)
        with torch.no_grad():
            self.grid = tuple(self.evidence.features(blank).shape[2:])

    def features(self, inputs: Tensor) -> Tensor:
        """Return (N, F, *grid) features of normalised images."""
        return self.evidence.features(inputs)

    def maps(self, features: Tensor) -> Tensor:
        """Return (N, K, *grid), whose mean over places and the bias are the outputs."""
        return applied(self.weight, features)

    def said_of(self, maps: Tensor, counts: Tensor) -> Tensor:
        """Return (N, K) outputs where each place of (N, K, *grid) maps counts as much as `counts` says; NaN where none does."""
        return (maps * counts).flatten(2).sum(dim=2) / counts.flatten(2).sum(dim=2) + self.bias


def last_linear(model: nn.Module) -> tuple[Tensor, Tensor]:
    """Return (K, F) weights and (K,) bias of the one linear layer behind the pooled features; NotLinearError if there is more."""
    if isinstance(model, Around) and model.is_head:
        raise NotLinearError(f"{type(model).__name__} stands between the features and the outputs")
    layer: Any = model.get_classifier() if hasattr(model, "get_classifier") else None  # type: ignore[operator]
    if type(layer) not in (nn.Linear, nn.Conv2d):  # a class derived from one may do more
        raise NotLinearError(f"the head of {type(model).__name__} is not one linear layer")
    weight = layer.weight.flatten(1)
    return weight, weight.new_zeros(len(weight)) if layer.bias is None else layer.bias


@dataclass(frozen=True)
class Layer:
    """Where gradients are taken.

    Attributes:
        module: The layer.
        of_input: Take what goes into it, not what comes out: after the last block of a transformer that reads a class token, the
            other tokens count no more.
        layout: How its features lie.
        depth: Slices of a volume that come as a batch; None: the network takes the images as they are.
    """

    module: nn.Module
    of_input: bool
    layout: Layout
    depth: int | None = None

    @property
    def convolutional(self) -> bool:
        """Whether its features are (N, F, *grid)."""
        return not self.layout.tokens and not self.layout.last


def last_layer(model: nn.Module, inputs: Tensor) -> Layer:
    """Return the last layer of a network in which features still lie in places, for (1, C, ...) normalised images.

    Raises:
        ConfigError: If none is found.
    """
    network: Any = inner_network(model)
    depth = None
    if isinstance(network, SliceNetwork):
        depth = inputs.shape[2]
        inputs, network = network.cut(inputs)[:1], inner_network(network.backbone)
    network = getattr(network, "visual", network)  # an image–text model, or its image tower as a backbone
    if isinstance(network, SliceTower):
        depth = inputs.shape[2]
        inputs, network = network.cut(inputs)[:1], network.tower
    network = getattr(network, "trunk", network)  # timm's tower inside open_clip's
    outputs: dict[nn.Module, Any] = {}

    def note(module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        outputs[module] = given[0] if module is block and given else output

    blocks = getattr(network, "blocks", None) or getattr(getattr(network, "transformer", None), "resblocks", None)
    block = blocks[-1] if isinstance(blocks, nn.ModuleList | nn.Sequential) and len(blocks) else None
    hooks = [module.register_forward_hook(note) for module in network.modules()]
    try:
        with torch.no_grad():
            result = network.forward_features(inputs) if hasattr(network, "forward_features") else network(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    if block is not None and isinstance(outputs.get(block), Tensor) and outputs[block].ndim == 3:
        for layout in _layouts(network, inputs, outputs[block], outputs[block].shape[2]):
            return Layer(block, True, layout, depth)
    stage = getattr(network, "layer4", None)
    if result.ndim < 3 and stage in outputs:  # open_clip's ResNet, which has no features apart
        return Layer(stage, False, Layout(tuple(outputs[stage].shape[2:])), depth)
    for module, output in reversed(outputs.items()):
        if output is result and result.ndim > 3:
            last = getattr(network, "output_fmt", "NCHW") == "NHWC"
            grid = tuple(result.shape[1:-1] if last else result.shape[2:])
            return Layer(module, False, Layout(grid, last=last), depth)
    raise ConfigError(f"{type(network).__name__} has no layer whose features lie in places: no map can be made of it")


def inner_network(model: nn.Module) -> nn.Module:
    """Return what stands within all heads: a backbone, over slices the network that cuts them."""
    while isinstance(model, Around) and model.is_head:
        model = model.backbone
    return model


def _layouts(network: nn.Module, inputs: Tensor, features: Tensor, width: int) -> list[Layout]:
    """Return the layouts that features of a width may have."""
    if features.ndim == 3:
        grid = _patch_grid(network, inputs, features.shape[1])
        prefix = features.shape[1] - math.prod(grid)
        return [Layout(grid, tokens=True, prefix=prefix)] if prefix >= 0 else []
    found = [Layout(tuple(features.shape[2:]))] if features.shape[1] == width else []
    return found + ([Layout(tuple(features.shape[1:-1]), last=True)] if features.shape[-1] == width else [])


def _patch_grid(network: nn.Module, inputs: Tensor, tokens: int) -> tuple[int, ...]:
    """Return how many patches a transformer cuts along each axis."""
    embed: Any = getattr(network, "patch_embed", None)
    grid = getattr(embed, "grid_size", None) or getattr(network, "grid_size", None)
    if grid is not None:
        return tuple(int(side) for side in grid)
    stride = getattr(embed, "stride", None)
    if isinstance(stride, tuple):
        return tuple(side // step for side, step in zip(inputs.shape[2:], stride, strict=True))
    height, width = inputs.shape[2:]
    for count in (tokens, tokens - 1):  # without a class token, or with one
        rows = math.isqrt(count * height // width)
        if rows and count % rows == 0 and rows * width == count // rows * height:
            return rows, count // rows
    raise NotLinearError(f"{type(network).__name__} does not say how it cuts patches (patch_embed.grid_size)")
