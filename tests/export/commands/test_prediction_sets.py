"""`medzoo export conformal=true`: the sets are in the file, equal those of its probabilities, and `medzoo predict` says them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from medzoo.cli import main
from medzoo.evaluation.calibration.prediction_sets import FittedSets
from medzoo.export.runtime.model import OnnxModel

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 1), dtype=np.uint8)
SETS = "evaluation.conformal={coverage: 0.6}"


def copied(run: Path, tmp_path: Path, *words: str) -> Path:
    shutil.copytree(run, tmp_path / "run")
    assert main(["evaluate", f"run={tmp_path / 'run'}", "predict=false", "evaluation.replicates=0", *words]) == 0
    return tmp_path / "run"


def said(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    np.savez(tmp_path / "images.npz", images=IMAGES)
    capsys.readouterr()
    assert main(["predict", str(run / "model.onnx"), str(tmp_path / "images.npz"), *words]) == 0
    return capsys.readouterr().out.splitlines()


def test_sets_of_calibrated_probabilities(trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = copied(trained_run, tmp_path, "evaluation.calibration=platt", SETS)
    assert main(["export", f"run={run}", "images=24", "conformal=true"]) == 2
    assert "another calibration" in capsys.readouterr().err
    assert main(["export", f"run={run}", "images=24", "calibrated=true", "conformal=true"]) == 0
    assert "prediction sets for a coverage of 0.6" in capsys.readouterr().out
    model, sets = OnnxModel(run / "model.onnx"), FittedSets.read(run / "conformal.json")
    assert model.conformal == sets.conformal
    assert model.outputs == ("logits", "probabilities", "raw_logits", "prediction_set")
    found = model.predict(list(IMAGES))
    assert found["prediction_set"].dtype == bool
    np.testing.assert_array_equal(found["prediction_set"], sets.conformal.sets(found["probabilities"].astype(np.float64)))
    assert model.labels is not None
    names = [[n for n, inside in zip(model.labels.names, row, strict=True) if inside] for row in found["prediction_set"]]
    lines = said(run, tmp_path, capsys, "--json")
    assert [json.loads(line)["prediction_set"] for line in lines] == names
    assert f"set {{{', '.join(names[0])}}}" in said(run, tmp_path, capsys)[0]
    report = json.loads((run / "model.json").read_text())
    assert report["conformal"]["coverage"] == 0.6


def test_intervals_of_quantities(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    data = ["data=phantom", "data.size=32", "data.patients=60", "data.labels=regression", "model.backbone=test_resnet"]
    assert main(["train", *data, "trainer.epochs=1", "evaluation.replicates=0", SETS, f"run={run}"]) == 0
    assert main(["export", f"run={run}", "images=8", "conformal=true"]) == 0
    model, widths = OnnxModel(run / "model.onnx"), FittedSets.read(run / "conformal.json").conformal.widths
    found = model.predict(list(IMAGES))
    for end, sign in ((0, -1), (1, 1)):
        expected = found["probabilities"] + sign * np.array(widths)
        np.testing.assert_allclose(found["prediction_interval"][:, :, end], expected, rtol=1e-5, atol=1e-5)
    first = json.loads(said(run, tmp_path, capsys, "--json")[0])["prediction_interval"]
    assert model.labels is not None
    assert first[model.labels.names[0]] == pytest.approx(found["prediction_interval"][0, 0].tolist(), rel=1e-4)
    low = found["prediction_interval"][0, 0, 0]
    assert f"{model.labels.names[0]} [{low:.3f}, " in said(run, tmp_path, capsys)[0]


def test_a_reduced_file_has_sets_of_its_own_probabilities(trained_run: Path, tmp_path: Path) -> None:
    run = copied(trained_run, tmp_path, SETS)
    limits = [f"gate.{name}" for name in ("loss=0.2", "agreement=0.5", "probability_change=0.2", "overlap=0.5")]
    words = ["images=8", "conformal=true", "gate.replicates=0", "precision=fp16", *limits]
    assert main(["export", f"run={run}", *words]) == 0
    model = OnnxModel(run / "model.fp16.onnx")
    found = model.predict(list(IMAGES))
    assert model.conformal is not None
    np.testing.assert_array_equal(found["prediction_set"], model.conformal.sets(found["probabilities"].astype(np.float64)))


def test_missing_sets_are_said(trained_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", f"run={trained_run}", "conformal=true"]) == 2
    assert "no prediction sets at" in capsys.readouterr().err
