"""Bags: samples of any number of images, each read as a single one would be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.images.reader import Reader

if TYPE_CHECKING:
    from medzoo.data.images.frames import Frames
    from medzoo.data.images.planes.stack import Stack
    from medzoo.data.samples.preprocess import Preprocess

VIEW = "member_view"
"""The table's column with what each member of a bag shows (the view of a film), a tuple of words, None where nobody says."""
TOLD_BY = ("columns", "channels", "window", "frames", "stack", "prepared", "row_width", "row_names")


@dataclass
class BagReader(Reader):
    """Reads members of bags by another reader.

    Attributes:
        inner: The other reader.
        max_members: Most members of a bag in a step of training; None: all.
        bag: Whether a cell of the columns is a tuple, an entry a member; else the other reader gives rows, each a member.
    """

    inner: Reader
    max_members: int | None = None
    bag: bool = True
    columns: tuple[str, ...] = field(init=False)
    channels: int | None = field(init=False)
    window: tuple[float, float] | None = field(init=False)
    frames: Frames | None = field(init=False)
    stack: Stack | None = field(init=False)
    prepared: Preprocess | None = field(init=False)
    row_width: int | None = field(init=False)
    row_names: tuple[str, ...] | None = field(init=False)

    def __post_init__(self) -> None:
        for name in TOLD_BY:
            setattr(self, name, getattr(self.inner, name))

    def read(self, *values: Any) -> NDArray[Any]:
        """Return one member, as the other reader does."""
        return self.inner.read(*values)

    def images(self, *values: Sequence[Any]) -> dict[int, tuple[Any, ...]]:
        """Return member → what `read` takes for it; of a file of feature rows, which is a bag by itself, all values."""
        if not self.bag:
            return {0: values}
        return dict(enumerate(zip(*values, strict=True)))

    def files(self, *values: Any) -> list[Path]:
        """Return those of the other reader."""
        return self.inner.files(*values)

    def assumed(self, *values: Any) -> str | None:
        """Return that of the other reader."""
        return self.inner.assumed(*values)

    def sorted_by(self, *values: Any) -> str | None:
        """Return that of the other reader."""
        return self.inner.sorted_by(*values)

    def held(self, *values: Any) -> int:
        """Return that of the other reader."""
        return self.inner.held(*values)

    def identity(self, *values: Any) -> str | None:
        """Return that of the other reader."""
        return self.inner.identity(*values)


def view_codes(words: Sequence[Any], known: Sequence[str]) -> NDArray[np.int64]:
    """Return (M,) codes of what members show: the place of each word among the known ones from 1 on; 0: not said, or unknown."""
    places = {word: place for place, word in enumerate(known, start=1)}
    return np.array([places.get(word, 0) for word in words], np.int64)


def drawn_members(count: int, most: int | None, seed: int) -> NDArray[np.int64]:
    """Return the places of the members that come, ascending: all, or `most` of them, drawn by a seed without replacement."""
    if most is None or count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))


def most_members(reader: Reader, arguments: Sequence[NDArray[np.object_]]) -> int | None:
    """Return how many images a sample has at most, as far as the table tells; None where a sample is one image.

    Args:
        reader: Of the dataset.
        arguments: The cells of each of its columns.
    """
    if reader.views:
        return len(arguments)
    if reader.bag:
        return max((len(cell) for cell in arguments[0]), default=1)
    return 1 if reader.row_width is not None else None
