"""Ordinal heads: what a backbone says of K grades whose order counts, as K class log-probabilities.

Both heads give log-probabilities computed without differences of near-equal numbers, so that whatever follows (metrics,
calibration, the exported graph) treats an ordinal model as any other: softmax of the outputs gives the probabilities.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medzoo.models.backbones.contract import Around


class CornLink(nn.Module):
    """Conditional probabilities in a row: logit j says P(y > j | y ≥ j) (Shi, Cao and Raschka 2023, CORN, section 3.3).

    (N, K − 1) → (N, K): log P(y = k) = Σ_{j<k} log σ(z_j) + log σ(−z_k), the last without its second term.
    """

    def forward(self, logits: Tensor) -> Tensor:
        """Return (N, K) log-probabilities."""
        passed = F.pad(F.logsigmoid(logits).cumsum(dim=1), (1, 0))
        stopped = F.pad(F.logsigmoid(-logits), (0, 1))
        return passed + stopped


class CumulativeLink(nn.Module):
    """One score against ordered thresholds: P(y > k) = σ(f − θ_k) (McCullagh 1980, proportional odds).

    (N, 1) → (N, K). Thresholds are the first one and positive gaps, so that their order cannot be lost in training. They
    start at the log-odds of equally frequent grades.

    Args:
        grades: K.

    Attributes:
        first: () the first threshold θ_0.
        gaps: (K − 2,) raw gaps; softplus makes them positive.
    """

    SMALLEST_GAP = 1e-3

    def __init__(self, grades: int) -> None:
        super().__init__()
        places = torch.arange(1, grades, dtype=torch.float32) / grades
        start = torch.log(places / (1 - places))
        self.first = nn.Parameter(start[:1].clone())
        # The inverse of softplus.
        self.gaps = nn.Parameter(torch.log(torch.expm1(start.diff() - self.SMALLEST_GAP)))

    def forward(self, scores: Tensor) -> Tensor:
        """Return (N, K) log-probabilities."""
        gaps = F.softplus(self.gaps) + self.SMALLEST_GAP
        margins = scores - torch.cat([self.first, self.first + gaps.cumsum(0)])
        # σ(a) − σ(b) = σ(a) σ(−b) (1 − e^{b − a}), and a − b is the gap between two thresholds.
        between = F.logsigmoid(margins[:, :-1]) + F.logsigmoid(-margins[:, 1:]) + torch.log(-torch.expm1(-gaps))
        return torch.cat([F.logsigmoid(-margins[:, :1]), between, F.logsigmoid(margins[:, -1:])], dim=1)

    def thresholds(self) -> Tensor:
        """Return (K − 1,) ascending thresholds, in units of the score."""
        return torch.cat([self.first, self.first + (F.softplus(self.gaps) + self.SMALLEST_GAP).cumsum(0)])


class OrdinalNetwork(Around):
    """A backbone and its ordinal head. Images → (N, K) log-probabilities.

    Args:
        backbone: With as many outputs as the link takes.
        link: `CornLink` or `CumulativeLink`.
    """

    def __init__(self, backbone: nn.Module, link: nn.Module) -> None:
        super().__init__(backbone)
        self.link = link

    def linked(self, outputs: Tensor) -> Tensor:
        """Return (N, K) log-probabilities."""
        result: Tensor = self.link(outputs)
        return result

    def link_modules(self) -> list[nn.Module]:
        """Return the link."""
        return [self.link]
