"""Where a bottleneck's concepts may look, as a person says it, in torch and deployed: needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.regions.masks import box_mask, file_mask

GivenRegion = Mapping[str, Any]
"""`remove` or `within`: a box, a mask or a mask's file; `only`: the concepts that are meant, all if it is left out."""
GivenRegions = GivenRegion | Sequence[GivenRegion | None]
"""One region for all images, or a list with one, or None, for each."""
REGION, CHOSEN, PLACES = "region", "region_mask", "region_places"
"""Inputs of a graph: pixels that are taken away, the concepts they are taken from, and places taken away from each concept."""


@dataclass(frozen=True)
class Look:
    """A part of one image that some concepts lose.

    Attributes:
        of: A box, [x, y, width, height] in the image's pixels (of volumes [x, y, z, width, height, depth]); a mask of the image's
            size or of the map's; or a mask's file.
        within: It is all that they keep; else they lose it.
        chosen: (M,) 1 for the concepts that are meant.
    """

    of: Any
    within: bool
    chosen: NDArray[np.float32]

    def taken(self, size: tuple[int, ...], grid: tuple[int, ...]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Return what is taken away, of an image of a size: its pixels, and (M, *grid) places of a mask of the map's size.

        Raises:
            ConfigError: If a mask is of neither size, a file's marks nothing, or a box is not so many numbers.
            DatasetError: If a box leaves the image, or a file cannot be read or is of other proportions.
        """
        nowhere, places = np.zeros(size, bool), np.zeros((len(self.chosen), *grid), np.float32)
        if isinstance(self.of, str | Path):
            mask = file_mask(Path(self.of), size)
            if not mask.any():
                raise ConfigError(f"the mask {self.of} is all black: it marks no region")
        elif np.ndim(self.of) == 1:
            mask = box_mask([float(number) for number in self.of], size)
        else:
            mask = np.asarray(self.of) != 0
        mask = ~mask if self.within else mask
        if mask.shape == size:
            return mask.astype(np.uint8), places
        if mask.shape != grid:
            shapes = ("x".join(map(str, sides)) for sides in (mask.shape, size, grid))
            raise ConfigError("the region's mask is of {}, the image of {} and its map of {}".format(*shapes))
        return nowhere.astype(np.uint8), mask[None] * self.chosen.reshape(-1, *[1] * len(grid))


def check_regions(count: int | None, concepts: Sequence[str], regions: GivenRegions | None) -> list[Look | None] | None:
    """Return a region for each image; None if there is none at all.

    Args:
        count: Images; None: it is not known.
        concepts: The model's.
        regions: See `GivenRegions`.

    Returns:
        `count` regions; where that is not known, those given.

    Raises:
        ConfigError: If the model has no concepts, there are not as many regions as images, or one says nothing or two things.
        UnknownNameError: If a region has a key, or names a concept, that there is not.
    """
    if regions is None:
        return None
    if not concepts:
        raise ConfigError("this model has no concepts that could look elsewhere; regions are for bottlenecks")
    if isinstance(regions, Mapping):
        return [_look(concepts, regions)] * (1 if count is None else count)
    if isinstance(regions, str | bytes) or not isinstance(regions, Sequence):
        raise ConfigError(f"regions is a {type(regions).__name__}; give {{'remove': [x, y, width, height]}}, or a list of such")
    if count is not None and len(regions) != count:
        raise ConfigError(f"there are {len(regions)} regions for {count} images")
    return [None if region is None else _look(concepts, region) for region in regions]


def regions_feed(
    looks: Sequence[Look | None], width: int, size: tuple[int, ...], grid: tuple[int, ...]
) -> dict[str, NDArray[Any]]:
    """Return what a graph takes of the regions of a batch: (N, *size, 1) uint8, (N, M) and (N, M, *grid) float32.

    Args:
        looks: One an image.
        width: M, the number of concepts.
        size: Of the images, (H, W) or (D, H, W).
        grid: Of their map.
    """
    nothing = (np.zeros(size, np.uint8), np.zeros((width, *grid), np.float32))
    taken = [nothing if look is None else look.taken(size, grid) for look in looks]
    chosen = [np.zeros(width, np.float32) if look is None else look.chosen for look in looks]
    return {
        REGION: np.stack([pixels for pixels, _ in taken])[..., None],
        CHOSEN: np.stack(chosen),
        PLACES: np.stack([places for _, places in taken]),
    }


def require_something_left(concepts: NDArray[Any], grid: tuple[int, ...]) -> None:
    """Raise ConfigError if a concept of (N, M) is no number: a region has taken every place away from it."""
    if np.isnan(concepts).any():
        raise ConfigError(f"nothing is left of the {'x'.join(map(str, grid))} places that the network tells apart")


def _look(concepts: Sequence[str], region: GivenRegion) -> Look:
    if not isinstance(region, Mapping):
        raise ConfigError(f"a region is {{'remove': [x, y, width, height]}} or {{'within': ...}}, not {region!r}")
    for key in region:
        if key not in ("remove", "within", "only"):
            raise UnknownNameError("key of a region", str(key), ("remove", "within", "only"))
    given = [key for key in ("remove", "within") if region.get(key) is not None]
    if len(given) != 1:
        raise ConfigError("a region says one of 'remove' and 'within': a box, a mask, or a mask's file")
    of = region[given[0]]
    if not isinstance(of, str | Path):
        _require_numbers(of)
    only = region.get("only")
    names = [only] if isinstance(only, str) else list(concepts if only is None else only)
    for name in names:
        if name not in concepts:
            raise UnknownNameError("concept", str(name), concepts)
    return Look(of, given[0] == "within", np.array([name in names for name in concepts], np.float32))


def _require_numbers(of: Any) -> None:
    try:
        values = np.asarray(of)
    except ValueError:
        values = np.array("")
    if values.dtype.kind not in "biuf" or values.ndim == 0:
        raise ConfigError(f"a region is a box of numbers, a mask of true and false or a file's path, not {of!r:.60}")
    if values.ndim > 1 and values.dtype.kind == "f" and not np.isin(values, (0, 1)).all():
        raise ConfigError("a region's mask is true where it lies and false elsewhere; this one has other numbers")
