"""Operating points from the command line: chosen, written, exported, and the same calls everywhere; or refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medzoo.api import load
from medzoo.cli import main
from medzoo.data.registry import load_dataset
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.evaluation.predictions import Predictions
from medzoo.export import OnnxModel

TINY = [
    "data=phantom", "data.size=24", "data.patients=70", "model.backbone=test_resnet", "trainer.trackers=[]", "trainer.epochs=4",
    "trainer.batch_size=16", "trainer.learning_rate=0.003", "evaluation.replicates=20", "device=cpu",
]  # fmt: skip
RULES = "evaluation.operating_points=[youden,{sensitivity: 0.8},{specificity: 0.8}]"
NAMES = ["youden", "sensitivity=0.8", "specificity=0.8"]


def report(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "metrics.json").read_text())
    return content


@pytest.fixture(scope="module", params=["multiclass", pytest.param("multilabel", marks=pytest.mark.slow)])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("points") / "run"
    assert main(["train", *TINY, f"data.labels={request.param}", RULES, "evaluation.decision_curve=true", f"run={run}"]) == 0
    assert main(["export", f"run={run}", "images=24"]) == 0
    return run


def test_the_run_holds_what_was_chosen_and_for_which_weights(run: Path) -> None:
    told = json.loads((run / "operating_points.json").read_text())
    assert told == report(run)["operating_points"]
    assert [point["rule"] for point in told["points"]] == NAMES
    assert told["weights"] == report(run)["details"]["weights"]
    assert told["spec"] == report(run)["spec"]
    assert told["data"]["name"].startswith("phantom/")
    for split in ("val", "test"):
        assert list(report(run)["splits"][split]["operating_points"]) == NAMES
        assert len(report(run)["splits"][split]["decision_curve"]["thresholds"]) == 99
        assert (run / "plots" / f"decision_curve_{split}.png").is_file()


def test_the_file_and_the_run_call_what_the_evaluation_calls(run: Path) -> None:
    model, loaded = OnnxModel(run / "model.onnx", threads=1), load(run)
    assert model.points is not None
    assert model.points == loaded.points
    dataset = load_dataset("phantom", size=24, patients=70, labels=loaded.labels.kind if loaded.labels else "")
    for split in ("val", "test"):
        rows = Predictions.read(run / "predictions.parquet").of_split(split)
        samples = SampleDataset(dataset, split, loaded.spec.preprocess)
        assert list(samples.sample_ids) == list(rows.sample_id)
        images = [samples.pixels(i) for i in range(len(samples))]
        expected = model.points.calls(rows.logits)
        np.testing.assert_array_equal(model.predict(images)["calls"], expected)
        np.testing.assert_array_equal(loaded.predict(images)["calls"], expected)
        for p, rule in enumerate(NAMES):
            for k, name in enumerate(rows.labels.names):
                told = report(run)["splits"][split]["operating_points"][rule]["classes"][name]
                if told["threshold"] is not None:
                    known = ~np.isnan(rows.targets[:, k])
                    assert told["true_positive"] + told["false_positive"] == int(expected[known, p, k].sum())


def test_predict_says_the_calls(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = run / "samples" / "val-0.png"
    assert main(["predict", str(run / "model.onnx"), str(sample), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["calls"]
    found = OnnxModel(run / "model.onnx").predict([sample])["calls"][0]
    assert list(said) == NAMES
    assert [[None if call is None else float(call) for call in said[rule].values()] for rule in NAMES] == [
        [None if np.isnan(call) else call for call in row] for row in found
    ]
    assert main(["predict", str(run / "model.onnx"), str(sample)]) == 0
    assert "[sensitivity=0.8: " in capsys.readouterr().out


def test_points_of_other_weights_are_not_exported(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "run"
    shutil.copytree(run, other)
    file = other / "operating_points.json"
    told = json.loads(file.read_text())
    file.write_text(json.dumps({**told, "weights": "0" * 64}))
    before = (other / "model.onnx").read_bytes()
    assert main(["export", f"run={other}", "images=24"]) == 2
    assert "they were chosen for other weights; choose them again" in capsys.readouterr().err
    assert (other / "model.onnx").read_bytes() == before
    with pytest.warns(UserWarning, match="not applied: they were chosen for other weights"):
        assert load(other).points is None
    assert main(["export", f"run={other}", "images=24", "operating_points=false"]) == 0
    assert OnnxModel(other / "model.onnx").points is None
    file.write_text(json.dumps({**told, "tta": 4}))
    assert main(["export", f"run={other}", "images=24"]) == 2
    assert "evaluation.tta=4" in capsys.readouterr().err
    file.write_text("{")
    assert main(["export", f"run={other}", "images=24"]) == 2
    assert "operating_points.json cannot be used" in capsys.readouterr().err


def test_scoring_again_chooses_again(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "run"
    shutil.copytree(run, other)
    words = ["evaluate", f"run={other}", "predict=false", "evaluation.replicates=0"]
    kind = report(run)["labels"]["kind"]
    stated = "evaluation.prevalence=" + ("0.05" if kind == "multilabel" else f"{{{report(run)['labels']['names'][1]}: 0.05}}")
    assert main([*words, "evaluation.operating_points=[{cost: {false_negative: 9, false_positive: 1}}]", stated]) == 0
    told = json.loads((other / "operating_points.json").read_text())
    assert [point["rule"] for point in told["points"]] == ["cost(false_negative=9, false_positive=1)"]
    name = report(run)["labels"]["names"][1]
    point = report(other)["splits"]["test"]["operating_points"]["cost(false_negative=9, false_positive=1)"]["classes"][name]
    assert point["threshold"] is None or point["prevalence"] == 0.05
    assert main(words) == 0  # what was chosen stands until others are
    assert json.loads((other / "operating_points.json").read_text()) == told
    assert report(other)["operating_points"] == told
    assert list(report(other)["splits"]["test"]["operating_points"]) == [point["rule"] for point in told["points"]]
    assert main([*words, "evaluation.calibration=temperature"]) == 0
    said = capsys.readouterr().out
    assert "operating_points.json is not applied: they were chosen on probabilities that were calibrated otherwise; " in said
    assert "evaluation.operating_points=[...] chooses others" in said
    assert "operating_points" not in report(other)
    assert main([*words, RULES, "evaluation.splits=[test]"]) == 2
    assert "add val to evaluation.splits" in capsys.readouterr().err


def test_another_dataset_is_judged_at_the_runs_own_points(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "run"
    shutil.copytree(run, other)
    words = ["evaluate", f"run={other}", "on=phantom", "on.size=24", "on.patients=20", "on.seed=5", "name=far", "device=cpu",
             f"on.labels={report(run)['labels']['kind']}", "evaluation.replicates=10"]  # fmt: skip
    assert main([*words, RULES]) == 2
    assert "chosen on the run's own val split" in capsys.readouterr().err
    assert main(words) == 0
    far = report(other / "external" / "far")
    assert far["operating_points"] == report(run)["operating_points"]
    assert list(far["splits"]["test"]["operating_points"]) == NAMES
    assert not (other / "external" / "far" / "operating_points.json").exists()
    file = other / "operating_points.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "weights": "0" * 64}))
    capsys.readouterr()
    assert main(words) == 0
    assert "is not applied: they were chosen for other weights" in capsys.readouterr().out
    assert "operating_points" not in report(other / "external" / "far")


def test_points_of_calibrated_answers_are_for_answers_calibrated_alike(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    other = tmp_path / "run"
    shutil.copytree(run, other)
    calibrated = "evaluation.calibration=temperature"
    assert main(["evaluate", f"run={other}", "predict=false", calibrated, RULES, "evaluation.replicates=10"]) == 0
    words = ["evaluate", f"run={other}", "on=phantom", "on.size=24", "on.patients=20", "on.seed=5", "device=cpu",
             f"on.labels={report(run)['labels']['kind']}", "evaluation.replicates=10"]  # fmt: skip
    capsys.readouterr()
    assert main([*words, "name=plain"]) == 0
    assert f"is not applied: they were chosen on probabilities that were calibrated otherwise; give {calibrated} here, too" in (
        capsys.readouterr().out
    )
    assert main([*words, "name=calibrated", calibrated]) == 0
    assert list(report(other / "external" / "calibrated")["splits"]["test"]["operating_points"]) == NAMES


def test_quantities_are_refused_before_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *TINY, "data.labels=regression", RULES, f"run={tmp_path / 'run'}"]) == 2
    assert "these labels are quantities" in capsys.readouterr().err
    assert not (tmp_path / "run" / "checkpoints").exists()
