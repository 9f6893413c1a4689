"""`medzoo ensemble`: a mean of runs is a run like any other, one file, and no member has learnt from what it is judged on."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import medzoo
from medzoo.cli import main
from medzoo.data.registry import load_dataset
from medzoo.data.samples.sample_dataset import SampleDataset, collate
from medzoo.data.splits.learnt_from import FILE, LearntFrom, record
from medzoo.evaluation.predictions import Predictions
from medzoo.export import OnnxModel
from medzoo.store.checkpoint import find_checkpoint, tensors_from_file
from medzoo.store.spec import ModelSpec
from medzoo.tasks.load import load_checkpoint

SHORT = [
    "data=phantom", "data.size=32", "data.patients=40", "model.backbone=test_resnet", "trainer.trackers=[]", "trainer.epochs=1",
    "trainer.batch_size=16", "evaluation.replicates=10", "device=cpu",
]  # fmt: skip


@pytest.fixture(scope="module")
def members(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs from scratch that look at images of different sizes, and two that go on from the first."""
    folder = tmp_path_factory.mktemp("members")
    start = [f"model.backbone={trained_run}", "evaluate=false"]
    assert main(["train", *SHORT, "seed=1", "model.preprocess.size=40", f"run={folder / 'other'}"]) == 0
    for seed in (3, 4):
        assert main(["train", *SHORT, *start, f"seed={seed}", f"run={folder / f'on{seed}'}"]) == 0
    return [trained_run, folder / "other", folder / "on3", folder / "on4"]


