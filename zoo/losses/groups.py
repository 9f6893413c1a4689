"""Losses that weigh groups of samples against each other: the worst one first, the hardest identities more, or all alike.

A group loss takes a loss of `medzoo.losses.masked`, outputs, targets, which group each sample is of and how much each counts, and
returns what the loss itself would: a mean, and how much it is over. With one group, or equal losses, it is the plain loss to the
last bit. Where it `adds_up`, losses of parts of a batch add up to that of the batch; else all of it must be looked at together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.losses import domains
from medzoo.losses.masked import Loss

_RANGES: dict[str, dict[str, tuple[float, str, Callable[[float], bool]]]] = {
    "dro": {"step": (0.01, "a positive number", lambda v: 0 < v < float("inf"))},
    "fis": {
        "temperature": (1.0, "a positive number", lambda v: 0 < v < float("inf")),
        "share": (0.5, "in 0..1", lambda v: 0 <= v <= 1),
    },
    "balanced": {},
    **{how: dict(arguments) for how, arguments in domains.RANGES.items()},
}
HOWS = tuple(_RANGES)
"""Names of the ways to learn by groups; the first is the default. Those of `medzoo.losses.domains` are added to a loss."""


def group_arguments(how: str, given: Mapping[str, Any]) -> dict[str, float]:
    """Return all arguments of a way to learn by groups, defaults among them.

    Raises:
        UnknownNameError: If there is no such way, or it has no such argument.
        ConfigError: If a value is out of range.
    """
    if how not in _RANGES:
        raise UnknownNameError("loss.group.how", how, HOWS)
    known = _RANGES[how]
    for name, value in given.items():
        if name not in known:
            raise UnknownNameError("setting", name, ("column", "how", "cells", *known), where=f" of loss.group with how={how}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not known[name][2](float(value)):
            raise ConfigError(f"loss.group.{name}={value!r} is not {known[name][1]}")
    return {name: float(given.get(name, default)) for name, (default, _, _) in known.items()}


class GroupDro(nn.Module):
    """Group-DRO (Sagawa et al. 2020, algorithm 1): Σ q_g L_g, whose q rise exponentially with each group's loss.

    A group that a batch lacks has no loss there: its q falls as the others' rise, and comes back.

    Args:
        counts: Training samples of each group, each as often as it counts.
        step: η, how fast q moves.

    Attributes:
        shares: (G,) q, of sum 1; what a training goes on with.
    """

    adds_up = False
    shares: Tensor

    def __init__(self, counts: list[float], step: float) -> None:
        super().__init__()
        self.step = step
        self.register_buffer("shares", torch.full((len(counts),), 1 / len(counts)))

    def forward(self, loss: Loss, outputs: Tensor, targets: Tensor, codes: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weighted sum of the groups' mean losses, and how much they are over; moves q in training mode."""
        of_groups, counts = [], []
        for group in range(len(self.shares)):
            mean, count = loss(outputs, targets, sample_weights=weights * (codes == group))  # type: ignore[call-arg]
            of_groups.append(mean)
            counts.append(count)
        losses = torch.stack(of_groups)
        if self.training:
            with torch.no_grad():
                raised = self.shares * (self.step * losses.detach().float()).exp()
                self.shares.copy_(raised / raised.sum())
        return (self.shares.to(losses.dtype) * losses).sum(), torch.stack(counts).sum()


class IdentityScaling(nn.Module):
    """Fair identity scaling (Luo et al. 2023, Harvard-EF): samples weigh more whose own loss and whose group's loss are larger.

    A weight is the softmax, over the labelled samples of a batch, of ((1 − c) ℓᵢ + c L_g) / T, times their number. L_g is the
    mean loss of the batch's samples of that group; their code learns a number a group in its place, which a minimiser lowers
    where the loss is high. No gradient passes through the weights.

    Args:
        temperature: T; the larger, the nearer to the plain mean.
        share: c, how much of a weight is the group's.
    """

    adds_up = False

    def __init__(self, temperature: float, share: float) -> None:
        super().__init__()
        self.temperature, self.share = temperature, share

    def forward(self, loss: Loss, outputs: Tensor, targets: Tensor, codes: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weighted mean loss, and how much it is over."""
        with torch.no_grad():
            own, counts = sample_losses(loss, outputs, targets)
            seen = counts > 0
            counted = weights.to(own.dtype) * seen  # a sample of weight 2 is that sample twice in these means, too
            same = (codes[:, None] == codes[None, :]) * counted[None, :]
            total = same.sum(dim=1)
            of_group = (same * own[None, :]).sum(dim=1) / torch.where(total > 0, total, 1.0)
            scaled = ((1 - self.share) * own + self.share * of_group) / self.temperature
            top = torch.where(seen, scaled, -torch.inf).amax()
            raised = torch.where(seen, (scaled - top).exp(), 0.0)
            total = counted.sum()
            factors = raised / ((counted * raised).sum() / torch.where(total > 0, total, 1.0)).clamp(min=1e-300)
        return loss(outputs, targets, sample_weights=weights * factors.to(weights.dtype))  # type: ignore[call-arg]


class GroupBalance(nn.Module):
    """Every group counts as much as any other: a sample of group g has the weight N / (G n_g).

    Args:
        counts: Labelled training samples of each group, each as often as it counts; above 0.
    """

    adds_up = True
    factors: Tensor

    def __init__(self, counts: list[float]) -> None:
        super().__init__()
        self.register_buffer("factors", balancing_factors(counts), persistent=False)

    def forward(self, loss: Loss, outputs: Tensor, targets: Tensor, codes: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weighted mean loss, and how much it is over."""
        return loss(outputs, targets, sample_weights=weights * self.factors[codes])  # type: ignore[call-arg]


def balancing_factors(counts: list[float]) -> Tensor:
    """Return (G,) how much a sample of each group counts, for all groups to count alike; their mean over samples is 1."""
    of_groups = torch.tensor(counts, dtype=torch.float64)
    return (of_groups.sum() / (len(counts) * of_groups)).float()


def sample_losses(loss: Loss, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return (N,) float64 losses of single samples, 0 where nothing is observed, and (N,) how much each is over."""

    def of_one(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return loss(output[None], target[None])

    found: tuple[Tensor, Tensor] = torch.func.vmap(of_one)(outputs.double(), targets.double())
    return found


def group_loss(described: Mapping[str, Any]) -> nn.Module:
    """Build a group loss from what an objective says of it: `how`, `counts` and the arguments."""
    counts, arguments = [float(n) for n in described["counts"]], dict(described["arguments"])
    builders: dict[str, Callable[[], nn.Module]] = {
        "dro": partial(GroupDro, counts, **arguments),
        "fis": partial(IdentityScaling, **arguments),
        "balanced": partial(GroupBalance, counts),
    }
    return builders[str(described["how"])]()
