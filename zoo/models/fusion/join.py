"""What joins the tokens of a sample's modalities into one vector, whichever of them there are.

A join takes (N, M, D) tokens, those of missing modalities a learnt one, and (N, M) whether each is there, and gives (N, F).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

HEADS = 4
BLOCKS = 2


class Concatenation(nn.Module):
    """All tokens side by side through one hidden layer; a missing modality speaks through its learnt token."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(count * width, 2 * width), nn.GELU(), nn.Linear(2 * width, width), nn.GELU())

    def forward(self, tokens: Tensor, there: Tensor) -> Tensor:
        """Return (N, width)."""
        found: Tensor = self.layers(tokens.flatten(1))
        return found


class Gate(nn.Module):
    """The mean of the tokens that are there, weighted by a gate each (Ilse et al. 2018, equation 9), and one hidden layer.

    Where none is there, the learnt tokens of all are averaged.
    """

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.look, self.gate, self.score = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, 1)
        self.layers = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width), nn.GELU())

    def forward(self, tokens: Tensor, there: Tensor) -> Tensor:
        """Return (N, width)."""
        scores = self.score(torch.tanh(self.look(tokens)) * torch.sigmoid(self.gate(tokens)))[..., 0]
        shares = _masked(scores, there).softmax(dim=1)
        found: Tensor = self.layers((shares[..., None] * tokens).sum(dim=1))
        return found


class Block(nn.Module):
    """Cross-attention of one query over tokens, and a layer of its own; each with a residual, normalised before."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = math.gcd(HEADS, width)
        self.before, self.ask, self.tell = nn.LayerNorm(width), nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out, self.between = nn.Linear(width, width), nn.LayerNorm(width)
        self.layers = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, query: Tensor, tokens: Tensor, there: Tensor) -> Tensor:
        """Return (N, width) of (N, width) queries over (N, T, width) tokens, of which those count that are there (N, T)."""
        count, places, width = tokens.shape
        asked = self.ask(self.before(query)).reshape(count, self.heads, 1, width // self.heads)
        keys, values = self.tell(tokens).reshape(count, places, 2, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        scores = (asked @ keys.transpose(2, 3))[:, :, 0] / math.sqrt(width // self.heads)
        shares = _masked(scores, there[:, None]).softmax(dim=2)
        query = query + self.out((shares[:, :, None] @ values).reshape(count, width))
        found: Tensor = query + self.layers(self.between(query))
        return found


class Attention(nn.Module):
    """A learnt query over the tokens that are there, a few times; where none is, over a learnt token of nothing alone."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(width) * 0.02)
        self.nothing = nn.Parameter(torch.randn(width) * 0.02)
        self.blocks = nn.ModuleList(Block(width) for _ in range(BLOCKS))
        self.after = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, there: Tensor) -> Tensor:
        """Return (N, width)."""
        query = self.query.expand(tokens.shape[0], -1)
        tokens = torch.cat([tokens, self.nothing.expand(tokens.shape[0], 1, -1)], dim=1)
        there = torch.cat([there, torch.ones_like(there[:, :1])], dim=1)
        for block in self.blocks:
            query = block(query, tokens, there)
        found: Tensor = self.after(query)
        return found


JOINS: Mapping[str, Callable[[int, int], nn.Module]] = {"concat": Concatenation, "gate": Gate, "attention": Attention}
"""Name → what makes a join of (modalities, width)."""


def _masked(scores: Tensor, there: Tensor) -> Tensor:
    """Return scores that a softmax gives no share to where nothing is there."""
    return scores.masked_fill(~there, -1e4)  # within the range of half precision; of nothing at all all are alike
