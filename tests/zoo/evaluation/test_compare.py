"""The results page: seeds pooled, settings apart, figures those of metrics.json."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

from medzoo.cli import main

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
    assert f"{first['value']:.3f} [{first['low']:.3f}, {first['high']:.3f}]" in row


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
