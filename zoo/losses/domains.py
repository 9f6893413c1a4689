"""What is added to a loss so that groups of samples (sites, devices) tell nothing: alike features, or one answer for all.

A penalty takes what the loss takes, and the pooled features where it `wants_features`; it returns a number to add to the mean
loss. Groups that a batch lacks take no part, samples without a label neither: which group those are of may not be known. Samples'
weights say how much one counts beside another: all of them times a number change nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medzoo.losses.masked import Loss

FULL_AT = 10.0
"""How steeply the reversed gradient rises: γ of Ganin et al. 2016, section 5.2.2."""


class CovarianceAlignment(nn.Module):
    """Deep CORAL (Sun and Saenko 2016, equations 1 to 3 and 6): groups' features vary alike.

    The mean over pairs of groups of ‖C_a − C_b‖² / (4 d²), of covariances with n − 1; beside it, where asked for, of the means'
    ‖m_a − m_b‖² / d, as the domain generalisation benchmark of Gulrajani and Lopez-Paz (2021) adds. Of weighted samples n − 1 is
    Σw − Σw² / Σw, as numpy.cov's `aweights`. A group with one sample in a batch has no covariance, and takes no part.

    Args:
        counts: Training samples of each group.
        weight: Of the penalty.
        means: Of the means' part, beside the covariances'; 0: none, as in the paper.
    """

    wants_features = True

    def __init__(self, counts: list[int], weight: float, means: float) -> None:
        super().__init__()
        self.groups, self.weight, self.means = len(counts), weight, means

    def forward(
        self, loss: Loss, outputs: Tensor, features: Tensor, targets: Tensor, codes: Tensor, weights: Tensor
    ) -> Tensor:  # fmt: skip
        """Return the weighted () penalty on (N, F) features of samples of groups (N,) `codes`; 0 with fewer than two groups."""
        # The squared distance of two covariances is a sum over pairs of samples: none of (F, F) is held, of however many groups.
        with torch.autocast(features.device.type, enabled=False):  # type: ignore[no-untyped-call]
            values, counted = features.float(), weights.float() * _labelled(targets)
            members = F.one_hot(codes, self.groups).float() * counted[:, None]
            sizes = members.sum(dim=0)
            there = ((members > 0).sum(dim=0) > 1).float()
            middles = members.T @ values / sizes.clamp(min=1e-12)[:, None]
            apart = values - middles[codes]
            freedom = sizes - members.square().sum(dim=0) / sizes.clamp(min=1e-12)
            shares = members / freedom.clamp(min=1e-12) * there
            inner = shares.T @ (apart @ apart.T).square() @ shares
            own = inner.diagonal()
            width = values.shape[1]
            distances = (own[:, None] + own[None, :] - 2 * inner) / (4 * width**2)
            if self.means:
                distances = distances + self.means * (middles[:, None] - middles[None]).square().mean(dim=2)
            pairs = torch.triu(there[:, None] * there[None, :], diagonal=1)
            penalty = (pairs * distances).sum() / pairs.sum().clamp(min=1)
        return self.weight * penalty


class InvariantRisk(nn.Module):
    """Invariant risk minimisation (IRMv1, Arjovsky et al. 2019, section 3.1): one last layer is best in every group at once.

    The squared derivative of a group's mean loss by a factor on the logits, at 1; the mean over the groups of a batch. Of
    quantities the factor is on the standardised ones.

    Args:
        counts: Training samples of each group.
        weight: Of the penalty.
        after: Steps before it sets in.
        middle: (K,) mean of the quantities that the network learns; None: outputs are logits.

    Attributes:
        steps: () how many were taken; what a training goes on with.
    """

    wants_features = False
    steps: Tensor
    middle: Tensor

    def __init__(self, counts: list[int], weight: float, after: float, middle: tuple[float, ...] | None) -> None:
        super().__init__()
        self.groups, self.weight, self.after = len(counts), weight, after
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("middle", torch.tensor(middle or (0.0,)), persistent=False)

    def forward(
        self, loss: Loss, outputs: Tensor, features: Tensor | None, targets: Tensor, codes: Tensor, weights: Tensor
    ) -> Tensor:  # fmt: skip
        """Return the weighted () penalty; counts the steps in training mode."""
        factors = torch.ones(self.groups, device=outputs.device, requires_grad=True)
        scaled = self.middle + (outputs - self.middle) * factors[codes][:, None]
        means, counts = [], []
        for group in range(self.groups):
            mean, count = loss(scaled, targets, sample_weights=weights * (codes == group))  # type: ignore[call-arg]
            means.append(mean)
            counts.append(count)
        (slopes,) = torch.autograd.grad(torch.stack(means).sum(), [factors], create_graph=True)
        there = (torch.stack(counts) > 0).to(slopes.dtype)
        begun = (self.steps >= self.after).to(slopes.dtype)
        if self.training:
            self.steps.add_(1)
        return self.weight * begun * (slopes.square() * there).sum() / there.sum().clamp(min=1)


class GroupAdversary(nn.Module):
    """Domain-adversarial training (Ganin et al. 2016, section 4): a head tells the group, and the features learn to prevent it.

    The head learns at the full gradient, the features at minus λ times it. Without `head` it must not be called: its width is the
    network's, see `medzoo.tasks.setup.adversary`.

    Args:
        counts: Training samples of each group.
        weight: λ.
        rise: Steps in which λ grows to its full value as in their section 5.2.2; 0: it is full from the first step.
        hidden: Width of the head's hidden layer.

    Attributes:
        head: Learnt beside the network and thrown away.
        steps: () how many were taken; what a training goes on with.
    """

    wants_features = True
    steps: Tensor

    def __init__(self, counts: list[int], weight: float, rise: float, hidden: float) -> None:
        super().__init__()
        self.groups, self.weight, self.rise, self.hidden = len(counts), weight, rise, int(hidden)
        self.head: Any = None
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def begin(self, width: int) -> None:
        """Draw the head for pooled features of a width."""
        self.head = nn.Sequential(nn.Linear(width, self.hidden), nn.ReLU(), nn.Linear(self.hidden, self.groups))

    def strength(self) -> Tensor:
        """Return the () λ of this step."""
        if not self.rise:
            return torch.full((), self.weight, device=self.steps.device)
        done = (self.steps / self.rise).clamp(max=1)
        return self.weight * (2 / (1 + torch.exp(-FULL_AT * done)) - 1)

    def forward(
        self, loss: Loss, outputs: Tensor, features: Tensor, targets: Tensor, codes: Tensor, weights: Tensor
    ) -> Tensor:  # fmt: skip
        """Return the () mean cross-entropy of the groups, whose gradient to (N, F) features is reversed; counts the steps."""
        if self.head is None:
            raise RuntimeError("a training by how=adversarial begins with medzoo.tasks.setup.adversary.oppose")
        said = self.head(reversed_gradient(features, self.strength()))
        if self.training:
            self.steps.add_(1)
        counted = weights * _labelled(targets)
        of_rows = F.cross_entropy(said.float(), codes, reduction="none")
        found: Tensor = (counted * of_rows).sum() / counted.sum().clamp(min=1e-12)
        return found


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Any) -> Any:
        values, strength = given
        ctx.save_for_backward(strength)
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (strength,) = ctx.saved_tensors
        return -strength * gradients[0], None


def reversed_gradient(values: Tensor, strength: Tensor) -> Tensor:
    """Return values as they are, whose gradient is minus `strength` () times what comes back (Ganin et al. 2016, section 4.2)."""
    found: Tensor = _Reversal.apply(values, strength)  # type: ignore[no-untyped-call]
    return found


def _labelled(targets: Tensor) -> Tensor:
    """Return (N,) float32 1 for a row with a label, 0 for one without."""
    return (~targets.isnan().all(dim=1)).float()


def _weight(value: float) -> bool:
    return 0 <= value < math.inf


def _steps(value: float) -> bool:
    return 0 <= value < math.inf and value == int(value)


RANGES: Mapping[str, Mapping[str, tuple[float, str, Callable[[float], bool]]]] = {
    "coral": {"weight": (1.0, "a number of at least 0", _weight), "means": (0.0, "a number of at least 0", _weight)},
    "irm": {"weight": (1.0, "a number of at least 0", _weight), "after": (0.0, "a whole number of steps", _steps)},
    "adversarial": {
        "weight": (1.0, "a number of at least 0", _weight),
        "rise": (0.0, "a whole number of steps", _steps),
        "hidden": (100.0, "a whole number of at least 1", lambda v: _steps(v) and v >= 1),
    },
}
"""Penalty → its arguments: default, what it may be in words, and whether it is."""


def group_penalty(described: Mapping[str, Any], middle: tuple[float, ...] | None) -> nn.Module | None:
    """Build a penalty from what an objective says of it (`how`, `counts`, the arguments); None where it weighs nothing.

    Args:
        described: With `how` of `RANGES`.
        middle: Mean of the quantities that the network learns; None: outputs are logits.
    """
    counts, arguments = [int(n) for n in described["counts"]], dict(described["arguments"])
    if not arguments["weight"]:
        return None
    builders: dict[str, Callable[[], nn.Module]] = {
        "coral": lambda: CovarianceAlignment(counts, **arguments),
        "irm": lambda: InvariantRisk(counts, **arguments, middle=middle),
        "adversarial": lambda: GroupAdversary(counts, **arguments),
    }
    return builders[str(described["how"])]()
