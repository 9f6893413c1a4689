"""An image file that has been opened: how many frames it holds, and the pixels of each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from numpy.typing import NDArray


class Opened(ABC):
    """A file of one or several frames, of which nothing is decoded yet. Frames count from 0, in the order of the file.

    Attributes:
        name: What to call it in a message.
        count: How many frames it says it holds, at least 1.
        max_pixels: Height × width above which no frame is decoded.
        what: What its frames are called in a message.
        first_is_the_image: Whether the others are an animation, a camera's previews or its second eye: a reader of one image
            takes the first.
    """

    what = "pages"
    first_is_the_image = False

    def __init__(self, name: str, count: int, max_pixels: int) -> None:
        self.name, self.count, self.max_pixels = name, count, max_pixels

    def called(self, frame: int) -> str:
        """Return what to call a frame in a message: the file, of several frames with the number."""
        return self.name if self.count == 1 else f"{self.name}[{frame}]"

    @abstractmethod
    def check(self) -> None:
        """Refuse a count that cannot be, before a frame is read of several; raises ImageError."""

    @abstractmethod
    def sides(self, frame: int) -> tuple[int, int]:
        """Return a frame's height and width as the file says them, before anything is decoded."""

    @abstractmethod
    def pixels(self, frame: int, window: tuple[float, float] | None) -> NDArray[Any]:
        """Return (H, W, C), uint8 or float32 in 0..1; `window` as `medzoo.data.images.decode.decode_image` takes it."""
