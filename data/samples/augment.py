"""Augmentation: applies a policy; the one module that imports albumentations.

The crop box is resized in plane by `medzoo.data.samples.preprocess.fit`, which antialiases; the transforms follow at the new
size. An augmented image is a function of the image and of one seed; nothing is kept between images, so neither the worker that
makes it nor the order can be seen in it.
"""

from __future__ import annotations

import inspect
import math
import os
import random
import warnings
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.samples.policies import POLICIES, Policy, Transform
from medzoo.data.samples.preprocess import Preprocess, fit

CROP = "RandomResizedCrop"
# What asks for three channels, or says nothing about one.
_COLOUR_ONLY = frozenset(
    ("ChannelDropout", "ChannelShuffle", "ChromaticAberration", "FancyPCA", "HEStain", "HueSaturationValue", "ISONoise",
     "PlanckianJitter", "RGBShift", "ToGray", "ToRGB", "ToSepia")
)  # fmt: skip
_SWAPS_SIDES = frozenset(("D4", "RandomRotate90", "SquareSymmetry", "Transpose"))
# What YAML cannot name, and what would normalise before medzoo does.
_NOT_OFFERED = frozenset(
    ("BasicTransform", "DualTransform", "ImageOnlyTransform", "Lambda", "ToTensorV2",
     "Normalize", "ToFloat", "FromFloat")
)  # fmt: skip


def augment_policy(choice: str | Sequence[Mapping[str, Any]], modality: str) -> Policy:
    """Return the policy a user asks for.

    Args:
        choice: `auto` (the modality's), a name of `POLICIES`, or a list of `{name: ..., argument: value, ...}` with
            albumentations' class names and arguments. `RandomResizedCrop` in such a list (`scale`, `ratio`) is medzoo's
            own crop box, wherever it stands: it takes no size, is resized with antialiasing and keeps its `ratio`
            relative to the image's. Without it nothing is cropped.
        modality: The dataset's, for `auto`.

    Raises:
        UnknownNameError: On an unknown policy, modality, transform or argument; the message offers the nearest.
        ConfigError: On a list that is not of that form, or an argument's value that albumentations refuses.
    """
    if isinstance(choice, str):
        if choice == "auto":
            if modality not in POLICIES:
                raise UnknownNameError("modality", modality, POLICIES, where=" (set data.augment to a policy by name)")
            return POLICIES[modality]
        if choice not in POLICIES:
            raise UnknownNameError("augmentation policy", choice, ["auto", *POLICIES])
        return POLICIES[choice]
    if not isinstance(choice, Sequence):
        raise ConfigError(f"augmentation must be a policy's name or a list of transforms, got {choice!r}")
    box: dict[str, tuple[float, float]] = {}
    transforms = []
    for entry in choice:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
            raise ConfigError(f"augmentation: {entry!r} is not a transform; write {{name: HorizontalFlip, p: 0.5}}")
        arguments = {str(k): _plain(v) for k, v in entry.items() if k != "name"}
        if entry["name"] == CROP:
            box = _crop_arguments(arguments)
            continue
        _build(Transform(entry["name"], arguments))
        transforms.append(Transform(entry["name"], arguments))
    return Policy("Chosen by the user.", transforms=tuple(transforms), **box)


class Augment:
    """Applies a policy to images that are to become one model's input.

    Args:
        policy: What may happen.
        preprocess: The model's; its `fit` resizes the crop, its channels decide whether colour can change.

    Raises:
        ConfigError: If a transform cannot run on such images, or changes their size or type; each is tried once.
    """

    def __init__(self, policy: Policy, preprocess: Preprocess) -> None:
        self.policy = policy
        self.preprocess = preprocess
        self._transforms = list(policy.transforms)
        if preprocess.channels == 1:
            self._transforms = [_without_colour(t) for t in policy.transforms if t.name not in _COLOUR_ONLY]
        self._composed: dict[bool, Any] = {}
        if self._transforms:
            self._try_all()

    def __call__(self, image: Tensor, seed: int, size: tuple[int, ...] | None = None) -> Tensor:
        """Return the image as this seed augments it.

        Args:
            image: (C, H, W) or (C, D, H, W), uint8 or float32 in 0..1, of the preprocess's channels.
            seed: Non-negative; the whole of the randomness.
            size: What to fit to: the model's size, or an array's native size.

        Returns:
            The same type, (C, *size).

        Raises:
            ConfigError: If a transform fails on this image or changes its size or type.
        """
        size = self.preprocess.size if size is None else tuple(size)
        rng = np.random.default_rng(seed)
        if self.policy.crops:
            top, left, height, width = crop_box(rng, image.shape[-2], image.shape[-1], self.policy.scale, self.policy.ratio)
            image = image[..., top : top + height, left : left + width]
        image = fit(image[None], self.preprocess, size)[0]
        if not self._transforms:
            return image
        compose = self._compose(square=size[-2] == size[-1])
        # Not set_random_seed: it gives every transform a stream of its own from the same seed, so that all of them draw
        # the same numbers (an image mirrored left to right would always be mirrored top to bottom too).
        compose.set_random_state(rng, random.Random(int(rng.integers(1 << 62))))
        pixels = np.ascontiguousarray(image.movedim(0, -1).numpy())
        return torch.from_numpy(np.ascontiguousarray(np.moveaxis(_run(compose, pixels), -1, 0)))

    def _compose(self, square: bool) -> Any:
        if square not in self._composed:
            kept = [t for t in self._transforms if square or t.name not in _SWAPS_SIDES]
            self._composed[square] = _albumentations().Compose([_build(t) for t in kept], is_check_shapes=False)
        return self._composed[square]

    def _try_all(self) -> None:
        """Run each transform on a gradient, so that a wrong one stops the run at its start and by its name."""
        shape = (*self.preprocess.size, self.preprocess.channels)
        ramp = np.linspace(0, 1, math.prod(shape)).reshape(shape).astype(np.float32)
        pixels = (ramp * 255).astype(np.uint8) if self.preprocess.dtype == "uint8" else ramp
        for transform in self._transforms:
            if shape[-3] == shape[-2] or transform.name not in _SWAPS_SIDES:
                certain = _build(Transform(transform.name, {**transform.arguments, "p": 1.0}))
                _run(_albumentations().Compose([certain], seed=0, is_check_shapes=False), pixels)


