"""The only place where pixels become model input: `fit` (geometry), then `normalise` (values).

A `Preprocess` belongs to a model, is saved in its spec and is built into its exported graph. Evaluation and the graph run
`fit` then `normalise`; training augments before or after `fit` and ends with `normalise` too.

`fit` resizes as Pillow does: antialiased, width first, rounded to whole grey levels, then height, rounded again. One pass in
float differs from Pillow by a level in 9 to 18% of pixels, two passes in at most 1.6%; simple ratios, where many values are
ties that Pillow's fixed-point weights send either way, in at most 7%. (Pillow may take height first where that is
cheaper: compare with two resizes of one axis each.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from medzoo.data.errors import ConfigError, ImageError, UnknownNameError
from medzoo.data.images.laid import frame_of
from medzoo.data.images.pixels import MAX_CHANNELS

FitMode = Literal["stretch", "pad", "crop"]
Interpolation = Literal["bilinear", "bicubic", "nearest"]
InputType = Literal["uint8", "float32"]

# What is added before rounding down. Simple ratios (64 to 224) put up to a tenth of all values exactly half-way between two
# levels, where torch and ONNX Runtime, each off by some 1e-3 of a level, would part. A little more than a half sends the
# ties up in both. Smaller for bicubic: it has fewer ties, and negative weights that would amplify the excess.
_HALF_UP = {"bilinear": 0.5 + 2.0**-9, "bicubic": 0.5 + 2.0**-10}


@dataclass(frozen=True)
class Preprocess:
    """How images become the input of one model.

    Attributes:
        size: (H, W), or (D, H, W) for volumes, in pixels.
        mode: `stretch` resizes to `size`; `pad` first adds borders (`fill`) to reach its aspect ratio; `crop` first cuts the
            centre to that ratio. Volumes pad and crop in plane; their depth is always stretched.
        interpolation: `bilinear` or `bicubic`, both antialiased; `nearest` takes the pixel under the centre.
        channels: 1 (gray) or 3 (RGB), to which images are brought when decoded; or 2 to 32 that they have.
        dtype: What the model takes: `uint8` (0..255), or `float32` (0..1) for sources of more than 8 bits.
        mean: One value a channel, on the 0..1 scale.
        std: One positive value a channel, on the 0..1 scale.
        fill: Grey level of the borders that `pad` adds, 0 (black) to 255.

    Raises:
        ConfigError: If a value is out of range or of the wrong length.
    """

    size: tuple[int, ...]
    mode: FitMode = "stretch"
    interpolation: Interpolation = "bilinear"
    channels: int = 3
    dtype: InputType = "uint8"
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    fill: int = 0

    def __post_init__(self) -> None:
        for name in ("size", "mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for value, kinds, name in (
            (self.mode, FitMode, "fit mode"),
            (self.interpolation, Interpolation, "interpolation"),
            (self.dtype, InputType, "input type"),
        ):
            if value not in get_args(kinds):
                raise UnknownNameError(name, value, get_args(kinds))
        if len(self.size) not in (2, 3) or min(self.size) < 1:
            raise ConfigError(f"preprocess size {list(self.size)} is not [height, width] or [depth, height, width]")
        if not isinstance(self.channels, int) or not 1 <= self.channels <= MAX_CHANNELS:
            raise ConfigError(f"preprocess channels must be 1 to {MAX_CHANNELS}, got {self.channels}")
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise ConfigError(f"preprocess mean and std need {self.channels} values, one a channel")
        if min(self.std) <= 0:
            raise ConfigError(f"preprocess std must be positive, got {list(self.std)}")
        if not isinstance(self.fill, int) or not 0 <= self.fill <= 255:
            raise ConfigError(f"preprocess fill={self.fill!r} is not a grey level, 0 (black) to 255")

    @property
    def is_volume(self) -> bool:
        """Whether the model takes volumes (C, D, H, W)."""
        return len(self.size) == 3

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description; `from_dict` reads it back."""
        described = {key: list(value) if isinstance(value, tuple) else value for key, value in vars(self).items()}
        if not self.fill:  # black is not written: specs from before there was another have the same hash
            del described["fill"]
        return described

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Preprocess:
        """Rebuild a preprocess from `to_dict`."""
        return cls(**described)


def sides(size: Any, option: str, count: int = 2) -> tuple[int, ...]:
    """Return a size that a user gave, one number for `count` sides or one a side, as whole numbers.

    Raises:
        ConfigError: If it is neither; names the option.
    """
    given = [size] if isinstance(size, int | float | str) else list(size)
    try:
        found = tuple(int(side) for side in given)
    except (TypeError, ValueError):
        raise ConfigError(f"{option}={size} is not a number of pixels, [H, W] or [D, H, W]") from None
    return found * count if len(found) == 1 else found


