"""Any number of images through one session with bounded memory: decoded ahead, batched by size, answered in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ConfigError, ImageError, MedzooError, UnknownNameError
from medzoo.data.images.decode import ImageInput
from medzoo.data.images.frames import Frame

Image = ImageInput
"""What is taken for an image: a path, encoded bytes, pixels, or a Pillow image."""
OnError = Literal["stop", "skip"]
Read = Callable[[Image], NDArray[Any]]
"""One image to the pixels the graph takes."""
Measure = Callable[[Image], int | None]
"""A file or its bytes to the bytes of its pixels, from its header alone; None where only decoding tells."""
Run = Callable[[NDArray[Any], list[int]], dict[str, NDArray[Any]]]
"""(N, ...) stacked pixels and their N places in the input → output name → (N, ...)."""

READERS = 2
"""Threads that decode while the session computes; a 256-pixel PNG takes 2 ms, so that two keep up with 1,000 images a second."""

MAX_BYTES = 1 << 30
"""Bytes of decoded pixels held at once: 14 photographs of 24 megapixels, or 3,500 of 0.1."""


@dataclass(frozen=True)
class Prediction:
    """What came of one image.

    Attributes:
        place: Its place in the input, from 0.
        outputs: Output name → its row; empty if the image was skipped.
        error: Why it was skipped; None if it was not.
    """

    place: int
    outputs: dict[str, NDArray[Any]]
    error: ImageError | None = None


@dataclass
class _Entry:
    place: int
    image: Image | None  # until it is decoded
    expected: int | None = None  # bytes of its pixels while it holds them, or will; None while only decoding tells
    pixels: Future[NDArray[Any]] | NDArray[Any] | None = None
    outputs: dict[str, NDArray[Any]] | None = None
    error: ImageError | None = None
    name: str = field(init=False)  # for messages; of a file its path stands in the message already

    def __post_init__(self) -> None:
        self.name = str(self.image) if isinstance(self.image, str | Path | Frame) else f"image {self.place}"

    @property
    def done(self) -> bool:
        return self.outputs is not None or self.error is not None


def stream_batches(
    images: Iterable[Image],
    read: Read,
    run: Run,
    *,
    batch_size: int,
    on_error: OnError = "stop",
    window: int | None = None,
    max_bytes: int = MAX_BYTES,
    measure: Measure | None = None,
    readers: int = READERS,
) -> Iterator[Prediction]:
    """Yield one prediction an image, in the order of the input, reading no more than a window of images ahead.

    Images of one shape share a batch. A batch is run when it is full; when the window is full of images that wait for their
    likes, the oldest image's batch is run as it is. What is batched together depends on the input alone, not on timing.

    Memory is bounded by the window and by bytes: a file counts from its header on. Of files whose header does not tell, no more
    than `readers` are decoded at once.

    Args:
        images: Any iterable; a generator is never held as a whole.
        read: Called in threads for files and bytes, in this one for arrays and Pillow images; refuses what is no image.
        run: Called in this thread. Where it fails on a batch, each of its images is run alone, and those on which it fails again
            are errors.
        batch_size: Most images a run.
        on_error: `stop` raises at the first image that cannot be read or run, after the answers before it; `skip` yields its
            error in its place.
        window: Most images held at once; None: four batches.
        max_bytes: Most bytes of pixels held at once, beside the next image and the copy that the batch being run makes of its
            own; a single image above it is run alone.
        measure: What a file will take; None: only decoding tells.
        readers: Threads that decode.

    Yields:
        A `Prediction` each, places 0, 1, 2, ...

    Raises:
        ImageError: If an image cannot be read or run and `on_error` is `stop`; names it (its path, else its place).
        ConfigError: If a number is below 1, or the window smaller than a batch; when the first is asked for.
    """
    window = 4 * batch_size if window is None else window
    if min(batch_size, readers) < 1 or window < batch_size:
        raise ConfigError(f"batch_size {batch_size}, window {window}: a batch has at least 1 image, a window at least a batch")
    if max_bytes < 1:
        raise ConfigError(f"max_bytes {max_bytes} must be at least 1")
    if on_error not in get_args(OnError):
        raise UnknownNameError("choice of on_error", on_error, get_args(OnError))
    entries: deque[_Entry] = deque()  # every image held, oldest first
    unread: deque[_Entry] = deque()  # those that are still being decoded
    ready: dict[tuple[int, ...], list[_Entry]] = {}  # those that wait for a batch, by shape
    source = _Source(images, read, measure)

    def room() -> bool:
        """Whether the source's next image may be held."""
        if not entries:
            return True
        if len(entries) == window:
            return False
        following = source.peek()
        if following is None or following.done:
            return True
        if following.expected is None:
            return sum(entry.expected is None for entry in entries) < readers
        return sum(entry.expected or 0 for entry in entries) + following.expected <= max_bytes

    with ThreadPoolExecutor(readers, thread_name_prefix="medzoo-read") as pool:
        try:
            while True:
                while room() and (entry := source.take()) is not None:
                    if entry.pixels is None and not entry.done:
                        entry.pixels = pool.submit(_named, entry.image, entry.place, read)
                    entry.image = None
                    entries.append(entry)
                    unread.append(entry)
                if not entries:
                    if source.failure is not None:
                        raise source.failure
                    return
                if unread:
                    entry = unread.popleft()
                    shape = _decoded(entry)
                    if shape is not None:
                        group = ready.setdefault(shape, [])
                        group.append(entry)
                        if len(group) == batch_size:
                            _run(ready.pop(shape), run)
                else:  # no room, or the input at its end: what waits in vain for its likes is run as it is
                    first = entries[0].pixels
                    assert isinstance(first, np.ndarray)
                    _run(ready.pop(first.shape), run)
                while entries and entries[0].done:
                    entry = entries.popleft()
                    if entry.error is not None and on_error == "stop":
                        raise entry.error
                    yield Prediction(entry.place, entry.outputs or {}, entry.error)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # whoever stops listening does not wait for what was ahead


