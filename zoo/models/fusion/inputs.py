"""Values beside the images as one token: quantities standardised, categories as embeddings, what is missing as learnt tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medzoo.data.inputs import InputSpace

COLUMN = 16
"""Width of what stands for one column, before all of them become one token."""


class InputEncoder(nn.Module):
    """(N, V) float32 values, NaN where missing → (N, width).

    Each column has a vector: of a quantity its standardised value times one learnt vector, plus another (Gorishniy et al. 2021,
    section 3.3); of a category that of its word; of either a learnt one where it is missing. A layer over all of them follows.

    Args:
        space: What the columns are.
        mean: Of each column in the training split; of categories unused.
        std: Its positive spread there.
        width: Of the token.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, space: InputSpace, mean: Sequence[float], std: Sequence[float], width: int) -> None:
        super().__init__()
        self.coded = [place for place, name in enumerate(space.names) if name in space.categories]
        self.counts = [len(space.categories[space.names[place]]) for place in self.coded]
        # Of the spec, not of the weights: what a file says of its inputs and what it computes cannot part.
        self.register_buffer("mean", torch.tensor(list(mean), dtype=torch.float32), persistent=False)
        self.register_buffer("std", torch.tensor(list(std), dtype=torch.float32), persistent=False)
        self.slope = nn.Parameter(torch.randn(space.width, COLUMN) / COLUMN**0.5)
        self.base = nn.Parameter(torch.zeros(space.width, COLUMN))
        self.missing = nn.Parameter(torch.randn(space.width, COLUMN) / COLUMN**0.5)
        self.words = nn.ModuleList(nn.Embedding(count, COLUMN) for count in self.counts)
        self.layers = nn.Sequential(nn.Linear(space.width * COLUMN, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, values: Tensor) -> Tensor:
        """Return (N, width)."""
        known = ~torch.isnan(values)
        plain = torch.where(known, values, self.mean)
        columns = ((plain - self.mean) / self.std)[..., None] * self.slope + self.base
        parts = list(columns.unbind(dim=1))
        for place, count, table in zip(self.coded, self.counts, self.words, strict=True):
            codes = torch.where(known[:, place], values[:, place], 0).round().long().clamp(0, count - 1)
            parts[place] = table(codes)
        seen = torch.where(known[..., None], torch.stack(parts, dim=1), self.missing)
        found: Tensor = self.layers(seen.flatten(1))
        return found
