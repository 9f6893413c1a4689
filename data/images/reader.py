"""What turns a row of a dataset's table into pixels."""

from __future__ import annotations

import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from medzoo.data.images.frames import Frames
    from medzoo.data.images.planes.stack import Stack
    from medzoo.data.samples.preprocess import Preprocess

NAS = ("NAType", "NaTType")
"""What pandas calls its missing values, which no light module imports."""


class Reader(ABC):
    """Turns the reader columns of one row into pixels. What a reader does not say of itself has the default below.

    A dataclass gives its fields the names below with a default of its own, or as `name: type = field()`: without either it
    would take the default below.

    Attributes:
        columns: Table columns whose values `read` takes, in that order.
        views: True when each column is one view of the case, and `read` is called with one of them. A view that is
            missing is a missing value in its column.
        bag: True when a cell of the columns is a tuple, an entry a member of the sample, and `read` is called with one of each.
        max_members: Most members of a bag in a step of training; None: all.
        row_width: Numbers a row has where `read` gives rows of features, (1, n, F), each a member; None: it gives images.
        row_names: What these numbers are called, in order; None: nobody said.
        channels: What `read` gives, where it is the same for every image; None: not known before reading.
        window: (low, high) of the source that become black and white, where it was declared; None: it was not.
        frames: What becomes of files of several frames: `members`, `volume`, `channels`; None: nobody said.
        stack: Which images are its channels, where an image is stacked of several; None: it is not.
        prepared: How the images were made where they are prepared already: the model's own preprocessing must be the same.
            None: they are as their source has them.
    """

    columns: tuple[str, ...]
    views: bool = False
    bag: bool = False
    max_members: int | None = None
    row_width: int | None = None
    row_names: tuple[str, ...] | None = None
    channels: int | None = None
    window: tuple[float, float] | None = None
    frames: Frames | None = None
    stack: Stack | None = None
    prepared: Preprocess | None = None

    @property
    def shape(self) -> tuple[int, ...] | None:
        """(C, H, W) or (C, D, H, W) when every image has this one shape and costs next to nothing to read; None for files.

        Such images (an array in memory) are augmented at native size and resized on the device.
        """
        return None

    @property
    def reads_gray(self) -> bool:
        """Whether files, which may be in colour, become gray."""
        return self.channels == 1 and self.shape is None

    @abstractmethod
    def read(self, *values: Any) -> NDArray[Any]:
        """Return (C, H, W) or (C, D, H, W), uint8, or float32 in 0..1 scaled from a declared range."""

    def images(self, *values: Any) -> dict[int, tuple[Any, ...]]:
        """Return view → what `read` takes for it, of the views that are there; of a reader without views all values as view 0.

        There is none where a row lacks the image: where all values are missing, or whichever a reader of its own kind needs.

        Args:
            *values: Of `columns`, in one row.
        """
        if not self.views:
            return {} if all(is_missing(value) for value in values) else {0: values}
        return {view: (value,) for view, value in enumerate(values) if not is_missing(value)}

    def files(self, *values: Any) -> list[Path]:
        """Return the files that `read` would open for these values; empty for a reader that has none, or does not say."""
        return []

    def member(self, *values: Any) -> tuple[int, Callable[[], bytes]] | None:
        """Return an image's bytes, how many and what reads them, where it lies in a larger file; None where it does not."""
        return None

    def called(self, *values: Any) -> str:
        """Return what the table calls the image, for the values that `read` takes; the same wherever the dataset lies."""
        name = "|".join(str(value) for value in values if not is_missing(value))
        return name if name.isascii() else unicodedata.normalize("NFC", name)

    def assumed(self, *values: Any) -> str | None:
        """Return in words the range that was taken for an image whose file says none; None where it says one, or has none."""
        return None

    def sorted_by(self, *values: Any) -> str | None:
        """Return what slices in files of their own are sorted by where they have no positions; None where they have some."""
        return None

    def held(self, *values: Any) -> int:
        """Return how many frames the file holds that `read` would open for these values; 1 where there is none to count."""
        return 1

    def identity(self, *values: Any) -> str | None:
        """Return what makes two images the same one, whatever table lists them, for the values that `read` takes.

        None where only the dataset's own names tell: several images may lie in one file.
        """
        return None

    def identities(self, *values: Any) -> tuple[str | None, ...]:
        """Return the `identity` of an image; of one that is put together of several, that of each of them."""
        return (self.identity(*values),)


def is_missing(value: Any) -> bool:
    """Whether a cell of a reader's column says that there is no image: None or NaN."""
    return value is None or (isinstance(value, float | np.floating) and bool(np.isnan(value))) or type(value).__name__ in NAS


@dataclass(frozen=True)
class ArrayReader(Reader):
    """Reads from one array held in memory, by the position in column `array_index`.

    Attributes:
        arrays: (N, C, H, W) or (N, C, D, H, W), uint8, or float32 in 0..1.
    """

    arrays: NDArray[Any]
    columns: tuple[str, ...] = ("array_index",)

    @property
    def shape(self) -> tuple[int, ...]:
        """The one shape of every image, channels first."""
        return tuple(self.arrays.shape[1:])

    def read(self, *values: Any) -> NDArray[Any]:
        """Return a view of the image at one position."""
        image: NDArray[Any] = self.arrays[int(values[0])]
        return image
