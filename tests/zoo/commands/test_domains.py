"""Leaving one domain out, from the command line: every domain a run, their figures together and pooled."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from medzoo.cli import main
from medzoo.evaluation.predictions import Predictions

TINY = [
    "data=phantom", "data.size=16", "data.patients=60", "data.domain=site", "model.backbone=test_resnet", "trainer.trackers=[]",
    "trainer.epochs=1", "trainer.batch_size=32", "evaluation.replicates=20", "evaluation.splits=[test]", "device=cpu",
]  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("domains")
    for level in ("north", "south"):
        assert main(["train", *TINY, f"data.held_out={level}", f"run={folder / level}"]) == 0
    return [folder / "north", folder / "south"]


def test_metrics_say_which_domain_was_left_out(runs: list[Path]) -> None:
    details = json.loads((runs[0] / "metrics.json").read_text())["details"]
    assert details["data"]["domain"] == {"column": "site", "held_out": "north", "trained_on": ["south"]}
    assert set(Predictions.read(runs[0] / "predictions.parquet").subgroups["site"]) == {"north"}


def test_domains_stand_together_with_their_mean(runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *map(str, runs), "--metrics", "accuracy"]) == 0
    said = capsys.readouterr().out
    values = [json.loads((run / "metrics.json").read_text())["splits"]["test"]["metrics"]["accuracy"]["value"] for run in runs]
    assert "## Leaving one site out" in said
    assert f"| mean over domains |  |  | {np.mean(values):.3f} ± {np.std(values, ddof=1):.3f} |" in said
    assert f"| north | {len(Predictions.read(runs[0] / 'predictions.parquet'))} | 1 | {values[0]:.3f}" in said


def test_pooled_every_patient_counts_once(runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["compare", *map(str, runs), "--pool-folds", "--replicates", "20", "--metrics", "accuracy", "--format", "json"]) == 0
    )
    report = json.loads(capsys.readouterr().out)
    parts = [Predictions.read(run / "predictions.parquet") for run in runs]
    right = np.concatenate([part.probabilities.argmax(axis=1) == part.targets.argmax(axis=1) for part in parts])
    (setting,) = report["settings"]
    assert report["samples"] == len(right)
    assert setting["folds"] == [2]
    assert setting["metrics"]["accuracy"]["value"] == pytest.approx(right.mean())


def test_folds_of_one_name_are_not_taken_for_one(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for run in runs:
        shutil.copytree(run, tmp_path / run.name / "run")
    assert main(["compare", *(str(tmp_path / run.name / "run") for run in runs), "--pool-folds"]) == 2
    assert "two of the folds compared are called run; rename one" in capsys.readouterr().err
