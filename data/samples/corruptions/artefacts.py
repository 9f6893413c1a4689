"""What lies in the picture beside the patient: corners, hairs, rulers; and stains that were mixed otherwise."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

HED = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
"""Optical densities of haematoxylin, eosin and DAB in red, green and blue (Ruifrok and Johnston 2001)."""
MOST_HAIRS = 64
_HAIR = (0.16, 0.11, 0.08)
_TICKS = 40
"""Of a ruler along the longer side."""


def black_corner(image: Floats, amount: float, rng: np.random.Generator) -> NDArray[Any]:
    """Leave black what is outside a circle around the middle, its radius in halves of the shorter side."""
    height, width = image.shape[-2:]
    inside = np.zeros((height, width), np.uint8)
    radius = int(min(width // 2, height // 2) * amount)
    cv2.circle(inside, (width // 2, height // 2), radius, 1, thickness=-1)
    return np.asarray(image * inside)


def vignette(image: Floats, amount: float, rng: np.random.Generator) -> NDArray[Any]:
    """Darken with the square of the distance from the middle, in the corners by `amount`."""
    y, x = (np.linspace(-1, 1, side) for side in image.shape[-2:])
    return image * (1 - amount * (y[:, None] ** 2 + x[None] ** 2) / 2)


def hair(image: Floats, amount: int, rng: np.random.Generator) -> NDArray[Any]:
    """Lay so many dark curved hairs over it; those of a severity are among those of the next."""
    height, width = image.shape[-2:]
    drawn = rng.random((MOST_HAIRS, 4))
    cover = np.zeros((height, width), np.uint8)
    side, t = min(height, width), np.linspace(0, 1, 24)
    for x, y, angle, bend in drawn[:amount]:
        along = np.array([np.cos(2 * np.pi * angle), np.sin(2 * np.pi * angle)]) * side * 0.35
        across = np.array([-along[1], along[0]]) * (2 * bend - 1)
        points = np.array([x * width, y * height]) + np.outer(2 * t - 1, along) + np.outer(4 * t * (1 - t) - 0.5, across)
        fine = np.round(points * 16).astype(np.int32)  # in sixteenths of a pixel
        cv2.polylines(cover, [fine], False, 255, max(1, round(side * 0.006)), cv2.LINE_AA, shift=4)
    share = cover.astype(np.float32) / 255
    return image * (1 - share) + _colour(image, _HAIR) * share


def ruler_marks(image: Floats, amount: float, rng: np.random.Generator) -> NDArray[Any]:
    """Lay a white ruler along a side that is drawn, as broad as a share of the shorter side, every fifth tick longer."""
    side = int(rng.integers(4))
    turned = np.rot90(image, side, axes=(-2, -1)).copy()  # the ruler always at the bottom
    height, width = turned.shape[-2:]
    broad = max(2, round(min(height, width) * amount))
    band = np.ones((broad, width), np.float32)
    for tick in range(_TICKS):
        at = int((tick + 0.5) * width / _TICKS)
        band[: max(1, round(broad * (0.7 if tick % 5 == 0 else 0.4))), at] = 0.05
    turned[..., height - broad :, :] = band
    return np.rot90(turned, -side, axes=(-2, -1))


def stain_shift(image: Floats, amount: float, rng: np.random.Generator) -> NDArray[Any]:
    """Change how much of each stain there is, by up to `amount` of it; glass without tissue stays as it is.

    Each stain's direction, and how far it goes of what is allowed (half of it or more), is the same for every severity.
    """
    factor = 1 + amount * rng.uniform(0.5, 1, 3) * rng.choice([-1, 1], 3)
    density = -np.log(np.maximum(np.moveaxis(image, 0, -1).astype(np.float64), 1 / 255))
    stains = density @ np.linalg.inv(HED)
    shifted = density + (stains * (factor - 1)) @ HED
    return np.moveaxis(np.exp(-shifted), -1, 0)


def _colour(image: Floats, rgb: tuple[float, float, float]) -> Floats:
    """Return a colour for an image's channels; their luma for one."""
    values = rgb if image.shape[0] == 3 else [float(np.dot(rgb, (0.299, 0.587, 0.114)))] * image.shape[0]
    return np.asarray(values, dtype=np.float32).reshape(-1, 1, 1, 1)
