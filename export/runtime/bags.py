"""Running a file of bags: members of all bags in one array, and how many each bag has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ConfigError, ImageError
from medzoo.data.images.given import with_views
from medzoo.data.images.rows import case_rows

COUNTS = "counts"
"""The input that says how many members each bag has; a file that has it takes bags."""
ROWS = "members"
"""The input of rows of features, where members are no images."""
VIEWS = "views"
"""The input that says what each member shows, a code each; of a file that reads it."""


def run_bags(
    bags: Sequence[Any], session: Any, outputs: Sequence[str], read: Callable[[Any], NDArray[Any]], at_once: int,
    known: Sequence[str] = (), names: Sequence[str] | None = None,
) -> dict[str, NDArray[Any]]:  # fmt: skip
    """Run bags of any number of members.

    Args:
        bags: Images of each, or `{"images": [...], "views": [...]}` with what each shows; or rows of features: (n, F) arrays,
            paths of files of them, or lists of either, which are one bag.
        session: Of the file.
        outputs: Their names.
        read: Reads one image.
        at_once: Members that run together; a larger bag runs alone.
        known: What the model knows that members show, by code.
        names: Of the features of a row, where the files that the model was trained on named them.

    Returns:
        The outputs, first dimension the bags; `attention` (N, V), NaN where a bag has no such member.

    Raises:
        ImageError: If a bag has no member, a member cannot be read, is of another width, or images of a bag differ in size.
        ConfigError: If there is no bag, `at_once` is below 1, or what members show is not of the model's or of each member.
    """
    if at_once < 1:
        raise ConfigError(f"batch_size {at_once} must be at least 1")
    bags, codes = with_views(bags, known)
    width = next((given.shape[1] for given in session.get_inputs() if given.name == ROWS), None)
    if not len(bags):
        raise ConfigError("predict_cases takes at least one bag")
    found: list[dict[str, NDArray[Any]]] = []
    weights: list[NDArray[Any]] = []
    done = 0
    for name, members, counts in _together(bags, read, (width, names), at_once):
        feed = {name: members, COUNTS: np.array(counts, dtype=np.int64)}
        if known:
            feed[VIEWS] = np.concatenate(codes[done : done + len(counts)])
        done += len(counts)
        values = session.run(list(outputs), feed)
        told = dict(zip(outputs, values, strict=True))
        if "attention" in told:
            weights += np.split(told.pop("attention"), np.cumsum(counts)[:-1])
        found.append(told)
    joined = {key: np.concatenate([part[key] for part in found]) for key in found[0]}
    if weights:
        joined["attention"] = np.full((len(weights), max(map(len, weights))), np.nan, np.float32)
        for place, own in enumerate(weights):
            joined["attention"][place, : len(own)] = own
    return joined


def alone(inputs: Sequence[str], count: int) -> dict[str, NDArray[np.int64]]:
    """Return what a file of bags takes beside single images, each a bag of its own that does not say what it shows."""
    found = {COUNTS: np.ones(count, dtype=np.int64)}
    return found | ({VIEWS: np.zeros(count, dtype=np.int64)} if VIEWS in inputs else {})


def _together(
    bags: Sequence[Any], read: Callable[[Any], NDArray[Any]], features: tuple[int | None, Sequence[str] | None], at_once: int
) -> Iterator[tuple[str, NDArray[Any], list[int]]]:
    """Yield members of bags that run together, and how many each has: of one shape, and no more than `at_once`."""
    waiting: list[NDArray[Any]] = []
    width, names = features
    name = "image" if width is None else ROWS
    for place, bag in enumerate(bags):
        members = _images(bag, read, place) if width is None else case_rows(bag, width, place, names)
        full = sum(map(len, waiting)) + len(members) > at_once
        if waiting and (full or members.shape[1:] != waiting[0].shape[1:]):
            yield name, np.concatenate(waiting), list(map(len, waiting))
            waiting = []
        waiting.append(members)
    if waiting:
        yield name, np.concatenate(waiting), list(map(len, waiting))


def _images(bag: Sequence[Any], read: Callable[[Any], NDArray[Any]], place: int) -> NDArray[Any]:
    images = [read(image) for image in bag]
    if not images:
        raise ImageError(f"case {place} has no image")
    if len({image.shape for image in images}) > 1:
        sizes = " and ".join(sorted({"x".join(map(str, image.shape[:-1])) for image in images})[:2])
        raise ImageError(f"case {place} has images of {sizes} pixels, and a bag is one array here: make them of one size")
    return np.stack(images)
