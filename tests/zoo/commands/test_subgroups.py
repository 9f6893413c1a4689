"""Subgroups and a tree over the labels from the command line, and by hand from the files of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medzoo.cli import main
from medzoo.evaluation.predictions import Predictions
from medzoo.store.spec import ModelSpec

TINY = [
    "data=phantom", "data.size=16", "data.patients=120", "model.backbone=test_resnet", "trainer.trackers=[]", "trainer.epochs=2",
    "trainer.batch_size=16", "trainer.learning_rate=0.003", "evaluation.replicates=30", "evaluation.splits=[test]", "device=cpu",
]  # fmt: skip
TREE = "data.parents={cyst: lesion, calcified nodule: lesion, tumour: lesion}"
PAIR = "evaluation.intersections=[[sex, site]]"


def report(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "metrics.json").read_text())
    return content


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One run with a tree, one without."""
    folder = tmp_path_factory.mktemp("subgroups")
    assert main(["train", *TINY, TREE, PAIR, f"run={folder / 'tree'}"]) == 0
    assert main(["train", *TINY, f"run={folder / 'flat'}"]) == 0
    return folder / "tree", folder / "flat"


def test_disparity_is_what_the_subgroups_of_metrics_json_give_by_hand(runs: tuple[Path, Path]) -> None:
    part = report(runs[0])["splits"]["test"]
    for column in ("sex", "site", "sex & site"):
        block = part["disparity"][column]["accuracy"]
        counted = [level for level, told in block["levels"].items() if "not_counted" not in told]
        own = np.array([part["subgroups"][column][level]["metrics"]["accuracy"]["value"] for level in counted])
        whole = part["metrics"]["accuracy"]["value"]
        assert len(own) >= 2
        assert block["gap"]["value"] == pytest.approx(own.max() - own.min(), abs=1e-12)
        assert block["ratio"]["value"] == pytest.approx(own.min() / own.max(), abs=1e-12)
        assert block["mean_psd"]["value"] == pytest.approx(own.std() / whole, abs=1e-12)
        assert block["max_psd"]["value"] == pytest.approx((own.max() - own.min()) / whole, abs=1e-12)
        assert block["equity_scaled"]["value"] == pytest.approx(whole / (1 + np.abs(own - whole).sum()), abs=1e-12)
        assert block["worst"]["level"] == counted[int(own.argmin())]


def test_a_tree_changes_nothing_that_is_learnt(runs: tuple[Path, Path]) -> None:
    tree, flat = (Predictions.read(run / "predictions.parquet") for run in runs)
    np.testing.assert_array_equal(tree.logits, flat.logits)
    assert "hierarchy" not in report(runs[1])["splits"]["test"]
    described = ModelSpec.read(runs[1] / "spec.json").to_dict()
    assert "parents" not in described["labels"]
    assert "parents" not in described["data"]["options"]


def test_a_level_by_hand_from_the_predictions_file_and_on_a_run_without_a_tree(runs: tuple[Path, Path]) -> None:
    rows = Predictions.read(runs[0] / "predictions.parquet")
    right = (rows.probabilities[:, 1:].sum(axis=1) > rows.probabilities[:, 0]) == (rows.targets[:, 0] == 0)
    found = report(runs[0])["splits"]["test"]["hierarchy"]
    assert found["levels"]["1"]["metrics"]["accuracy"]["value"] == pytest.approx(right.mean(), abs=1e-12)
    assert (
        main(["evaluate", f"run={runs[1]}", f"+{TREE}", "evaluation.replicates=30", "evaluation.splits=[test]", "device=cpu"])
        == 0
    )
    assert report(runs[1])["splits"]["test"]["hierarchy"] == found
    assert main(["evaluate", f"run={runs[1]}", "predict=false", "evaluation.replicates=0", "evaluation.splits=[test]"]) == 0
    assert report(runs[1])["splits"]["test"]["hierarchy"]["f1"]["value"] == found["f1"]["value"]  # the predictions file keeps it


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("evaluation.intersections=[sex]", "sex is one column"),
        ("evaluation.intersections=[[sex, age]]", "unknown subgroup column 'age'"),
        ("+data.parents={cist: lesion}", "unknown label 'cist'"),
    ],
)
def test_what_cannot_be_is_one_line(runs: tuple[Path, Path], setting: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", f"run={runs[0]}", setting, "evaluation.splits=[test]", "device=cpu"]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.strip().count("\n") == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["evaluate", "on=phantom", "on.seed=1", "on.parents={cyst: lesion}"],
            "on.parents is a tree over the names of the other",
        ),
        (["evaluate", "predict=false", "evaluation.audit=true"], "evaluation.audit has no effect with predict=false"),
        (["zeroshot", "data=phantom", "evaluation.audit=true"], "see medzoo verify instead"),
    ],
)
def test_settings_that_would_be_ignored_are_refused(
    runs: tuple[Path, Path], words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = [] if words[0] == "zeroshot" else [f"run={runs[0]}"]
    assert main([*words, *run, "device=cpu"] if "predict=false" not in words else [*words, *run]) == 2
    assert said in capsys.readouterr().err
