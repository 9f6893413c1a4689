"""`medzoo compare` on predictions: pairs, seeds, folds, tests on other data, readers, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from medzoo.cli import main
from medzoo.commands.compared.result import Result
from medzoo.evaluation.predictions import Predictions

TINY = [
    "data=phantom", "data.size=16", "data.patients=60", "data.labels=ordinal", "model.backbone=test_resnet",
    "trainer.trackers=[]", "trainer.epochs=1", "evaluation.replicates=50",
]  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two settings, one of two seeds, three folds, and a test of two runs on other data."""
    folder = tmp_path_factory.mktemp("runs")
    for loss, seeds in (("default", (0, 1)), ("corn", (0,))):
        for seed in seeds:
            assert main(["train", *TINY, f"loss={loss}", f"seed={seed}", f"run={folder / f'{loss}-{seed}'}"]) == 0
        elsewhere = ["on=phantom", "on.size=16", "on.patients=30", "on.labels=ordinal", "on.seed=5", "name=clinic"]
        assert main(["evaluate", f"run={folder / f'{loss}-0'}", *elsewhere, "evaluation.replicates=50"]) == 0
    for fold in range(3):
        assert main(["train", *TINY, "data.folds=3", f"data.fold={fold}", f"run={folder / f'fold-{fold}'}"]) == 0
    return folder


