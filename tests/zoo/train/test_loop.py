"""What one training step does with missing labels, accumulation and averages."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from medzoo.cli import main
from medzoo.store.checkpoint import find_checkpoint, tensors_from_file
from medzoo.store.directory import RunDirectory
from medzoo.train.loop import Trainer
from medzoo.train.optim import learning_rate

TINY = [
    "data=phantom", "data.size=16", "data.patients=24", "data.labels=multilabel", "model=vit", "model.backbone=test_vit",
    "model.preprocess.size=32", "trainer.trackers=[]", "trainer.epochs=1", "trainer.augment=none", "evaluate=false",
    "trainer.monitor=loss",
]  # fmt: skip


def trained(run: Path, *options: str) -> dict[str, torch.Tensor]:
    assert main(["train", *TINY, *options, f"run={run}"]) == 0
    return tensors_from_file(find_checkpoint(run, "last") / "model.safetensors")


def test_accumulation_equals_the_larger_batch_even_with_missing_labels(tmp_path: Path) -> None:
    same = ["trainer.optimizer=sgd", "trainer.learning_rate=0.1", "data.missing=0.5"]
    whole = trained(tmp_path / "a", *same, "trainer.batch_size=16")
    parts = trained(tmp_path / "b", *same, "trainer.batch_size=4", "trainer.accumulate=4")
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[name], tensor, rtol=1e-3, atol=1e-5)


def test_two_processes_equal_one(tmp_path: Path) -> None:
    options = ["trainer.optimizer=sgd", "trainer.learning_rate=0.1", "trainer.batch_size=16", "data.missing=0.5", "device=cpu"]
    alone = trained(tmp_path / "a", *options)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "medzoo", "train"]
    report = ["evaluate=true", "evaluation.replicates=10"]
    words = [*launch, *TINY, *options, *report, f"run={tmp_path / 'b'}"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "b" / "metrics.json").is_file()
    together = tensors_from_file(find_checkpoint(tmp_path / "b", "last") / "model.safetensors")
    for name, tensor in alone.items():
        torch.testing.assert_close(together[name], tensor, rtol=1e-3, atol=1e-5)


def test_batches_without_any_label_are_survived(tmp_path: Path) -> None:
    weights = trained(tmp_path / "run", "data.missing=0.9", "trainer.batch_size=2")
    assert all(torch.isfinite(t).all() for t in weights.values())


def test_the_same_seed_gives_the_same_bits_and_another_does_not(tmp_path: Path) -> None:
    first, again = trained(tmp_path / "a"), trained(tmp_path / "b")
    other = trained(tmp_path / "c", "seed=1")
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_early_stopping_ends_a_run_that_does_not_get_better(tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ["trainer.epochs=9", "trainer.patience=2", "trainer.optimizer=sgd", "trainer.learning_rate=1e-12"]
    trained(run, *options, "trainer.schedule=constant", "trainer.weight_decay=0")
    rows = RunDirectory(run).history.read_text().splitlines()
    assert len(rows) < 10


def test_learning_rates_by_hand() -> None:
    def rate(step: int, schedule: str = "cosine") -> float:
        return learning_rate(step, steps=10, warmup=2, peak=1.0, schedule=schedule, milestones=[0.5, 0.75])

    assert rate(0) == pytest.approx(1 / 3)
    assert rate(2) == 1.0
    assert rate(6) == pytest.approx(0.5)
    assert rate(10) == pytest.approx(0.0)
    assert [rate(s, "step") for s in (4, 5, 8)] == pytest.approx([1.0, 0.1, 0.01])
    assert rate(9, "constant") == 1.0


def test_a_tracker_that_does_not_start_is_one_line_and_training_can_be_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"

    def no_login(*_: object, **__: object) -> None:
        raise RuntimeError("no API key\nlog in first")

    with monkeypatch.context() as patched:
        patched.setattr(Accelerator, "init_trackers", no_login)
        assert main(["train", *TINY, "trainer.epochs=1", "trainer.trackers=[tensorboard]", f"run={run}"]) == 2
    error = capsys.readouterr().err
    assert "trainer.trackers=['tensorboard'] cannot start (no API key log in first)" in error
    assert error.count("\n") == 1
    assert main(["train", f"resume={run}"]) == 0
    assert list((run / "tensorboard").glob("*"))
    assert find_checkpoint(run, "last")


COMPILED = {
    "cnn": ["model.backbone=test_resnet"],
    "joint bottleneck": ["model=cbm", "model.backbone=test_resnet"],
    "image and text": ["model=clip", "model.captions=labels"],
}


@pytest.mark.parametrize("family", COMPILED)
def test_what_is_compiled_is_what_training_calls(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the compiler makes of it: each training step goes through what it was given."""
    calls: list[str] = []

    def compiled(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        def run(*given: Any, **named: Any) -> Any:
            calls.append(function.__self__.__class__.__name__)  # type: ignore[attr-defined]
            return function(*given, **named)

        return run

    monkeypatch.setattr(torch, "compile", compiled)
    small = ["data=phantom", "data.size=24", "data.patients=16", "trainer.epochs=1", "trainer.batch_size=16", "evaluate=false"]
    run = tmp_path / "run"
    assert main(["train", *small, *COMPILED[family], "trainer.compile=true", f"run={run}"]) == 0
    assert len(calls) >= 2
    if family == "image and text":
        assert len(set(calls)) == 2, "both towers"
    kept = tensors_from_file(find_checkpoint(run, "last") / "model.safetensors")
    assert not [name for name in kept if "_orig_mod" in name]


def test_a_mixture_of_missing_labels_is_not_taken_for_a_known_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only the device knows that nothing was learnt, a step would divide by nothing: it must be asked then."""
    sure: list[tuple[bool, float]] = []
    step = Trainer._step

    def watched(self: Trainer, sums: torch.Tensor, group: list[str], learns: bool) -> float:
        sure.append((learns, float(sums[1])))
        return step(self, sums, group, learns)

    monkeypatch.setattr(Trainer, "_step", watched)
    trained(tmp_path / "run", "data.missing=0.9", "trainer.batch_size=4", "trainer.mixup=0.4")
    assert not [count for learns, count in sure if learns and count == 0]
    assert [count for learns, count in sure if count == 0], "some mixtures know nothing"
