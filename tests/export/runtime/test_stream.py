"""How a stream forms batches, bounds its memory and names what fails, on functions that stand for decoder and graph."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medzoo.data.errors import ImageError
from medzoo.export.runtime.stream import stream_batches


def test_batches_depend_on_the_input_alone() -> None:
    """Worked by hand: sizes a b a a c b a, batches of 2, a window of 4."""
    sides = {"a": 2, "b": 3, "c": 4}
    images = [np.zeros((sides[letter], 1, 1), np.uint8) for letter in "abaacba"]
    batches = []

    def run(pixels: NDArray[np.uint8], places: list[int]) -> dict[str, NDArray[np.uint8]]:
        assert len(pixels) == len(places)
        batches.append(places)
        return {"x": pixels[:, 0, 0]}

    places = [p.place for p in stream_batches(images, lambda image: image, run, batch_size=2, window=4)]  # type: ignore[arg-type,return-value]
    assert places == list(range(7))
    # Held are 0..3: 0 and 2 fill a batch. Held are 1..4, none the like of 1: it goes alone. Held are 3..6: 3 and 6 fill one.
    assert batches == [[0, 2], [1], [3, 6], [4], [5]]


def test_large_images_are_held_by_their_bytes() -> None:
    """Worked by hand: images of 100 bytes, 250 allowed, batches of 4; then one of 300, which runs alone."""
    batches: list[list[int]] = []

    def run(pixels: NDArray[Any], places: list[int]) -> dict[str, NDArray[Any]]:
        batches.append(places)
        return {"sum": pixels.reshape(len(pixels), -1).sum(axis=1)}

    images = [np.ones((10, 10), np.uint8)] * 5 + [np.ones((10, 30), np.uint8)] + [np.ones((10, 10), np.uint8)]
    found = list(stream_batches(images, lambda image: image, run, batch_size=4, max_bytes=250))  # type: ignore[arg-type,return-value]
    assert [p.place for p in found] == list(range(7))
    assert [int(p.outputs["sum"]) for p in found] == [100] * 5 + [300, 100]
    assert batches == [[0, 1], [2, 3], [4], [5], [6]]


@pytest.mark.parametrize("measured", [True, False])
def test_small_files_before_large_ones_do_not_open_the_door(measured: bool) -> None:
    """Sixty thumbnails of 10 bytes, then sixty photographs of 400: 1,000 bytes at most, though the window would hold 24,000."""
    lock, held, most = threading.Lock(), 0, 0
    batches: list[int] = []

    def decode(image: Any) -> NDArray[Any]:
        nonlocal held, most
        with lock:
            held += len(image)
            most = max(most, held)
        return np.zeros((len(image), 1), np.uint8)

    def run(pixels: NDArray[Any], places: list[int]) -> dict[str, NDArray[Any]]:
        nonlocal held
        with lock:
            held -= pixels.nbytes
        batches.append(len(places))
        return {"n": np.array(places)}

    images = [b"s" * 10] * 60 + [b"L" * 400] * 60
    measure = len if measured else None
    found = list(stream_batches(images, decode, run, batch_size=4, window=60, max_bytes=1000, measure=measure))  # type: ignore[arg-type]
    assert [int(p.outputs["n"]) for p in found] == list(range(120))
    assert most <= (1000 if measured else 60 * 10 + 4 * 400)  # unknown: two at a time, a batch when four are alike
    assert batches[:15] == [4] * 15
    if measured:
        assert batches[15:] == [2] * 30


def test_an_image_the_graph_cannot_run_is_named_and_skipped_alone() -> None:
    """As a strip of ten million pixels that padding makes a square of: no memory holds it, nor the batch it is in."""

    def run(pixels: NDArray[Any], places: list[int]) -> dict[str, NDArray[Any]]:
        if (pixels == 7).any():
            raise RuntimeError("failed to allocate\nmemory")
        return {"sum": pixels.reshape(len(pixels), -1).sum(axis=1)}

    def images() -> list[NDArray[Any]]:
        return [np.full((2, 2), 7 if place == 5 else 1, np.uint8) for place in range(9)]

    found = list(stream_batches(images(), lambda image: image, run, batch_size=4, on_error="skip"))  # type: ignore[arg-type,return-value]
    assert [p.place for p in found] == list(range(9))
    assert [p.place for p in found if p.error is not None] == [5]
    assert str(found[5].error) == "image 5: the model cannot run an image of shape [2, 2] (failed to allocate memory)"
    assert all(int(p.outputs["sum"]) == 4 for p in found if p.place != 5)
    with pytest.raises(ImageError, match="image 5: the model cannot run"):
        list(stream_batches(images(), lambda image: image, run, batch_size=4))  # type: ignore[arg-type,return-value]
