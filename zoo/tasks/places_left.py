"""Which of a network's places still count for a concept, where a person takes a part of the image away from it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medzoo.data.samples.preprocess import Preprocess, fit

TOUCHED = 0.02 - 2.0**-12
"""Share of a place that is taken away from which on it no longer counts: one that the region cuts is gone with it.

A little less than a fiftieth, which pixels may make exactly: rounding sends such a tie one way in torch and the other in ONNX.
"""


class PlacesLeft(nn.Module):
    """A region of the image, or of the map, to the places that are left of it.

    Args:
        preprocess: The model's: a region is fitted as the image is.
        grid: Places along each axis, (h, w) or (d, h, w).
    """

    def __init__(self, preprocess: Preprocess, grid: tuple[int, ...]) -> None:
        super().__init__()
        self.grid = grid
        self.flat = Preprocess(preprocess.size, preprocess.mode, channels=1, dtype="float32", mean=(0.0,), std=(1.0,))
        for axis, (side, cells) in enumerate(zip(preprocess.size, grid, strict=True)):
            self.register_buffer(f"pool_{axis}", _bins(side, cells))

    def shares(self, region: Tensor) -> Tensor:
        """Return (N, *grid) shares of each place that (N, *size) regions of the image cover; borders of `pad` are no region."""
        found = fit((region > 0).float()[:, None], self.flat)[:, 0]
        for axis in range(len(self.grid)):  # each axis in turn goes last and is averaged there: in the end all stand as they did
            found = found.movedim(1, -1) @ getattr(self, f"pool_{axis}")
        return found

    def forward(self, region: Tensor, chosen: Tensor, places: Tensor) -> Tensor:
        """Return (N, M, *grid): 1 where a place counts for a concept, else 0.

        Args:
            region: (N, *size, 1), more than 0 where pixels are taken away.
            chosen: (N, M), 1 for the concepts that they are taken from.
            places: (N, M, *grid), 1 where a place itself is taken away.
        """
        touched = (self.shares(region[..., 0]) >= TOUCHED).float()[:, None]
        lost = touched * (chosen > 0.5).float().reshape(*chosen.shape, *[1] * len(self.grid))
        return (1 - lost) * (places <= 0.5).float()


def _bins(side: int, cells: int) -> Tensor:
    """Return (side, cells): what averages pixels into cells, those at a border between two counted in both."""
    starts = [cell * side // cells for cell in range(cells)]
    ends = [-(-(cell + 1) * side // cells) for cell in range(cells)]
    pool = torch.zeros(side, cells)
    for cell, (start, end) in enumerate(zip(starts, ends, strict=True)):
        pool[start:end, cell] = 1 / (end - start)
    return pool
