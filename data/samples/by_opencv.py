"""The transforms of the built-in policies, on OpenCV: albumentations' by name and argument, at a fraction of their time.

Each draws what it needs from `medzoo.data.seeding.Draws`, from the distributions that albumentations draws from, and then
does one or a few calls of OpenCV. One thing differs: grey levels and 8-bit hues are rounded where albumentations cuts off
their fractions, which leaves its images half a level too dark a step, and a degree off in hue.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medzoo.data.samples.crop import channels_last, crop_box, cut_out
from medzoo.data.samples.policies import Policy, Transform
from medzoo.data.samples.preprocess import Preprocess, fit
from medzoo.data.seeding import Draws

Pixels = NDArray[Any]  # (H, W, C), or (H, W) of one channel; uint8, or float32 in 0..1
Range = tuple[float, float]
Limit = float | Range
_MANY = 10_000
_AT_ONCE = 4  # channels that OpenCV warps or turns together
_ORDERS = tuple(permutations(range(4)))
_TURNS = (-1, cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)


class OpenCv:
    """Applies a policy of medzoo's own to images.

    Args:
        policy: Its crop box.
        transforms: Its transforms, as far as they suit the images.
        preprocess: The model's.
    """

    def __init__(self, policy: Policy, transforms: Sequence[Transform], preprocess: Preprocess) -> None:
        # OpenCV's threads do not outlive the fork that makes a worker, and would only compete with the other workers.
        cv2.setNumThreads(0)
        self._policy = policy
        self._preprocess = preprocess
        self.steps = [_STEPS[t.name](**t.arguments) for t in transforms]

    def __call__(self, image: Tensor, seed: int, size: tuple[int, ...]) -> Tensor:
        """Return (C, *size) of a (C, H, W) or (C, D, H, W) image as this seed augments it; slices alike."""
        draws = Draws(seed)
        height, width = image.shape[-2:]
        box = (0, 0, height, width)
        if self._policy.crops:
            box = crop_box(draws, height, width, self._policy.scale, self._policy.ratio)
        square = size[-2] == size[-1]
        drawn = [step.draw(draws) for step in self.steps]
        todo = [(s, d) for s, d in zip(self.steps, drawn, strict=True) if d is not None and (square or not s.swaps_sides)]
        if self._policy.crops and len(size) == 2:
            return _changed(cut_out(image, box, self._preprocess, size), todo)
        top, left, height, width = box
        image = fit(image[None, ..., top : top + height, left : left + width], self._preprocess, size)[0]
        if not todo:
            return image
        if len(size) == 2:
            return _changed(channels_last(image), todo)
        return torch.stack([_changed(channels_last(image[:, index]), todo) for index in range(size[0])], dim=1)


class _Step(ABC):
    """One transform. `draw` comes before any image is looked at, so that all slices of a volume share it."""

    swaps_sides = False

    @abstractmethod
    def draw(self, draws: Draws) -> Any:
        """Return what this image gets; None if it is left as it is."""

    @abstractmethod
    def apply(self, pixels: Pixels, values: Any) -> Pixels:
        """Return other pixels, of the same shape and type."""


@dataclass(frozen=True)
class _Flip(_Step):
    """Mirrors: about the vertical axis (`left_right`) or the horizontal one."""

    probability: float
    left_right: bool = True

    @classmethod
    def of(cls, *, p: float) -> _Flip:
        return cls(p)

    def draw(self, draws: Draws) -> bool | None:
        return True if draws.random() < self.probability else None

    def apply(self, pixels: Pixels, values: bool) -> Pixels:
        return cv2.flip(pixels, int(self.left_right))


class _UpsideDown(_Flip):
    """Mirrors about the horizontal axis."""

    @classmethod
    def of(cls, *, p: float) -> _Flip:
        return cls(p, left_right=False)


@dataclass(frozen=True)
class _QuarterTurn(_Step):
    """Turns by 0, 90, 180 or 270 degrees, without interpolation."""

    probability: float
    swaps_sides = True

    @classmethod
    def of(cls, *, p: float) -> _QuarterTurn:
        return cls(p)

    def draw(self, draws: Draws) -> int | None:
        chosen, turns = draws.random() < self.probability, draws.integers(4)
        return turns if chosen and turns else None

    def apply(self, pixels: Pixels, values: int) -> Pixels:
        if pixels.ndim == 3 and pixels.shape[2] > _AT_ONCE:
            return np.ascontiguousarray(np.rot90(pixels, values))
        return cv2.rotate(pixels, _TURNS[values])


@dataclass(frozen=True)
class _Affine(_Step):
    """Turns about the centre, then shifts by whole pixels."""

    probability: float
    degrees: Range
    shift: Range
    border: int

    @classmethod
    def of(cls, *, p: float, rotate: Range, translate_percent: Range, border_mode: int) -> _Affine:
        return cls(p, rotate, translate_percent, border_mode)

    def draw(self, draws: Draws) -> tuple[float, float, float] | None:
        """Return the angle in degrees, and the shifts as shares of the width and the height."""
        chosen = draws.random() < self.probability
        values = draws.uniform(*self.degrees), draws.uniform(*self.shift), draws.uniform(*self.shift)
        return values if chosen else None

    def apply(self, pixels: Pixels, values: tuple[float, float, float]) -> Pixels:
        height, width = pixels.shape[:2]
        angle, x, y = math.radians(values[0]), int(values[1] * width), int(values[2] * height)
        cos, sin, right, down = math.cos(angle), math.sin(angle), width / 2 - 0.5, height / 2 - 0.5
        matrix = np.array(((cos, sin, right + x - cos * right - sin * down), (-sin, cos, down + y + sin * right - cos * down)))
        # Four channels take OpenCV less time than three, for the same values; adding one pays from about 64 pixels squared.
        wide = pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.size > _MANY
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2RGBA) if wide else pixels
        channels = pixels.shape[2] if pixels.ndim == 3 else 1
        parts = [pixels] if channels <= _AT_ONCE else [
            np.ascontiguousarray(pixels[..., start : start + _AT_ONCE]) for start in range(0, channels, _AT_ONCE)
        ]  # fmt: skip
        turned = [cv2.warpAffine(p, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=self.border) for p in parts]
        pixels = turned[0] if len(turned) == 1 else np.concatenate([p.reshape(height, width, -1) for p in turned], axis=-1)
        return cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB) if wide else pixels


@dataclass(frozen=True)
class _Light(_Step):
    """Multiplies by a factor around 1, then adds a share of the largest value."""

    probability: float
    brightness: Range
    contrast: Range

    @classmethod
    def of(cls, *, p: float, brightness_limit: Limit, contrast_limit: Limit) -> _Light:
        return cls(p, _around(0, brightness_limit), _around(0, contrast_limit))

    def draw(self, draws: Draws) -> tuple[float, float] | None:
        """Return the factor and the share."""
        chosen = draws.random() < self.probability
        values = 1 + draws.uniform(*self.contrast), draws.uniform(*self.brightness)
        return values if chosen else None

    def apply(self, pixels: Pixels, values: tuple[float, float]) -> Pixels:
        return _linear(pixels, values[0], values[1] * (255 if pixels.dtype == np.uint8 else 1))


@dataclass(frozen=True)
class _Gamma(_Step):
    """Raises to a power."""

    probability: float
    percent: Range

    @classmethod
    def of(cls, *, p: float, gamma_limit: Range) -> _Gamma:
        return cls(p, gamma_limit)

    def draw(self, draws: Draws) -> float | None:
        chosen, power = draws.random() < self.probability, draws.uniform(*self.percent) / 100
        return power if chosen else None

    def apply(self, pixels: Pixels, values: float) -> Pixels:
        if pixels.dtype != np.uint8:
            return np.power(pixels, np.float32(values))
        return cv2.LUT(pixels, (255 * (np.arange(256) / 255) ** values + 0.5).astype(np.uint8))


@dataclass(frozen=True)
class _Colour(_Step):
    """Changes brightness, contrast (around the mean), saturation and hue, in an order that is drawn too."""

    probability: float
    brightness: Range
    contrast: Range
    saturation: Range
    hue: Range

    @classmethod
    def of(cls, *, p: float, brightness: Limit, contrast: Limit, saturation: Limit, hue: Limit) -> _Colour:
        return cls(p, _around(1, brightness), _around(1, contrast), _around(1, saturation), _around(0, hue))

    def draw(self, draws: Draws) -> tuple[tuple[int, ...], tuple[float, ...]] | None:
        """Return the order, and the four amounts: three factors, and the hue's change as a share of the circle."""
        chosen = draws.random() < self.probability
        order = _ORDERS[draws.integers(len(_ORDERS))]
        amounts = tuple(draws.uniform(*limits) for limits in (self.brightness, self.contrast, self.saturation, self.hue))
        return (order, amounts) if chosen else None

    def apply(self, pixels: Pixels, values: tuple[tuple[int, ...], tuple[float, ...]]) -> Pixels:
        order, amounts = values
        for kind in order:
            pixels = _CHANGES[kind](pixels, amounts[kind])
        return pixels


