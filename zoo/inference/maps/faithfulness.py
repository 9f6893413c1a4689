"""Deletion and insertion (Petsiuk et al. 2018, RISE, BMVC, section 3.2): does the output follow what a map says counts?

Pixels are taken away, or put back, in the order of the map, and the area under the probability's curve is the figure: of deletion
the smaller, of insertion the larger is the better. Beside it the same of a random map with as many cells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from medzoo.data.seeding import generator

STEPS = 20
BLUR = 1 / 16
"""Spread of the blur that insertion starts from, as a share of an image's side."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curves:
    """Probabilities after each step, (STEPS + 1,), of a map and of a random one."""

    deletion: Floats
    insertion: Floats
    random_deletion: Floats
    random_insertion: Floats


def area(curve: Floats) -> float:
    """Return the area under a curve over the share of pixels, 0 to 1."""
    return float(np.trapezoid(curve, dx=1 / (len(curve) - 1)))


def curves(
    probability: Callable[[Tensor], Tensor], inputs: Tensor, cells: NDArray[np.float32], name: str, seed: int = 0
) -> Curves:
    """Return the four curves of one image.

    Args:
        probability: Normalised images → (N,) probabilities of the output that the map explains.
        inputs: (1, C, H, W) or (1, C, D, H, W) normalised image.
        cells: The map, of any resolution.
        name: The sample's, which the random map is drawn from.
        seed: Of the random map.
    """
    noise = generator(seed, "random map", name).standard_normal(cells.shape).astype(np.float32)
    found = []
    for ranked in (cells, noise):
        order = _order(ranked, inputs)
        found += [
            _curve(probability, inputs, order, base, insert)
            for base, insert in ((_grey(inputs), False), (_blurred(inputs), True))
        ]
    return Curves(*found)


def _order(cells: NDArray[np.float32], inputs: Tensor) -> NDArray[np.int64]:
    """Return the places of an input's pixels, those that count most first; equal ones in their own order."""
    mode = "bilinear" if cells.ndim == 2 else "trilinear"
    wide = F.interpolate(torch.from_numpy(cells)[None, None], size=inputs.shape[2:], mode=mode, align_corners=False)
    return np.argsort(-wide.flatten().numpy(), kind="stable")


@torch.no_grad()
def _curve(
    probability: Callable[[Tensor], Tensor], inputs: Tensor, order: NDArray[np.int64], base: Tensor, insert: bool
) -> Floats:
    start, end = (base, inputs) if insert else (inputs, base)
    counts = [round(len(order) * step / STEPS) for step in range(STEPS + 1)]
    rank = torch.from_numpy(np.argsort(order, kind="stable")).to(inputs.device).reshape(inputs.shape[2:])
    changed = torch.cat([torch.where(rank < count, end, start) for count in counts])
    return probability(changed).double().cpu().numpy()


def _grey(inputs: Tensor) -> Tensor:
    """Return an image of its own mean colour."""
    return inputs.flatten(2).mean(dim=2).reshape(*inputs.shape[:2], *[1] * (inputs.ndim - 2)).expand_as(inputs)


def _blurred(inputs: Tensor) -> Tensor:
    spread = [0, 0, *(BLUR * side for side in inputs.shape[2:])]
    return torch.from_numpy(ndimage.gaussian_filter(inputs.cpu().numpy(), spread)).to(inputs)