def crop_box(
    rng: np.random.Generator, height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[int, int, int, int]:
    """Draw a crop box: its share of the area uniform in `scale`, its change of proportions log-uniform in `ratio`.

    As Inception's box (Szegedy et al. 2015), but with proportions relative to the image's own, because evaluation shows
    the model the whole image stretched to its size, whatever its proportions; and with no rejected draws.

    Args:
        rng: Four numbers are drawn from it.
        height: Of the image, in pixels.
        width: Of the image, in pixels.
        scale: Smallest and largest share of the area.
        ratio: Smallest and largest factor on width:height.

    Returns:
        top, left, height, width in pixels; within the image.
    """
    area = rng.uniform(*scale)
    stretch = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
    box_height = min(height, max(1, round(height * math.sqrt(area / stretch))))
    box_width = min(width, max(1, round(width * math.sqrt(area * stretch))))
    top = int(rng.integers(height - box_height + 1))
    left = int(rng.integers(width - box_width + 1))
    return top, left, box_height, box_width


def _albumentations() -> ModuleType:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # without it, importing asks the network for a newer version
    import albumentations
    import cv2

    # cv2's threads do not outlive the fork that makes a worker, and would only compete with the other workers.
    cv2.setNumThreads(0)
    module: ModuleType = albumentations
    return module


def _run(compose: Any, pixels: NDArray[Any]) -> NDArray[Any]:
    """Transform (H, W, C) or, each slice alike, (D, H, W, C)."""
    # Not `volume`, which 2.0.8's RandomBrightnessContrast and others fail on; one draw serves all slices in both.
    key = "images" if pixels.ndim == 4 else "image"
    names = ", ".join(type(t).__name__ for t in compose.transforms)
    try:
        changed: NDArray[Any] = compose(**{key: pixels})[key]
    except Exception as error:  # albumentations raises whatever cv2, numpy or its own checks raise
        raise ConfigError(f"augmentation ({names}) failed on shape {list(pixels.shape)}: {error}") from error
    if changed.shape != pixels.shape or changed.dtype != pixels.dtype:
        raise ConfigError(
            f"augmentation ({names}) turned {pixels.dtype} {list(pixels.shape)} into {changed.dtype} "
            f"{list(changed.shape)}; leave out what changes size or type, for medzoo resizes and normalises itself"
        )
    return changed.clip(0, 1) if changed.dtype == np.float32 else changed


def _without_colour(transform: Transform) -> Transform:
    """Return what stands for a transform where there is no colour: its light part, or itself."""
    if transform.name != "ColorJitter":
        return transform
    limits = {f"{k}_limit": _as_limit(transform.arguments.get(k, 0.2)) for k in ("brightness", "contrast")}
    return Transform("RandomBrightnessContrast", {**limits, "p": transform.arguments.get("p", 0.5)})


def _as_limit(factor: float | Sequence[float]) -> float | tuple[float, float]:
    """Turn ColorJitter's factors (0.8, 1.2) into RandomBrightnessContrast's changes (-0.2, 0.2)."""
    return float(factor) if isinstance(factor, int | float) else (factor[0] - 1, factor[1] - 1)


def _build(transform: Transform) -> Any:
    """Make the albumentations object; unknown arguments, of which it only warns, are errors."""
    library = _albumentations()
    classes = {name: kind for name, kind in vars(library).items() if inspect.isclass(kind) and name not in _NOT_OFFERED}
    offered = [n for n, k in classes.items() if issubclass(k, library.BasicTransform) and not issubclass(k, library.Transform3D)]
    if transform.name not in offered:
        raise UnknownNameError("augmentation transform", transform.name, offered)
    kind = classes[transform.name]
    accepted = [p for p in inspect.signature(kind).parameters if p not in ("self", "strict")]
    for argument in transform.arguments:
        if argument not in accepted:
            raise UnknownNameError("argument", argument, accepted, where=f" of augmentation {transform.name}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            return kind(**transform.arguments)
    except (ValueError, TypeError, UserWarning) as error:
        raise ConfigError(f"augmentation {transform.name}: {_first_complaint(error)}") from error


def _first_complaint(error: Exception) -> str:
    """Return the argument and the complaint from pydantic's many-lined report."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) >= 3 and "validation error" in lines[0]:
        return f"{lines[1].split('.')[0]}: {lines[2].split(' [type=')[0]}"
    return lines[0] if lines else type(error).__name__


def _crop_arguments(arguments: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    box = {}
    for name, value in arguments.items():
        if name not in ("scale", "ratio"):
            raise UnknownNameError("argument", name, ("scale", "ratio"), where=f" of augmentation {CROP}")
        if not isinstance(value, list | tuple) or len(value) != 2 or not all(isinstance(v, int | float) for v in value):
            raise ConfigError(f"augmentation {CROP}: {name} must be two numbers, got {value!r}")
        box[name] = (float(value[0]), float(value[1]))
    return box


def _plain(value: Any) -> Any:
    """Turn YAML's containers into those albumentations checks for."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(_plain(v) for v in value)
    return value
