"""`medzoo suite`: a grid to its end, however often it is stopped, the same page to the byte; ranks as scipy's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import friedmanchisquare, rankdata

from medzoo.cli import main
from medzoo.commands import train
from medzoo.commands.suites.grid import Grid, Job
from medzoo.commands.suites.page import _ranks, scores
from medzoo.data.errors import UnknownNameError
from medzoo.evaluation.comparison.parts import markdown
from medzoo.train.loop import Trainer

GRID = """
data:
  classes: data=phantom data.size=16 data.patients=24
  grades: [data=phantom, data.size=16, data.patients=24, data.labels=ordinal]
models:
  cnn: model.backbone=test_resnet
  corn: model.backbone=test_resnet trainer.learning_rate=0.01
seeds: [0, 1]
common: "trainer.epochs=2 trainer.batch_size=16 trainer.trackers=[] evaluation.replicates=0 evaluation.splits=[test]"
"""
FILES = ("results.md", "results.html", "results.csv")


def written(folder: Path, text: str = GRID) -> str:
    (folder / "grid.yaml").write_text(text, encoding="utf-8")
    return str(folder / "grid.yaml")


def words(folder: Path, grid: str) -> list[str]:
    return ["suite", grid, "--output", str(folder / "grid"), "--replicates", "20"]


@pytest.mark.slow
def test_a_suite_killed_in_its_fourth_job_goes_on_to_the_same_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = written(tmp_path, GRID.replace("seeds: [0, 1]", "seeds: [0, 1, 2]").replace("  grades", "# grades"))
    (tmp_path / "whole").mkdir()
    assert main(words(tmp_path / "whole", grid)) == 0
    whole = [(tmp_path / "whole" / "grid" / name).read_bytes() for name in FILES]

    trained: list[str] = []
    train_epoch, fit = Trainer._train_epoch, train._fit

    def counted(trainer: Trainer, *arguments: Any) -> Any:
        trained.append(str(trainer.run.path.relative_to(tmp_path / "grid")))
        return fit(trainer, *arguments)

    def killed(trainer: Trainer, *arguments: Any) -> Any:
        if len(trained) == 4 and trainer.progress.epoch == 1:
            raise KeyboardInterrupt
        return train_epoch(trainer, *arguments)

    monkeypatch.setattr(train, "_fit", counted)
    monkeypatch.setattr(Trainer, "_train_epoch", killed)
    assert main(words(tmp_path, grid)) == 130
    assert len(trained) == 4
    assert not (tmp_path / "grid" / "results.md").exists()
    monkeypatch.setattr(Trainer, "_train_epoch", train_epoch)
    trained.clear()
    assert main(words(tmp_path, grid)) == 0
    assert trained == ["classes/corn/seed-0", "classes/corn/seed-1", "classes/corn/seed-2"]
    assert [(tmp_path / "grid" / name).read_bytes() for name in FILES] == whole
    trained.clear()
    assert main(words(tmp_path, grid)) == 0
    assert trained == []
    assert [(tmp_path / "grid" / name).read_bytes() for name in FILES] == whole


class Figures:
    """A result that has one figure."""

    def __init__(self, value: float | None) -> None:
        self.value = value

    def metric(self, split: str, name: str) -> dict[str, float | None]:
        return {"value": self.value}


@pytest.mark.parametrize("metric", ["auroc", "ece"])
def test_ranks_are_scipys(metric: str, tmp_path: Path) -> None:
    text = "data: {a: d, b: d, c: d, d: d}\nmodels: {x: m, y: m, z: m}\nseeds: [0, 1]\n"
    grid = Grid.read(Path(written(tmp_path, text)))
    rng = np.random.default_rng(0)
    figures = rng.integers(0, 4, (4, 3, 2)) / 4  # some equal
    of_job = {job: Figures(figures["abcd".index(job.dataset), "xyz".index(job.model), int(job.name[-1])]) for job in grid.jobs()}
    table = scores(grid, of_job, "test", dict.fromkeys("abcd", metric))  # type: ignore[arg-type]
    means = figures.mean(axis=2)
    ranks = rankdata(means if metric == "ece" else -means, axis=1)
    page = markdown("t", [], [_ranks(table, dict.fromkeys("abcd", metric))])
    for place, model in enumerate("xyz"):
        cells = [f"{means[d, place]:.3f} ({ranks[d, place]:g})" for d in range(4)]
        assert f"| {model} | {ranks[:, place].mean():.2f} | {' | '.join(cells)} |" in page
    test = friedmanchisquare(*ranks.T)
    assert f"chi-squared {test.statistic:.3f}, p {test.pvalue:.4f}, of 4 datasets" in page
    of_job[grid.jobs()[0]] = Figures(None)
    page = markdown("t", [], [_ranks(scores(grid, of_job, "test", dict.fromkeys("abcd", metric)), dict.fromkeys("abcd", metric))])  # type: ignore[arg-type]
    assert "Not ranked: a, where a model has no figure." in page
    assert "| undefined |" in page


def test_a_metric_of_some_datasets_alone_leaves_the_others_unranked(tmp_path: Path) -> None:
    class Without(Figures):
        def metric(self, split: str, name: str) -> dict[str, float | None]:
            raise UnknownNameError("metric", name, ["auroc"])

    grid = Grid.read(Path(written(tmp_path, "data: {a: d, b: d}\nmodels: {x: m, y: m}\nseeds: [0]\n")))
    done = {job: Without(0.5) if job.dataset == "a" else Figures(0.5) for job in grid.jobs()}
    kappa = dict.fromkeys("ab", "kappa")
    table = scores(grid, done, "test", kappa)  # type: ignore[arg-type]
    assert table == {"a": {"x": None, "y": None}, "b": {"x": 0.5, "y": 0.5}}
    assert "Not ranked: a, where a model has no figure." in markdown("t", [], [_ranks(table, kappa)])
    with pytest.raises(UnknownNameError, match="unknown metric 'kappa'"):
        scores(grid, dict.fromkeys(done, Without(0.5)), "test", kappa)  # type: ignore[arg-type]


@pytest.mark.parametrize("metric", ["hamming_distance", "mean_absolute_error", "calibration_error(n_bins=5)", "nll", "rmse"])
def test_the_smaller_error_ranks_first_whoever_computes_it(metric: str) -> None:
    page = markdown("t", [], [_ranks({"d": {"bad": 0.4, "good": 0.1}}, {"d": metric})])
    assert page.index("| good | 1.00 | 0.100 (1) |") < page.index("| bad | 2.00 | 0.400 (2) |")


def test_folds_externals_and_prompts_are_jobs_in_their_order(tmp_path: Path) -> None:
    text = (
        "data: {a: data=phantom}\nmodels: {m: model=cnn}\nzeroshot: {z: model=clip}\nfolds: 2\ncommon: trainer.epochs=1\n"
        "external: {a: {clinic: on=phantom on.seed=7}}\n"
    )
    jobs = Grid.read(Path(written(tmp_path, text))).jobs()
    assert [job.name for job in jobs] == [
        "a/m/seed-0/fold-0", "a/m/seed-0/fold-0/external/clinic", "a/m/seed-0/fold-1", "a/m/seed-0/fold-1/external/clinic", "a/z",
    ]  # fmt: skip
    assert jobs[2].words == ("data=phantom", "model=cnn", "trainer.epochs=1", "seed=0", "data.folds=2", "data.fold=1")
    assert jobs[1] == Job(jobs[1].name, "evaluate", ("on=phantom", "on.seed=7", "name=clinic"), "a", "m")
    assert jobs[4].words == ("data=phantom", "model=clip")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("seeds: [0, 1]", "seed: [0, 1]"), "unknown key of a grid 'seed'"),
        (("seeds: [0, 1]", "seeds: [0, 0]"), "a seed stands twice"),
        (("seeds: [0, 1]", "seeds: 3"), "no list of whole numbers"),
        (("seeds: [0, 1]", "folds: 1"), "no whole number from 2 on"),
        (("model.backbone=test_resnet trainer", "seed=3 trainer"), "models.corn gives seed=3, which the suite gives itself"),
        (("  cnn:", "  a/b:"), "names a folder"),
        (("models:", "models: 3\nx:"), "unknown key of a grid 'x'"),
        (("seeds: [0, 1]", "reference: cnm"), "unknown model of the grid 'cnm'"),
        (("seeds: [0, 1]", "metric: aurok"), "unknown metric 'aurok' (metric in "),
        (("seeds: [0, 1]", "external: {class: {}}"), "unknown dataset of the grid 'class'"),
        (("  cnn: model.backbone=test_resnet", "  cnn: model.backbone=test_resnt"), "classes/cnn/seed-0: unknown "),
        (("  cnn: model.backbone=test_resnet", "  cnn: model.backbon=x"), "classes/cnn/seed-0: unknown setting"),
        (("data:\n", "data: [\n"), "is not YAML"),
    ],
)
def test_mistakes_are_one_line_before_anything_is_trained(
    change: tuple[str, str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(tmp_path, written(tmp_path, GRID.replace(*change)))) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "grid").exists()


def test_a_job_that_fails_leaves_the_others_done_and_other_settings_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = GRID.replace("seeds: [0, 1]", "seeds: [0]").replace("data.patients=24, data.labels", "data.patients=1, data.labels")
    grid = written(tmp_path, text)
    assert main(words(tmp_path, grid)) == 2
    assert "grades/cnn/seed-0: " in capsys.readouterr().err
    told = json.loads((tmp_path / "grid" / "suite.json").read_text())
    assert told["done"] == ["classes/cnn/seed-0", "classes/corn/seed-0"]
    page = (tmp_path / "grid" / "results.md").read_text()
    assert "2 of 4 jobs" in page
    assert "Not ranked: grades" in page
    assert "| cnn-seed0 |" in page
    assert main(["suite", grid, "--output", str(tmp_path / "grid"), "--list"]) == 0
    assert capsys.readouterr().out.count("done    classes/") == 2
    written(tmp_path, text.replace("0.01", "0.02"))
    assert main(words(tmp_path, grid)) == 2
    assert "classes/corn/seed-0 of" in (error := capsys.readouterr().err)
    assert "was run with other settings (trainer.learning_rate=0.01, trainer.learning_rate=0.02)" in error
    (tmp_path / "grid" / "suite.json").write_text("{")
    assert main(words(tmp_path, grid)) == 2
    assert "is damaged" in capsys.readouterr().err
    (tmp_path / "grid" / "suite.json").unlink()
    assert main(words(tmp_path, grid)) == 2
    assert "holds no suite" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "grid")
