"""Several processes train what one would: the same weights, the same figures, one run directory, and they go on as any number."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from medzoo.cli import main
from medzoo.data.errors import ConfigError
from medzoo.evaluation.predictions import Predictions
from medzoo.settings.schema import TrainerConfig
from medzoo.store.storage import pointed_folder
from medzoo.train.checks import check_trainer
from tests.zoo.train.ranks.forked import ROOT, run_together
from tests.zoo.train.ranks.plans import assert_trained_alike
from tests.zoo.train.runs import assert_same

# 5 samples a batch, 2 or 3 processes: unequal shares in each batch, and a last batch that leaves one with nothing.
OPTIONS = [
    "data=phantom", "data.size=24", "data.patients=22", "device=cpu", "trainer.epochs=2", "trainer.batch_size=5",
    "trainer.optimizer=sgd", "trainer.learning_rate=0.01", "trainer.warmup_epochs=0", "trainer.save_every=2",
    "trainer.trackers=[]", "evaluation.replicates=10",
]  # fmt: skip
RESNET = ["model.backbone=test_resnet", "model.preprocess.size=32"]
VIT = ["model=vit", "model.backbone=test_vit", "model.preprocess.size=32"]
FAMILIES = {
    "labels missing": [*VIT, "data.labels=multilabel", "data.missing=0.3", "trainer.ema=0.9"],
    "accumulated": [*RESNET, "trainer.accumulate=2"],
    "image and text": ["model=clip"],
}


def files(run: Path) -> set[str]:
    return {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}


def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    """Batch normalisation is of the whole batch, and what is written and said is written and said once."""
    options = ["train", *OPTIONS, *RESNET, "evaluate=false"]
    done = run_together(*((n, [*options, f"run={tmp_path / str(n)}"]) for n in (1, 2)), double=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert_same(tmp_path / "1", tmp_path / "2")
    assert files(tmp_path / "1") == files(tmp_path / "2")
    # torch 2.9 says so itself, in lines that two processes write into each other's, an empty one among them
    said = [line.split()[:2] for line in done.stdout.splitlines() if line and not line.startswith("[Gloo]")]
    assert said[: len(said) // 2] == said[len(said) // 2 :]


@pytest.mark.slow
@pytest.mark.parametrize("double", [False, True])
def test_three_processes_of_every_family(double: bool, tmp_path: Path) -> None:
    options = ["train", *OPTIONS, "evaluate=false", "trainer.epochs=1"]
    families = {name: words for name, words in FAMILIES.items() if ("model.backbone=test_vit" not in words) == double}
    assert_trained_alike(families, options, tmp_path, double=double)


@pytest.mark.slow
def test_a_split_that_is_predicted_together_is_whole(tmp_path: Path) -> None:
    """13 samples of test, 2 processes, 4 a batch: shares of two and of one, and none at all of the last batch."""
    run = tmp_path / "run"
    assert main(["train", *OPTIONS, *VIT, "trainer.epochs=1", f"run={run}"]) == 0
    alone, report = Predictions.read(run / "predictions.parquet"), (run / "metrics.json").read_text()
    done = run_together((2, ["evaluate", f"run={run}", "evaluation.batch_size=4", "evaluation.replicates=10", "device=cpu"]))
    assert done.returncode == 0, done.stderr[-3000:]
    both = Predictions.read(run / "predictions.parquet")
    assert list(alone.sample_id) == list(both.sample_id)
    np.testing.assert_allclose(alone.logits, both.logits, atol=1e-5)
    ours, theirs = (json.loads(text)["splits"]["test"]["metrics"] for text in (report, (run / "metrics.json").read_text()))
    assert {name: one["value"] for name, one in ours.items()} == pytest.approx(
        {name: one["value"] for name, one in theirs.items()}, abs=1e-6
    )
    assert sum(line.startswith("test:") for line in done.stdout.splitlines()) == 1


KILL_ONE = """
import os, signal, sys
from medzoo.train import loop
step = loop.Trainer._step
def killed(self, *given):
    if self.progress.step == 5 and os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, *given)
loop.Trainer._step = killed
from medzoo.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_killed_process_ends_the_others_in_a_line_and_any_number_goes_on(tmp_path: Path) -> None:
    options = ["train", *OPTIONS, *VIT, "evaluate=false"]
    assert main([*options, f"run={tmp_path / 'whole'}"]) == 0
    script = tmp_path / "killed.py"
    script.write_text(KILL_ONE)
    run = tmp_path / "killed"
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    done = subprocess.run([*launch, *options, f"run={run}"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if line.startswith("medzoo:")]
    assert len(said) == 1, done.stderr[-3000:]
    assert f"medzoo train resume={run} goes on" in said[0]
    assert "SIGKILL" in done.stderr  # torchrun's own table
    again = run_together((3, ["train", f"resume={run}"]))
    assert again.returncode == 0, again.stderr[-3000:]
    assert_same(tmp_path / "whole", run)


@pytest.mark.slow
def test_all_save_and_stop_where_one_is_asked_to(tmp_path: Path) -> None:
    options = ["train", *OPTIONS, *VIT, "evaluate=false", "trainer.epochs=3000", "trainer.save_every=null"]
    run = tmp_path / "run"
    words = [sys.executable, "-m", "tests.zoo.train.ranks.forked", "2", *options, f"run={run}"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while not (run / "history.csv").is_file():
            assert process.poll() is None
            time.sleep(0.2)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[1]), signal.SIGTERM)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 75
    assert sum(line.startswith("medzoo: stopped as asked in epoch ") for line in said.splitlines()) == 1, said
    latest = pointed_folder(run / "state", "latest")
    assert latest is not None
    assert not latest.name.endswith("-000000")  # in mid-epoch


@pytest.mark.slow
def test_what_cannot_be_shared_is_refused_once(tmp_path: Path) -> None:
    words = ["train", *OPTIONS, *VIT, "trainer.batch_size=2", f"run={tmp_path / 'run'}"]
    done = run_together((3, words))
    assert done.returncode == 2
    assert done.stderr.count("medzoo: a training batch of 2 samples cannot be shared by 3 processes") == 1, done.stderr[-3000:]
    assert not (tmp_path / "run").exists()


def test_a_family_that_says_why_is_trained_in_one_process() -> None:
    task = SimpleNamespace(accumulates=True, alone="it counts what it sees")
    check_trainer(TrainerConfig(), task, 1)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"in one process \(it counts what it sees\)"):
        check_trainer(TrainerConfig(), task, 2)  # type: ignore[arg-type]


@pytest.mark.parametrize("verb", ["explain", "robustness", "compare", "suite", "export"])
def test_the_work_of_one_process_is_refused_to_several(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main([verb]) == 2
    assert capsys.readouterr().err == f"medzoo: medzoo {verb} is the work of one process: start it without torchrun\n"
