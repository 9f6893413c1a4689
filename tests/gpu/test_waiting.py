"""Training on a GPU runs ahead of it: no step asks the device for anything, and what is read later is what happened."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch

from medzoo.cli import main
from medzoo.data.samples.feed import Feed
from medzoo.store.checkpoint import find_checkpoint, tensors_from_file
from medzoo.train.loop import Trainer
from tests.gpu.families import FAMILIES, JOINED, LEARN_BY_STEPS, write_cases

COMMON = ("trainer.epochs=3", "trainer.batch_size=16", "evaluate=false", "device=cuda")
ALONE = {
    name: family for name, family in {**{name: FAMILIES[name] for name in LEARN_BY_STEPS}, **JOINED}.items()
    if family.base is None and family.teacher is None and "BERT" not in family.model
}  # fmt: skip


def train(run: Path, family: str, *options: str) -> list[dict[str, str]]:
    entry = ALONE[family]
    words = [*entry.data, *entry.model]
    if "CASES" in words:
        words[words.index("CASES")] = f"data.file={write_cases(run.parent / 'cases')}"
        words += ["data.image=[one,two,three]", "data.id=case", "data.target=label"]
    assert main(["train", *words, *COMMON, *options, f"run={run}"]) == 0
    with (run / "history.csv").open() as file:
        return list(csv.DictReader(file))


def forbid_waiting(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let any question to the device fail in a step after the first three, which set up cuDNN and the optimizer."""
    watched: list[str] = []

    def guard(kind: Any, name: str) -> None:
        plain = getattr(kind, name)

        def guarded(self: Any, *given: Any) -> Any:
            if steps["taken"] < 3:
                return plain(self, *given)
            watched.append(name)
            torch.cuda.set_sync_debug_mode("error")
            try:
                return plain(self, *given)
            finally:
                torch.cuda.set_sync_debug_mode("default")

        monkeypatch.setattr(kind, name, guarded)

    steps = {"taken": 0}
    step = Trainer._step

    def counted(self: Any, *given: Any) -> float:
        steps["taken"] += 1
        return step(self, *given)

    monkeypatch.setattr(Trainer, "_step", counted)
    guard(Trainer, "_backward")
    guard(Trainer, "_step")
    guard(Feed, "_of_held")
    return watched


@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize("family", ALONE)
def test_no_step_waits_for_the_device(family: str, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = forbid_waiting(monkeypatch)
    options = ["trainer.log_every=1000", f"trainer.precision={precision}", "trainer.metrics=false", "trainer.mixup=0"]
    train(tmp_path / "run", family, *options)
    assert {"_backward", "_step"} <= set(watched)
    if family not in ("views", *JOINED):  # whose images are prepared one by one
        assert "_of_held" in watched


def test_losses_are_the_same_however_seldom_they_are_read(tmp_path: Path) -> None:
    each = train(tmp_path / "each", "cnn", "trainer.log_every=1")
    seldom = train(tmp_path / "seldom", "cnn", "trainer.log_every=1000")
    for one, other in zip(each, seldom, strict=True):
        assert float(one["train_loss"]) == pytest.approx(float(other["train_loss"]), rel=0.02)  # cuDNN adds in any order


def test_a_loss_that_is_not_finite_stops_the_run_and_the_last_state_is_finite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    backward = Trainer._backward

    def spoiled(self: Trainer, batch: Any, last: bool) -> torch.Tensor:
        sums = backward(self, batch, last)
        return sums * float("nan") if self.progress.step == 6 else sums

    monkeypatch.setattr(Trainer, "_backward", spoiled)
    entry = FAMILIES["cnn"]
    run = tmp_path / "run"
    assert main(["train", *entry.data, *entry.model, *COMMON, f"run={run}"]) != 0
    said = capsys.readouterr().err
    assert "the loss is nan" in said
    assert "step 7" in said
    weights = tensors_from_file(next((run / "state").glob("step-*")) / "tensors.safetensors")
    assert all(torch.isfinite(t).all() for t in weights.values() if t.is_floating_point())


def test_batches_without_any_label_change_nothing(tmp_path: Path) -> None:
    entry = FAMILIES["multilabel"]
    options = ["data.missing=0.9", "trainer.batch_size=2", "trainer.monitor=loss", "trainer.epochs=1", "evaluate=false"]
    assert main(["train", *entry.data, *entry.model, *options, "device=cuda", f"run={tmp_path / 'run'}"]) == 0
    weights = tensors_from_file(find_checkpoint(tmp_path / "run", "last") / "model.safetensors")
    assert all(torch.isfinite(t).all() for t in weights.values())


@pytest.mark.parametrize("family", ["cnn", "cnn3d", "clip"])
def test_both_inputs_learn_alike(family: str, tmp_path: Path) -> None:
    loader = train(tmp_path / "loader", family, "trainer.input=loader", "trainer.workers=2")
    device = train(tmp_path / "device", family, "trainer.input=device")
    for one, other in zip(loader, device, strict=True):
        assert float(one["train_loss"]) == pytest.approx(float(other["train_loss"]), rel=0.1)
