"""A trained model meets another hospital's published data in one line: a field each, on generated files of that form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from medzoo.cli import main
from tests.data.datasets.public_files import PUBLIC, aptos_2019, chexpert, ham10000

SHORT = [
    "model.backbone=test_resnet", "model.preprocess.size=24", "trainer.epochs=1", "trainer.batch_size=16",
    "evaluation.replicates=10", "device=cpu",
]  # fmt: skip


def train(name: str, file: Path, run: Path) -> None:
    assert main(["train", f"data=public/{name}", f"data.file={file}", *SHORT, f"run={run}"]) == 0


def meet(run: Path, name: str, folder: Path, *words: str) -> dict[str, Any]:
    """Return the results of a run on another dataset's generated files."""
    words = (f"run={run}", f"on=public/{name}", f"on.file={PUBLIC[name](folder)}", f"name={name}", *words)
    assert main(["evaluate", *words, "evaluation.replicates=10", "device=cpu"]) == 0
    found: dict[str, Any] = json.loads((run / "external" / name / "metrics.json").read_text())
    return found


def test_chest_of_stanford_in_alicante(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train("chexpert", chexpert(tmp_path / "chexpert", 60), tmp_path / "run")
    found = meet(tmp_path / "run", "padchest", tmp_path / "padchest", "map=padchest-chexpert")
    auroc = found["splits"]["test"]["metrics"]["auroc"]["classes"]
    assert found["splits"]["test"]["samples"] == 40
    assert auroc["Pleural Effusion"]["value"] is not None
    assert auroc["Support Devices"]["value"] is None
    out = capsys.readouterr().out
    assert "left out (map): COPD signs, emphysema, hiatal hernia, infiltrates" in out
    assert "lacks labels of the model, whose figures are undefined here: No Finding" in out


def test_skin_of_vienna_in_brazil_and_at_stanford(tmp_path: Path) -> None:
    train("ham10000", ham10000(tmp_path / "ham", 84), tmp_path / "run")
    found = meet(tmp_path / "run", "pad_ufes_20", tmp_path / "pad", "map=pad_ufes_20-ham10000")
    assert found["details"]["external"]["map"]["SEK"] == "bkl"
    assert found["splits"]["test"]["metrics"]["auroc"]["classes"]["mel"]["value"] is not None
    assert found["splits"]["test"]["metrics"]["auroc"]["classes"]["df"]["value"] is None


def test_grades_meet_by_name_where_they_are_of_one_scale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train("aptos_2019", aptos_2019(tmp_path / "aptos", 60), tmp_path / "run")
    found = meet(tmp_path / "run", "messidor2", tmp_path / "messidor2")
    assert found["details"]["external"]["map"] == {}
    assert found["splits"]["test"]["metrics"]["kappa"]["value"] is not None
    file = PUBLIC["messidor"](tmp_path / "messidor")
    assert main(["evaluate", f"run={tmp_path / 'run'}", "on=public/messidor", f"on.file={file}", "device=cpu"]) != 0
    assert "the class 'R0' of table/annotations is none of the model's (0, 1, 2, 3, 4)" in capsys.readouterr().err
