"""Where in an image something lies: boxes or masks, any number a sample, which nothing is trained on.

They say what a map of a trained network is held against, and which part of an image a person means.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd

from medzoo.data.regions.masks import Mask, file_mask, filled


class Regions(ABC):
    """The regions of a dataset's samples.

    Attributes:
        names: Labels or concepts that there are regions of.
        source: Who says so, in words.
        sample_ids: The samples that have some, where it is known without reading them; empty: it is not.
    """

    names: tuple[str, ...]
    source: str = ""
    sample_ids: frozenset[str] = frozenset()

    @abstractmethod
    def of(self, sample_id: str, name: str, size: tuple[int, ...]) -> list[Mask]:
        """Return one mask a region, of the image's own size (H, W) or (D, H, W); none where nothing is marked.

        Args:
            sample_id: Of the dataset's table.
            name: Of `names`.
            size: Of the image as the reader gives it.
        """


@dataclass(frozen=True)
class BoxRegions(Regions):
    """Boxes.

    Attributes:
        table: One row a box: `sample_id`, `label`, and the corner and lengths `x`, `y`, `width`, `height` in pixels (of volumes
            `z` and `depth` too); a pixel whose centre lies in the box belongs to it.
        frame: Size of the image that the numbers are of, where the images at hand may be smaller copies; None: the image's own.
        source: Who drew them.
    """

    table: pd.DataFrame
    frame: tuple[int, ...] | None = None
    source: str = ""

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Every label of the table, in the order they first stand there."""
        return tuple(str(name) for name in self.table["label"].unique())

    @property
    def sample_ids(self) -> frozenset[str]:  # type: ignore[override]
        """Every sample of the table."""
        return frozenset(map(str, self.table["sample_id"]))

    def of(self, sample_id: str, name: str, size: tuple[int, ...]) -> list[Mask]:
        """Return one mask a box; DatasetError if a box leaves the image."""
        rows = self._places.get((sample_id, name), [])
        frame = size if self.frame is None else self.frame
        return [filled({str(k): v for k, v in self.table.iloc[row].items()}, frame, size, sample_id) for row in rows]

    @cached_property
    def _places(self) -> dict[tuple[str, str], list[int]]:
        return _places_of(self.table)


@dataclass(frozen=True)
class MaskRegions(Regions):
    """Masks in files, an image or a volume a region; what is not black belongs to it, and one that is all black marks nothing.

    Attributes:
        table: One row a region: `sample_id`, `label`, `mask`, the name of its file.
        root: Folder that names are relative to.
        source: Who drew them.
        images: Sample → the file of its image, of those that have one: it may say to turn it; see `file_mask`.
    """

    table: pd.DataFrame
    root: Path
    source: str = ""
    images: Mapping[str, Path] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Every label of the table, in the order they first stand there."""
        return tuple(str(name) for name in self.table["label"].unique())

    @property
    def sample_ids(self) -> frozenset[str]:  # type: ignore[override]
        """Every sample of the table."""
        return frozenset(map(str, self.table["sample_id"]))

    def of(self, sample_id: str, name: str, size: tuple[int, ...]) -> list[Mask]:
        """Return one mask a file; DatasetError if one cannot be read, or is of other proportions."""
        files = (str(self.table["mask"].iloc[row]) for row in self._places.get((sample_id, name), []))
        masks = (file_mask(self.root / file, size, file, self.images.get(sample_id)) for file in files)
        return [mask for mask in masks if mask.any()]

    @cached_property
    def _places(self) -> dict[tuple[str, str], list[int]]:
        return _places_of(self.table)


def _places_of(table: pd.DataFrame) -> dict[tuple[str, str], list[int]]:
    """Return rows by sample and label."""
    found: dict[tuple[str, str], list[int]] = {}
    for row, key in enumerate(zip(table["sample_id"].astype(str), table["label"].astype(str), strict=True)):
        found.setdefault(key, []).append(row)
    return found
