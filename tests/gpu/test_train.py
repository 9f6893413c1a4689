"""`medzoo train` on the GPU: every family, in every precision it can learn in; then its report and its proven file."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest
import torch

from medzoo.cli import main
from medzoo.store.checkpoint import WEIGHTS, find_checkpoint, tensors_from_file
from medzoo.store.storage import pointed_folder
from tests.gpu.families import FAMILIES, LEARN_BY_STEPS, PHANTOM, PRECISIONS, Trained

CASES = [(name, precision) for name in FAMILIES for precision in (PRECISIONS if name in LEARN_BY_STEPS else ("no",))]


@pytest.mark.parametrize(("family", "precision"), CASES)
def test_every_family_trains_on_the_card(trained: Trained, family: str, precision: str) -> None:
    run = trained(family, precision)
    weights = find_checkpoint(run) / WEIGHTS
    # The network itself must have been there: its weights, and more for what it computed.
    assert json.loads((run / "facts.json").read_text())["bytes"] > weights.stat().st_size
    tensors = tensors_from_file(weights)
    assert {t.dtype for t in tensors.values() if t.is_floating_point()} == {torch.float32}  # mixed precision keeps them whole
    assert all(t[~t.isnan()].isfinite().all() for t in tensors.values() if t.is_floating_point())  # NaN: a target not known
    report = json.loads((run / "metrics.json").read_text())
    assert set(report["splits"]) == {"val", "test"}
    if family in LEARN_BY_STEPS:
        check_history(run, epochs=next(int(word.partition("=")[2]) for word in FAMILIES[family].steps if "epochs" in word))
        state = pointed_folder(run / "state", "latest")
        assert state is not None
        scaler = json.loads((state / "state.json").read_text())["scaler"]
        assert (scaler is not None) == (precision == "fp16")
        assert scaler is None or scaler["scale"] > 0


def check_history(run: Path, epochs: int) -> None:
    rows = list(csv.DictReader((run / "history.csv").read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == list(range(1, epochs + 1))
    values = {name: [float(row[name]) for row in rows if row[name]] for name in rows[0]}
    assert all(math.isfinite(value) for column in values.values() for value in column)
    for name in ("train_loss", "val_loss"):
        assert len(values[name]) == epochs


@pytest.mark.parametrize("family", FAMILIES)
def test_what_was_trained_on_the_card_is_exported_and_proven(trained: Trained, family: str) -> None:
    run = trained(family)
    if FAMILIES[family].towers:
        parts = json.loads((run / "export.json").read_text())
        assert set(parts) == {"image.onnx", "text.onnx", "zeroshot.onnx", "zeroshot_open.onnx"}
    else:
        parts = {"model.onnx": json.loads((run / "model.json").read_text())}
    for name, report in parts.items():
        assert (run / name).is_file()
        assert report["parity"]["relative"] < 1e-3


def test_zero_shot_runs_on_the_card(trained: Trained, tmp_path: Path, card: str) -> None:
    words = [f"trained={trained('clip')}", *PHANTOM, f"device={card}", "evaluation.replicates=5", f"run={tmp_path / 'zeroshot'}"]
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    assert main(["zeroshot", *words]) == 0
    assert torch.cuda.max_memory_allocated() > before
    report = json.loads((tmp_path / "zeroshot" / "metrics.json").read_text())
    assert report["splits"]["test"]["metrics"]["auroc"]["value"] is not None


def test_fp16_is_refused_on_the_cpu_of_a_machine_with_a_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*PHANTOM, "model.backbone=test_resnet", "trainer.precision=fp16", "device=cpu", f"run={tmp_path / 'run'}"]
    assert main(["train", *words]) == 2
    assert "trainer.precision=fp16 needs a GPU" in capsys.readouterr().err
