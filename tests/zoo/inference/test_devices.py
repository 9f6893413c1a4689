"""Where things run: each command on the device it asks for, and one line where its memory does not do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from medzoo.cli import main
from medzoo.inference.devices import make_accelerator
from medzoo.train.loop import Trainer

TINY = [
    "data=phantom", "data.size=24", "data.patients=12", "model.backbone=test_resnet", "trainer.epochs=1",
    "trainer.batch_size=16", "evaluation.replicates=5",
]  # fmt: skip


def test_a_device_is_not_that_of_an_earlier_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """accelerate remembers the first one of a process; its own variable stands for a device that this machine lacks."""
    monkeypatch.setenv("ACCELERATE_TORCH_DEVICE", "meta")
    assert make_accelerator("auto").device.type == "meta"
    monkeypatch.delenv("ACCELERATE_TORCH_DEVICE")
    assert make_accelerator("cpu").device.type == "cpu"


def full(*_: object, **__: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nGPU 0 has a total capacity of ...")


def said(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("medzoo: the GPU has too little memory for ")
    assert error.count("\n") == 1
    return error


def test_too_little_memory_is_one_line_with_the_batch_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "fit", full)
        error = said(["train", *TINY, f"run={tmp_path / 'large'}"], capsys)
        assert "trainer.batch_size=16" in error
        assert "trainer.accumulate" in error
    with monkeypatch.context() as patched:
        patched.setattr("medzoo.commands.train.predict_run", full)
        error = said(["train", *TINY, f"run={run}"], capsys)
        assert f"medzoo evaluate run={run}" in error
    with monkeypatch.context() as patched:
        patched.setattr("medzoo.commands.evaluate.predict_run", full)
        assert "evaluation.batch_size=32: " in said(["evaluate", f"run={run}", "evaluation.batch_size=32"], capsys)
    assert main(["evaluate", f"run={run}", "evaluation.batch_size=8", "evaluation.replicates=5"]) == 0
