"""What a file takes beside its images: the same for all, a row for each, or a region that is laid onto each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ConfigError
from medzoo.data.regions.evidence import PLACES, GivenRegions, Look, check_regions, regions_feed, require_something_left


@dataclass(frozen=True)
class Regions:
    """Where the concepts of some images may look.

    Attributes:
        looks: One an image, or one for all.
        concepts: How many the model has.
        grid: Places of its concept maps.
        alike: There is one for all images.
    """

    looks: Sequence[Look | None]
    concepts: int
    grid: tuple[int, ...]
    alike: bool

    def feed(self, places: Sequence[int], size: tuple[int, ...]) -> dict[str, NDArray[Any]]:
        """Return rows of the graph's inputs for images of a size, by their places in the input."""
        if not self.alike and max(places) >= len(self.looks):
            raise ConfigError(f"there are {len(self.looks)} regions and more images")
        looks = [self.looks[0 if self.alike else place] for place in places]
        return regions_feed(looks, self.concepts, size, self.grid)


@dataclass(frozen=True)
class Beside:
    """What stands beside the images of a call.

    Attributes:
        every: Input name → what each batch takes as it is.
        rows: Input name → a row an image.
        regions: Where concepts may look; None: everywhere.
    """

    every: Mapping[str, NDArray[Any]]
    rows: Mapping[str, NDArray[Any]]
    regions: Regions | None = None

    def of(self, places: Sequence[int], size: tuple[int, ...]) -> dict[str, NDArray[Any]]:
        """Return the rows of some images of a size, by their places in the input."""
        own = {name: np.ascontiguousarray(given[list(places)]) for name, given in self.rows.items()}
        return own if self.regions is None else own | self.regions.feed(places, size)

    def checked(self, found: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return outputs as they are; raises ConfigError if regions took everything away from a concept of an image."""
        if self.regions is not None:
            require_something_left(found["concepts"], self.regions.grid)
        return found


def regions_of(session: Any, concepts: Sequence[str], count: int | None, given: GivenRegions | None) -> Regions | None:
    """Return the regions of a call, as a session takes them; None if none are given.

    Args:
        session: Of the file.
        concepts: Of the model.
        count: Images; None: any number.
        given: By the user.

    Raises:
        ConfigError: If the file takes none, or they do not fit; see `check_regions`.
        UnknownNameError: If a concept is not known.
    """
    if given is None:
        return None
    # An input that may be left out is an initialiser that can be overridden, and none of ONNX Runtime's own list of inputs.
    shapes = {one.name: one.shape for one in session.get_overridable_initializers()}
    if PLACES not in shapes:
        raise ConfigError(
            "this file takes no regions: export with map=true a bottleneck whose concept maps are exact, and of several places"
        )
    looks = check_regions(count, concepts, given)
    assert looks is not None
    return Regions(looks, len(concepts), tuple(int(side) for side in shapes[PLACES][2:]), isinstance(given, Mapping))