def compared(runs: Path, *words: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return the JSON of a comparison; words that name a run get its folder."""
    capsys.readouterr()
    arguments = [str(runs / word) if (runs / word).is_dir() else word for word in words]
    assert main(["compare", *arguments, "--format", "json", "--replicates", "50"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def refused(runs: Path, *words: str, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(["compare", *(str(runs / word) if (runs / word).is_dir() else word for word in words)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def values(run: Path, split: str = "test") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "metrics.json").read_text())["splits"][split]["metrics"]
    return found


def test_figures_are_those_of_the_reports_and_differences_theirs(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = compared(runs, "default-0", "corn-0", "--paired", "--metrics", "mae", "kappa", capsys=capsys)
    reports = [values(runs / name)["mae"] for name in ("default-0", "corn-0")]
    for setting, report in zip(found["settings"], reports, strict=True):
        assert {key: setting["metrics"]["mae"][key] for key in ("value", "low", "high")} == pytest.approx(
            {key: report[key] for key in ("value", "low", "high")}
        )
    difference = found["differences"][0]
    assert difference["difference"] == pytest.approx(reports[1]["value"] - reports[0]["value"])
    assert (found["split"], found["dataset"]) == ("test", "phantom/ordinal")


def test_seeds_are_one_setting(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = compared(runs, "default-0", "default-1", "corn-0", "--paired", "--metrics", "mae", capsys=capsys)
    assert [setting["runs"] for setting in found["settings"]] == [["default-0", "default-1"], ["corn-0"]]
    mae = found["settings"][0]["metrics"]["mae"]
    each = [values(runs / name)["mae"]["value"] for name in ("default-0", "default-1")]
    assert mae["runs"] == pytest.approx(each)
    assert mae["sd"] == pytest.approx(np.std(each, ddof=1))
    assert "delong" not in found


def test_a_calibrated_run_is_a_setting_of_its_own_with_the_figures_of_its_report(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(runs / "default-0", tmp_path / "default-0")
    asked = ["predict=false", "evaluation.replicates=50", "evaluation.calibration=temperature"]
    assert main(["evaluate", f"run={copy}", *asked]) == 0
    given = [str(copy), str(runs / "default-1"), str(runs / "corn-0"), "--paired", "--metrics", "nll"]
    found = compared(runs, *given, capsys=capsys)
    assert [len(setting["runs"]) for setting in found["settings"]] == [1, 1, 1]
    assert ["calibrated by temperature" in setting["training"] for setting in found["settings"]] == [True, False, False]
    shown = found["settings"][0]["metrics"]["nll"]["value"]
    assert shown == pytest.approx(values(copy)["nll"]["value"], abs=1e-6)
    assert shown != pytest.approx(values(runs / "default-0")["nll"]["value"], abs=1e-6)


def test_folds_are_pooled_where_their_patients_are_their_own(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folds = [f"fold-{k}" for k in range(3)]
    found = compared(runs, *folds, "--pool-folds", "--metrics", "auroc", "mae", capsys=capsys)
    parts = [Predictions.read(runs / fold / "predictions.parquet").of_split("val") for fold in folds]
    assert (found["split"], found["samples"]) == ("val", sum(map(len, parts)))
    assert found["groups"] == len({group for part in parts for group in part.group})
    assert found["settings"][0]["folds"] == [3]
    assert found["metrics"] == ["auroc", "auroc within folds", "mae"]
    within = found["settings"][0]["metrics"]["auroc within folds"]["value"]
    assert within == pytest.approx(np.mean([values(runs / fold, "val")["auroc"]["value"] for fold in folds]))
    errors = [values(runs / fold, "val")["mae"]["value"] * len(part) for fold, part in zip(folds, parts, strict=True)]
    assert found["settings"][0]["metrics"]["mae"]["value"] == pytest.approx(sum(errors) / found["samples"])
    assert any("not on one scale" in note for note in found["notes"])
    some = compared(runs, *folds[:2], "--pool-folds", "--metrics", "mae", capsys=capsys)
    assert any("fold: without fold 2 of 3" in note for note in some["notes"])
    assert "are no folds and would count twice" in refused(runs, *folds, "--pool-folds", "--split", "test", capsys=capsys)
    assert "none of these runs are folds" in refused(runs, "default-0", "corn-0", "--pool-folds", capsys=capsys)


def test_folds_on_their_common_test_split_are_averaged(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = compared(runs, "default-0", *(f"fold-{k}" for k in range(3)), "--paired", "--metrics", "mae", capsys=capsys)
    assert [len(setting["runs"]) for setting in found["settings"]] == [1, 3]
    assert "folds" not in found["settings"][1]


def test_folds_of_several_seeds_are_a_pool_each(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = []
    for seed in (0, 1):
        for fold in range(3):
            copy = shutil.copytree(runs / f"fold-{fold}", tmp_path / f"f{fold}-seed{seed}")
            config = copy / "config.yaml"
            assert "\nseed: 0\n" in config.read_text()
            config.write_text(config.read_text().replace("\nseed: 0\n", f"\nseed: {seed}\n"))
            words.append(str(copy))
    found = compared(runs, *words, "--pool-folds", "--metrics", "mae", capsys=capsys)
    assert found["settings"][0]["runs"] == ["f seed 0", "f seed 1"]
    assert found["settings"][0]["folds"] == [3, 3]
    assert found["settings"][0]["metrics"]["mae"]["sd"] == 0
    assert "seed 1 has other folds" in refused(runs, *words[:-1], "--pool-folds", capsys=capsys)


def test_folds_of_ones_own_making_are_pooled_on_their_test_patients(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = []
    for fold in range(2):
        copy = shutil.copytree(runs / "default-0", tmp_path / f"own-{fold}")
        config = yaml.safe_load((copy / "config.yaml").read_text())
        config["data"]["split_seed"] = fold  # other patients are held out
        (copy / "config.yaml").write_text(yaml.safe_dump(config))
        there = Predictions.read(copy / "predictions.parquet")
        half = np.array([int(str(group).rpartition("-")[2]) % 2 == fold for group in there.group])
        there.take(half).write(copy / "predictions.parquet")
        words.append(str(copy))
    found = compared(runs, *words, "--pool-folds", "--metrics", "mae", capsys=capsys)
    assert (found["split"], found["settings"][0]["folds"]) == ("test", [2])
    assert found["settings"][0]["metrics"]["mae"]["value"] == pytest.approx(values(runs / "default-0")["mae"]["value"])


def test_tests_on_other_data_are_compared_with_each_other_alone(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = ["default-0/external/clinic", "corn-0/external/clinic"]
    found = compared(runs, *pair, "--paired", "--metrics", "mae", capsys=capsys)
    assert [setting["name"] for setting in found["settings"]] == pair
    external = values(runs / "default-0" / "external" / "clinic")["mae"]["value"]
    assert found["settings"][0]["metrics"]["mae"]["value"] == pytest.approx(external)
    assert "were not tested on the same samples" in refused(runs, pair[0], "corn-0", "--paired", capsys=capsys)
    assert main(["compare", str(runs / "default-0"), str(runs / pair[0])]) == 0  # the plain page gives each its own table
    assert capsys.readouterr().out.count("## phantom/ordinal, test") == 2
    assert Result.read(runs / pair[0]).tested_on("test") != Result.read(runs / "default-0").tested_on("test")
    assert "not a run directory" in refused(runs, "default-0/external", capsys=capsys)


def test_another_dataset_of_the_same_rows_is_another_test(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = shutil.copytree(runs / "corn-0", tmp_path / "copy")
    there = Predictions.read(copy / "predictions.parquet")
    there.details["data"]["name"] = "another"  # type: ignore[index]
    there.write(copy / "predictions.parquet")
    assert "were tested on other datasets" in refused(runs, "default-0", str(copy), "--paired", capsys=capsys)


def test_readers_are_compared_from_a_table(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    part = Predictions.read(runs / "default-0" / "predictions.parquet").of_split("test")
    names = part.labels.names
    lines = [f"{sample},{names[k]}" for sample, k in zip(part.sample_id, part.targets.argmax(axis=1), strict=True)]
    (tmp_path / "reads.csv").write_text("\n".join(["sample_id,anna", *lines]))
    found = compared(runs, "default-0", "corn-0", "--readers", str(tmp_path / "reads.csv"), "--margin", "0.1", capsys=capsys)
    assert found["readers"][0]["metrics"]["accuracy"]["value"] == 1
    assert {(one["first"], one["second"]) for one in found["against_readers"]} == {("anna", "default-0"), ("anna", "corn-0")}
    assert found["differences"] == []


def test_mistakes_are_one_line(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in (
        (["default-0", "default-1", "--paired"], "these runs are one, but for seeds and folds"),
        (["default-0", "--paired"], "name runs of another one"),
        (["default-0", "corn-0", "--margin", "0.1"], "--margin: give --paired, --pool-folds or --readers"),
        (["default-0", "corn-0", "--format", "json"], "--format json: give --paired"),
        (["default-0", "corn-0", "--paired", "--margin", "acc=0.1"], "acc is not among the metrics compared"),
        (["default-0", "corn-0", "--paired", "--split", "train"], "unknown split 'train' in the predictions of default-0"),
        (["default-0", "corn-0", "--paired", "--metrics", "kapa"], "did you mean 'kappa'"),
        (["default-0", "corn-0", "--paired", "--threshold", "0.2"], "give --readers, or leave it out"),
        (["default-0", "--readers", "sex", "--classes"], "give --paired, or leave them out"),
        (["default-0", "corn-0", "--paired", "--level", "2"], "is not between 0 and 1"),
        (["default-0", "default-0", "corn-0", "--paired"], "the same settings and the same seed 0"),
    ):
        assert message in refused(runs, *words, capsys=capsys)


def test_the_page_says_how_it_was_made(runs: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    words = [str(runs / "default-0"), str(runs / "corn-0"), "--paired", "--margin", "mae=0.1", "--metrics", "mae", "--seed", "3"]
    assert main(["compare", *words, "--output", str(page), "--title", "Two", "--note", "On a pocket calculator."]) == 0
    text = page.read_text()
    assert text.startswith("# Two\n\nOn a pocket calculator.\n")
    command = next(line for line in text.splitlines() if "The tables are made by" in line)
    assert command.split("`")[1].split()[2:4] == [str(runs / "default-0"), str(runs / "corn-0")]
    again = tmp_path / "again.md"
    assert main([*command.split("`")[1].split()[1:], "--output", str(again), "--title", "Two"]) == 0
    assert again.read_text() == text.replace("On a pocket calculator.\n\n", "")
