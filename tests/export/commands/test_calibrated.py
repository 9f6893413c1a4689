"""`medzoo export calibrated=true`: the file says the calibrated probabilities, in every precision, and only of its own model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from medzoo.api import load
from medzoo.cli import main
from medzoo.evaluation.calibration.fitted import Fitted
from medzoo.export.files.integrity import read_metadata
from medzoo.export.runtime.model import OnnxModel

TINY = [
    "data=phantom", "data.size=24", "data.patients=40", "trainer.epochs=1", "trainer.augment=none", "evaluation.replicates=0",
    "trainer.batch_size=32",
]  # fmt: skip
FAMILIES = {
    "findings": ["data.labels=multilabel", "model.backbone=test_resnet", "evaluation.calibration=platt"],
    "concepts": ["model=cbm", "model.backbone=test_resnet", "evaluation.calibration=temperature"],
    "grades": ["data.labels=ordinal", "loss=corn", "model.backbone=test_resnet", "evaluation.calibration=isotonic"],
    "volumes": ["data.dims=3", "data.patients=24", "model=cnn3d", "+model.arguments.width=0.125", "evaluation.calibration=platt"],
}
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 24, 24, 1), dtype=np.uint8)


def copied(run: Path, tmp_path: Path, method: str) -> Path:
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("model.onnx*"))  # of another test, where one exported it
    words = ["predict=false", "evaluation.replicates=0", f"evaluation.calibration={method}"]
    assert main(["evaluate", f"run={tmp_path / 'run'}", *words]) == 0
    return tmp_path / "run"


def check(run: Path, images: np.ndarray) -> OnnxModel:
    """Hold the file's answers against torch's logits, calibrated in NumPy."""
    model, calibrator = OnnxModel(run / "model.onnx"), Fitted.read(run / "calibration.json").calibrator
    assert model.calibrator == calibrator
    assert model.outputs[:2] == ("logits", "probabilities")
    assert model.outputs[-1] == "raw_logits"
    found, own = model.predict(list(images)), load(run).predict(list(images))
    np.testing.assert_allclose(found["raw_logits"], own["logits"], atol=1e-4)
    np.testing.assert_allclose(found["probabilities"], calibrator.probabilities(found["raw_logits"]), atol=1e-5)
    np.testing.assert_allclose(found["logits"], calibrator.logits(found["raw_logits"]), atol=1e-4)
    assert not np.allclose(found["probabilities"], own["probabilities"], atol=1e-4)
    return model


@pytest.mark.parametrize(
    "family", [name if name == "concepts" else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES]
)
def test_each_family(family: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(["train", *TINY, *FAMILIES[family], f"run={run}"]) == 0
    assert main(["export", f"run={run}", "images=8", "calibrated=true"]) == 0
    images = IMAGES[:2, None].repeat(24, axis=1) if family == "volumes" else IMAGES
    model = check(run, images)
    if family == "concepts":
        names = model.concepts
        corrected, torchs = (m.predict(list(images), concept_values={names[0]: 1.0}) for m in (model, load(run)))
        np.testing.assert_allclose(corrected["raw_logits"], torchs["logits"], atol=1e-4)


def test_a_case_is_averaged_before_it_is_calibrated(trained_run: Path, tmp_path: Path) -> None:
    run = copied(trained_run, tmp_path, "isotonic")
    assert main(["export", f"run={run}", "images=8", "calibrated=true"]) == 0
    model = check(run, IMAGES)
    found = model.predict_cases([list(IMAGES[:4]), list(IMAGES[4:])])
    raw = load(run).predict(IMAGES)["logits"]
    assert model.calibrator is not None
    expected = model.calibrator.probabilities(np.stack([raw[:4].mean(axis=0), raw[4:].mean(axis=0)]))
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-4)


def test_what_was_done_is_said_and_nothing_is_done_unasked(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copied(trained_run, tmp_path, "temperature")
    capsys.readouterr()
    assert main(["export", f"run={run}", "images=8"]) == 0
    assert "calibrated=true puts calibration.json into it" in capsys.readouterr().out
    plain = OnnxModel(run / "model.onnx")
    assert plain.calibrator is None
    assert plain.outputs == ("logits", "probabilities")
    assert main(["export", f"run={run}", "images=8", "calibrated=true"]) == 0
    assert "calibrated by temperature, fitted on 20 val samples" in capsys.readouterr().out
    report = json.loads((run / "model.json").read_text())
    assert report["calibrated"]["method"] == "temperature"
    assert json.loads(read_metadata(run / "model.onnx", "medzoo.report") or "")["calibrated"] == report["calibrated"]
    assert main(["predict", str(run / "model.onnx"), *map(str, sorted((run / "samples").iterdir())), "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[0])
    shares = np.exp(list(said["logits"].values()))
    assert list(said["probabilities"].values()) == pytest.approx(shares / shares.sum(), abs=1e-5)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_the_gate_judges_what_is_calibrated(precision: str, trained_run: Path, tmp_path: Path) -> None:
    """A file of reduced precision keeps the calibrator in float32."""
    run = copied(trained_run, tmp_path, "platt")
    limits = [f"gate.{name}" for name in ("loss=0.2", "agreement=0.5", "probability_change=0.2", "overlap=0.5")]
    words = ["images=8", "calibrated=true", "gate.replicates=0", *limits]
    assert main(["export", f"run={run}", f"precision={precision}", *words]) == 0
    model, calibrator = OnnxModel(run / f"model.{precision}.onnx"), Fitted.read(run / "calibration.json").calibrator
    found = model.predict(list(IMAGES))
    np.testing.assert_allclose(found["probabilities"], calibrator.probabilities(found["raw_logits"]), atol=1e-5)


def test_a_calibrator_of_another_model_is_refused(trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", f"run={trained_run}", "calibrated=true"]) == 2
    assert "no calibrator at" in capsys.readouterr().err
    run = copied(trained_run, tmp_path, "temperature")
    told = json.loads((run / "calibration.json").read_text())
    for change, why in (({"weights": "0"}, "another weights"), ({"spec": "0"}, "another spec"), ({"tta": 3}, "evaluation.tta=3")):
        (run / "calibration.json").write_text(json.dumps({**told, **change}))
        capsys.readouterr()
        assert main(["export", f"run={run}", "images=8", "calibrated=true"]) == 2
        assert why in capsys.readouterr().err
        assert not (run / "model.onnx").exists()
