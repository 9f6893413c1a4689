"""Augmentation: what a user asks for, and its application to an image.

The crop box is resized in plane, with antialiasing; the transforms follow at the new size. medzoo's own policies run on OpenCV
(`medzoo.data.samples.by_opencv`), the transforms of a user's own list in the library whose names they are. An augmented image is
a function of the image and of one seed; nothing is kept between images, so neither the worker that makes it nor the order can be
seen in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medzoo.data.errors import ConfigError, MissingDependencyError, UnknownNameError
from medzoo.data.samples import by_albumentations, by_torchvision
from medzoo.data.samples.by_opencv import OpenCv
from medzoo.data.samples.by_torch import BatchAugment
from medzoo.data.samples.crop import crop_box
from medzoo.data.samples.policies import POLICIES, Policy, Transform
from medzoo.data.samples.preprocess import Preprocess, fit

CROP = "RandomResizedCrop"
AUGMENTERS = ("opencv", "albumentations")
"""What runs medzoo's own policies: OpenCV, or albumentations, which ran them at first."""
_LIBRARIES = {"albumentations": by_albumentations, "torchvision": by_torchvision}
_APPLIES: dict[str, Callable[[Sequence[Transform], NDArray[Any]], Callable[..., NDArray[Any]]]] = {
    "albumentations": by_albumentations.Albumentations, "torchvision": by_torchvision.Torchvision,
}  # fmt: skip
# What asks for red, green and blue, or says nothing about one channel.
_COLOUR_ONLY = frozenset(
    ("ChannelDropout", "ChannelShuffle", "ChromaticAberration", "FancyPCA", "HEStain", "HueSaturationValue", "ISONoise",
     "PlanckianJitter", "RGBShift", "ToGray", "ToRGB", "ToSepia")
)  # fmt: skip


def augment_policy(choice: str | Sequence[Mapping[str, Any]], modality: str) -> Policy:
    """Return the policy a user asks for.

    Args:
        choice: `auto` (the modality's), a name of `POLICIES`, or a list of `{name: ..., argument: value, ...}` with class
            names and arguments of albumentations or torchvision.transforms.v2; where both have a name, it is
            albumentations' unless written `torchvision.<name>`. `RandomResizedCrop` in such a list (`scale`, `ratio`) is
            medzoo's own crop box, wherever it stands: it takes no size, is resized with antialiasing and keeps its `ratio`
            relative to the image's. Without it nothing is cropped.
        modality: The dataset's, for `auto`.

    Raises:
        UnknownNameError: On an unknown policy, modality, transform or argument; the message offers the nearest.
        ConfigError: On a list that is not of that form, or an argument's value that its library refuses.
        MissingDependencyError: If a name is albumentations', which is not installed.
    """
    if isinstance(choice, str):
        if choice == "auto":
            if modality not in POLICIES:
                raise UnknownNameError("modality", modality, POLICIES, where=" (set trainer.augment to a policy by name)")
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
        library, name = _library_of(entry["name"])
        transform = Transform(name, arguments, library)
        _LIBRARIES[library].build(transform)
        transforms.append(transform)
    return Policy("Chosen by the user.", transforms=tuple(transforms), **box)


class Augment:
    """Applies a policy to images that are to become one model's input.

    Args:
        policy: What may happen.
        preprocess: The model's; its size and mode, its channels decide whether colour can change: of other than three it
            cannot.
        augmenter: What runs medzoo's own policies, of `AUGMENTERS`; a list's transforms run in their library.

    Attributes:
        batched: The same for whole batches, on the device where they are; None where a library's transforms take part.

    Raises:
        UnknownNameError: If there is no such augmenter.
        ConfigError: If a transform cannot run on such images, or changes their size or type; each is tried once.
        MissingDependencyError: If albumentations is needed and not installed.
    """

    def __init__(self, policy: Policy, preprocess: Preprocess, augmenter: str = "opencv") -> None:
        if augmenter not in AUGMENTERS:
            raise UnknownNameError("trainer.augmenter", augmenter, AUGMENTERS)
        self.policy = policy
        self.preprocess = preprocess
        transforms = list(policy.transforms)
        if preprocess.channels != 3:
            transforms = [_without_colour(t) for t in transforms if t.name not in _COLOUR_ONLY]
        self._own: OpenCv | None = None
        self.batched: BatchAugment | None = None
        self._stages: list[Callable[..., NDArray[Any]]] = []
        if augmenter == "opencv" and not any(t.library for t in transforms):
            self._own = OpenCv(policy, transforms, preprocess)
            self.batched = BatchAugment(policy, transforms, preprocess)
            return
        example = _ramp(preprocess)
        for library, group in groupby(transforms, lambda t: t.library or "albumentations"):
            self._stages.append(_APPLIES[library](list(group), example))

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
        if self._own is not None:
            return self._own(image, seed, size)
        rng = np.random.default_rng(seed)
        if self.policy.crops:
            top, left, height, width = crop_box(rng, image.shape[-2], image.shape[-1], self.policy.scale, self.policy.ratio)
            image = image[..., top : top + height, left : left + width]
        image = fit(image[None], self.preprocess, size)[0]
        if not self._stages:
            return image
        pixels = np.ascontiguousarray(image.movedim(0, -1).numpy())
        for stage in self._stages:
            pixels = stage(pixels, rng)
        return torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, -1, 0)))


def _library_of(name: str) -> tuple[str, str]:
    """Return the library and the class that a name of a list means."""
    library, dot, bare = name.partition(".")
    if dot and library in _LIBRARIES:
        return library, bare
    installed = by_albumentations.is_installed()
    if installed and name in by_albumentations.offered():
        return "albumentations", name
    if name not in by_torchvision.SHARED and name in by_torchvision.offered():
        return "torchvision", name
    if installed:
        known = {*by_albumentations.offered(), *by_torchvision.offered()}
        raise UnknownNameError("augmentation transform", name, known)
    also = f", or write torchvision.{name}" if name in by_torchvision.SHARED else ""
    raise MissingDependencyError(
        f"augmentation {name} is none of torchvision's own; for albumentations' pip install 'medzoo[augment]'{also}"
    )


def _ramp(preprocess: Preprocess) -> NDArray[Any]:
    """Return a gradient to try transforms on, so that a wrong one stops the run at its start and by its name."""
    shape = (*preprocess.size, preprocess.channels)
    ramp = np.linspace(0, 1, math.prod(shape)).reshape(shape).astype(np.float32)
    return (ramp * 255).astype(np.uint8) if preprocess.dtype == "uint8" else ramp


def _without_colour(transform: Transform) -> Transform:
    """Return what stands for a transform where there is no colour: its light part, or itself."""
    if transform.name != "ColorJitter" or transform.library == "torchvision":
        return transform
    limits = {f"{k}_limit": _as_limit(transform.arguments.get(k, 0.2)) for k in ("brightness", "contrast")}
    return Transform("RandomBrightnessContrast", {**limits, "p": transform.arguments.get("p", 0.5)}, transform.library)


def _as_limit(factor: float | Sequence[float]) -> float | tuple[float, float]:
    """Turn ColorJitter's factors (0.8, 1.2) into RandomBrightnessContrast's changes (-0.2, 0.2)."""
    return float(factor) if isinstance(factor, int | float) else (factor[0] - 1, factor[1] - 1)


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
    """Turn YAML's containers into those the libraries check for."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(_plain(v) for v in value)
    return value