def _contrast(pixels: Pixels, factor: float) -> Pixels:
    mean = cv2.mean(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))[0]
    return _linear(pixels, factor, mean * (1 - factor))


def _saturation(pixels: Pixels, factor: float) -> Pixels:
    gray = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return _clipped(cv2.addWeighted(pixels, factor, gray, 1 - factor, 0.0))


def _hue(pixels: Pixels, share: float) -> Pixels:
    if pixels.dtype == np.uint8:  # the circle in 256 steps, so that bytes run over as angles do
        hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV_FULL)
        hsv[..., 0] += np.uint8(round(256 * share) % 256)
        return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)
    hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = np.mod(hsv[..., 0] + np.float32(360 * share), 360)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def _linear(pixels: Pixels, factor: float, offset: float) -> Pixels:
    return _clipped(cv2.addWeighted(pixels, factor, pixels, 0.0, offset))


def _clipped(pixels: Pixels) -> Pixels:
    """Keep float32 in 0..1; OpenCV does the like for bytes."""
    return pixels if pixels.dtype == np.uint8 else np.clip(pixels, 0, 1, out=pixels)


def _changed(pixels: Pixels, todo: Sequence[tuple[_Step, Any]]) -> Tensor:
    """Apply what was drawn to (H, W, C) or (H, W); returns (C, H, W)."""
    for step, values in todo:
        pixels = step.apply(pixels, values)
    if pixels.ndim == 2:
        return torch.from_numpy(np.ascontiguousarray(pixels))[None]
    planes: Pixels = np.empty((pixels.shape[2], *pixels.shape[:2]), dtype=pixels.dtype)
    cv2.split(pixels, list(planes))
    return torch.from_numpy(planes)


def _around(middle: float, limit: Limit) -> Range:
    """Return a range, which albumentations takes as one distance from the middle too."""
    return (middle - limit, middle + limit) if isinstance(limit, int | float) else (limit[0], limit[1])


_CHANGES = (lambda pixels, factor: _linear(pixels, factor, 0.0), _contrast, _saturation, _hue)
# Each takes its own arguments, all of them: what a policy asks for is done or is an error.
_STEPS: dict[str, Callable[..., _Step]] = {
    "HorizontalFlip": _Flip.of, "VerticalFlip": _UpsideDown.of, "RandomRotate90": _QuarterTurn.of, "Affine": _Affine.of,
    "RandomBrightnessContrast": _Light.of, "RandomGamma": _Gamma.of, "ColorJitter": _Colour.of,
}  # fmt: skip
