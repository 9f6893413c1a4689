"""`medzoo evaluate evaluation.by=...`: beside the run's own results, from the predictions file alone, compared with its like."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from medzoo.cli import main
from medzoo.data.registry import load_dataset
from medzoo.evaluation.predictions import Predictions


@pytest.fixture
def run(trained_run: Path, tmp_path: Path) -> Path:
    """Return a copy of a run whose predictions say of which film each image is: those of a patient that share the truth."""
    copy = tmp_path / "run"
    shutil.copytree(trained_run, copy, ignore=shutil.ignore_patterns("*.onnx", "checkpoints", "state"))
    rows = Predictions.read(copy / "predictions.parquet")
    film = [f"{group}-{truth.argmax()}" for group, truth in zip(rows.group, rows.targets, strict=True)]
    replace(rows, kept=pd.DataFrame({"film": film})).write(copy / "predictions.parquet")
    return copy


def test_groups_are_scored_beside_the_runs_own_results(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (run / "metrics.json").read_bytes()
    by_film = ["evaluate", f"run={run}", "predict=false", "evaluation.by=film", "evaluation.replicates=20"]
    assert main([*by_film, "evaluation.vote=majority"]) == 0
    assert "by film, majority of" in capsys.readouterr().out
    assert (run / "metrics.json").read_bytes() == before
    report = json.loads((run / "by/film/metrics.json").read_text())
    rows, groups = (Predictions.read(path / "predictions.parquet") for path in (run, run / "by/film"))
    assert report["splits"]["test"]["samples"] == len(set(rows.of_split("test").kept["film"]))  # type: ignore[index]
    assert report["splits"]["test"]["groups"] == json.loads(before)["splits"]["test"]["groups"]  # patients, above the film
    assert report["details"]["by"] == {"columns": ["film"], "vote": "majority", "rows": len(rows), "groups": len(groups)}
    assert main(["compare", str(run), str(run / "by/film")]) == 2
    assert "is of rows and run/by/film is of groups by film (majority)" in capsys.readouterr().err
    other = shutil.copytree(run, run.parent / "other")
    (other / "config.yaml").write_text((other / "config.yaml").read_text().replace("\nseed: 0", "\nseed: 1"))
    assert main(["compare", str(run / "by/film"), str(other / "by/film"), "--metrics", "accuracy"]) == 0  # two seeds
    assert f"{report['splits']['test']['metrics']['accuracy']['value']:.3f}" in capsys.readouterr().out
    assert main([word.replace(str(run), str(other)) for word in by_film]) == 0  # another vote
    assert main(["compare", str(run / "by/film"), str(other / "by/film")]) == 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["evaluation.by=flim"], "unknown column 'flim'"),
        (["evaluation.by=film", "evaluation.vote=most"], "unknown vote 'most'"),
        (["evaluation.vote=any"], "name their column, evaluation.by=<column>"),
        (["evaluation.by=[film,film]"], "each once"),
        (["evaluation.by=3"], "evaluation.by is a column"),
        (["evaluation.by=group"], "differ in their truth"),
    ],
)
def test_what_cannot_be_is_one_line(run: Path, settings: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", f"run={run}", "predict=false", *settings]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (run / "by").exists()


def test_a_table_keeps_columns_for_groups(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,y,clip,p\n" + "".join(f"{i}.png,{i % 2},v{i // 2},{i // 4}\n" for i in range(8)))
    options = {"file": tmp_path / "t.csv", "target": "y", "group": "p", "missing": "ignore"}
    dataset = load_dataset("table", **options, keep=["clip"])
    assert dataset.kept == ("clip",)
    assert dataset.table["clip"].tolist() == [f"v{i // 2}" for i in range(8)]
