"""The loss of a classifier that learns from more than its labels. No checkpoint holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from medzoo.data.labels import LabelSpace
from medzoo.losses import domains
from medzoo.losses.gathered import gathered, processes
from medzoo.losses.groups import group_loss
from medzoo.losses.masked import Loss
from medzoo.losses.objective import Objective
from medzoo.tasks.guide.groups import GROUP, WEIGHT
from medzoo.tasks.guide.teaching import Teaching, distilled, filled, matched, mean_of
from medzoo.tasks.task import STANDS_IN, Batch


class Guide(nn.Module):
    """The loss of a classifier that learns from more than its labels.

    Args:
        labels: What outputs mean.
        objective: The classifier's, with `groups` where they are weighed.
        teaching: A teacher and how much is learnt from it; None: there is none.
        projection: From the student's pooled features to the teacher's, where these are matched.

    Attributes:
        groups: The group loss, or None.
        penalty: What is added so that groups tell nothing, or None.
        projection: Learnt beside the network.
    """

    def __init__(
        self, labels: LabelSpace, objective: Objective, teaching: Teaching | None = None, projection: nn.Linear | None = None
    ) -> None:
        super().__init__()
        self.labels, self.objective, self.teaching = labels, objective, teaching
        described = objective.groups
        added = described is not None and described["how"] in domains.RANGES
        self.groups: Any = None if described is None or added else group_loss(described)
        self.penalty: Any = domains.group_penalty(described, objective.mean) if described is not None and added else None
        self.projection: Any = projection

    @property
    def wants_features(self) -> bool:
        """Whether the student's pooled features are looked at."""
        return self.projection is not None or (self.penalty is not None and self.penalty.wants_features)

    def forward(self, loss: Loss, outputs: Tensor, features: Tensor | None, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the loss, and how much it is over.

        Without a teacher that is what the labels' loss is over. With one it is the samples, each of which the teacher has an
        answer to, as often as it counts: the labels' part is then their share of them, so that batches add up.

        Args:
            loss: Of the labels.
            outputs: (N, K), in the labels' units.
            features: (N, F) pooled features, where they are wanted.
            batch: With `target`, and `group_code` and `weight` where samples have them.
        """
        targets, told = batch["target"], None
        if self.teaching is not None:
            teacher = self.teaching.held.on(outputs.device)
            told = teacher.predict(batch)
            if self.teaching.threshold is not None:
                targets = filled(targets, told["probabilities"], self.labels, self.teaching.threshold)
        mean, count = self._of_labels(loss, outputs, targets, batch)
        added = None if self.penalty is None else self._held_alike(loss, outputs, features, batch)
        if self.teaching is None or told is None:
            return mean if added is None else mean + added, count
        weights = batch.get(WEIGHT)
        rows = torch.full((), float(len(outputs)), device=outputs.device) if weights is None else weights.sum()
        entries = self.objective.entries(self.labels)
        weight = self.teaching.weight
        total = (1 - weight) * mean * count / (rows * entries)
        if weight:
            total = total + weight * self._distance(outputs, told["logits"], weights)
        if self.projection is not None and features is not None:
            aims = self.teaching.held.on(outputs.device).features(batch)
            total = total + self.teaching.features * matched(self.projection(features), aims, weights)
        return total if added is None else total + added, rows

    def _held_alike(self, loss: Loss, outputs: Tensor, features: Tensor | None, batch: Batch) -> Tensor:
        """Return the penalty on groups: of the batch's own labels, whatever a teacher answers in place of missing ones.

        Of the whole batch on each process: times what their losses are over, their shares add up to it once.
        """
        weights = batch.get(WEIGHT, torch.ones_like(outputs[:, 0]))
        parts = [outputs, batch["target"], batch[GROUP], weights]
        if features is not None:
            parts.append(features)
        outputs, targets, codes, weights, *seen = _of_all(parts, batch)
        found: Tensor = self.penalty(loss, outputs, seen[0] if seen else None, targets, codes, weights)
        return found

    def _of_labels(self, loss: Loss, outputs: Tensor, targets: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        weights = batch.get(WEIGHT)
        if self.groups is not None:
            weights = torch.ones_like(outputs[:, 0]) if weights is None else weights
            parts = outputs, targets, batch[GROUP], weights
            if processes() == 1 or self.groups.adds_up:
                found: tuple[Tensor, Tensor] = self.groups(loss, *parts)
                return found
            whole = _of_all(parts, batch)
            mean, count = self.groups(loss, *whole)
            # Of the whole batch; this process's share of what it is over, so that the shares add up.
            return mean, count * _own(outputs, batch) / len(whole[0])
        return loss(outputs, targets) if weights is None else loss(outputs, targets, sample_weights=weights)  # type: ignore[call-arg]

    def _distance(self, outputs: Tensor, aims: Tensor, weights: Tensor | None) -> Tensor:
        assert self.teaching is not None
        if self.labels.kind == "regression":
            spread = outputs.new_tensor(self.objective.std or [1.0])
            return mean_of(((outputs - aims) / spread) ** 2, weights)
        return distilled(outputs, aims, self.labels, self.teaching.temperature, weights)


def _own(outputs: Tensor, batch: Batch) -> int:
    """Return how many rows of a batch count: none of one that stands in for another process's."""
    return 0 if STANDS_IN in batch else len(outputs)


def _of_all(parts: Sequence[Tensor], batch: Batch) -> list[Tensor]:
    """Return tensors of a batch with the rows of all processes that count, with gradients to each one's own."""
    own = _own(parts[0], batch)
    return gathered([part[:own] for part in parts])


def guide_of(labels: LabelSpace, described: Mapping[str, Any]) -> Guide | None:
    """Return the guide that an objective alone makes, without a teacher; None where it learns by no groups."""
    objective = Objective.from_dict(described)
    return None if objective.groups is None else Guide(labels, objective)
