"""The results page: seeds pooled, settings apart, figures those of metrics.json."""

from __future__ import annotations

import csv
import html
import json
import re
import statistics
from dataclasses import replace
from pathlib import Path

import pytest

from medzoo.cli import main
from medzoo.commands.compared.result import Result, setting_key
from medzoo.evaluation.bootstrap import value_text
from medzoo.store.directory import RunDirectory
from medzoo.store.spec import ModelSpec

TINY = [
    "data=phantom", "data.size=16", "data.patients=20", "data.labels=ordinal", "model.backbone=test_resnet",
    "trainer.trackers=[]", "trainer.epochs=1", "evaluation.replicates=20",
]  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    made = []
    for loss in ("default", "corn"):
        for seed in (0, 1):
            made.append(folder / f"{loss}-{seed}")
            assert main(["train", *TINY, f"loss={loss}", f"seed={seed}", f"run={made[-1]}"]) == 0
    return made


def test_the_page_holds_the_figures_of_the_runs(runs: list[Path], tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    assert (
        main(
            [
                "compare",
                *map(str, runs),
                "--output",
                str(page),
                "--metrics",
                "kappa",
                "auroc",
                "--note",
                "On a pocket calculator.",
            ]
        )
        == 0
    )
    text = page.read_text()
    assert "On a pocket calculator." in text
    assert f"medzoo compare {runs[0]}" in text
    values = [json.loads((run / "metrics.json").read_text())["splits"]["test"]["metrics"] for run in runs]
    for start, name in ((0, "default"), (2, "corn")):
        for metric in ("kappa", "auroc"):
            pair = [v[metric]["value"] for v in values[start : start + 2]]
            row = next(line for line in text.splitlines() if line.startswith(f"| {name} |"))
            assert f"{statistics.mean(pair):.3f} ± {statistics.stdev(pair):.3f}" in row
    first = values[0]["kappa"]
    row = next(line for line in text.splitlines() if line.startswith("| default-0 |"))
    assert value_text(first["value"], first["low"], first["high"]) in row


def test_as_csv_every_figure_is_that_of_the_report(runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["compare", *map(str, runs), "--format", "csv", "--metrics", "kappa", "mae"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [(row["run"], row["metric"]) for row in rows] == [(run.name, metric) for run in runs for metric in ("kappa", "mae")]
    for row, run in zip(rows[::2], runs, strict=True):
        told = json.loads((run / "metrics.json").read_text())["splits"]["test"]["metrics"]["kappa"]
        assert [row[end] for end in ("value", "low", "high")] == ["" if told[end] is None else str(told[end]) for end in told][:3]
        assert row["seed"] == run.name[-1]


@pytest.mark.parametrize("words", [[], ["--paired", "--replicates", "20"]])
def test_as_html_it_is_the_markdown_page_and_fetches_nothing(
    runs: list[Path], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    told = []
    for form in ("markdown", "html", "html"):
        capsys.readouterr()
        assert main(["compare", *map(str, runs), *words, "--format", form, "--title", "Losses & seeds", "--note", "<here>"]) == 0
        told.append(capsys.readouterr().out)
    markdown, page, again = told
    assert page == again
    assert "default-src 'none'" in page
    assert not re.findall(r"@import|url\((?!#)|(?:src|href)=\"(?!#|data:)", page)
    assert "<h1>Losses &amp; seeds</h1>" in page
    assert "&lt;here&gt;" in page
    cells = [cell for line in markdown.splitlines() if line.startswith("| ") for cell in line.strip("| ").split(" | ")]
    shown = {html.unescape(text) for text in re.findall(r">([^<>]*)</t[dh]>", page)}
    assert {cell.strip() for cell in cells if cell.strip()} - {"---"} <= shown
    assert page.count("<svg") >= 1


def test_a_run_evaluated_otherwise_or_twice_is_no_further_seed(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    copy = shutil.copytree(runs[0], tmp_path / "copy")
    assert main(["compare", str(runs[0]), str(copy)]) == 2
    assert "the same settings and the same seed 0" in capsys.readouterr().err
    report = json.loads((copy / "metrics.json").read_text())
    report["details"]["tta"] = 4
    (copy / "metrics.json").write_text(json.dumps(report))
    assert main(["compare", str(runs[0]), str(copy)]) == 0
    assert "±" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("asked", "said"), [(["evaluation.calibration=temperature"], "calibrated by temperature"), (["evaluation.bins=5"], "5 bins")]
)
def test_seeds_of_other_calibrators_or_bins_are_no_seeds_of_one_setting(
    asked: list[str], said: str, runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A calibrator is of its seed: two seeds calibrated alike are one setting, a calibrated and an uncalibrated one are two."""
    import shutil

    copies = [str(shutil.copytree(run, tmp_path / run.name)) for run in runs[:2]]
    for place in (1, 0):
        command = ["evaluate", f"run={copies[place]}", "predict=false", "evaluation.replicates=20", *asked]
        assert main(command) == 0
        capsys.readouterr()
        assert main(["compare", *copies, "--metrics", "ece"]) == 0
        rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| default") and "from scratch" in line]
        assert ["±" in row for row in rows] == ([False, False] if place else [True])
        assert [said in row for row in rows] == ([False, True] if place else [True])


def test_mistakes_are_one_line(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        ([str(runs[0]), "--metrics", "kapa"], "did you mean 'kappa'"),
        ([str(runs[0]), "--split", "train"], "unknown split 'train'"),
        ([str(tmp_path)], "not a run directory"),
    ):
        assert main(["compare", *arguments]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def row_of(page: str, name: str) -> str:
    return next(line for line in page.splitlines() if line.startswith(f"| {name} |"))


def test_a_trained_bottleneck_says_how(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["model=cbm", "model.bottleneck.regime=sequential", "model.bottleneck.kind=logit", f"run={tmp_path / 'cbm'}"]
    assert main(["train", *TINY, *words]) == 0
    capsys.readouterr()
    assert main(["compare", str(tmp_path / "cbm")]) == 0
    row = row_of(capsys.readouterr().out, "cbm")
    assert "from scratch, sequential logit bottleneck, cross_entropy, adamw" in row
    assert "1 epochs" in row


def test_posthoc_bottlenecks_on_runs_of_several_seeds_are_pooled(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = [word for word in TINY if not word.startswith(("model.", "trainer."))]
    made = []
    for seed, backbone in ((0, runs[0]), (1, runs[1])):
        made.append(tmp_path / f"posthoc-{seed}")
        words = ["model=cbm_posthoc", "model.bottleneck.penalty=1", f"model.backbone={backbone}", f"seed={seed}"]
        assert main(["train", *plain, *words, f"run={made[-1]}"]) == 0
    capsys.readouterr()
    assert main(["compare", *map(str, made)]) == 0
    row = row_of(capsys.readouterr().out, "posthoc")
    assert row.startswith("| posthoc | test_resnet at 16x16, frozen, posthoc logit bottleneck | 2 |")
    assert "±" in row
    # On a network that was trained otherwise (runs[2]: another loss) it is another setting.
    config = made[1] / "config.yaml"
    config.write_text(config.read_text().replace(str(runs[1]), str(runs[2])))
    assert main(["compare", *map(str, made)]) == 0
    assert "±" not in capsys.readouterr().out


def test_language_bottlenecks_pool_over_runs_and_not_over_published_models(tmp_path: Path, runs: list[Path]) -> None:
    report = json.loads((runs[0] / "metrics.json").read_text())
    spec = ModelSpec.read(runs[0] / "spec.json")
    spec = replace(spec, task="bottleneck", objective={"classes": {}, "regime": "language", "kind": "score"})

    def key(seed: int, **model: object) -> str:
        return setting_key(
            Result("r", {"seed": seed, "model": model, "data": {"name": "phantom"}}, spec, report, RunDirectory(tmp_path))
        )

    # runs[0] and runs[1] differ in their seed alone; of what is gone nobody can tell.
    assert key(0, backbone=str(runs[0])) == key(1, backbone=str(runs[1]))
    assert key(0, backbone=str(tmp_path / "gone-0")) != key(1, backbone=str(tmp_path / "gone-1"))
    assert key(0, backbone="hf-hub:a/b") != key(1, backbone="hf-hub:a/c")
    assert key(0, backbone="ViT-B-32", pretrained="a") != key(1, backbone="ViT-B-16", pretrained="a")
    assert key(0, backbone=str(runs[0]), penalty=1) != key(1, backbone=str(runs[1]), penalty=2)
