"""Any number of images through one session with bounded memory: decoded ahead, batched by size, answered in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ConfigError, ImageError, UnknownNameError

Image = str | Path | bytes | NDArray[Any]
"""What is taken for an image: a path, encoded bytes, or pixels."""
OnError = Literal["stop", "skip"]
Read = Callable[[Image], NDArray[Any]]
"""One image to the pixels the graph takes."""
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
    pixels: Future[NDArray[Any]] | NDArray[Any] | ImageError | None
    outputs: dict[str, NDArray[Any]] | None = None
    error: ImageError | None = None

    @property
    def done(self) -> bool:
        return self.outputs is not None or self.error is not None

    @property
    def size(self) -> int:
        """Bytes of its pixels, 0 while they are unknown or no longer needed."""
        return self.pixels.nbytes if isinstance(self.pixels, np.ndarray) else 0


def stream_batches(
    images: Iterable[Image],
    read: Read,
    run: Run,
    *,
    batch_size: int,
    on_error: OnError = "stop",
    window: int | None = None,
    max_bytes: int = MAX_BYTES,
    readers: int = READERS,
) -> Iterator[Prediction]:
    """Yield one prediction an image, in the order of the input, reading no more than a window of images ahead.

    Images of one shape share a batch. A batch is run when it is full; when the window is full of images that wait for their
    likes, the oldest image's batch is run as it is. What is batched together depends on the input alone, not on timing.

    Memory is bounded by the window and by bytes: what is still being decoded counts as much as the largest image so far.

    Args:
        images: Any iterable; a generator is never held as a whole.
        read: Called in threads for files and bytes, in this one for arrays.
        run: Called in this thread.
        batch_size: Most images a run.
        on_error: `stop` raises at the first image that cannot be read, after the answers before it; `skip` yields its error in
            its place.
        window: Most images held at once; None: four batches.
        max_bytes: Most bytes of pixels held at once, beside the copy that the batch being run makes of its own; a single image
            above it is run alone.
        readers: Threads that decode.

    Yields:
        A `Prediction` each, places 0, 1, 2, ...

    Raises:
        ImageError: If an image cannot be read and `on_error` is `stop`; names it (its path, else its place).
        ConfigError: If a number is below 1, or the window smaller than a batch; when the first is asked for.
    """
    window = 4 * batch_size if window is None else window
    if min(batch_size, readers) < 1 or window < batch_size:
        raise ConfigError(f"batch_size {batch_size}, window {window}: a batch has at least 1 image, a window at least a batch")
    if max_bytes < 1:
        raise ConfigError(f"max_bytes {max_bytes} must be at least 1")
    if on_error not in get_args(OnError):
        raise UnknownNameError("choice of on_error", on_error, get_args(OnError))
    source = enumerate(images)
    failure: Exception | None = None  # of the source itself: raised when what came before it is answered
    ended = False
    entries: deque[_Entry] = deque()  # every image held, oldest first
    unread: deque[_Entry] = deque()  # those that are still being decoded
    ready: dict[tuple[int, ...], list[_Entry]] = {}  # those that wait for a batch, by shape
    largest = 0  # bytes of an image so far

    def room() -> bool:
        """Whether one more image may be held."""
        if not entries:
            return True
        if not largest:  # nothing is known of sizes yet
            return len(entries) < min(window, readers)
        coming = sum(1 for entry in unread if not entry.size) + 1
        return len(entries) < window and sum(entry.size for entry in entries) + coming * largest <= max_bytes

    with ThreadPoolExecutor(readers, thread_name_prefix="medzoo-read") as pool:
        try:
            while True:
                while not ended and room():
                    try:
                        place, image = next(source)
                    except StopIteration:
                        ended = True
                        break
                    except Exception as error:  # whatever a user's generator raises
                        failure, ended = error, True
                        break
                    entry = _Entry(place, _start(image, place, read, pool))
                    largest = max(largest, entry.size)
                    entries.append(entry)
                    unread.append(entry)
                    del image
                if not entries:
                    if failure is not None:
                        raise failure
                    return
                if unread:
                    entry = unread.popleft()
                    pixels = _pixels(entry)
                    if isinstance(pixels, ImageError):
                        entry.error = pixels
                    else:
                        largest = max(largest, entry.size)
                        group = ready.setdefault(pixels.shape, [])
                        group.append(entry)
                        if len(group) == batch_size:
                            _run(ready.pop(pixels.shape), run)
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


def _start(image: Image, place: int, read: Read, pool: ThreadPoolExecutor) -> Future[NDArray[Any]] | NDArray[Any] | ImageError:
    if isinstance(image, str | Path | bytes):
        return pool.submit(_named, image, place, read)
    try:
        pixels = _named(image, place, read)  # nothing to decode: a thread would cost more than it saves
        # A source may write its buffer again before this image is run.
        return pixels.copy() if isinstance(image, np.ndarray) and np.may_share_memory(pixels, image) else pixels
    except ImageError as error:
        return error


def _named(image: Image, place: int, read: Read) -> NDArray[Any]:
    try:
        if not isinstance(image, str | Path | bytes | np.ndarray):
            raise ImageError(f"a {type(image).__name__} is no image; give a path, bytes or a NumPy array")
        return read(image)
    except ImageError as error:
        if isinstance(image, str | Path):  # the message names the file
            raise
        raise ImageError(f"image {place}: {error}") from error


def _pixels(entry: _Entry) -> NDArray[Any] | ImageError:
    """Wait for an entry's pixels."""
    pixels = entry.pixels
    if isinstance(pixels, Future):
        try:
            pixels = pixels.result()
        except ImageError as error:
            pixels = error
    entry.pixels = None if isinstance(pixels, ImageError) else pixels
    assert pixels is not None
    return pixels


def _run(group: list[_Entry], run: Run) -> None:
    pixels = np.stack([entry.pixels for entry in group])  # type: ignore[misc]
    for entry in group:
        entry.pixels = None  # the stack has them
    outputs = run(pixels, [entry.place for entry in group])
    for row, entry in enumerate(group):
        # A copy: a view would keep the whole batch's outputs for as long as its slowest neighbour.
        entry.outputs = {name: np.array(values[row]) for name, values in outputs.items()}