def fit(images: Tensor, preprocess: Preprocess, size: tuple[int, ...] | None = None) -> Tensor:
    """Bring images to the model's size.

    Args:
        images: (N, C, H, W), or (N, C, D, H, W) for volumes; uint8 in 0..255 or float32 in 0..1.
        preprocess: The model's.
        size: Another target size than the model's (a crop resized to an array's native size).

    Returns:
        The same type as given, (N, C, *size).

    Raises:
        ImageError: If the number of dimensions does not suit the preprocess.
    """
    size = preprocess.size if size is None else size
    if images.ndim != 2 + len(size):
        raise ImageError(f"expected {2 + len(size)} dimensions (batch, channels, {'depth, ' * (len(size) == 3)}height, "
                         f"width), got shape {list(images.shape)}")  # fmt: skip
    if images.dtype not in (torch.uint8, torch.float32):
        raise ImageError(f"images must be uint8 or float32, got {images.dtype}")
    images = to_aspect(images, size[-2], size[-1], preprocess)
    whole = images.dtype == torch.uint8
    values = images.float()
    if len(size) == 2:
        values = _resize(values, preprocess.interpolation, whole, width=size[1], height=size[0])
    else:
        n, c, d = values.shape[:3]
        values = _resize(values.flatten(1, 2), preprocess.interpolation, whole, width=size[2], height=size[1])
        # Depth takes the place of height: the second 4-D resize.
        values = values.reshape(n, c, d, size[1] * size[2])
        values = _resize(values, preprocess.interpolation, whole, height=size[0])
        values = values.reshape(n, c, size[0], size[1], size[2])
    return values.to(torch.uint8) if whole else values


def normalise(images: Tensor, preprocess: Preprocess) -> Tensor:
    """Scale to 0..1, subtract the mean, divide by the spread.

    Args:
        images: (N, C, ...), uint8 in 0..255 or float32 in 0..1.
        preprocess: The model's.

    Returns:
        float32 of the same shape.
    """
    values = images.float() / 255.0 if images.dtype == torch.uint8 else images
    shape = (1, preprocess.channels) + (1,) * (images.ndim - 2)
    if images.is_cuda:  # made on the host: a tensor made of numbers on a GPU is waited for
        mean, std = (
            torch.tensor(numbers, dtype=torch.float32).to(images.device, non_blocking=True).reshape(shape)
            for numbers in (preprocess.mean, preprocess.std)
        )
        return (values - mean) / std
    mean = torch.tensor(preprocess.mean, dtype=torch.float32, device=images.device).reshape(shape)
    std = torch.tensor(preprocess.std, dtype=torch.float32, device=images.device).reshape(shape)
    return (values - mean) / std


def _resize(values: Tensor, interpolation: str, whole: bool, *, width: int | None = None, height: int | None = None) -> Tensor:
    """Resize (N, C, H, W) float, width before height, each pass rounded to whole levels when the source was 8-bit."""
    for axis, length in ((3, width), (2, height)):
        # An identity resize is skipped, except in a graph, where the source size is not known.
        if length is None or (not torch.compiler.is_exporting() and length == values.shape[axis]):
            continue
        if interpolation == "nearest":
            values = values.index_select(axis, _nearest(values.shape[axis], length, values.device))
            continue
        size = (values.shape[2], length) if axis == 3 else (length, values.shape[3])
        values = F.interpolate(values, size=size, mode=interpolation, antialias=True, align_corners=False)
        values = torch.floor(values + _HALF_UP[interpolation]).clamp(0, 255) if whole else values.clamp(0, 1)
    return values


def _nearest(source: int, target: int, device: torch.device) -> Tensor:
    """Return (target,) positions of the source pixels under the target's centres: floor((x + 0.5) · source / target)."""
    # In whole numbers: in float32, a centre that falls on a pixel border goes to either side.
    return (2 * torch.arange(target, device=device) + 1) * source // (2 * target)


def to_aspect(images: Tensor, height: int, width: int, preprocess: Preprocess) -> Tensor:
    """Pad or crop in plane to the aspect ratio of the target, centred; an odd pixel goes to the end."""
    if preprocess.mode == "stretch":
        return images
    h, w = images.shape[-2:]
    top, left, new_h, new_w = aspect_frame(h, w, height, width, preprocess.mode)
    if preprocess.mode == "pad":
        borders = (-left, new_w - w + left, -top, new_h - h + top)
        level = preprocess.fill if images.dtype == torch.uint8 else preprocess.fill / 255
        return F.pad(images, borders, value=level)
    # Not narrow: its length would be unknown to a graph, and a resize needs to know that it is positive.
    rows = torch.arange(new_h, device=images.device) + top
    columns = torch.arange(new_w, device=images.device) + left
    return images.index_select(-2, rows).index_select(-1, columns)


def aspect_frame(h: int, w: int, height: int, width: int, mode: FitMode) -> tuple[int, int, int, int]:
    """Return what `medzoo.data.images.laid.frame_of` does, also in a graph."""
    return frame_of(h, w, height, width, mode, torch.sym_max, torch.sym_min)  # whose sizes are symbols in a graph
