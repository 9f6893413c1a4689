"""What was trained is said: a training that was stopped, and files of weights that training has replaced since."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from medzoo.cli import main
from medzoo.commands.compared.page import comparison
from medzoo.commands.compared.result import Result
from medzoo.store.checkpoint import WEIGHTS, find_checkpoint
from medzoo.store.directory import RunDirectory
from medzoo.train.state import POINTER, SCALARS, training_left


@pytest.fixture
def stopped(trained_run: Path, tmp_path: Path) -> Path:
    """A run whose process was killed after its first epoch of nine."""
    run = tmp_path / "stopped"
    shutil.copytree(trained_run, run)
    state = run / "state" / (run / "state" / POINTER).read_text().strip() / SCALARS
    scalars = json.loads(state.read_text())
    scalars["progress"] |= {"finished": False, "epoch": 1}
    state.write_text(json.dumps(scalars))
    config = (run / "config.yaml").read_text().splitlines()
    (run / "config.yaml").write_text("\n".join("  epochs: 9" if line.startswith("  epochs:") else line for line in config))
    return run


def test_a_run_that_was_stopped_says_so_wherever_it_is_used(
    stopped: Path, trained_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "training was stopped after epoch 1 of 9"
    assert main(["evaluate", f"run={stopped}", "evaluation.replicates=10", "device=cpu"]) == 0
    assert f"note: {said}" in capsys.readouterr().out
    assert json.loads((stopped / "metrics.json").read_text())["details"]["training"] == said
    assert main(["export", f"run={stopped}", "images=8"]) == 0
    assert f"note: {said}" in capsys.readouterr().out
    assert json.loads((stopped / "model.json").read_text())["training"] == said
    page = comparison([Result.read(stopped)])
    assert said in page
    assert training_left(RunDirectory(trained_run)) == ""


def test_a_run_sent_without_its_state_is_judged_by_its_history(stopped: Path) -> None:
    epochs = len((stopped / "history.csv").read_text().splitlines()) - 1
    shutil.rmtree(stopped / "state")
    assert training_left(RunDirectory(stopped)) == f"training was stopped after epoch {epochs} of 9"
    config = (stopped / "config.yaml").read_text()
    (stopped / "config.yaml").write_text(config.replace("patience: null", "patience: 3"))
    assert training_left(RunDirectory(stopped)) == ""


def test_files_of_other_weights_are_refused_and_named(
    trained_run: Path, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    shutil.copy(exported, run / "model.onnx")
    short = ["engines=[onnxruntime]", "batch_sizes=[1]", "rounds=1", "min_seconds=0.01", "precisions=[fp32]"]
    assert main(["bench", f"run={run}", *short]) == 0
    shutil.copy(run / "model.onnx", run / "model.int8.onnx")
    file = find_checkpoint(run) / WEIGHTS
    weights = load_file(file)
    weights["fc.bias"] += 0.25  # more training
    save_file(weights, file)
    capsys.readouterr()
    assert main(["bench", f"run={run}", *short]) == 2
    assert "model.onnx was made of other weights than checkpoint=best has now" in capsys.readouterr().err
    assert main(["export", f"run={run}", "images=8"]) == 0
    assert "note: model.int8.onnx is of an earlier export, of other weights" in capsys.readouterr().out
    assert main(["bench", f"run={run}", *short]) == 0
