"""Where a phantom's concepts and labels lie: drawn again, so that no mask is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medzoo.data.datasets.phantom.image import CONCEPTS, PhantomReader
from medzoo.data.errors import DatasetError
from medzoo.data.regions.marked import Regions
from medzoo.data.regions.masks import Mask

_SEVERAL = {"supply": ("lesion", "vessel")}
"""Labels that are more than a lesion, and what they are."""


@dataclass(frozen=True)
class PhantomRegions(Regions):
    """The lesion where a label holds, and each drawn concept.

    Attributes:
        reader: What draws the images.
        table: Of every image.
        held: Label → (N,) whether an image truly has it, in the table's order.
    """

    reader: PhantomReader
    table: pd.DataFrame
    held: Mapping[str, NDArray[np.bool_]]
    source: str = "the program that draws the images"

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Labels that a lesion makes, and the concepts."""
        return (*self.held, *CONCEPTS)

    def of(self, sample_id: str, name: str, size: tuple[int, ...]) -> list[Mask]:
        """Return one mask a region; DatasetError if the images are no longer of the size they are drawn in."""
        if size != self.reader.shape[1:]:
            raise DatasetError(f"phantom: {sample_id!r} is drawn in {list(self.reader.shape[1:])} pixels, not {list(size)}")
        place = self._places.get(sample_id)
        if place is None or (name in self.held and not self.held[name][place]):
            return []
        row: Any = self.table.iloc[place]
        marks = self.reader.outlines(*(row[column] for column in self.reader.columns))
        wanted = _SEVERAL.get(name, ("lesion",)) if name in self.held else (name,)
        return [marks[concept] for concept in wanted if concept in marks]

    def drawn(self, sample_id: str) -> Mask:
        """Return the pixels that are other than they would be without the sample's lesion: its soft edge, spots and halo too.

        DatasetError if there is no such sample.
        """
        place = self._places.get(sample_id)
        if place is None:
            raise DatasetError(f"phantom: there is no sample {sample_id!r}")
        row: Any = self.table.iloc[place]
        return self.reader.changed(*(row[column] for column in self.reader.columns))

    @cached_property
    def _places(self) -> dict[str, int]:
        return {str(name): place for place, name in enumerate(self.table["sample_id"])}
