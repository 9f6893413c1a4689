"""The transforms of the built-in policies for a whole batch at once, in torch, on the device where the images are.

The draws of an image are those of `medzoo.data.samples.by_opencv`, number for number: the same seed gives the same image on
either path, to a few grey levels, for nothing is rounded between the steps here, and OpenCV's warps place a pixel to 1/32.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from medzoo.data.samples.colour_batch import CHANGES, HUE, PHASES
from medzoo.data.samples.crop_batch import crop_boxes, cut_out_batch
from medzoo.data.samples.policies import Policy, Transform
from medzoo.data.samples.preprocess import Preprocess, fit
from medzoo.data.samples.send import sent

Numbers = NDArray[np.float64]  # (N, k), uniform in [0, 1)
Range = tuple[float, float]
Limit = float | Range
_DRAWN = 24  # as many as `medzoo.data.seeding.Draws` takes from one hash
_ORDERS = np.array(tuple(permutations(range(4))))
_REFLECT = 4  # cv2.BORDER_REFLECT_101


class BatchAugment:
    """Applies a policy of medzoo's own to batches of images of one shape.

    Args:
        policy: Its crop box.
        transforms: Its transforms, as far as they suit the images.
        preprocess: The model's.

    Raises:
        ValueError: If the transforms need more numbers than an image draws.
    """

    def __init__(self, policy: Policy, transforms: Sequence[Transform], preprocess: Preprocess) -> None:
        self._policy = policy
        self._preprocess = preprocess
        self._steps = [_STEPS[t.name](**t.arguments) for t in transforms]
        if 4 * policy.crops + sum(step.needs for step in self._steps) > _DRAWN:
            raise ValueError(f"an image draws {_DRAWN} numbers, and this policy needs more")

    def __call__(self, images: Tensor, seeds: Sequence[int], size: tuple[int, ...] | None = None) -> Tensor:
        """Return each image as its own seed augments it.

        Args:
            images: (N, C, H, W) or (N, C, D, H, W), uint8 or float32 in 0..1, on any device.
            seeds: One an image; the whole of the randomness.
            size: What to fit to; None: the model's size.

        Returns:
            The same type and device, (N, C, *size).
        """
        size = self._preprocess.size if size is None else tuple(size)
        numbers, used, steps = draw(seeds), 0, list(self._steps)
        whole = images.dtype == torch.uint8
        if self._policy.crops:
            height, width = images.shape[-2:]
            boxes = crop_boxes(numbers[:, :4], height, width, self._policy.scale, self._policy.ratio)
            used = 4
            mirrored = {-2: np.zeros(len(images), dtype=bool), -1: np.zeros(len(images), dtype=bool)}
            while steps and isinstance(flip := steps[0], _Flip):
                steps.pop(0)
                mirrored[flip.axis] ^= numbers[:, used] < flip.probability
                used += 1
            planes = cut_out_batch(
                images.flatten(1, -3), boxes, self._preprocess, (size[-2], size[-1]), dtype=_working(images),
                mirrored=(mirrored[-2], mirrored[-1]),
            )  # fmt: skip
            values = planes.reshape(*images.shape[:-2], *size[-2:])
            if len(size) == 3:  # depth alone is left
                values = fit(values.float(), self._preprocess, size).to(values.dtype)
        else:
            values = fit(images, self._preprocess, size)
            if not steps:
                return values
            values = values.to(_working(images)) / 255 if whole else values
        square = size[-2] == size[-1]
        for step in steps:
            if square or not step.swaps_sides:
                values = step.apply(values, numbers[:, used : used + step.needs], whole)
            used += step.needs
        return (values * 255).round_().to(torch.uint8) if whole else values


def _working(images: Tensor) -> torch.dtype:
    """Return what bytes are computed in: on a GPU halves, whose 11 binary digits hold 8 and move in half the time."""
    return torch.float16 if images.is_cuda and images.dtype == torch.uint8 else torch.float32


def draw(seeds: Sequence[int]) -> Numbers:
    """Return (N, 24): the first numbers that `medzoo.data.seeding.Draws` gives for each seed."""
    digests = b"".join(hashlib.shake_128(f"{seed}/0".encode("ascii")).digest(8 * _DRAWN) for seed in seeds)
    words = np.frombuffer(digests, dtype="<u8").reshape(-1, _DRAWN) >> np.uint64(11)
    return words.astype(np.float64) * 2.0**-53


class _Step(ABC):
    """One transform: what `needs` numbers an image make of (N, C, ..., H, W) images in 0..1, float32 or float16.

    Attributes:
        needs: How many numbers; the first says whether an image is changed at all.
        swaps_sides: Whether only square images can have it.
    """

    needs: int
    swaps_sides = False

    @abstractmethod
    def apply(self, images: Tensor, numbers: Numbers, whole: bool) -> Tensor:
        """Return other images of the same shape; `whole` says whether they were bytes."""


@dataclass(frozen=True)
class _Flip(_Step):
    probability: float
    axis: int
    needs = 1

    def apply(self, images: Tensor, numbers: Numbers, whole: bool) -> Tensor:
        return torch.where(_each(numbers[:, 0] < self.probability, images), images.flip(self.axis), images)


@dataclass(frozen=True)
class _QuarterTurn(_Step):
    probability: float
    needs = 2
    swaps_sides = True

    def apply(self, images: Tensor, numbers: Numbers, whole: bool) -> Tensor:
        turns = np.where(numbers[:, 0] < self.probability, (numbers[:, 1] * 4).astype(np.int64), 0)
        given = _each(turns, images)
        half = torch.where(given >= 2, images.flip((-2, -1)), images)
        return torch.where(given % 2 == 1, torch.rot90(half, 1, (-2, -1)), half)


@dataclass(frozen=True)
class _Affine(_Step):
    probability: float
    degrees: Range
    shift: Range
    border: int
    needs = 4

    def apply(self, images: Tensor, numbers: Numbers, whole: bool) -> Tensor:
        height, width = images.shape[-2:]
        chosen = numbers[:, 0] < self.probability
        angle = np.where(chosen, np.radians(_between(numbers[:, 1], self.degrees)), 0.0)
        right = np.where(chosen, np.trunc(_between(numbers[:, 2], self.shift) * width), 0.0)
        down = np.where(chosen, np.trunc(_between(numbers[:, 3], self.shift) * height), 0.0)
        # From where a pixel of the result comes, with both axes from -1 to 1 between the centres of the outermost pixels.
        across, along = max(width - 1, 1) / 2, max(height - 1, 1) / 2
        cos, sin = np.cos(angle), np.sin(angle)
        back = np.stack(
            [cos, -sin * along / across, (-cos * right + sin * down) / across,
             sin * across / along, cos, (-sin * right - cos * down) / along], axis=1
        ).astype(np.float32).reshape(-1, 2, 3)  # fmt: skip
        theta = sent(torch.from_numpy(back), images.device)
        planes = images.flatten(1, -3).float()  # places of pixels need more digits than their values
        # As affine_grid, which takes ten times as long for its product with matrices of two columns.
        x, y = (_centres(side, images.device) for side in (width, height))
        by_x, by_y, shift = theta[:, None, None].unbind(-1)
        grid = torch.addcmul(shift + y[:, None, None] * by_y, x[:, None], by_x)
        beyond = "reflection" if self.border == _REFLECT else "zeros"
        warped = F.grid_sample(planes, grid, mode="bilinear", padding_mode=beyond, align_corners=True)
        return warped.reshape(images.shape).to(images.dtype)


@dataclass(frozen=True)
class _Light(_Step):
    probability: float
    brightness: Range
    contrast: Range
    needs = 3

    def apply(self, images: Tensor, numbers: Numbers, whole: bool) -> Tensor:
        chosen = numbers[:, 0] < self.probability
        factor = np.where(chosen, 1 + _between(numbers[:, 1], self.contrast), 1.0)
        offset = np.where(chosen, _between(numbers[:, 2], self.brightness), 0.0)
        return torch.addcmul(_each(offset, images), images, _each(factor, images)).clamp_(0, 1)


@dataclass(frozen=True)
class _Gamma(_Step):
    probability: float
    percent: Range
    needs = 2

    def apply(self, images: Tensor, numbers: Numbers, whole: bool) -> Tensor:
        power = np.where(numbers[:, 0] < self.probability, _between(numbers[:, 1], self.percent) / 100, 1.0)
        return images ** _each(power, images)


@dataclass(frozen=True)
class _Colour(_Step):
    """Four changes in an order that is drawn too; each position's changes are made for the images that have them there."""

    probability: float
    limits: tuple[Range, Range, Range, Range]
    needs = 6

    def apply(self, images: Tensor, numbers: Numbers, whole: bool) -> Tensor:
        chosen = numbers[:, 0] < self.probability
        order = _ORDERS[(numbers[:, 1] * len(_ORDERS)).astype(np.int64)]
        amounts = np.stack([_between(numbers[:, 2 + kind], self.limits[kind]) for kind in range(4)], axis=1)
        if whole:  # OpenCV's bytes know 256 hues
            amounts[:, HUE] = np.rint(256 * amounts[:, HUE]) / 256
        groups = [np.flatnonzero(chosen & (order[:, place] == kind)) for place in range(4) for kind in range(4)]
        all_rows = np.concatenate(groups)
        # Of the hue what is added to a pixel's own for each channel, in sixths of the circle.
        given = np.concatenate([amounts[:, :HUE], 6 * amounts[:, HUE:] + PHASES], axis=1)[all_rows]
        rows, values = sent(torch.from_numpy(all_rows), images.device), _each(given, images)
        images, end = images.clone(), 0  # what follows is written into its rows
        for number, group in enumerate(groups):
            start, end, kind = end, end + len(group), number % 4
            if len(group):
                part = images.index_select(0, rows[start:end])
                last = HUE + 3 if kind == HUE else kind + 1
                images.index_copy_(0, rows[start:end], CHANGES[kind](part, values[start:end, kind:last]))
        return images


