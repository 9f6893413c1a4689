"""Losses that a linear layer minimises at once: the same sums as weighted logistic and least-squares problems."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medzoo.data.labels import LabelSpace
from medzoo.losses.objective import Objective

SOLVED = ("cross_entropy", "corn", "binary_cross_entropy", "squared_error")
"""Names of these losses."""


@dataclass(frozen=True)
class Convex:
    """Σ loss of a linear layer's outputs, in the form that `medzoo.models.heads.linear_layer.fit_linear` takes.

    Attributes:
        kind: The label kind whose plain loss it is: softmax or sigmoid cross-entropy, or half the squared error.
        targets: (N, J) one column an output of the layer; NaN is missing.
        weights: (N, J) how much each entry counts, or None: all alike.
    """

    kind: str
    targets: Tensor
    weights: Tensor | None = None


def as_convex(objective: Objective, labels: LabelSpace, targets: Tensor, samples: Tensor | None = None) -> Convex:
    """Return an objective, its loss one of `SOLVED`, on (N, K) targets, NaN where missing, as such a problem.

    `samples` (N,) is how much each sample counts; None: all alike.
    """
    plain = _plain(objective, labels, targets)
    if samples is None:
        return plain
    counts = samples.to(plain.targets)[:, None]
    if labels.exclusive and plain.kind == "multiclass":  # whose targets are masses
        return Convex(plain.kind, plain.targets * counts, plain.weights)
    weights = torch.ones_like(plain.targets) if plain.weights is None else plain.weights
    return Convex(plain.kind, plain.targets, weights * counts)


def _plain(objective: Objective, labels: LabelSpace, targets: Tensor) -> Convex:
    """Return the problem of samples that count alike.

    What `medzoo.losses.masked` means by its arguments holds: a class's weight counts its samples as often, smoothing moves the
    targets, and CORN's K − 1 outputs are logistic problems, each over the samples that reach its grade.
    """
    smoothing = objective.label_smoothing
    if objective.loss == "cross_entropy":
        smooth = targets * (1 - smoothing) + smoothing / labels.width
        return Convex("multiclass", smooth * _classes(objective, targets))
    if objective.loss == "corn":
        mass = torch.where(targets.isnan().any(dim=1, keepdim=True), torch.nan, targets * _classes(objective, targets))
        reached = mass.flip(1).cumsum(1).flip(1)  # of grade j or above
        weights = reached[:, :-1]
        passed = torch.where(weights > 0, reached[:, 1:] / weights, torch.nan)
        return Convex("multilabel", passed, weights.nan_to_num(0.0))
    if objective.loss == "binary_cross_entropy":
        smooth = targets * (1 - smoothing) + smoothing / 2
        if objective.positive_weights is None:
            return Convex("multilabel", smooth)
        positive = smooth * torch.tensor(objective.positive_weights, dtype=targets.dtype)
        weights = positive + 1 - smooth
        return Convex("multilabel", positive / weights, weights.nan_to_num(0.0))
    assert objective.loss == "squared_error"
    mean, std = (torch.tensor(values, dtype=targets.dtype) for values in (objective.mean or (0.0,), objective.std or (1.0,)))
    return Convex("regression", (targets - mean) / std)


def _classes(objective: Objective, targets: Tensor) -> Tensor:
    given = objective.class_weights
    return torch.ones(targets.shape[1], dtype=targets.dtype) if given is None else torch.tensor(given, dtype=targets.dtype)
