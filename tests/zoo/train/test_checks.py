"""Numbers of the trainer that are out of range are one line, before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from medzoo.cli import main

TINY = [
    "train", "data=phantom", "data.size=16", "data.patients=12", "model.backbone=test_resnet", "trainer.augment=none",
    "trainer.epochs=1", "evaluate=false", "device=cpu",
]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("trainer.clip=-1", "trainer.clip=-1 is not a positive number, or null for no clipping"),
        ("trainer.clip=0", "trainer.clip=0 is not a positive number"),
        ("trainer.clip=nan", "trainer.clip=nan is not"),
        ("trainer.ema=1.5", "trainer.ema=1.5 is not in [0, 1), or null for no average"),
        ("trainer.ema=nan", "trainer.ema=nan is not"),
        ("trainer.weight_decay=-0.1", "trainer.weight_decay=-0.1 is not a number of at least 0"),
        ("trainer.momentum=2", "trainer.momentum=2 is not in [0, 1)"),
        ("trainer.warmup_epochs=-1", "trainer.warmup_epochs=-1 is not"),
        ("trainer.final_learning_rate=-1", "trainer.final_learning_rate=-1 is not"),
        ("trainer.patience=0", "trainer.patience=0 is not at least 1"),
        ("trainer.save_every=-3", "trainer.save_every=-3 is not at least 0"),
        ("trainer.log_every=0", "trainer.log_every=0 is not at least 1"),
        ("trainer.mixup=inf", "trainer.mixup=inf is not a number of at least 0"),
        ("trainer.cutmix=-1", "trainer.cutmix=-1 is not"),
        ("trainer.schedule=cosin", "unknown schedule 'cosin'"),
        ("trainer.milestones=[50]", "trainer.milestones: 50 is not in 0..1, a share of the training"),
    ],
)
def test_a_number_out_of_range_is_one_line_and_leaves_no_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], asked: str, message: str
) -> None:
    assert main([*TINY, asked, f"run={tmp_path / 'run'}"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_ends_of_the_ranges_are_in_them(tmp_path: Path) -> None:
    ends = ["trainer.ema=0", "trainer.save_every=0", "trainer.patience=1", "trainer.weight_decay=0", "trainer.milestones=[0,1]"]
    assert main([*TINY, *ends, "trainer.momentum=0", "trainer.warmup_epochs=0", f"run={tmp_path / 'run'}"]) == 0