def _centres(side: int, device: torch.device) -> Tensor:
    """Return (side,) places of pixels, -1 and 1 for the outermost ones; 0 of a single one."""
    return torch.linspace(-1, 1, side, device=device) if side > 1 else torch.zeros(1, device=device)


def _each(values: NDArray[Any], images: Tensor) -> Tensor:
    """Return a value an image, or some of (N, k), as a tensor that goes with (N, C, ..., H, W) images; numbers of their type."""
    given = torch.from_numpy(np.ascontiguousarray(values))
    given = sent(given.to(images.dtype) if given.is_floating_point() else given, images.device)
    return given.reshape(len(given), -1, *(1,) * (images.ndim - 2))


def _between(numbers: Numbers, limits: Range) -> Numbers:
    return limits[0] + (limits[1] - limits[0]) * numbers


def _around(middle: float, limit: Limit) -> Range:
    return (middle - limit, middle + limit) if isinstance(limit, int | float) else (limit[0], limit[1])


def _affine(*, p: float, rotate: Range, translate_percent: Range, border_mode: int) -> _Step:
    return _Affine(p, rotate, translate_percent, border_mode)


def _light(*, p: float, brightness_limit: Limit, contrast_limit: Limit) -> _Step:
    return _Light(p, _around(0, brightness_limit), _around(0, contrast_limit))


def _gamma(*, p: float, gamma_limit: Range) -> _Step:
    return _Gamma(p, gamma_limit)


def _colour(*, p: float, brightness: Limit, contrast: Limit, saturation: Limit, hue: Limit) -> _Step:
    return _Colour(p, (_around(1, brightness), _around(1, contrast), _around(1, saturation), _around(0, hue)))


# Each takes its own arguments, all of them: what a policy asks for is done or is an error.
_STEPS: dict[str, Callable[..., _Step]] = {
    "HorizontalFlip": lambda *, p: _Flip(p, -1), "VerticalFlip": lambda *, p: _Flip(p, -2),
    "RandomRotate90": lambda *, p: _QuarterTurn(p), "Affine": _affine, "RandomBrightnessContrast": _light,
    "RandomGamma": _gamma, "ColorJitter": _colour,
}  # fmt: skip
