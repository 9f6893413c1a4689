"""Metrics of the training batches: right where torchmetrics alone is not, alike on one process and two, and of no effect."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from medzoo.cli import main
from medzoo.data.labels import LabelSpace
from medzoo.evaluation.metrics import all_metrics, macro_mean, scored
from medzoo.store.checkpoint import find_checkpoint
from medzoo.train.live import LARGEST, LiveMetrics, exclusive_log_odds, squeezed

TINY = [
    "data=phantom", "data.size=16", "data.patients=24", "model=vit", "model.backbone=test_vit", "model.preprocess.size=32",
    "trainer.trackers=[]", "trainer.epochs=2", "trainer.batch_size=16", "evaluate=false", "device=cpu",
]  # fmt: skip
KILL_AT_STEP_5 = """
import os, signal, sys
from medzoo.train import loop
step = loop.Trainer._step
def killed(self, *given):
    if self.progress.step == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, *given)
loop.Trainer._step = killed
from medzoo.cli import main
sys.exit(main(sys.argv[1:]))
"""


def live(labels: LabelSpace, targets: np.ndarray, logits: np.ndarray, batch: int = 50) -> LiveMetrics:
    metrics = LiveMetrics(labels, Accelerator(cpu=True))
    for start in range(0, len(targets), batch):
        rows = slice(start, start + batch)
        metrics.update({"logits": torch.from_numpy(logits[rows])}, torch.from_numpy(targets[rows]))
    return metrics


def history(run: Path) -> list[dict[str, str]]:
    with (run / "history.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("scale", [1, 30, 300])
@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_equals_our_own_over_the_epoch_with_an_absent_class_and_gaps(kind: str, scale: float) -> None:
    """At a scale of 300 nearly all probabilities are 0 or 1 in float64."""
    rng = np.random.default_rng(0)
    labels = LabelSpace(kind, ("a", "b", "c", "d"))  # type: ignore[arg-type]
    if kind == "multiclass":
        targets = labels.one_hot(rng.integers(3, size=400))  # never d
        targets[20:80] = np.nan
    else:
        targets = (rng.random((400, 4)) < 0.4).astype(np.float32)
        targets[:, 3] = 0
        targets[rng.random(targets.shape) < 0.3] = np.nan
    logits = (scale * (np.nan_to_num(targets) + rng.normal(size=targets.shape))).astype(np.float32)
    found = live(labels, targets, logits).compute()
    classes, overall = all_metrics(scored(labels, targets, logits), np.ones((1, 400)))
    accuracy = overall["accuracy"][0] if kind == "multiclass" else macro_mean(classes["accuracy"][0])
    assert found["train_accuracy"] == pytest.approx(accuracy, abs=1e-6)
    assert found["train_auroc"] == pytest.approx(macro_mean(classes["auroc"][0]), abs=2e-3)


def test_saturated_logits_are_told_apart() -> None:
    labels = LabelSpace("multilabel", ("a",))
    logits = np.array([[40.0], [45.0], [60.0], [75.0]], np.float32)  # a sigmoid of all is 1 in float64
    assert live(labels, np.array([[0.0], [0], [1], [1]], np.float32), logits).compute()["train_auroc"] == 1.0
    two = LabelSpace("multiclass", ("no", "yes"))
    both = np.concatenate([np.zeros_like(logits), logits], axis=1)
    assert live(two, two.one_hot([0, 0, 1, 1]), both).compute()["train_auroc"] == 1.0


def test_log_odds_of_classes_equal_those_of_the_report() -> None:
    rng = np.random.default_rng(0)
    for scale in (1, 50, 2000):
        logits = (scale * rng.normal(size=(50, 5))).astype(np.float32)
        labels = LabelSpace("multiclass", tuple("abcde"))
        exact = scored(labels, labels.one_hot(np.zeros(50)), logits).scores
        assert exclusive_log_odds(torch.from_numpy(logits).double()).numpy() == pytest.approx(exact, rel=1e-9, abs=1e-9)


def test_squeezing_keeps_the_order_and_the_half() -> None:
    odds = torch.tensor([-2 * LARGEST, -LARGEST / 2, -40, -1, 0, 1e-9, 40, 41, LARGEST / 2], dtype=torch.float64)
    values = squeezed(odds)
    assert (values.diff() > 0).all()
    assert values[4] == 0.5
    assert values[0] == 0
    assert values[-1] < 1


def test_quantities_have_their_mean_error_each_in_its_unit() -> None:
    rng = np.random.default_rng(0)
    targets, said = rng.random((60, 2)).astype(np.float32), rng.random((60, 2)).astype(np.float32)
    targets[:10, 0] = np.nan
    errors = np.nanmean(np.abs(targets.astype(np.float64) - said), axis=0)
    found = live(LabelSpace("regression", ("size", "age")), targets, said, batch=7).compute()
    assert found == {"train_mae_size": pytest.approx(errors[0]), "train_mae_age": pytest.approx(errors[1])}
    same = LabelSpace("regression", ("left", "right"), ("mm", "mm"))
    assert live(same, targets, said).compute() == {"train_mae": pytest.approx(errors.mean())}


def test_mixed_targets_count_by_their_largest_class() -> None:
    labels = LabelSpace("multiclass", ("a", "b"))
    targets = np.array([[0.7, 0.3], [0.5, 0.5], [0.2, 0.8], [np.nan, np.nan]], np.float32)
    logits = np.array([[1.0, 0], [1, 0], [1, 0], [1, 0]], np.float32)
    assert live(labels, targets, logits).compute()["train_accuracy"] == 0.5


def test_an_epoch_without_a_label_is_undefined_and_the_next_begins_anew() -> None:
    labels = LabelSpace("multiclass", ("a", "b"))
    metrics = live(labels, np.full((4, 2), np.nan, np.float32), np.zeros((4, 2), np.float32))
    assert metrics.compute() == {"train_accuracy": None, "train_auroc": None}
    metrics.update({"logits": torch.tensor([[1.0, 0], [1, 0]])}, torch.tensor([[1.0, 0], [1, 0]]))
    assert metrics.compute() == {"train_accuracy": 1.0, "train_auroc": None}
    metrics.update({"logits": torch.tensor([[1.0, 0], [1, 0]])}, torch.tensor([[0.0, 1], [0, 1]]))
    assert metrics.compute() == {"train_accuracy": 0.0, "train_auroc": None}


@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "regression"])
def test_memory_does_not_grow_and_sums_go_on_where_they_were(kind: Any) -> None:
    rng = np.random.default_rng(0)
    labels = LabelSpace(kind, ("a", "b"))
    targets = labels.one_hot(rng.integers(2, size=300)) if kind == "multiclass" else np.round(rng.random((300, 2)))
    targets, logits = targets.astype(np.float32), rng.normal(size=(300, 2)).astype(np.float32)
    first, all_of_it = live(labels, targets[:100], logits[:100]), live(labels, targets, logits)
    size = {name: value.numel() for name, value in first.state().items()}
    assert {name: value.numel() for name, value in all_of_it.state().items()} == size
    resumed = LiveMetrics(labels, Accelerator(cpu=True))
    resumed.restore(first.state())
    for start in range(100, 300, 50):
        rows = slice(start, start + 50)
        resumed.update({"logits": torch.from_numpy(logits[rows])}, torch.from_numpy(targets[rows]))
    assert resumed.compute() == all_of_it.compute()


def test_weights_are_the_same_with_and_without(tmp_path: Path) -> None:
    for name, more in (("off", []), ("on", ["trainer.metrics=true"])):
        assert main(["train", *TINY, *more, "trainer.mixup=0.2", f"run={tmp_path / name}"]) == 0
    weights = [(find_checkpoint(tmp_path / name, "last") / "model.safetensors").read_bytes() for name in ("off", "on")]
    assert weights[0] == weights[1]
    off, on = history(tmp_path / "off"), history(tmp_path / "on")
    assert set(on[0]) - set(off[0]) == {"train_accuracy", "train_auroc"}
    for before, after in zip(off, on, strict=True):
        assert before == {name: after[name] for name in before}
        assert 0 <= float(after["train_accuracy"]) <= 1


def test_trackers_hear_of_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = [option for option in TINY if not option.startswith("trainer.trackers")]
    options += ["trainer.trackers=[tensorboard]", "trainer.metrics=true", "trainer.epochs=1"]
    assert main(["train", *options, f"run={run}"]) == 0
    written = b"".join(path.read_bytes() for path in (run / "tensorboard").rglob("*tfevents*"))
    assert b"train_auroc" in written
    assert b"train_accuracy" in written


@pytest.mark.slow
def test_two_processes_equal_one_and_a_killed_one_goes_on(tmp_path: Path) -> None:
    options = [*TINY, "trainer.metrics=true", "trainer.optimizer=sgd", "trainer.augment=none", "data.missing=0.3"]
    options += ["data.labels=multilabel", "trainer.save_every=2", "trainer.batch_size=8", "trainer.monitor=loss"]
    assert main(["train", *options, f"run={tmp_path / 'alone'}"]) == 0
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "medzoo", "train"]
    done = subprocess.run([*launch, *options, f"run={tmp_path / 'two'}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    alone, two = history(tmp_path / "alone"), history(tmp_path / "two")
    for one, both in zip(alone, two, strict=True):
        assert float(both["train_accuracy"]) == pytest.approx(float(one["train_accuracy"]), abs=1e-5)
        assert float(both["train_auroc"]) == pytest.approx(float(one["train_auroc"]), abs=5e-3)
    killed = tmp_path / "killed"
    command = [sys.executable, "-c", KILL_AT_STEP_5, "train", *options, f"run={killed}"]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0
    assert main(["train", f"resume={killed}"]) == 0
    assert (killed / "history.csv").read_bytes() == (tmp_path / "alone" / "history.csv").read_bytes()


def test_a_model_that_gives_no_answers_while_it_learns_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["train", "data=phantom", "data.size=32", "data.patients=24", "model=cbm", "model.backbone=test_resnet"]
    words += ["model.bottleneck.regime=sequential", "trainer.metrics=true", "trainer.trackers=[]", f"run={tmp_path / 'run'}"]
    assert main(words) == 2
    assert "gives none while it learns" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
