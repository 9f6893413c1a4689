"""Learning from a trained task: its answers softened, its features projected, its sure answers in place of missing labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from medzoo.data.labels import LabelSpace
from medzoo.tasks.task import Task


class Held:
    """A trained task that leads and is not part of what is trained: neither moved, averaged nor saved with it."""

    def __init__(self, task: Task) -> None:
        self.task = task.eval().requires_grad_(False)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def on(self, device: torch.device) -> Task:
        """Return the task on a device."""
        if next(self.task.parameters()).device != device:
            self.task.to(device)
        return self.task


@dataclass(frozen=True)
class Teaching:
    """How much is learnt from a teacher; see `medzoo.settings.schema.DistillConfig`."""

    held: Held
    weight: float
    temperature: float
    features: float
    threshold: float | None


def distilled(outputs: Tensor, aims: Tensor, labels: LabelSpace, temperature: float, weights: Tensor | None = None) -> Tensor:
    """Return T² · KL(teacher ‖ student) of probabilities at a temperature (Hinton et al. 2015), a sample; a finding for findings.

    Args:
        outputs: (N, K) logits that learn.
        aims: (N, K) the teacher's.
        labels: Exclusive classes, or findings.
        temperature: T.
        weights: (N,) how much each sample counts; None: all alike.
    """
    ours, theirs = outputs / temperature, aims / temperature
    if labels.exclusive:
        known = theirs.log_softmax(dim=1)
        return temperature**2 * mean_of((known.exp() * (known - ours.log_softmax(dim=1))).sum(dim=1), weights)
    share = theirs.sigmoid()
    apart = share * (F.logsigmoid(theirs) - F.logsigmoid(ours)) + (1 - share) * (F.logsigmoid(-theirs) - F.logsigmoid(-ours))
    return temperature**2 * mean_of(apart, weights)


def matched(features: Tensor, aims: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean squared distance of (N, F) features from a teacher's, each image's brought to mean 0 and spread 1."""
    ours, theirs = features.float(), F.layer_norm(aims.float(), aims.shape[1:])
    return F.mse_loss(ours, theirs) if weights is None else mean_of((ours - theirs) ** 2, weights)


def mean_of(values: Tensor, weights: Tensor | None) -> Tensor:
    """Return the mean of (N, ...) values of samples, of which each counts as much as (N,) `weights` say; None: all alike."""
    if weights is None:
        return values.mean()
    return (weights * values.reshape(len(values), -1).mean(dim=1)).sum() / weights.sum()


def filled(targets: Tensor, probabilities: Tensor, labels: LabelSpace, threshold: float) -> Tensor:
    """Return (N, K) targets with a teacher's answer where there is none and it is sure enough (Lee 2013, pseudo-labels)."""
    missing = targets.isnan()
    if labels.exclusive:
        unlabelled = missing.any(dim=1, keepdim=True)
        sure = unlabelled & (probabilities.amax(dim=1, keepdim=True) >= threshold)
        answer = F.one_hot(probabilities.argmax(dim=1), labels.width).to(targets.dtype)
        return torch.where(sure, answer, targets)
    yes, no = probabilities >= threshold, probabilities <= 1 - threshold
    return torch.where(missing & (yes | no), yes.to(targets.dtype), targets)
