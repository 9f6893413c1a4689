"""A ResNet that sees parts of an image and nothing of the rest, and a light decoder of its maps that tells it (SparK).

Tian et al. 2023, section 3. A sparse convolution gives what is at the visible places, of the visible places. A dense one on maps
that are 0 elsewhere, set to 0 there again after each layer, gives the same; batch normalisation is of the visible places alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import DropPath
from timm.models.resnet import ResNet
from torch import Tensor, nn

from medzoo.data.errors import ConfigError
from medzoo.models.backbones.contract import Around

SPARSE = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
"""Layers after which what is hidden is set to 0 again. What is pooled by its largest value is never negative here."""
PLACEWISE = (nn.BatchNorm2d, nn.ReLU, nn.Identity, DropPath)
"""Layers that give each place what they make of it alone, and 0 of 0; of batch normalisation see `Visible.normalised`."""
OF_THE_HEAD = (nn.Linear, nn.AdaptiveAvgPool2d, nn.Flatten)
NARROWEST = 8
"""Channels that the decoder's finest level has at least."""


class Visible:
    """Which places of maps are seen: the same parts of an image at any resolution.

    Args:
        kept: (N, S) which of the grid's cells are seen, S alike for all images.
        grid: (h, w) of the coarsest map.
    """

    def __init__(self, kept: Tensor, grid: tuple[int, int]) -> None:
        cells = torch.zeros(len(kept), grid[0] * grid[1], device=kept.device).scatter(1, kept, 1.0)
        self.grid, self.cells, self.count = grid, cells.view(-1, 1, *grid), kept.shape[1]
        self._masks: dict[tuple[int, int], Tensor] = {}
        self._places: dict[tuple[int, int], Tensor] = {}

    def mask(self, size: tuple[int, int]) -> Tensor:
        """Return (N, 1, H, W) 1 where a map of (H, W) is seen, 0 elsewhere."""
        if size not in self._masks:
            down, across = size[0] // self.grid[0], size[1] // self.grid[1]
            self._masks[size] = self.cells.repeat_interleave(down, dim=2).repeat_interleave(across, dim=3)
        return self._masks[size]

    def places(self, size: tuple[int, int]) -> Tensor:
        """Return (N, V) the seen places of a flat map, in their order."""
        if size not in self._places:
            several = (size[0] // self.grid[0]) * (size[1] // self.grid[1])
            order = self.mask(size).flatten(1).argsort(dim=1, descending=True, stable=True)
            self._places[size] = order[:, : self.count * several]
        return self._places[size]

    def taken(self, maps: Tensor) -> Tensor:
        """Return (N, C, V, 1) the seen places of (N, C, H, W) maps."""
        places = self.places(_size(maps))[:, None].expand(-1, maps.shape[1], -1)
        return maps.flatten(2).gather(2, places)[..., None]

    def put_back(self, values: Tensor, size: tuple[int, int]) -> Tensor:
        """Return (N, C, H, W) maps with the (N, C, V, 1) values at their places and 0 elsewhere."""
        places = self.places(size)[:, None].expand(-1, values.shape[1], -1)
        flat = values.new_zeros(*values.shape[:2], size[0] * size[1]).scatter(2, places, values[..., 0])
        return flat.view(*values.shape[:2], *size)

    def normalised(self, norm: nn.Module, maps: Tensor) -> Tensor:
        """Return maps whose seen places are normalised by their own statistics, the others 0."""
        return self.put_back(norm(self.taken(maps)), _size(maps))


class Level(nn.Module):
    """One level of the decoder: to twice the resolution, then convolutions.

    Args:
        channels: Of what comes.
        outputs: Of what it gives.
        convolutions: How many follow.
    """

    def __init__(self, channels: int, outputs: int, convolutions: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1)]
        for place in range(convolutions):
            width = channels if place + 1 < convolutions else outputs
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU6()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, outputs, 2H, 2W)."""
        found: Tensor = self.layers(maps)
        return found


class MaskedConvolutions(Around):
    """A ResNet that sees a part of an image's patches, and a light hierarchical decoder that tells the rest.

    A patch is what one place of the last map stands for. Used otherwise, the backbone is as it ever was: only `seen` is sparse.

    Args:
        backbone: timm's `ResNet`, of convolutions, batch normalisation, ReLU and pooling alone.
        channels: Of the images.
        size: (H, W) of the images.
        width: Of the decoder at the last map; half at each finer one.
        convolutions: Of each of its levels.

    Raises:
        ConfigError: If the backbone is something else, or its maps do not halve down to at least two places.
    """

    def __init__(self, backbone: nn.Module, channels: int, size: tuple[int, int], width: int, convolutions: int) -> None:
        super().__init__(backbone)
        _check(backbone)
        shapes = _shapes(backbone, channels, size)
        self.grid = shapes[-1][1]
        stride = size[0] // self.grid[0]
        self.patch = (stride, stride)
        levels = stride.bit_length() - 1
        _check_maps(size, [shape for _, shape in shapes], type(backbone).__name__)
        widths = [max(NARROWEST, width >> level) for level in range(levels + 1)]
        self.norms, self.into, self.hidden = nn.ModuleList(), nn.ModuleList(), nn.ParameterList()
        for level, (own, _) in enumerate([*reversed(shapes)][:levels]):  # a map as large as the image would tell it by itself
            self.norms.append(nn.BatchNorm2d(own))
            self.into.append(nn.Conv2d(own, widths[level], 3 if level else 1, padding=1 if level else 0))
            self.hidden.append(nn.init.trunc_normal_(torch.zeros(1, own, 1, 1), std=0.02))
        self.levels = nn.ModuleList(Level(widths[n], widths[n + 1], convolutions) for n in range(levels))
        self.out = nn.Conv2d(widths[-1], channels, 1)

    def seen(self, images: Tensor, kept: Tensor) -> list[Tensor]:
        """Return the maps of the encoder's stages, finest first, of some patches of (N, C, H, W) images.

        `kept` (N, S) are their places. What is hidden is 0 in each map.
        """
        visible, maps = Visible(kept, self.grid), list[Tensor]()
        with _sparse(self.backbone, visible, maps):
            backbone: Any = self.backbone
            backbone.forward_features(images * visible.mask(_size(images)))
        return maps

    def told(self, maps: Sequence[Tensor], kept: Tensor) -> Tensor:
        """Return (N, L, P) what the decoder says of every patch, of what `seen` gives for the places `kept` (N, S)."""
        visible = Visible(kept, self.grid)
        values: Any = None
        for level in range(len(self.levels)):
            if level < len(self.into):
                own = maps[len(maps) - 1 - level]
                filled = visible.normalised(self.norms[level], own)
                filled = torch.where(visible.mask(_size(own)) > 0, filled, self.hidden[level].to(filled.dtype))
                into = self.into[level](filled)
                values = into if values is None else values + into
            values = self.levels[level](values)
        return self.patches(self.out(values))

    def patches(self, images: Tensor) -> Tensor:
        """Return (N, L, P) the pixels of each patch of (N, C, H, W) images."""
        return F.unfold(images, self.patch, stride=self.patch).transpose(1, 2)


@contextmanager
def _sparse(backbone: Any, visible: Visible, maps: list[Tensor]) -> Iterator[None]:
    """Let a ResNet see visible places alone, and put each stage's map into `maps`."""
    sizes: dict[nn.Module, tuple[int, int]] = {}

    def hide(module: nn.Module, given: Any, found: Tensor) -> Tensor:
        return found * visible.mask(_size(found)).to(found.dtype)

    def take(module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor]:
        sizes[module] = _size(given[0])
        return (visible.taken(given[0]),)

    def put_back(module: nn.Module, given: Any, found: Tensor) -> Tensor:
        return visible.put_back(found, sizes[module])

    def keep(module: nn.Module, given: Any, found: Tensor) -> None:
        maps.append(found)

    handles = [stage.register_forward_hook(keep) for stage in _stages(backbone)]
    for module in backbone.modules():
        if isinstance(module, SPARSE):
            handles.append(module.register_forward_hook(hide))
        elif isinstance(module, nn.BatchNorm2d):
            handles += [module.register_forward_pre_hook(take), module.register_forward_hook(put_back)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _stages(backbone: Any) -> list[nn.Module]:
    return [backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4]


def _size(maps: Tensor) -> tuple[int, int]:
    return maps.shape[-2], maps.shape[-1]


def _check(backbone: nn.Module) -> None:
    """Refuse what is no ResNet, or has a layer that mixes what is hidden into what is seen; ConfigError."""
    remedy = "use a resnet..., or simclr or dino"
    if not isinstance(backbone, ResNet):
        raise ConfigError(f"model.ssl.objective=spark is for timm's ResNets, not for a {type(backbone).__name__}: {remedy}")
    for module in backbone.modules():
        leaf = not any(True for _ in module.children())
        if leaf and not isinstance(module, (*SPARSE, *PLACEWISE, *OF_THE_HEAD)):
            raise ConfigError(
                f"model.ssl.objective=spark knows convolutions, batch normalisation, ReLU and pooling, and this network has a "
                f"{type(module).__name__}, which may look at what is hidden: {remedy}"
            )


def _shapes(backbone: Any, channels: int, size: tuple[int, int]) -> list[tuple[int, tuple[int, int]]]:
    """Return channels and (H, W) of each stage's map, finest first."""
    found: list[tuple[int, tuple[int, int]]] = []
    handles = [
        stage.register_forward_hook(lambda module, given, maps: found.append((maps.shape[1], _size(maps))))
        for stage in _stages(backbone)
    ]
    mode = backbone.training
    with torch.no_grad():
        backbone.eval().forward_features(torch.zeros(1, channels, *size))
    backbone.train(mode)
    for handle in handles:
        handle.remove()
    return found


def _check_maps(size: tuple[int, int], maps: Sequence[tuple[int, int]], name: str) -> None:
    """Refuse maps that are no halves of the one before, from the image down to the last; ConfigError."""
    last = maps[-1]
    stride = size[0] // last[0]
    halves = all(before == (2 * after[0], 2 * after[1]) for before, after in pairwise(maps))
    whole = size == (last[0] * stride, last[1] * stride) and stride & (stride - 1) == 0
    if last[0] * last[1] < 2 or not halves or not whole:
        shown = ", ".join(f"{high} x {wide}" for high, wide in maps)
        raise ConfigError(
            f"model.ssl.objective=spark hides parts as large as a place of the last map, and of {size[0]} x {size[1]} pixels "
            f"this {name} makes maps of {shown}: let model.preprocess.size be a multiple of the stride, at least twice it"
        )
