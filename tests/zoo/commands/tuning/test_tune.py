"""`medzoo tune`: stopped at any point it goes on to the same page; pruning stops trainings; the test split is not read."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import pytest
import yaml
from filelock import FileLock
from optuna.trial import TrialState
from PIL import Image
from scipy import stats

from medzoo.cli import main
from medzoo.commands import tune
from medzoo.commands.tuning.asked import Asked
from medzoo.commands.tuning.journal import Journal
from medzoo.commands.tuning.propose import foresee
from medzoo.data.registry import load_dataset
from medzoo.store.directory import RunDirectory
from medzoo.train.loop import Trainer

COMMON = (
    "data=phantom data.size=16 data.patients=24 model.backbone=test_resnet trainer.batch_size=16 trainer.trackers=[] device=cpu"
)
SEARCH = f"""
space:
  trainer.learning_rate: {{log: [1e-3, 1e-1]}}
  trainer.optimizer: {{choice: [adamw, sgd]}}
common: {COMMON} trainer.epochs=3
trials: 5
sampler: {{tpe: {{startup: 2}}}}
pruner: {{halving: {{factor: 2}}}}
"""
FILES = ("results.md", "results.html", "results.csv", "conf/experiment/best.yaml")


def written(folder: Path, text: str = SEARCH) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "search.yaml").write_text(text, encoding="utf-8")
    return str(folder / "search.yaml")


def words(folder: Path, text: str = SEARCH) -> list[str]:
    return ["tune", written(folder, text), "--output", str(folder / "tuned")]


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "tuned" / "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def epochs_of(run: Path) -> list[dict[str, str]]:
    with RunDirectory(run).history.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    assert main(words(folder)) == 0
    return folder


@pytest.mark.slow
def test_pruning_stops_a_training_that_can_be_gone_on_with(whole: Path, tmp_path: Path) -> None:
    found = rows(whole)
    assert [row["trial"] for row in found] == list("01234")
    pruned = [row for row in found if row["state"].startswith("pruned")]
    assert pruned
    assert len(pruned) < 5
    for row in found:
        run = whole / "tuned" / "trials" / f"000{row['trial']}"
        history = epochs_of(run)
        reached = [float(epoch["val_auroc"]) for epoch in history]
        if row in pruned:
            assert row["state"] == f"pruned after epoch {len(history)}"
            assert len(history) < 3
            assert float(row["value"]) == reached[-1]
        else:
            assert len(history) == 3
            assert float(row["value"]) == max(reached)
            assert int(row["epoch"]) == reached.index(max(reached)) + 1
        assert f"learning_rate: {row['trainer.learning_rate']}\n" in (run / "config.yaml").read_text()
        assert not RunDirectory(run).predictions.exists()
    shutil.copytree(whole / "tuned" / "trials" / f"000{pruned[0]['trial']}", tmp_path / "run")
    assert main(["train", f"resume={tmp_path / 'run'}"]) == 0
    assert len(epochs_of(tmp_path / "run")) == 3


@pytest.mark.slow
def test_killed_at_any_point_it_goes_on_to_the_same_page(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = list[str]()
    train_epoch, report, end = Trainer._train_epoch, Journal.report, Journal.end
    kills = {("epoch", "0001-1"), ("report", 2), ("end", 3), ("reported", 4)}

    def dies(*point: Any) -> None:
        if point in kills:
            kills.remove(point)
            raise KeyboardInterrupt

    def epoch(trainer: Trainer) -> None:
        dies("epoch", f"{trainer.run.path.name}-{trainer.progress.epoch}")
        train_epoch(trainer)
        trained.append(f"{trainer.run.path.name}-{trainer.progress.epoch}")

    def reported(journal: Journal, number: int, *given: Any) -> None:
        dies("report", number)  # an epoch is over and its state saved, and nobody was told
        report(journal, number, *given)
        dies("reported", number)

    def ended(journal: Journal, number: int, **given: Any) -> None:
        dies("end", number)
        end(journal, number, **given)

    monkeypatch.setattr(Trainer, "_train_epoch", epoch)
    monkeypatch.setattr(Journal, "report", reported)
    monkeypatch.setattr(Journal, "end", ended)
    for _ in range(4):
        assert main(words(tmp_path)) == 130
        assert not (tmp_path / "tuned" / "results.md").exists()
    assert not kills
    assert main(words(tmp_path)) == 0
    for name in FILES:
        assert (tmp_path / "tuned" / name).read_bytes() == (whole / "tuned" / name).read_bytes(), name
    assert len(trained) == len(set(trained)) == sum(len(epochs_of(run)) for run in (whole / "tuned" / "trials").iterdir())
    trained.clear()
    assert main(words(tmp_path)) == 0
    assert trained == []
    assert (tmp_path / "tuned" / "results.md").read_bytes() == (whole / "tuned" / "results.md").read_bytes()


def test_the_best_settings_can_be_trained_again(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = whole / "tuned" / "conf" / "experiment" / "best.yaml"
    told = file.read_text().splitlines()[1].partition(": medzoo train ")[2].split()
    assert told == ["--config-dir", "tuned/conf", "experiment=best", "device=cpu", "run=..."]
    assert main(["show", "train", "--config-dir", str(whole / "tuned" / "conf"), *told[2:-1], "evaluate=false"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    best = max((row for row in rows(whole) if row["state"] == "done"), key=lambda row: float(row["value"]))
    config = yaml.safe_load((whole / "tuned" / "trials" / f"000{best['trial']}" / "config.yaml").read_text())
    assert {**shown, "run": None} == {**config, "run": None}


@pytest.mark.slow
def test_the_command_killed_by_the_system_goes_on_to_the_same_page(whole: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "medzoo", *words(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch 2/3"):
                process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert any(trial.state == TrialState.RUNNING for trial in Journal(tmp_path / "tuned").trials())
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "best: trial" in done.stdout
    assert (tmp_path / "tuned" / "results.md").read_bytes() == (whole / "tuned" / "results.md").read_bytes()


@pytest.mark.slow
def test_two_processes_share_a_folder(tmp_path: Path) -> None:
    text = SEARCH.replace("trainer.epochs=3", "trainer.epochs=1").replace("trials: 5", "trials: 4")
    text = text.replace("{tpe: {startup: 2}}", "random").replace("{halving: {factor: 2}}", "none")
    command = [sys.executable, "-m", "medzoo", *words(tmp_path, text)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    begun = [line.split()[2] for text in said for line in text.splitlines() if line.startswith("== trial")]
    assert sorted(begun) == ["0", "1", "2", "3"]  # each in one of them
    assert [row["state"] for row in rows(tmp_path)] == ["done"] * 4
    assert [trial.params for trial in Journal(tmp_path / "tuned").trials()] == foresee(Asked.read(tmp_path / "search.yaml", []))


def test_what_fails_is_recorded_and_the_best_is_tested_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"""
space:
  recipe:
    choice:
      good: trainer.learning_rate=0.01
      infinite: trainer.learning_rate=1e30 trainer.optimizer=sgd trainer.clip=null
      refused: trainer.batch_size=1
