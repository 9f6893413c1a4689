"""What `medzoo train` says of the epoch it has chosen."""

from __future__ import annotations

import pytest

from medzoo.commands.train import FEW_SAMPLES, weak_choice
from medzoo.train.state import Progress


@pytest.mark.parametrize(
    ("values", "samples", "said"),
    [
        ([0.7, 0.9, 0.8], 200, ""),
        ([0.9, 0.9, 0.8, 0.9], 200, "epoch 1 is the first of equals: epochs 2, 4 are as good"),
        ([0.7, 0.9], 2, "the epoch was chosen by 2 validation samples"),
        ([1.0] * 9, FEW_SAMPLES, "epoch 1 is the first of equals: epochs 2, 3, 4, 5, 6 and 3 more are as good"),
        ([1.0, 1.0], 3, "epoch 1 is the first of equals: epochs 2 are as good; the epoch was chosen by 3 validation samples"),
    ],
)
def test_an_epoch_that_little_speaks_for_is_said(values: list[float], samples: int, said: str) -> None:
    history = [{"epoch": number, "val_auroc": value} for number, value in enumerate(values, start=1)]
    progress = Progress(best=max(values), best_epoch=values.index(max(values)) + 1, history=history)
    assert weak_choice(progress, "auroc", samples) == said


def test_a_metric_that_was_never_defined_has_no_equals() -> None:
    history = [{"epoch": 1, "val_auroc": None}, {"epoch": 2, "val_auroc": None}]
    assert weak_choice(Progress(history=history), "auroc", 100) == ""
