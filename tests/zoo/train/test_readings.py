from __future__ import annotations

import pytest
import torch

from medzoo.data.errors import TrainingError
from medzoo.train.readings import Readings, Taken


def taken(step: int, loss: float, count: float = 2.0, asked: int = 0) -> Taken:
    return Taken(1, step, [f"s{step}-{n}" for n in range(5)], torch.tensor([loss, count, asked], dtype=torch.float64))


def test_each_step_is_read_once_in_order() -> None:
    readings = Readings()
    assert readings.read("state") == []
    for step in (1, 2):
        readings.add(taken(step, 3.0 * step))
    assert readings.read("state") == [(3.0, 2.0), (6.0, 2.0)]
    assert readings.last == 3.0
    assert readings.read("state") == []
    assert readings.last == 3.0


def test_that_some_process_was_asked_to_stop_stays_known() -> None:
    readings = Readings()
    for step, asked in ((1, 0), (2, 1), (3, 0)):
        readings.add(taken(step, 1.0, asked=asked))
        readings.read("state")
        assert readings.asked == (step >= 2)


def test_a_step_over_nothing_has_no_loss() -> None:
    readings = Readings()
    readings.add(taken(1, 0.0, 0.0))
    assert readings.read("state") == [(0.0, 0.0)]
    assert readings.last == 0.0


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_the_first_loss_that_is_not_finite_is_named(loss: float) -> None:
    readings = Readings()
    for step, value in ((7, 1.0), (8, loss), (9, loss)):
        readings.add(taken(step, value))
    with pytest.raises(
        TrainingError, match=r"epoch 1, step 8 \(samples s8-0, s8-1, s8-2, s8-3, \.\.\.\).* kept in run/state"
    ) as error:
        readings.read("run/state")
    assert "\n" not in str(error.value)