class _Source:
    """The input, of which the next image can be looked at before there is room for it."""

    def __init__(self, images: Iterable[Image], read: Read, measure: Measure | None) -> None:
        self._images, self._read, self._measure = enumerate(images), read, measure
        self._next: _Entry | None = None
        self._ended = False
        self.failure: Exception | None = None  # of the input itself: raised when what came before it is answered

    def peek(self) -> _Entry | None:
        if self._next is None and not self._ended:
            try:
                given = next(self._images, None)
            except Exception as error:  # whatever a user's generator raises
                self.failure, given = error, None
            self._ended = given is None
            self._next = None if given is None else self._entry(*given)
        return self._next

    def take(self) -> _Entry | None:
        entry, self._next = self.peek(), None
        return entry

    def _entry(self, place: int, image: Image) -> _Entry:
        entry = _Entry(place, image)
        if isinstance(image, str | Path | bytes | Frame):
            entry.expected = None if self._measure is None else self._measure(image)
            return entry
        try:
            # An array has nothing to decode; a Pillow image may stand in the input twice, and two threads may not load it.
            pixels = _named(image, place, self._read)
            # A source may write its buffer again before this image is run.
            entry.pixels = pixels.copy() if isinstance(image, np.ndarray) and np.may_share_memory(pixels, image) else pixels
            entry.expected = pixels.nbytes
        except ImageError as error:
            entry.error = error
        return entry


def _named(image: Any, place: int, read: Read) -> NDArray[Any]:
    try:
        return read(image)
    except ImageError as error:
        if isinstance(image, str | Path | Frame):  # the message names the file
            raise
        raise ImageError(f"image {place}: {error}") from error


def _decoded(entry: _Entry) -> tuple[int, ...] | None:
    """Wait for an entry's pixels and return their shape; None if there are none."""
    if isinstance(entry.pixels, Future):
        try:
            entry.pixels = entry.pixels.result()
            entry.expected = entry.pixels.nbytes
        except ImageError as error:
            entry.pixels, entry.error, entry.expected = None, error, 0
    return None if entry.pixels is None else entry.pixels.shape


def _run(group: list[_Entry], run: Run) -> None:
    pixels = np.stack([entry.pixels for entry in group])  # type: ignore[misc]
    try:
        outputs = run(pixels, [entry.place for entry in group])
    except Exception as error:  # ONNX Runtime's errors have no common base
        if len(group) > 1:  # one image may be to blame, such as a long strip that no memory holds once it is padded
            for entry in group:
                _run([entry], run)
        else:
            what = f"the model cannot run an image of shape {list(pixels.shape[1:])} ({' '.join(str(error).split())[:200]})"
            what = str(error) if isinstance(error, MedzooError) else what  # what was given beside it does not fit
            group[0].error = ImageError(f"{group[0].name}: {what}")
            group[0].pixels, group[0].expected = None, 0
        return
    for row, entry in enumerate(group):
        entry.pixels, entry.expected = None, 0  # the stack has them
        # A copy: a view would keep the whole batch's outputs for as long as its slowest neighbour.
        entry.outputs = {name: np.array(values[row]) for name, values in outputs.items()}
