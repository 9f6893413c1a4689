"""torchvision.transforms.v2, for the transforms of a user's own list; imported when a list names one, for it takes seconds."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.samples.by_albumentations import same_kind
from medzoo.data.samples.policies import Transform

SHARED = frozenset(("CenterCrop", "ColorJitter", "ElasticTransform", "GaussianBlur", "Pad", "RandomCrop", "Resize"))
"""What both libraries have under one name: albumentations' is meant, unless the list says `torchvision.<name>`."""
# What YAML cannot name, wants boxes or labels or several images, and what would convert or normalise before medzoo does.
_NOT_OFFERED = frozenset(
    ("Transform", "Compose", "RandomApply", "RandomChoice", "RandomOrder", "Lambda", "LinearTransformation", "RandomResizedCrop",
     "ClampBoundingBoxes", "ClampKeyPoints", "ConvertBoundingBoxFormat", "SanitizeBoundingBoxes", "SanitizeKeyPoints",
     "SetClampingMode", "RandomIoUCrop", "CutMix", "MixUp", "FiveCrop", "TenCrop", "UniformTemporalSubsample", "Identity",
     "ConvertImageDtype", "Normalize", "PILToTensor", "ToDtype", "ToImage", "ToPILImage", "ToPureTensor", "ToTensor")
)  # fmt: skip


class Torchvision:
    """Applies transforms one after the other to pixels, channels last; each is tried once on `example`.

    Args:
        transforms: In order.
        example: Pixels such as those to come.

    Raises:
        ConfigError: If a transform cannot run on them, or changes their size or type.
    """

    def __init__(self, transforms: Sequence[Transform], example: NDArray[Any]) -> None:
        self._built = [build(t) for t in transforms]
        for transform, built in zip(transforms, self._built, strict=True):
            sure = {**transform.arguments, **({"p": 1.0} if hasattr(built, "p") else {})}
            _run([build(Transform(transform.name, sure))], example, 0)

    def __call__(self, pixels: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
        """Return (H, W, C), or (D, H, W, C) with all slices alike, transformed; ConfigError if that fails."""
        return _run(self._built, pixels, int(rng.integers(1 << 62)))


def offered() -> dict[str, Any]:
    """Return the transforms a list may name: name → class."""
    library = _library()
    classes = {name: kind for name, kind in vars(library).items() if inspect.isclass(kind) and name not in _NOT_OFFERED}
    return {name: kind for name, kind in classes.items() if issubclass(kind, library.Transform)}


def build(transform: Transform) -> Any:
    """Make the torchvision object.

    Raises:
        UnknownNameError: On an unknown transform or argument; the message offers the nearest.
        ConfigError: On a value that torchvision refuses.
    """
    kinds = offered()
    if transform.name not in kinds:
        raise UnknownNameError("augmentation transform", transform.name, kinds, where=" of torchvision.transforms.v2")
    kind = kinds[transform.name]
    accepted = list(inspect.signature(kind).parameters)
    for argument in transform.arguments:
        if argument not in accepted:
            raise UnknownNameError("argument", argument, accepted, where=f" of augmentation torchvision.{transform.name}")
    try:
        return kind(**_typed(transform.arguments))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"augmentation torchvision.{transform.name}: {error}") from error


def _typed(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments with an interpolation's name as torchvision's own type: older versions take no name."""
    mode = _library().InterpolationMode
    return {key: mode(value) if key == "interpolation" and isinstance(value, str) else value for key, value in arguments.items()}


def _library() -> ModuleType:
    from torchvision.transforms import v2

    module: ModuleType = v2
    return module


def _run(transforms: Sequence[Any], pixels: NDArray[Any], seed: int) -> NDArray[Any]:
    names = ", ".join(type(t).__name__ for t in transforms)
    changed = torch.from_numpy(np.moveaxis(pixels, -1, -3))
    # torchvision draws from torch's one state, which must be after it what it was before: nothing may be kept between images.
    state = torch.get_rng_state()
    try:
        torch.default_generator.manual_seed(seed)
        for transform in transforms:
            changed = transform(changed)
        found = np.ascontiguousarray(np.moveaxis(changed.numpy(), -3, -1))
    except Exception as error:  # torchvision raises whatever torch or its own checks raise
        raise ConfigError(f"augmentation ({names}) failed on shape {list(pixels.shape)}: {error}") from error
    finally:
        torch.set_rng_state(state)
    return same_kind(found, pixels, names)
