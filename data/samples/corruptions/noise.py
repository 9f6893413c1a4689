"""Noise of sensors. Images are (C, D, H, W) float32 in 0..1; what leaves that range is cut off by `apply`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def gaussian_noise(image: Floats, amount: float, rng: np.random.Generator) -> NDArray[Any]:
    """Add noise of a standard deviation, as a fraction of white."""
    return image + amount * rng.standard_normal(image.shape)


def speckle_noise(image: Floats, amount: float, rng: np.random.Generator) -> NDArray[Any]:
    """Multiply by 1 and noise of a standard deviation."""
    return image * (1 + amount * rng.standard_normal(image.shape))


def shot_noise(image: Floats, amount: float, rng: np.random.Generator) -> NDArray[Any]:
    """Count photons (Poisson), `amount` of them where it is white."""
    return rng.poisson(image.astype(np.float64) * amount) / amount
