"""Gated attention: what weighs the members of a bag, or the slices of a volume, against each other.

That of Ilse, Tomczak and Welling 2018 (ICML, Attention-based Deep Multiple Instance Learning), equation 9:
a_k = softmax_k(wᵀ(tanh(V h_k) ⊙ sigm(U h_k))), and the bag is Σ a_k h_k.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

HIDDEN = 128
"""Width of V and U, as the authors took it."""


class GatedAttention(nn.Module):
    """(M, F) features → (M,) scores, whose softmax over a bag are its weights."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.content = nn.Linear(features, hidden)  # V
        self.gate = nn.Linear(features, hidden)  # U
        self.score = nn.Linear(hidden, 1, bias=False)  # w; a bias would be the same for all members

    def forward(self, features: Tensor) -> Tensor:
        """Return the scores."""
        scores: Tensor = self.score(torch.tanh(self.content(features)) * torch.sigmoid(self.gate(features)))
        return scores[:, 0]