common: {COMMON.replace("trainer.batch_size=16", "")} trainer.epochs=1 evaluation.replicates=20
sampler: grid
test: true
"""
    evaluated = list[Any]()
    evaluate = tune.evaluate.main
    monkeypatch.setattr(tune.evaluate, "main", lambda config: (evaluated.append(config), evaluate(config)))
    assert main(words(tmp_path, text)) == 0
    assert "2 failed" in capsys.readouterr().out
    found = {row["recipe"]: row for row in rows(tmp_path)}
    assert {name: row["state"] for name, row in found.items()} == {"good": "done", "infinite": "failed", "refused": "failed"}
    assert "loss is nan" in found["infinite"]["failed"]
    assert "trainer.batch_size at least 2" in found["refused"]["failed"]
    (config,) = evaluated
    assert config.run.endswith(f"000{found['good']['trial']}")
    run = RunDirectory(Path(config.run))
    reached = json.loads(run.metrics.read_text())["splits"]["test"]["metrics"]["auroc"]["value"]
    page = (tmp_path / "tuned" / "results.md").read_text()
    assert f"On test, looked at once, after the last trial: auroc {reached:.4f}" in page
    assert "trainer.batch_size at least 2" in page
    assert main(words(tmp_path, text)) == 0
    assert len(evaluated) == 1
    assert (tmp_path / "tuned" / "results.md").read_text() == page


def test_all_failed_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = SEARCH.replace("trainer.epochs=3", "trainer.epochs=0").replace("trials: 5", "trials: 2")
    assert main(words(tmp_path, text)) == 2
    error = capsys.readouterr().err
    assert "all 2 trials failed; trial 0: trainer.epochs" in error
    assert error.count("\n") == 1


def test_a_trial_of_another_process_is_left_to_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = SEARCH.replace("trials: 5", "trials: 2").replace("trainer.epochs=3", "trainer.epochs=1")
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_train_epoch", lambda trainer: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main(words(tmp_path, text)) == 130
    with FileLock(tmp_path / "tuned" / "locks" / "0000.lock"):
        assert main(words(tmp_path, text)) == 0
        assert "1 trials are being run by other processes" in capsys.readouterr().out
        assert [row["state"] for row in rows(tmp_path)] == ["not done", "done"]
    assert main(words(tmp_path, text)) == 0  # it was let go of
    assert [row["state"] for row in rows(tmp_path)] == ["done", "done"]


def test_inner_folds_are_averaged_and_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = SEARCH.replace("trials: 5", "trials: 1\ninner: 2").replace("trainer.epochs=3", "trainer.epochs=2")
    train_epoch, kills = Trainer._train_epoch, [True]

    def epoch(trainer: Trainer) -> None:
        if trainer.run.path.name == "fold-1" and trainer.progress.epoch == 1 and kills:
            kills.clear()
            raise KeyboardInterrupt
        train_epoch(trainer)

    monkeypatch.setattr(Trainer, "_train_epoch", epoch)
    assert main(words(tmp_path, text)) == 130
    assert main(words(tmp_path, text)) == 0
    (row,) = rows(tmp_path)
    runs = [tmp_path / "tuned" / "trials" / "0000" / f"fold-{fold}" for fold in (0, 1)]
    reached = [max(float(epoch["val_auroc"]) for epoch in epochs_of(run)) for run in runs]
    assert float(row["value"]) == pytest.approx(mean(reached), abs=1e-12)
    val = [set(load_dataset(**RunDirectory(run).settings()["data"]).rows("val")["sample_id"]) for run in runs]
    assert not val[0] & val[1]


def test_what_learns_at_once_is_judged_too(tmp_path: Path) -> None:
    common = f"{COMMON} trainer.finetune=linear trainer.probe=solved".replace("trainer.batch_size=16", "").replace(
        "trainer.trackers=[]", ""
    )
    text = f"space: {{model.preprocess.size: {{choice: [16, 24]}}}}\ncommon: {common}\nsampler: grid\n"
    assert main(words(tmp_path, text)) == 0
    for row in rows(tmp_path):
        history = epochs_of(tmp_path / "tuned" / "trials" / f"000{row['trial']}")
        assert float(row["value"]) == max(float(tried["val_auroc"]) for tried in history)


@pytest.fixture
def unreadable(tmp_path: Path) -> Path:
    """Return a folder of images whose test split no decoder can read."""
    rng = np.random.default_rng(0)
    for split, patients in (("train", 16), ("val", 8), ("test", 6)):
        for number in range(patients):
            path = tmp_path / "images" / split / "ab"[number % 2] / f"{split}{number}_0.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            if split == "test":
                path.write_bytes(b"not an image")
            else:
                pixels = rng.integers(0, 250, (16, 16)) + 5 * (number % 2)
                Image.fromarray(pixels.astype(np.uint8)).save(path)
    return tmp_path / "images"


def test_no_trial_reads_the_test_split_and_outer_folds_tell_the_optimism(
    unreadable: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = f"data=folder data.root={unreadable} data.channels=1 data.val_fraction=0.3 model.backbone=test_resnet "
    common += "model.preprocess.size=16 trainer.epochs=1 trainer.batch_size=8 trainer.trackers=[] device=cpu"
    text = f"space: {{trainer.learning_rate: {{choice: [0.02, 0.01]}}}}\ncommon: {common}\ntrials: 1\nsampler: random\nfolds: 2\n"
    assert main(words(tmp_path, text)) == 0
    tuned = tmp_path / "tuned"
    assert main(["evaluate", f"run={tuned / 'trials' / '0000'}", "evaluation.replicates=0"]) == 2  # it cannot be read
    assert "test" in capsys.readouterr().err
    # The outer folds part train and val between them; within one nothing but its own rest is learnt from and chosen by.
    own = load_dataset("folder", root=unreadable, channels=1).table
    known, left_out, judged = set(own[own["split"] != "test"]["sample_id"]), list[set[str]](), list[tuple[float, float]]()
    for fold in (0, 1):
        (run,) = (tuned / "outer" / str(fold) / "trials").iterdir()
        table = load_dataset(**RunDirectory(run).settings()["data"]).table
        parts = {split: set(table[table["split"] == split]["sample_id"]) for split in ("train", "val", "test")}
        assert set.union(*parts.values()) == known
        assert sum(map(len, parts.values())) == len(known)
        left_out.append(parts["test"])
        assert main(["evaluate", f"run={run}", "evaluation.splits=[val,test]", "evaluation.replicates=0"]) == 0
        told = json.loads(RunDirectory(run).metrics.read_text())["splits"]
        judged.append((told["val"]["metrics"]["auroc"]["value"], told["test"]["metrics"]["auroc"]["value"]))
    assert left_out[0] | left_out[1] == known
    assert not left_out[0] & left_out[1]
    page = (tuned / "results.md").read_text()
    for fold, (inner, outer) in enumerate(judged):
        assert f"| {fold} | 0 | {inner:.4f} | {outer:.4f} | {inner - outer:+.4f} |" in page
    found = [inner - outer for inner, outer in judged]
    low, high = stats.t.interval(0.95, 1, mean(found), stdev(found) * np.sqrt(1 / 2 + 1 / 1))
    assert f"Optimism of the search: {mean(found):+.4f} [{low:+.4f}, {high:+.4f}]" in page


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("trainer.optimizer:", "trainer.optimiser:"), "trial 0: unknown setting 'trainer.optimiser'"),
        (("[adamw, sgd]", "[adamw, [1]]"), "trainer.optimizer: "),
        (("trainer.optimizer: {choice: [adamw, sgd]}", "data.seed: {choice: [0, 1]}"), "validates on other rows or labels"),
        (
            (
                "trainer.optimizer: {choice: [adamw, sgd]}\ncommon:",
                "loss.label_smoothing: {choice: [0.0, 0.3]}\ncommon: trainer.monitor=loss",
            ),
            "minimises another loss than trial 0",
        ),
        (("trainer.optimizer: {choice: [adamw, sgd]}", "model: {choice: [ssl, cnn]}"), "what the two reach cannot be compared"),
        (("data.patients=24", "data.patients=2"), "patients=2 is not a whole number"),
        (("trainer.optimizer: {choice: [adamw, sgd]}", "model.backbone: {choice: [test_resnet, resnt]}"), "resnt"),
        (("trainer.epochs=3", "trainer.epochs=3 data.domain=site\nfolds: 2"), "site"),
    ],
)
def test_mistakes_are_one_line_before_anything_is_trained(
    change: tuple[str, str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = SEARCH.replace(*change).replace(
        "model.backbone=test_resnet", "" if "resnt" in message else "model.backbone=test_resnet"
    )
    assert main(words(tmp_path, text)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "tuned").exists()


def test_a_folder_keeps_to_its_search(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(whole / "tuned", tmp_path / "tuned")

    def mistake(*arguments: str, text: str = SEARCH) -> str:
        assert main([*words(tmp_path, text), *arguments]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    assert "was begun with another space and seed" in mistake(text=SEARCH.replace("1e-3", "1e-4") + "seed: 1\n")
    assert "was begun with another common" in mistake("trainer.ema=0.9")
    assert main([*words(tmp_path), "--list"]) == 0
    assert "5 trials begun" in capsys.readouterr().out
    (tmp_path / "tuned" / "tune.json").write_text("[1]")
    assert "is damaged" in mistake()
    (tmp_path / "tuned" / "tune.json").unlink()
    assert "holds no search" in mistake()
    assert main(["tune", "data=phantom", "trainer.epochs=int(1,2)", "--trials", "1"]) == 2
    assert "--output" in capsys.readouterr().err
    assert main(["tune", "data=phantom", "search.yaml"]) == 2
    assert "'search.yaml' is no setting" in capsys.readouterr().err


def test_torchrun_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(words(tmp_path)) == 2
    assert "medzoo tune is the work of one process: start it without torchrun" in capsys.readouterr().err


def test_weights_of_rows_may_be_searched_for_they_count_in_training_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["image,patient,split,label,sure"]
    for i in range(24):
        Image.fromarray(np.full((16, 16), 100 * (i % 2) + i, np.uint8)).save(tmp_path / f"{i}.png")
        lines.append(f"{i}.png,p{i},{('train', 'train', 'val')[i // 2 % 3]},{'no' if i % 2 else 'yes'},{1 + i % 3}")
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    text = f"""
space: {{data.weight: {{choice: [null, sure]}}}}
common: data=table data.file={tmp_path / "rows.csv"} data.group=patient data.split=split data.target=label device=cpu
  model.backbone=test_resnet model.preprocess.size=16 trainer.augment=none trainer.epochs=1
sampler: grid
"""
    assert main(words(tmp_path, text)) == 0, capsys.readouterr().err
    assert [row["state"] for row in rows(tmp_path)] == ["done", "done"]
