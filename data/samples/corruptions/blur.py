"""Blur in the plane, slice by slice, its lengths scaled with the image."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.transforms.v2 import functional

from medzoo.data.samples.corruptions.amounts import REFERENCE_SIDE

Floats = NDArray[np.float32]

STEP = 0.25
"""Pixels from one weight of a motion to the next."""


def gaussian_blur(image: Floats, amount: int, rng: np.random.Generator) -> NDArray[Any]:
    """Blur by torchvision with a kernel of so many pixels and the standard deviation that torchvision gives it by default."""
    scale = scale_of(image)
    sigma = (0.15 * amount + 0.35) * scale
    kernel = max(3, 2 * round((amount * scale - 1) / 2) + 1)
    kernel = min(kernel, 2 * min(image.shape[-2:]) - 1)  # the border is mirrored, and no further than the image goes
    slices = torch.from_numpy(np.ascontiguousarray(image.swapaxes(0, 1)))
    return np.asarray(functional.gaussian_blur(slices, [kernel, kernel], [sigma, sigma])).swapaxes(0, 1)


def motion_blur(image: Floats, amount: tuple[float, float], rng: np.random.Generator) -> NDArray[Any]:
    """Smear along a line at an angle drawn from -45 to 45 degrees, weights of half a Gaussian (radius, standard deviation)."""
    kernel = motion_kernel(amount, np.deg2rad(rng.uniform(-45, 45)), scale_of(image))
    planes = image.reshape(-1, *image.shape[-2:])
    return np.stack([cv2.filter2D(plane, -1, kernel) for plane in planes]).reshape(image.shape)


def motion_kernel(amount: tuple[float, float], angle: float, scale: float) -> Floats:
    """Return the kernel of a motion: weights along a line from its middle, each shared by the four pixels around its place."""
    length, sigma = 2 * amount[0] * scale, amount[1] * scale
    steps = np.arange(0, length + STEP / 2, STEP)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    half = int(np.ceil(length)) + 1
    kernel = np.zeros((2 * half + 1, 2 * half + 1))
    x, y = half + steps * np.cos(angle), half + steps * np.sin(angle)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    for right, down in ((0, 0), (0, 1), (1, 0), (1, 1)):
        share = np.abs(1 - right - (x - left)) * np.abs(1 - down - (y - top))
        np.add.at(kernel, (top + down, left + right), weights * share)
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)


def scale_of(image: Floats) -> float:
    """Return by what lengths are multiplied: 1 for a shorter side of 224 pixels."""
    return float(min(image.shape[-2:]) / REFERENCE_SIDE)
