"""albumentations, for the transforms of a user's own list and for runs whose policies it ran: an extra, imported when needed."""

from __future__ import annotations

import importlib.util
import inspect
import os
import random
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ConfigError, MissingDependencyError, UnknownNameError
from medzoo.data.samples.policies import Transform

_SWAPS_SIDES = frozenset(("D4", "RandomRotate90", "SquareSymmetry", "Transpose"))
# What YAML cannot name, and what would normalise before medzoo does.
_NOT_OFFERED = frozenset(
    ("BasicTransform", "DualTransform", "ImageOnlyTransform", "Lambda", "ToTensorV2",
     "Normalize", "ToFloat", "FromFloat")
)  # fmt: skip


class Albumentations:
    """Applies transforms one after the other to pixels, channels last; each is tried once on `example`.

    Args:
        transforms: In order.
        example: Pixels such as those to come.

    Raises:
        ConfigError: If a transform cannot run on them, or changes their size or type.
    """

    def __init__(self, transforms: Sequence[Transform], example: NDArray[Any]) -> None:
        self._transforms = transforms
        self._composed: dict[bool, Any] = {}
        for transform in _kept(transforms, example):
            certain = build(Transform(transform.name, {**transform.arguments, "p": 1.0}))
            _run(_library().Compose([certain], seed=0, is_check_shapes=False), example)

    def __call__(self, pixels: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
        """Return (H, W, C), or (D, H, W, C) with all slices alike, transformed; ConfigError if that fails."""
        square = pixels.shape[-3] == pixels.shape[-2]
        if square not in self._composed:
            kept = [build(t) for t in _kept(self._transforms, pixels)]
            self._composed[square] = _library().Compose(kept, is_check_shapes=False)
        compose = self._composed[square]
        # Not set_random_seed: it gives every transform a stream of its own from the same seed, so that all of them draw
        # the same numbers (an image mirrored left to right would always be mirrored top to bottom too).
        compose.set_random_state(rng, random.Random(int(rng.integers(1 << 62))))
        return _run(compose, pixels)


def is_installed() -> bool:
    """Return whether albumentations is there, without importing it."""
    return importlib.util.find_spec("albumentations") is not None


def offered() -> dict[str, Any]:
    """Return the transforms a list may name: name → class; MissingDependencyError without albumentations."""
    library = _library()
    classes = {name: kind for name, kind in vars(library).items() if inspect.isclass(kind) and name not in _NOT_OFFERED}
    return {
        name: kind
        for name, kind in classes.items()
        if issubclass(kind, library.BasicTransform) and not issubclass(kind, library.Transform3D)
    }


def build(transform: Transform) -> Any:
    """Make the albumentations object; unknown arguments, of which it only warns, are errors.

    Raises:
        UnknownNameError: On an unknown transform or argument; the message offers the nearest.
        ConfigError: On a value that albumentations refuses.
    """
    kinds = offered()
    if transform.name not in kinds:
        raise UnknownNameError("augmentation transform", transform.name, kinds)
    kind = kinds[transform.name]
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


def _library() -> ModuleType:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # without it, importing asks the network for a newer version
    try:
        import albumentations
        import cv2
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"this augmentation runs on albumentations: pip install 'medzoo[augment]' ({error})"
        ) from None

    # cv2's threads do not outlive the fork that makes a worker, and would only compete with the other workers.
    cv2.setNumThreads(0)
    module: ModuleType = albumentations
    return module


def _kept(transforms: Sequence[Transform], pixels: NDArray[Any]) -> list[Transform]:
    """Return the transforms without those that would swap the sides of an oblong image."""
    square = pixels.shape[-3] == pixels.shape[-2]
    return [t for t in transforms if square or t.name not in _SWAPS_SIDES]


def _run(compose: Any, pixels: NDArray[Any]) -> NDArray[Any]:
    """Transform (H, W, C) or, each slice alike, (D, H, W, C)."""
    # Not `volume`, which 2.0.8's RandomBrightnessContrast and others fail on; one draw serves all slices in both.
    key = "images" if pixels.ndim == 4 else "image"
    names = ", ".join(type(t).__name__ for t in compose.transforms)
    try:
        changed: NDArray[Any] = compose(**{key: pixels})[key]
    except Exception as error:  # albumentations raises whatever cv2, numpy or its own checks raise
        raise ConfigError(f"augmentation ({names}) failed on shape {list(pixels.shape)}: {error}") from error
    return same_kind(changed, pixels, names)


def same_kind(changed: NDArray[Any], pixels: NDArray[Any], names: str) -> NDArray[Any]:
    """Return what transforms made of pixels, float32 clipped to 0..1; ConfigError if its size or type is another."""
    if changed.shape != pixels.shape or changed.dtype != pixels.dtype:
        raise ConfigError(
            f"augmentation ({names}) turned {pixels.dtype} {list(pixels.shape)} into {changed.dtype} "
            f"{list(changed.shape)}; leave out what changes size or type, for medzoo resizes and normalises itself"
        )
    return changed.clip(0, 1) if changed.dtype == np.float32 else changed


def _first_complaint(error: Exception) -> str:
    """Return the argument and the complaint from pydantic's many-lined report."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) >= 3 and "validation error" in lines[0]:
        return f"{lines[1].split('.')[0]}: {lines[2].split(' [type=')[0]}"
    return lines[0] if lines else type(error).__name__
