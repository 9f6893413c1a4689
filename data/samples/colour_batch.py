"""Changes of the colours of a batch, each image by its own amount, on the device where the images are.

Images are (N, 3, ..., H, W) in 0..1, float32 or float16, and are returned so.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
PHASES = (5.0, 3.0, 1.0)
"""What red, green and blue add to a pixel's place on the circle of hues, in sixths, to know how much of each it shows."""
_NO_COLOUR = 1e-4  # a difference of channels below which a pixel is grey; grey has no hue to turn


def brighter(images: Tensor, factor: Tensor) -> Tensor:
    """Move images away from black, in place, by a factor each, (N, 1, ...)."""
    return images.mul_(factor).clamp_(0, 1)


def contrasted(images: Tensor, factor: Tensor) -> Tensor:
    """Move images away from their mean grey."""
    means = images.mean(tuple(range(2, images.ndim)), keepdim=True, dtype=torch.float32)
    return torch.lerp(_grey(means).to(images.dtype), images, factor).clamp_(0, 1)


def saturated(images: Tensor, factor: Tensor) -> Tensor:
    """Move images away from their own grey."""
    return torch.lerp(_grey(images), images, factor).clamp_(0, 1)


def _grey(images: Tensor) -> Tensor:
    red, green, blue = torch.split(images, 1, dim=1)
    return (0.299 * red).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def turned_hue(images: Tensor, phases: Tensor) -> Tensor:
    """Turn the hue of (N, 3, ...) images; through HSV (Smith 1978).

    Args:
        images: In 0..1.
        phases: (N, 3, ...) what is added to a pixel's hue, in sixths of the circle, for red, green and blue.
    """
    red, green, blue = torch.split(images, 1, dim=1)
    value = images.amax(1, keepdim=True)
    chroma = value - images.amin(1, keepdim=True)
    safe = chroma.clamp(min=_NO_COLOUR)
    if_green, if_blue = torch.add(blue - red, safe, alpha=2), torch.add(red - green, safe, alpha=4)
    sector = torch.where(value == red, green - blue, torch.where(value == green, if_green, if_blue)).div_(safe)
    place = (sector + phases).remainder_(6)
    return torch.addcmul(value, chroma, torch.minimum(place, 4 - place).clamp_(0, 1), value=-1)


CHANGES: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (brighter, contrasted, saturated, turned_hue)
"""Each by its number: `BRIGHTNESS` and so on."""
