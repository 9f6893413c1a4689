"""Reading an image whose channels lie in several files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from medzoo.data.errors import ImageError
from medzoo.data.images.nifti import SUFFIXES
from medzoo.data.images.planes.placed import refuse_apart
from medzoo.data.images.planes.stack import Stack
from medzoo.data.images.reader import Reader, is_missing

if TYPE_CHECKING:
    from medzoo.data.images.frames import Frames


@dataclass
class StackedReader(Reader):
    """Reads each channel by a reader of files of one channel.

    Attributes:
        one: The reader of one.
        columns: The table's columns with their paths, in the order of the channels.
        stack: What they are called, and what becomes of one that is missing.
    """

    one: Reader
    columns: tuple[str, ...] = field()
    stack: Stack = field()
    channels: int | None = field(init=False)
    window: tuple[float, float] | None = field(init=False)
    frames: Frames | None = field(init=False)

    def __post_init__(self) -> None:
        self.channels, self.window, self.frames = len(self.columns), self.one.window, self.one.frames

    def read(self, *values: Any) -> NDArray[Any]:
        """Return (C, H, W) or (C, D, H, W) of the files at relative paths, one a channel.

        Raises:
            ImageError: If one is missing and is not to be filled, cannot be read, or has another shape or place; names it.
        """
        planes = [None if is_missing(value) else self.one.read(value) for value in values]
        # Of volumes alone: what files a directory of slices has would be asked anew for every sample.
        volumes = [(name, v) for name, v in zip(self.stack.names, values, strict=True) if str(v).lower().endswith(SUFFIXES)]
        try:
            refuse_apart([(name, file) for name, value in volumes for file in self.one.files(value)])
            return self.stack.joined(planes, 0)
        except ImageError as error:
            first = next((value for value in values if not is_missing(value)), "a sample without images")
            raise ImageError(f"{first}: {error}") from None

    def files(self, *values: Any) -> list[Path]:
        """Return the files of all channels that are there."""
        return self.one.files(*(value for value in values if not is_missing(value)))

    def assumed(self, *values: Any) -> str | None:
        """Return what range was taken for one that says none."""
        return self.one.assumed(*(value for value in values if not is_missing(value)))

    def sorted_by(self, *values: Any) -> str | None:
        """Return what the slices of a channel are sorted by where they have no positions."""
        found = (self.one.sorted_by(value) for value in values if not is_missing(value))
        return next((by for by in found if by is not None), None)

    def identity(self, *values: Any) -> str | None:
        """Return where the first that is there lies."""
        return next((self.one.identity(value) for value in values if not is_missing(value)), None)

    def identities(self, *values: Any) -> tuple[str | None, ...]:
        """Return where each channel lies: a network may have learnt from one of them alone."""
        return tuple(None if is_missing(value) else self.one.identity(value) for value in values)
