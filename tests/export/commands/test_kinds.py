"""Grades and quantities in the runtime: exported, proven, said in their units, without torch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from medzoo.api import load
from medzoo.cli import main
from medzoo.export.runtime.model import OnnxModel

TINY = [
    "data=phantom", "data.size=24", "data.patients=24", "model.backbone=test_resnet", "trainer.trackers=[]", "trainer.epochs=2",
    "evaluate=false",
]  # fmt: skip


def exported(run: Path, *options: str) -> OnnxModel:
    assert main(["train", *TINY, *options, f"run={run}"]) == 0
    assert main(["export", f"run={run}", "images=12"]) == 0
    return OnnxModel(run / "model.onnx")


@pytest.mark.parametrize("loss", ["corn", *(pytest.param(loss, marks=pytest.mark.slow) for loss in ("default", "cumulative"))])
def test_an_ordinal_model_answers_grades(loss: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    model = exported(run, "data.labels=ordinal", f"loss={loss}")
    images = np.random.default_rng(0).integers(0, 256, (5, 24, 24, 1), dtype=np.uint8)
    answer = model.predict(list(images))
    np.testing.assert_allclose(answer["probabilities"].sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(answer["logits"], load(run).predict(images)["logits"], atol=1e-4)
    np.savez(tmp_path / "images.npz", images=images)
    capsys.readouterr()
    assert main(["predict", str(run / "model.onnx"), str(tmp_path / "images.npz"), "--json"]) == 0
    for line, p in zip(capsys.readouterr().out.splitlines(), answer["probabilities"], strict=True):
        said = json.loads(line)
        assert said["grade"] == p.argmax()
        assert said["class"] == model.labels.names[p.argmax()]
        assert said["expected_grade"] == pytest.approx((p * np.arange(len(p))).sum(), abs=1e-5)
    assert main(["predict", str(run / "model.onnx"), str(tmp_path / "images.npz")]) == 0
    assert "expected grade" in capsys.readouterr().out


def test_a_regression_model_answers_in_units(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    model = exported(run, "data.labels=regression")
    images = np.random.default_rng(0).integers(0, 256, (5, 24, 24, 1), dtype=np.uint8)
    answer = model.predict(list(images))
    np.testing.assert_allclose(answer["logits"], load(run).predict(images)["logits"], rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(answer["logits"], answer["probabilities"])
    np.savez(tmp_path / "images.npz", images=images)
    capsys.readouterr()
    assert main(["predict", str(run / "model.onnx"), str(tmp_path / "images.npz"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[0])
    assert said["units"] == dict(zip(model.labels.names, model.labels.units, strict=True))
    assert list(said["values"].values()) == pytest.approx(answer["logits"][0].tolist(), rel=1e-5)


def test_a_neighbour_model_exports_with_its_memory(tmp_path: Path) -> None:
    run = tmp_path / "run"
    model = exported(run, "model.neighbours=3", "trainer.epochs=20")  # the default: nothing is trained
    images = np.random.default_rng(0).integers(0, 256, (5, 24, 24, 1), dtype=np.uint8)
    np.testing.assert_allclose(model.predict(list(images))["logits"], load(run).predict(images)["logits"], atol=1e-4)
