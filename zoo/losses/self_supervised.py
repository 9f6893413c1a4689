"""Objectives without labels: two views of an image are alike, one's own average agrees, what is hidden can be told."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Return the normalised temperature-scaled cross-entropy of SimCLR (Chen et al. 2020, equation 1).

    Each of 2N views is to find the other one of its image among the 2N − 1 others. Where all are equally similar the value is
    log(2N − 1).

    Args:
        first: (N, E) unit vectors of one view of each image.
        second: (N, E) unit vectors of the other.
        temperature: What cosine similarities are divided by.

    Returns:
        () the mean over views.
    """
    both = torch.cat([first, second]).float()
    with torch.autocast(both.device.type, enabled=False):  # bf16 tells cosines apart by 0.004, which the temperature enlarges
        similar = both @ both.T / temperature
    count = len(first)
    own = torch.eye(2 * count, dtype=torch.bool, device=both.device)
    other = torch.arange(2 * count, device=both.device).roll(count)
    return F.cross_entropy(similar.masked_fill(own, float("-inf")), other)


def self_distillation(
    student: Sequence[Tensor], teacher: Sequence[Tensor], center: Tensor, temperatures: tuple[float, float]
) -> Tensor:  # fmt: skip
    """Return DINO's cross-entropy between the teacher's outputs and the student's of the other views (Caron et al. 2021, 3.1).

    Args:
        student: (N, K) outputs of each of two views, then of crops that it alone sees, with gradient (equation 3).
        teacher: (N, K) outputs of the two views, without.
        center: (K,) the running mean of the teacher's outputs, which keeps one output from being all.
        temperatures: Of the student and of the teacher.

    Returns:
        () the mean over images and over pairs of a view of the teacher's and another of the student's.
    """
    soft, sharp = temperatures
    targets = [((view - center) / sharp).softmax(dim=1) for view in teacher]
    said = [(view.float() / soft).log_softmax(dim=1) for view in student]
    pairs = [(wanted, view) for place, wanted in enumerate(targets) for at, view in enumerate(said) if at != place]
    first, *rest = (-(wanted * view).sum(dim=1).mean() for wanted, view in pairs)
    return sum(rest, first) / len(pairs)


def masked_pixels(said: Tensor, patches: Tensor, hidden: Tensor) -> Tensor:
    """Return the mean squared error of hidden patches, each standardised by itself (He et al. 2022, section 3 and table 1d).

    Args:
        said: (N, L, P) what a decoder says of each of L patches.
        patches: (N, L, P) their pixels.
        hidden: (N, L) 1 where a patch was hidden, 0 where it was seen.
    """
    mean, variance = patches.mean(dim=2, keepdim=True), patches.var(dim=2, keepdim=True)
    wanted = (patches - mean) / (variance + 1e-6).sqrt()
    error = (said.float() - wanted).square().mean(dim=2)
    return (error * hidden).sum() / hidden.sum()
