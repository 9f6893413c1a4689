"""Where a bottleneck's concepts may look: a person takes a part of the image away, or leaves a part only.

A concept that reads the mean over places says of the places that are left what it says of them alone (concept-based similarity
reasoning, Huy et al. 2025, CVPR, where a person marks what a concept shall and shall not be seen in). The features of a place
still hold what its receptive field saw of its neighbours: `look_past` paints the part over in the image itself, so that no place
has seen it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.regions.evidence import Look, regions_feed, require_something_left
from medzoo.data.regions.masks import Mask
from medzoo.data.regions.masks import box_mask as box_mask
from medzoo.tasks.bottleneck import Bottleneck
from medzoo.tasks.classify import in_units

PAINT_RADIUS = 3
"""Pixels around a pixel that it is filled from."""
LEVELS = np.float32(65535)


@dataclass(frozen=True)
class SecondLook:
    """One image before and after: `before` and `after` → (M,) concepts in 0..1, (M,) their logits, (K,) class logits."""

    concepts: Mapping[str, NDArray[np.float32]]
    concept_logits: Mapping[str, NDArray[np.float32]]
    logits: Mapping[str, NDArray[np.float32]]


def look_again(task: Bottleneck, pixels: NDArray[Any], allowed: Mask, concepts: Sequence[str] | None = None) -> SecondLook:
    """Return what concepts and classes become when only a part of the image counts.

    Args:
        task: A bottleneck whose concepts are linear on the mean over places.
        pixels: (H, W, C) or (D, H, W, C) of the model's channels and type, before `fit`.
        allowed: (H, W) or (D, H, W), true where evidence counts.
        concepts: Of which; None: of all.

    Raises:
        ConfigError: If the mask is not of the image's size, or leaves no place.
        NotLinearError: If the concepts do not read the mean over places.
        UnknownNameError: If there is no such concept.
    """
    names = _named(task, concepts)
    _same_size(pixels, allowed)
    device, grid = next(task.model.parameters()).device, task.concept_evidence().grid
    look = Look(allowed, True, np.array([concepts is None or name in concepts for name in names], np.float32))
    given = regions_feed([None, look], len(names), pixels.shape[:-1], grid)
    image = torch.from_numpy(np.stack([pixels, pixels])).movedim(-1, 1).contiguous()
    batch = {"image": image, **{name: torch.from_numpy(rows) for name, rows in given.items()}}
    found = task.predict_within({name: rows.to(device) for name, rows in batch.items()})
    told = {"concepts": task.model.values(found["concept_logits"]), "concept_logits": found["concept_logits"]}
    require_something_left(told["concepts"].cpu().numpy(), grid)
    return _second_look({**told, "logits": found["logits"]})


def look_past(task: Bottleneck, pixels: NDArray[Any], region: Mask, concepts: Sequence[str] | None = None) -> SecondLook:
    """Return what concepts and classes become when a region is painted over with what surrounds it.

    Of any bottleneck: nothing is asked of how its concepts read the image. Concepts that are not named stay as they were; a path
    beside the concepts sees the painted image.

    Args:
        task: A bottleneck.
        pixels: (H, W, C) or (D, H, W, C) of the model's channels and type, before `fit`.
        region: (H, W) or (D, H, W), true where the image is painted over.
        concepts: Which see the painted image; None: all.

    Raises:
        ConfigError: If the mask is not of the image's size, or leaves nothing to paint with.
        UnknownNameError: If there is no such concept.
    """
    names = _named(task, concepts)
    painted = painted_over(pixels, region)
    images = torch.from_numpy(np.stack([pixels, painted])).movedim(-1, 1).contiguous()
    device = next(task.model.parameters()).device
    chosen = torch.tensor([concepts is None or name in concepts for name in names]).to(device)
    with torch.no_grad():
        concept_logits, beside = task.model.kept_but(chosen, *task.model.concepts_and_features(task.input(images.to(device))))
        told = {
            "concepts": task.model.values(concept_logits), "concept_logits": concept_logits,
            "logits": in_units(task.model.classes(concept_logits, beside).float(), task.objective),
        }  # fmt: skip
    return _second_look(told)


def painted_over(pixels: NDArray[Any], region: Mask) -> NDArray[Any]:
    """Return an image whose region is filled from its edge inwards (Telea 2004, as OpenCV does it), of volumes slice by slice.

    Args:
        pixels: (H, W, C) or (D, H, W, C), uint8, or float32 in 0..1; not changed.
        region: (H, W) or (D, H, W), true where it is filled.

    Raises:
        ConfigError: If the mask is not of the image's size, or covers a whole slice.
    """
    import cv2

    _same_size(pixels, region)
    if region.reshape(-1, region.shape[-2] * region.shape[-1]).all(axis=1).any():
        raise ConfigError("the region covers the whole image (or a whole slice): nothing is left to paint it over with")
    painted = np.ascontiguousarray(pixels).copy()
    slices, masks = painted.reshape(-1, *painted.shape[-3:]), region.reshape(-1, *region.shape[-2:]).astype(np.uint8)
    for image, mask in zip(slices, masks, strict=True):
        for channel in range(image.shape[-1]) if mask.any() else ():
            plane = np.ascontiguousarray(image[..., channel])
            if plane.dtype != np.uint8:  # of floats, OpenCV's filling overshoots beyond their range
                plane = (plane * LEVELS).round().clip(0, LEVELS).astype(np.uint16)
            filled = cv2.inpaint(plane, mask, PAINT_RADIUS, cv2.INPAINT_TELEA)
            filled = filled if image.dtype == np.uint8 else filled / LEVELS
            image[..., channel] = np.where(mask > 0, filled, image[..., channel])
    return painted


def _named(task: Bottleneck, concepts: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of all concepts; UnknownNameError if one that is asked for is not among them."""
    names = task.concept_labels.names
    for name in concepts or ():
        if name not in names:
            raise UnknownNameError("concept", name, names)
    return names


def _same_size(pixels: NDArray[Any], mask: Mask) -> None:
    if mask.shape != pixels.shape[:-1]:
        raise ConfigError(f"the mask is of {list(mask.shape)} pixels, the image of {list(pixels.shape[:-1])}")


def _second_look(rows: Mapping[str, Tensor]) -> SecondLook:
    """Return what was found of two rows, an image as it is and with a region taken away."""
    moments = ("before", "after")
    return SecondLook(
        **{name: {when: row.cpu().numpy() for when, row in zip(moments, found, strict=True)} for name, found in rows.items()}
    )
