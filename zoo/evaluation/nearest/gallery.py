"""How alike images of different patients are, a block of queries at a time, so that no matrix of all by all is held."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from medzoo.evaluation.embeddings import TILE
from medzoo.evaluation.weighting import Floats

BLOCK_VALUES = 4_000_000
"""Similarities held at once: 32 MB, and as much again three or four times for what is made of them."""
GRID = 2**28
"""Steps of a similarity of 1: about 4e-9, so that equal vectors tie whatever the order of summation."""
FAR = -GRID - 1
"""Below every similarity: of the query's own patient, or of whom it is not known whether it is right."""

Levels = NDArray[np.int32]


@dataclass(frozen=True)
class Gallery:
    """Images that are each other's gallery.

    Attributes:
        vectors: (N, E) finite vectors of any length but 0.
        groups: (N,) codes of the patients, 0..G-1.
    """

    vectors: NDArray[np.float32]
    groups: NDArray[np.int64]

    @cached_property
    def lengths(self) -> Floats:
        """(N,) of the vectors."""
        lengths: Floats = np.sqrt(np.einsum("ne,ne->n", self.vectors, self.vectors, dtype=np.float64))
        return lengths

    def __len__(self) -> int:
        return len(self.vectors)

    def levels(self, asking: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Levels]]:
        """Yield some of the `asking` rows (b,) and how alike each image is to them, (b, N) cosines in steps of 1 / `GRID`.

        Images of the query's own patient, the query itself among them, are `FAR`.
        """
        height = max(1, BLOCK_VALUES // max(len(self), 1))
        for start in range(0, len(asking), height):
            rows = asking[start : start + height]
            query = self.vectors[rows].astype(np.float64)
            query *= GRID / self.lengths[rows][:, None]
            levels = np.empty((len(rows), len(self)), dtype=np.int32)
            for first in range(0, len(self), TILE):
                tile = slice(first, first + TILE)
                # In float64 a product of two float32 numbers is exact, so that equal vectors are equally alike to about 1e-15.
                cosine = query @ self.vectors[tile].astype(np.float64).T
                cosine /= self.lengths[tile]
                levels[:, tile] = np.rint(cosine, out=cosine)
            levels[self.groups[rows][:, None] == self.groups] = FAR
            yield rows, levels
