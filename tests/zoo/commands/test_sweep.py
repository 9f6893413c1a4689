"""Sweeps: what is wrong with any job is said in one line, before the first one trains wherever that is known."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from medzoo.cli import main

TINY = [
    "data=phantom", "data.size=24", "data.patients=24", "model.backbone=test_resnet", "trainer.trackers=[]",
    "trainer.epochs=1", "trainer.batch_size=16", "evaluation.replicates=20", "evaluate=false",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refusals must come before anything is trained or written."""
    monkeypatch.chdir(tmp_path)

    def refuse(*_: object) -> None:
        raise AssertionError("a job was started")

    monkeypatch.setattr("medzoo.commands.train.main", refuse)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["train", "-m", *TINY, *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("medzoo: ")
    assert said.err.count("\n") == 1
    assert not Path("multirun").exists()
    return said.err


def sweep(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "medzoo", "train", "-m", *TINY, "hydra.sweep.dir=sweep", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_one_run_directory_for_several_jobs_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    error = refused(capsys, "seed=0,1", "run=runs/sw")
    assert "run=runs/sw is one run directory for job 0 (seed=0) and job 1 (seed=1); leave run out" in error
    assert "run='runs/sw-${seed}'" in error
    assert OverridesParser.create().parse_overrides(["run=runs/sw-${seed}"])  # the remedy is one


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (["seed=0,1", "trainer.epochs=1,2", "run=runs/x-${seed}"], "run='runs/x-${seed}-${trainer.epochs}'"),
        (["model=cnn,vit", "run=runs/x"], "run='runs/x-${hydra:job.num}'"),
        (["seed=0,1", "model=cnn,vit", "run=runs/x-${seed}"], "run='runs/x-${seed}-${hydra:job.num}'"),
        (["seed=0,1", "trainer.epochs=1,2", "run=runs/a,runs/b"], "run='runs/a-${seed}-${trainer.epochs}"),
    ],
)
def test_so_is_one_that_only_some_jobs_share(capsys: pytest.CaptureFixture[str], arguments: list[str], remedy: str) -> None:
    assert remedy in refused(capsys, *arguments)


def test_a_run_directory_that_is_taken_is_found_before_training(capsys: pytest.CaptureFixture[str]) -> None:
    Path("runs/x-1").mkdir(parents=True)
    Path("runs/x-1/file").touch()
    assert "job 1 (seed=1): run directory runs/x-1 is not empty" in refused(capsys, "seed=0,1", "run=runs/x-${seed}")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["model.backbone=test_resnet,test_resnt"],
            "job 1 (model.backbone=test_resnt): unknown model 'test_resnt'; did you mean",
        ),
        (["seed=0,1", "data=phantom,phantm"], "job 2 (data=phantm seed=0): unknown data 'phantm'"),
        (["trainer.learning_rate=0.1,fast"], "job 1 (trainer.learning_rate=fast): trainer.learning_rate: "),
        (["seed=0,1", "trainer.epoch=3"], "'trainer.epochs'"),
        (["seed=0,1", "run=runs/a=${seed}"], """'run="runs/a=${seed}"'"""),
        (["seed=0,1", "resume=runs/x"], "resume= goes on with one run and takes no sweep"),
        (["trainer.learning_rate=interval(0,1)"], "does not support sweep type"),
        (["seed=0,1", "--config-dir=/no/such"], "no configuration folder at /no/such"),
    ],
)
def test_a_mistake_in_any_job_is_found_before_training(
    capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    assert expected in refused(capsys, *arguments)


def test_every_job_has_a_run_directory_and_one_that_fails_is_named_at_the_end(tmp_path: Path) -> None:
    done = sweep(tmp_path, "trainer.monitor=auroc,auroc1,loss")  # that a metric is unknown only the dataset's labels tell
    assert done.returncode == 2, done.stderr[-2000:]
    assert done.stderr.strip().splitlines()[-1].startswith("medzoo: job 1 (trainer.monitor=auroc1): unknown metric 'auroc1'")
    assert "Traceback" not in done.stderr
    assert "HYDRA_FULL_ERROR" not in done.stderr
    assert sorted(path.parent.name for path in (tmp_path / "sweep").glob("*/run")) == ["0", "2"]


@pytest.mark.slow
def test_run_may_depend_on_what_only_the_job_knows(tmp_path: Path) -> None:
    done = sweep(tmp_path, "seed=0,1", "run=runs/x-${hydra:job.num}")
    assert done.returncode == 0, done.stderr[-2000:]
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["x-0", "x-1"]
