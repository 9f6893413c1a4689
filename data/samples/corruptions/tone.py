"""Exposure and gain, by torchvision's transforms v2. A volume is one image: its contrast is about the mean of all its slices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.transforms.v2 import functional

Floats = NDArray[np.float32]


def brightness(image: Floats, amount: float, rng: np.random.Generator) -> NDArray[Any]:
    """Multiply by a factor."""
    return _flat(functional.adjust_brightness, image, amount)


def contrast(image: Floats, amount: float, rng: np.random.Generator) -> NDArray[Any]:
    """Multiply the distance from the image's mean luma by a factor."""
    return _flat(functional.adjust_contrast, image, amount)


def gamma(image: Floats, amount: float, rng: np.random.Generator) -> NDArray[Any]:
    """Raise to a power."""
    return _flat(functional.adjust_gamma, image, amount)


def _flat(transform: Callable[..., Any], image: Floats, amount: float) -> NDArray[Any]:
    flat = torch.from_numpy(image.reshape(image.shape[0], -1, image.shape[-1]))
    return np.asarray(transform(flat, amount)).reshape(image.shape)