@pytest.fixture(scope="module")
def ensemble(members: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("ensemble") / "run"
    assert main(["ensemble", *map(str, members[:2]), "--run", str(run), "--device", "cpu"]) == 0
    return run


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(["ensemble", *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_it_is_evaluated_compared_and_reported_as_any_run(
    ensemble: Path, members: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    before = Predictions.read(ensemble / "predictions.parquet")
    assert main(["evaluate", f"run={ensemble}", "evaluation.replicates=10", "device=cpu"]) == 0
    assert np.array_equal(before.logits, Predictions.read(ensemble / "predictions.parquet").logits)
    capsys.readouterr()
    assert main(["compare", str(members[0]), str(ensemble)]) == 0
    assert "mean of probabilities of 2 runs (run, other)" in capsys.readouterr().out
    assert main(["report", f"run={ensemble}", "cases=0"]) == 0


def test_its_answers_are_the_mean_of_its_members(ensemble: Path, members: list[Path]) -> None:
    parts = [Predictions.read(run / "predictions.parquet") for run in members[:2]]
    found = Predictions.read(ensemble / "predictions.parquet")
    assert list(found.sample_id) == list(parts[0].sample_id)
    mean = np.mean([part.probabilities.astype(np.float64) for part in parts], axis=0)
    assert np.allclose(found.probabilities, mean, atol=1e-6)
    truth = found.targets == 1
    losses = [-np.log(one[truth]).mean() for one in (found.probabilities, *(part.probabilities for part in parts))]
    assert losses[0] <= np.mean(losses[1:]) + 1e-6


def test_one_file_holds_the_mean_to_a_hundred_thousandth(ensemble: Path, members: list[Path]) -> None:
    assert main(["export", f"run={ensemble}", "images=8"]) == 0
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (48, 44, 1), dtype=np.uint8) for _ in range(9)]
    in_torch = np.mean([medzoo.load(run).predict(images)["probabilities"].astype(np.float64) for run in members[:2]], axis=0)
    for said in (OnnxModel(ensemble / "model.onnx").predict(images), medzoo.load(ensemble).predict(images)):
        assert np.abs(said["probabilities"] - in_torch).max() < 1e-5


def test_saved_and_loaded_it_says_the_same(ensemble: Path) -> None:
    task = load_checkpoint(find_checkpoint(ensemble))
    assert task.spec == ModelSpec.read(ensemble / "spec.json")
    batch = {"image": torch.randint(0, 256, (3, 1, 32, 32), dtype=torch.uint8)}
    again = load_checkpoint(find_checkpoint(ensemble))
    assert torch.equal(task.predict(batch)["logits"], again.predict(batch)["logits"])
    assert task.features(batch).shape[0] == 3


def test_each_member_sees_a_larger_file_by_its_own_preprocessing(ensemble: Path) -> None:
    dataset = load_dataset("phantom", size=64, patients=8)
    model = medzoo.load(ensemble)
    samples = SampleDataset(dataset, "train", model.spec.preprocess)
    model.task.prepare(samples, dataset)
    batch = collate([samples[0], samples[1]])
    assert list(samples.others) == ["image.1"]
    assert batch["image.1"].shape[2:] == (40, 40)
    said = model.predict([samples.pixels(0), samples.pixels(1)])["logits"]
    assert np.array_equal(model.task.predict(batch)["logits"].numpy(), said)


def test_fitted_votes_lose_no_more_than_equal_ones_on_val(members: list[Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(["ensemble", *map(str, members[:2]), "--votes", "--run", str(run), "--how", "logits", "--device", "cpu"]) == 0
    votes = ModelSpec.read(run / "spec.json").objective["votes"]
    assert sum(votes) == pytest.approx(1)
    details = json.loads((run / "metrics.json").read_text())["details"]
    assert details["chosen_by"] == "val loss, which the votes were fitted to"  # so its figures on val are too good
    parts = [Predictions.read(one / "predictions.parquet").of_split("val") for one in members[:2]]

    def loss(weights: list[float]) -> float:
        mean = sum(w * part.logits.astype(np.float64) for w, part in zip(weights, parts, strict=True))
        shown = torch.from_numpy(np.asarray(mean))
        return float(nn.functional.cross_entropy(shown, torch.from_numpy(parts[0].targets.argmax(axis=1))))

    assert loss(votes) <= loss([0.5, 0.5]) + 1e-9
    assert loss(votes) <= min(loss([share, 1 - share]) for share in np.linspace(0, 1, 21)) + 1e-6


def test_the_mean_of_weights_of_one_start_is_one_network(members: list[Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(["ensemble", *map(str, members[2:]), "--how", "weights", "--run", str(run), "--device", "cpu"]) == 0
    states = [tensors_from_file(find_checkpoint(one) / "model.safetensors") for one in (*members[2:], run)]
    norms = [name for name in states[0] if name.endswith(("running_mean", "running_var"))]
    for name in set(states[0]) - set(norms):
        if states[0][name].is_floating_point():
            assert torch.allclose(states[2][name], (states[0][name] + states[1][name]) / 2, atol=1e-6), name
    assert norms
    # Of the mean network, not the mean of the networks' own.
    assert any(not torch.allclose(states[2][n], (states[0][n] + states[1][n]) / 2, rtol=1e-3) for n in norms)
    assert ModelSpec.read(run / "spec.json").family == "cnn"


def test_unrelated_networks_are_not_averaged(members: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert "did not start from the same weights" in refused(capsys, str(members[0]), str(members[2]), "--how", "weights")
    assert "in its arguments" in refused(capsys, str(members[0]), str(members[1]), "--how", "weights")
    assert "leave one out" in refused(capsys, str(members[2]), str(members[3]), "--how", "weights", "--votes")


def test_networks_whose_start_is_not_there_are_not_averaged(
    members: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From two runs at relative paths, of one seed: elsewhere both would pass for random weights of that seed."""
    monkeypatch.chdir(tmp_path)
    for name, run in zip("ab", (members[0], members[2]), strict=True):
        shutil.copytree(run, tmp_path / f"start_{name}")
        assert main(["train", *SHORT, f"model.backbone=start_{name}", "evaluate=false", f"run={tmp_path / name}"]) == 0
    both = (str(tmp_path / "a"), str(tmp_path / "b"), "--how", "weights", "--device", "cpu")
    assert "did not start from the same weights" in refused(capsys, *both)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert f"{tmp_path / 'a'} started from the run start_a, which is not there" in refused(capsys, *both)


def test_a_network_within_a_member_votes_once(
    ensemble: Path, members: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nested = tmp_path / "nested"
    assert main(["ensemble", str(ensemble), str(members[2]), "--run", str(nested), "--device", "cpu"]) == 0
    for one, other in ((ensemble, members[1]), (members[0], ensemble), (nested, members[0]), (nested, ensemble)):
        said = refused(capsys, str(one), str(other))
        assert f"{other} and {one} hold the same trained network, which would vote twice" in said


def test_other_labels_are_refused(members: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other"
    shutil.copytree(members[1], other)
    for spec in other.rglob("spec.json"):
        spec.write_text(spec.read_text().replace('"cyst"', '"sac"'))
    error = refused(capsys, str(members[0]), str(other))
    assert f"{other} has other labels than {members[0]}: multiclass normal, sac" in error
    assert "at least two runs" in refused(capsys, str(members[0]))
    assert "its own data" in refused(capsys, *map(str, members[:2]), "--data", "size=48")
    assert "KEY=VALUE" in refused(capsys, *map(str, members[:2]), "--data", "size")
    assert "the same weights" in refused(capsys, str(members[0]), str(members[0]))


def also_learnt_from(run: Path, folder: Path, split: str) -> Path:
    """Return a copy of a run whose record says that it has been trained on another split, too."""
    shutil.copytree(run, folder)
    dataset = load_dataset("phantom", size=32, patients=40)
    swapped = dataset.table["split"].replace({"train": split, split: "train"})
    file = folder / "assets" / FILE
    more = record(dataset.with_table(dataset.table.assign(split=swapped)))
    file.write_bytes(replace(LearntFrom.from_bytes(file.read_bytes()), train=more.train).to_bytes())
    return folder


def test_a_member_that_learnt_from_test_rows_is_named(
    members: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leaky = also_learnt_from(members[1], tmp_path / "leaky", "test")
    error = refused(capsys, str(members[0]), str(leaky), "--run", str(tmp_path / "none"))
    assert f"{leaky} cannot be judged here" in error
    assert "has learnt from" in error
    assert not (tmp_path / "none").exists()


def test_members_that_learnt_from_each_others_val_rows_are_judged_on_test_alone(
    members: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [str(members[0]), str(also_learnt_from(members[1], tmp_path / "fold", "val"))]
    assert "fitted on the val split" in refused(capsys, *runs, "--votes")
    assert main(["ensemble", *runs, "--run", str(tmp_path / "run"), "--device", "cpu"]) == 0
    assert "val is left out" in capsys.readouterr().out
    assert list(json.loads((tmp_path / "run" / "metrics.json").read_text())["splits"]) == ["test"]
    assert main(["evaluate", f"run={tmp_path / 'run'}", "device=cpu"]) == 2
    assert "has learnt from" in capsys.readouterr().err


def test_nobody_goes_on_from_an_ensemble(ensemble: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *SHORT, f"model.backbone={ensemble}"]) == 2
    assert "one of its members" in capsys.readouterr().err
    assert main(["train", f"resume={ensemble}"]) == 2
    assert "no training to go on with" in capsys.readouterr().err
