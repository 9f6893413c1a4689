"""What `medzoo train` says of the epoch it has chosen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medzoo.cli import main
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


@pytest.mark.parametrize("evaluate", ["true", "false"])
def test_a_training_without_a_best_epoch_ends_in_one_line(
    evaluate: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Images that are all alike have one answer, which no rank correlation is of, though the val split's quantities vary."""
    lines = ["image,patient,split,size"]
    for i in range(12):
        Image.fromarray(np.full((16, 16), 90, np.uint8)).save(tmp_path / f"{i}.png")
        lines.append(f"{i}.png,p{i},{('train', 'val', 'test')[i % 3]},{i}")
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    run = tmp_path / "run"
    words = [
        "train", "data=table", f"data.file={tmp_path / 'rows.csv'}", "data.group=patient", "data.split=split", "data.target=size",
        "data.kind=regression", "model.backbone=test_resnet", "model.preprocess.size=16", "trainer.augment=none",
        "trainer.monitor=spearman", "trainer.epochs=2", "trainer.batch_size=4", "device=cpu", f"evaluate={evaluate}",
    ]  # fmt: skip
    assert main([*words, f"run={run}"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "val spearman was undefined after each of 2 epochs, so that none is the best" in error
    assert f"medzoo evaluate run={run} checkpoint=last reports the last epoch" in error
    assert main(["evaluate", f"run={run}", "checkpoint=last", "device=cpu", "evaluation.replicates=10"]) == 0
