"""The images a reduced graph is calibrated on and judged on, read when they are needed and run in batches of one size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ExportError
from medzoo.data.labels import ConceptSpace
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.data.seeding import generator

BATCH = 8
"""Images a run: intermediate results of a calibration are held for as many."""
CHUNK = 256
"""Images held in memory to be sorted by size."""

Feed = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Images:
    """Some images of a split, with what stands beside them, as an exported graph takes them; read anew each time.

    Attributes:
        samples: The split.
        places: Rows of it.
    """

    samples: SampleDataset
    places: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.places)

    def chunks(self) -> Iterator[list[Feed]]:
        """Yield the graph's inputs of each image in order, a bounded number at a time."""
        for start in range(0, len(self), CHUNK):
            chosen = [int(place) for place in self.places[start : start + CHUNK]]
            yield [{"image": self.samples.pixels(place), **self.samples.beside(place)} for place in chosen]

    def batches(self, extra: Mapping[str, NDArray[Any]]) -> Iterator[Feed]:
        """Yield graph inputs, images of one size together; `extra` goes with each."""
        for given in self.chunks():
            for rows in _alike(given):
                yield {**_stacked(given, rows), **extra}

    def run(self, session: Any, names: Sequence[str], extra: Mapping[str, NDArray[Any]]) -> Feed:
        """Return outputs of a session for all images, in order: name → (N, ...)."""
        parts: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
        for given in self.chunks():
            found: dict[str, list[Any]] = {name: [None] * len(given) for name in names}
            for rows in _alike(given):
                values = session.run(list(names), {**_stacked(given, rows), **extra})
                for name, value in zip(names, values, strict=True):
                    for row, answer in zip(rows, value, strict=True):
                        found[name][row] = answer
            for name in names:
                parts[name].append(np.stack(found[name]))
        return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def _alike(given: Sequence[Feed]) -> Iterator[list[int]]:
    """Yield places of samples whose images, however many each has, are of the same sizes, at most `BATCH` at a time."""
    places: dict[Any, list[int]] = {}
    for place, feed in enumerate(given):
        places.setdefault(tuple(value.shape for value in feed.values()), []).append(place)
    for found in places.values():
        yield from (found[start : start + BATCH] for start in range(0, len(found), BATCH))


def _stacked(given: Sequence[Feed], rows: Sequence[int]) -> Feed:
    return {name: np.stack([given[row][name] for row in rows]) for name in given[rows[0]]}


@dataclass(frozen=True)
class Validation:
    """What a gate knows of the validation images.

    Attributes:
        images: The images.
        groups: (N,) text, what the split keeps together.
        targets: (N, K) float32, NaN where missing; None without labels.
        concept_space: Of `concepts`; None without.
        concepts: (N, M) float32, NaN where missing; None where nothing is known of them.
    """

    images: Images
    groups: list[str]
    targets: NDArray[np.float32] | None
    concept_space: ConceptSpace | None = None
    concepts: NDArray[np.float32] | None = None


def drawn(samples: SampleDataset, count: int | None, seed: int) -> Images:
    """Return some images of a split, drawn at random, in table order.

    Args:
        samples: The split.
        count: How many; all if there are fewer, or if None.
        seed: Of the draw.

    Raises:
        ExportError: If the split is empty.
    """
    if not len(samples):
        raise ExportError(f"the {samples.split} split is empty: a reduced precision needs its images")
    places = np.arange(len(samples))
    if count is not None and count < len(samples):
        places = np.sort(generator(seed, "export", samples.split).permutation(len(samples))[:count])
    return Images(samples, places)


def validation_of(samples: SampleDataset, concept_space: ConceptSpace | None, count: int | None, seed: int) -> Validation:
    """Return what a gate judges by; arguments as `drawn` and `Validation` take them, over the whole split."""
    images = drawn(samples, count, seed)
    rows = images.places
    groups = samples.rows["group"].astype(str).iloc[rows].tolist()
    targets = None if samples.targets is None else samples.targets[rows]
    concepts = None if concept_space is None or samples.concepts is None else samples.concepts[rows]
    if concepts is None or np.isnan(concepts).all():
        return Validation(images, groups, targets)
    return Validation(images, groups, targets, concept_space, concepts)
