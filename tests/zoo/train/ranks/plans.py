"""Trainings that several processes are to do as one does: the options that they share, and how they are held against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.zoo.train.ranks.forked import run_together
from tests.zoo.train.runs import assert_same

# 27 samples, 5 a batch: three processes have 2, 2 and 1 of each, and of the last batch 1, 1 and one that only stands in.
OPTIONS = [
    "train", "data=phantom", "data.size=24", "data.patients=9", "device=cpu", "trainer.epochs=1", "trainer.batch_size=5",
    "trainer.optimizer=sgd", "trainer.learning_rate=0.01", "trainer.warmup_epochs=0", "trainer.trackers=[]", "evaluate=false",
]  # fmt: skip
RESNET = ["model.backbone=test_resnet", "model.preprocess.size=32"]
VIT = ["model=vit", "model.backbone=test_vit", "model.preprocess.size=32"]


def assert_trained_alike(
    families: Mapping[str, Sequence[str]],
    options: Sequence[str],
    folder: Path,
    *,
    processes: int = 3,
    double: bool = False,
    together: Sequence[str] = (),
) -> None:
    """Train each family alone and in so many processes, with further words `together`, and hold the runs against each other.

    They are in `folder`, `<family>/1` and `<family>/<processes>`.
    """
    plan = [
        (n, [*options, *words, *(together if n > 1 else ()), f"run={folder / name / str(n)}"])
        for name, words in families.items()
        for n in (1, processes)
    ]
    done = run_together(*plan, double=double)
    assert done.returncode == 0, done.stderr[-3000:]
    for name in families:
        assert_same(folder / name / "1", folder / name / str(processes))
