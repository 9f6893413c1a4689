"""A training on the GPU that is killed in mid-epoch goes on: the same samples in the same order, to the same weights.

On a CPU resuming is exact to the last bit (tests/zoo/train/test_resume.py). On a GPU it need not be: sums by atomic additions, of
which `index_add` and some convolutions' gradients are made, round in an order that differs from run to run. Here torch is asked
for its deterministic algorithms, with a warning where it has none, so that a difference is rare and small, and the weights may
differ by `SAME`. What is a function of (seed, epoch, sample) or counted is held exactly.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from medzoo.store.checkpoint import tensors_from_file
from medzoo.store.storage import pointed_folder

SAME = 1e-3
"""Largest ‖difference‖ / ‖weights‖. AdamW divides a gradient by its size: where it is nearly 0, its rounding becomes a step of
1e-3 at most on weights of some 0.05; a state that was lost in part (moments, scaler, average) moves all of them so."""

OPTIONS = [
    "data=phantom", "data.size=24", "data.patients=30", "model.backbone=test_resnet", "trainer.epochs=3",
    "trainer.batch_size=8", "trainer.ema=0.99", "trainer.save_every=5", "evaluate=false",
]  # fmt: skip
DROPOUT = "+model.arguments.drop_rate=0.2"
KILLED_AT = 17
"""A step in the second epoch, after the state that was saved at step 15."""

PROGRAM = """
import json, os, signal, sys
import torch
torch.use_deterministic_algorithms(True, warn_only=True)
torch.backends.cudnn.benchmark = False
from medzoo.data.samples import loader
from medzoo.train import loop
log = open(sys.argv[1], "a")
draw = loader.EpochBatches._batches
def drawn(self, epoch, start):
    for place, keys in enumerate(draw(self, epoch, start), start=start):
        if self.shuffle:
            print(json.dumps([epoch, place, keys]), file=log, flush=True)
        yield keys
loader.EpochBatches._batches = drawn
step = loop.Trainer._step
def killed(self, *given):
    if self.progress.step == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, *given)
loop.Trainer._step = killed
from medzoo.cli import main
sys.exit(main(sys.argv[3:]))
"""


def run_program(log: Path, kill_at: int, *words: str) -> int:
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(log), str(kill_at), "train", *words]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr[-3000:]
    return done.returncode


def order(log: Path) -> dict[tuple[int, int], Any]:
    """Return the samples of each (epoch, batch) that was drawn; whatever was drawn twice was drawn alike."""
    found: dict[tuple[int, int], Any] = {}
    for line in log.read_text().splitlines():
        epoch, batch, keys = json.loads(line)
        assert found.setdefault((epoch, batch), keys) == keys
    return found


def state_of(run: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    folder = pointed_folder(run / "state", "latest")
    assert folder is not None
    return tensors_from_file(folder / "tensors.safetensors"), json.loads((folder / "state.json").read_text())


def distance(found: dict[str, torch.Tensor], reference: dict[str, torch.Tensor], kind: str) -> float:
    """Return ‖found − reference‖ / ‖reference‖ of the tensors whose names hold a word, as one vector."""
    names = [name for name, t in reference.items() if kind in name and t.is_floating_point()]
    assert names
    assert set(found) == set(reference)
    ours, theirs = (torch.cat([tensors[name].double().flatten() for name in names]) for tensors in (found, reference))
    return float((ours - theirs).norm() / theirs.norm())


def counted(state: dict[str, Any]) -> dict[str, Any]:
    """Return what of a state is counted, and no sum of rounded numbers."""
    progress = {name: state["progress"][name] for name in ("epoch", "batch", "step", "finished")}
    rows = [{name: row[name] for name in ("epoch", "step", "learning_rate")} for row in state["progress"]["history"]]
    return {**progress, "rows": rows}


def killed_and_resumed(folder: Path, first: str, then: str, *options: str) -> tuple[Path, dict[str, torch.Tensor]]:
    """Kill a training on one device and go on with it on another; returns the run, and the tensors it went on from."""
    run, log = folder / "run", folder / "log"
    assert run_program(log, KILLED_AT, *OPTIONS, *options, f"device={first}", f"run={run}") == -signal.SIGKILL
    tensors, state = state_of(run)
    assert (state["progress"]["epoch"], state["progress"]["step"]) == (1, 15)
    assert state["progress"]["batch"] > 0
    assert run_program(log, -1, f"resume={run}", f"device={then}") == 0
    return run, tensors


@pytest.fixture(scope="module", params=["no", "bf16", "fp16"])
def uninterrupted(request: pytest.FixtureRequest, card: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("whole")
    words = [*OPTIONS, DROPOUT, f"trainer.precision={request.param}", f"device={card}"]
    assert run_program(folder / "log", -1, *words, f"run={folder / 'run'}") == 0
    return folder, request.param


def test_a_killed_training_goes_on(uninterrupted: tuple[Path, str], card: str, tmp_path: Path) -> None:
    whole, precision = uninterrupted
    run, _ = killed_and_resumed(tmp_path, card, card, DROPOUT, f"trainer.precision={precision}")
    assert order(tmp_path / "log") == order(whole / "log")
    (found, state), (tensors, reference) = state_of(run), state_of(whole / "run")
    assert counted(state) == counted(reference)
    for kind in ("model.", "average."):
        assert distance(found, tensors, kind) < SAME
    for kind in (".exp_avg", ".exp_avg_sq"):  # of gradients, which change more than the weights that they are taken at
        assert distance(found, tensors, kind) < 10 * SAME
    steps = [name for name in tensors if name.startswith("optimizer.") and name.endswith(".step")]
    assert steps
    assert all(found[name] == tensors[name] for name in steps)
    # The scale, and how many steps it has held: a scaler that began anew would count from the kill on.
    assert state["scaler"] == reference["scaler"]
    assert (state["scaler"] is None) == (precision != "fp16")
    ours, theirs = (list(csv.DictReader((path / "history.csv").read_text().splitlines())) for path in (run, whole / "run"))
    for row, other in zip(ours, theirs, strict=True):
        for name in ("train_loss", "val_loss"):
            assert float(row[name]) == pytest.approx(float(other[name]), rel=0.02)


@pytest.mark.parametrize("back", [False, True], ids=["from the card to the CPU", "from the CPU to the card"])
def test_a_training_goes_on_on_another_device(card: str, tmp_path: Path, back: bool) -> None:
    """Without dropout, whose draws are other ones on each device. The sums differ in more digits (TF32), so what is held is the
    way: from where it was killed, both ways lead to the same place, within a quarter of their length."""
    first, then = ("cpu", card) if back else (card, "cpu")
    (tmp_path / "whole").mkdir()
    assert run_program(tmp_path / "whole" / "log", -1, *OPTIONS, f"device={first}", f"run={tmp_path / 'whole' / 'run'}") == 0
    run, start = killed_and_resumed(tmp_path, first, then)
    assert order(tmp_path / "log") == order(tmp_path / "whole" / "log")
    (found, state), (tensors, reference) = state_of(run), state_of(tmp_path / "whole" / "run")
    assert counted(state) == counted(reference)
    for kind in ("model.", "average."):
        way = distance(start, tensors, kind)
        assert way > 0
        assert distance(found, tensors, kind) < way / 4
