"""The training losses, read from the device a window of steps at a time, so that no step waits for the one before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from medzoo.data.errors import TrainingError

NAMED = 4
"""Samples of a step that an error names."""


@dataclass(frozen=True)
class Taken:
    """A step whose loss is not read yet.

    Attributes:
        epoch: 1-based.
        step: 1-based, over all epochs.
        samples: Their identifiers.
        sums: (3,) float64 on the device: the sum of the loss, how much it is over, and how many processes were asked to stop.
    """

    epoch: int
    step: int
    samples: Sequence[str]
    sums: Tensor


@dataclass
class Readings:
    """Steps that are taken, until their losses are read.

    Attributes:
        last: Mean loss of the last step that was read; 0 where nothing was observed.
        asked: Whether some process was asked to stop before a step that was read.
    """

    last: float = 0.0
    asked: bool = False
    _taken: list[Taken] = field(default_factory=list)

    def add(self, taken: Taken) -> None:
        """Remember a step."""
        self._taken.append(taken)

    def read(self, kept: str) -> list[tuple[float, float]]:
        """Wait for the device and return each remembered step's sum of the loss, and how much that is over.

        Args:
            kept: Where the last good state is, for the error.

        Raises:
            TrainingError: If a loss is not finite; names the first such step and its samples.
        """
        if not self._taken:
            return []
        taken, self._taken = self._taken, []
        read = torch.stack([one.sums for one in taken]).tolist()
        self.asked = self.asked or any(asked for *_, asked in read)
        values = [(loss, count) for loss, count, _ in read]
        for one, (loss, _) in zip(taken, values, strict=True):
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the loss is {loss} at epoch {one.epoch}, step {one.step} (samples {', '.join(one.samples[:NAMED])}"
                    f"{', ...' if len(one.samples) > NAMED else ''}); the last good state is kept in {kept}: lower "
                    "trainer.learning_rate, set trainer.clip, or use trainer.precision=no"
                )
        loss, count = values[-1]
        self.last = loss / count if count else 0.0
        return values
