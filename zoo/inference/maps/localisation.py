"""How well maps fall on what someone marked.

The pointing game (Zhang et al. 2016, ECCV, section 4.1): the map's highest pixel lies in the region, here without their tolerance
of 15 pixels. Boxes (Wang et al. 2017, CVPR, section 4.4): those around the isolated parts of the map that reach 60 and 180 of
255 of its maximum; a region is found where one of them overlaps it by more than a threshold T, as a share of both together (IoU)
or of the found box (IoBB). A region that is no box counts there as the box around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medzoo.data.regions.masks import Mask
from medzoo.evaluation.bootstrap import FEWEST_GROUPS, Interval, Lack, group_codes, replicate_weights

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
CUTS = (60 / 255, 180 / 255)
"""Shares of a map's maximum from which on a place is part of a box."""

Box = tuple[slice, ...]
Floats = NDArray[np.float64]


@dataclass
class Hits:
    """What was measured of one class: a row an image, and a row a region.

    Attributes:
        groups: Of each image.
        called: Whether the model says the class.
        pointed: Whether the map's highest pixel lies in a region.
        chance: The regions' share of the image's pixels.
        extra: (images, T, 2) found boxes that overlap no region by more than T, by IoU and by IoBB.
        regions: Of each image, (regions, 2) best IoU and IoBB of a found box.
    """

    groups: list[str] = field(default_factory=list)
    called: list[bool] = field(default_factory=list)
    pointed: list[bool] = field(default_factory=list)
    chance: list[float] = field(default_factory=list)
    extra: list[Floats] = field(default_factory=list)
    regions: list[Floats] = field(default_factory=list)

    def add(self, image_map: NDArray[np.float32], masks: Sequence[Mask], group: str, called: bool) -> None:
        """Hold one image's map against its regions, at least one."""
        union = np.logical_or.reduce(masks)
        overlaps = np.array([[overlap(box, box_around(mask)) for mask in masks] for box in found_boxes(image_map)])
        overlaps = overlaps.reshape(-1, len(masks), 2)
        self.groups.append(group)
        self.called.append(called)
        self.pointed.append(points_into(image_map, union))
        self.chance.append(float(union.mean()))
        best = overlaps.max(axis=1) if len(overlaps) else np.zeros((0, 2))
        self.extra.append(np.array([(best <= limit).sum(axis=0) for limit in THRESHOLDS], dtype=np.float64))
        self.regions.append(overlaps.max(axis=0) if len(overlaps) else np.zeros((len(masks), 2)))

    def joined(self, other: Hits) -> Hits:
        """Return both together."""
        return Hits(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    def described(self, interval: Interval, unit: str) -> dict[str, Any]:
        """Return the figures of the class, JSON-ready, with intervals over groups of a `unit`."""
        called = np.array(self.called)
        groups = np.array(self.groups, dtype=str)
        pointed = np.array(self.pointed, dtype=np.float64)
        counts = [len(found) for found in self.regions]
        owner = np.repeat(groups, counts)
        found = np.concatenate(self.regions)
        boxes: dict[str, Any] = {}
        for place, name in enumerate(("iou", "iobb")):
            boxes[name] = {
                f"{limit:g}": {
                    "found": mean_of((found[:, place] > limit).astype(np.float64), owner, interval, unit),
                    "further_boxes": float(np.mean([extra[row, place] for extra in self.extra])),
                }
                for row, limit in enumerate(THRESHOLDS)
            }
        return {
            "images": len(groups),
            "regions": len(found),
            "called": int(called.sum()),
            "chance": float(np.mean(self.chance)),
            "pointing_game": {
                "all": mean_of(pointed, groups, interval, unit),
                "called": mean_of(pointed[called], groups[called], interval, unit),
            },
            **boxes,
        }


def points_into(image_map: NDArray[np.float32], region: Mask) -> bool:
    """Return whether a map's highest pixel lies in a region; a map that is the same everywhere points nowhere.

    Towards the image's border a coarse map is level: of several highest pixels it is the one nearest to their middle.
    """
    seen = image_map[~np.isnan(image_map)]
    if not len(seen) or seen.max() == seen.min():
        return False
    highest = np.argwhere(image_map == seen.max())
    return bool(region[tuple(highest[((highest - highest.mean(axis=0)) ** 2).sum(axis=1).argmin()])])


def found_boxes(image_map: NDArray[np.float32]) -> list[Box]:
    """Return the boxes around the isolated parts of a map that reach either cut of its maximum; none if nothing is above 0."""
    strength = np.nan_to_num(image_map, nan=0.0)
    top = float(strength.max())
    if top <= 0:
        return []
    return [box for cut in CUTS for box in ndimage.find_objects(ndimage.label(strength >= cut * top)[0])]


def box_around(region: Mask) -> Box:
    """Return the smallest box that holds a region."""
    places = np.nonzero(region)
    return tuple(slice(int(axis.min()), int(axis.max()) + 1) for axis in places)


def overlap(found: Box, marked: Box) -> tuple[float, float]:
    """Return IoU and IoBB, the share of the found box that lies in the marked one."""
    sides = [max(0, min(a.stop, b.stop) - max(a.start, b.start)) for a, b in zip(found, marked, strict=True)]
    common = float(np.prod(sides))
    first, second = (float(np.prod([axis.stop - axis.start for axis in box])) for box in (found, marked))
    return common / (first + second - common), common / first


def mean_of(values: Floats, groups: Sequence[str] | NDArray[Any], interval: Interval, unit: str) -> dict[str, Any]:
    """Return a mean with its interval over groups, as `medzoo.evaluation.bootstrap.Interval.described` makes it."""
    if not len(values):
        return interval.described(None, None)
    codes = group_codes(list(groups))
    count = int(codes.max()) + 1
    why = str(Lack(count, f"{unit} groups with it")) if count < FEWEST_GROUPS else ""
    drawn = None
    if interval.replicates and not why:
        weights = replicate_weights(codes, interval.replicates, interval.seed)
        drawn = np.concatenate([part @ values / part.sum(axis=1) for part in weights])
    return interval.described(float(values.mean()), drawn, why)
