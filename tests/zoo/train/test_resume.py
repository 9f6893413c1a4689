"""A killed and resumed training ends with the same bits as one that was never stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from medzoo.cli import main
from medzoo.store.checkpoint import find_checkpoint
from medzoo.store.storage import pointed_folder
from medzoo.train.loop import Trainer

OPTIONS = [
    "data=phantom", "data.size=24", "data.patients=30", "model.backbone=test_resnet",
    "trainer.epochs=3", "trainer.batch_size=8", "trainer.accumulate=2", "trainer.ema=0.99", "trainer.patience=2",
    "trainer.save_every=2", "trainer.trackers=[]", "evaluation.replicates=20", "+model.arguments.drop_rate=0.2",
]  # fmt: skip

KILL_AT_STEP = """
import os, signal, sys
from medzoo.train import loop
step = loop.Trainer._step
def killed(self, *given):
    if self.progress.step == {step}:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, *given)
loop.Trainer._step = killed
from medzoo.cli import main
sys.exit(main(sys.argv[1:]))
"""

KILL_WHILE_SAVING = """
import os, signal, sys
from medzoo.store import storage
write, calls = storage._write_synced, 0
def killed(path, content):
    global calls
    calls += 1
    if calls == {call}:
        path.write_bytes(content[: len(content) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, content)
storage._write_synced = killed
from medzoo.cli import main
sys.exit(main(sys.argv[1:]))
"""


def train(*options: str) -> int:
    return main(["train", *options])


def killed(program: str, *options: str) -> bool:
    """Train in a process of its own, by a program that kills it."""
    done = subprocess.run([sys.executable, "-c", program, "train", *options], capture_output=True, check=False)
    return done.returncode == -signal.SIGKILL


def fingerprint(run: Path) -> dict[str, bytes]:
    state = pointed_folder(run / "state", "latest")
    assert state is not None
    return {
        "best": (find_checkpoint(run, "best") / "model.safetensors").read_bytes(),
        "last": (find_checkpoint(run, "last") / "model.safetensors").read_bytes(),
        "tensors": (state / "tensors.safetensors").read_bytes(),
        "state": (state / "state.json").read_bytes(),
        "history": (run / "history.csv").read_bytes(),
        "predictions": (run / "predictions.parquet").read_bytes(),
    }


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    run = tmp_path_factory.mktemp("whole") / "run"
    assert train(*OPTIONS, f"run={run}", "trainer.workers=2") == 0
    return fingerprint(run)


def test_workers_do_not_change_a_bit(uninterrupted: dict[str, bytes], tmp_path: Path) -> None:
    assert train(*OPTIONS, f"run={tmp_path / 'run'}", "trainer.workers=0") == 0
    assert fingerprint(tmp_path / "run") == uninterrupted


@pytest.mark.parametrize(
    "program",
    [
        # A step in the first epoch, one in the second; a state, a best checkpoint and a pointer cut in half.
        KILL_AT_STEP.format(step=3),
        pytest.param(KILL_AT_STEP.format(step=9), marks=pytest.mark.slow),
        KILL_WHILE_SAVING.format(call=7),
        pytest.param(KILL_WHILE_SAVING.format(call=14), marks=pytest.mark.slow),
        pytest.param(KILL_WHILE_SAVING.format(call=21), marks=pytest.mark.slow),
    ],
)
def test_resume_after_sigkill_is_exact(uninterrupted: dict[str, bytes], tmp_path: Path, program: str) -> None:
    run = tmp_path / "run"
    assert killed(program, *OPTIONS, f"run={run}", "trainer.workers=2")
    assert train(f"resume={run}") == 0
    assert fingerprint(run) == uninterrupted


def test_a_training_that_is_asked_to_stop_saves_where_it_is(
    uninterrupted: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Between two steps at which it would have saved; twice, as batch systems do it."""
    run, step = tmp_path / "run", Trainer._step

    def asked(self: Trainer, *given: Any) -> float:
        if self.progress.step == 3:
            os.kill(os.getpid(), signal.SIGUSR1)
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", asked)
        assert train(*OPTIONS, f"run={run}") == 75
    said = capsys.readouterr().err
    assert "stopped as asked in epoch " in said
    assert f"after step 5, and saved: medzoo train resume={run} goes on" in said
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert train(f"resume={run}") == 0
    assert fingerprint(run) == uninterrupted


def test_the_state_holds_a_mid_epoch_position(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert killed(KILL_AT_STEP.format(step=3), *OPTIONS, f"run={run}")
    state = pointed_folder(run / "state", "latest")
    assert state is not None
    progress = json.loads((state / "state.json").read_text())["progress"]
    assert (progress["epoch"], progress["batch"], progress["step"]) == (0, 4, 2)


def test_settings_that_were_edited_in_between_are_named_unless_no_number_follows_from_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    monkeypatch.chdir(tmp_path)
    assert killed(KILL_AT_STEP.format(step=3), *OPTIONS, "run=run")
    config = (run / "config.yaml").read_text()
    for line, other, named in (
        ("\nseed: 0", "\nseed: 1", "seed is 1 now and was 0"),
        ("  epochs: 3", "  epochs: 5", "trainer.epochs is 5 now and was 3"),
        ("  drop_rate: 0.2", "  drop_rate: 0.3", "model.arguments.drop_rate is 0.3 now and was 0.2"),
        ("  noise: 0.06", "  noise: 0.5", "data.noise is 0.5 now and was 0.06"),
    ):
        assert config.count(line) >= 1, line
        (run / "config.yaml").write_text(config.replace(line, other, 1))
        assert train("resume=run") == 2
        said = capsys.readouterr().err
        assert named in said
        assert "put it back" in said
    changed = config.replace("  replicates: 20", "  replicates: 30").replace("  workers: 0", "  workers: 1")
    assert changed != config
    (run / "config.yaml").write_text(changed)
    moved = run.rename(tmp_path / "moved")
    assert train(f"resume={moved}") == 0
