"""A linear probe that is solved: scikit-learn's answer in the head, the penalty the monitor likes best, an honest record."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from medzoo.cli import main
from medzoo.data import load_dataset
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.inference.devices import make_accelerator
from medzoo.inference.run import Runner
from medzoo.models.heads.solved_layer import PROBE_PENALTIES
from medzoo.models.registry import create_model
from medzoo.store.checkpoint import find_checkpoint, tensors_from_file
from medzoo.store.directory import RunDirectory
from medzoo.tasks.load import load_checkpoint
from medzoo.tasks.probe import PATIENCE
from medzoo.train.state import training_left

PHANTOM = {"size": 24, "patients": 40}
TINY = ["data=phantom", *(f"data.{k}={v}" for k, v in PHANTOM.items()), "model.backbone=test_resnet", "trainer.trackers=[]"]
PROBE = [*TINY, "trainer.finetune=linear", "evaluation.replicates=10"]


def probed(run: Path, *options: str) -> dict:
    """Train a probe and return its spec."""
    assert main(["train", *PROBE, *options, f"run={run}"]) == 0
    return json.loads((run / "spec.json").read_text())


def tensors(run: Path) -> dict[str, torch.Tensor]:
    return tensors_from_file(find_checkpoint(run) / "model.safetensors")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("probe") / "run"
    probed(run)
    return run


def features_and_codes(run: Path, split: str) -> tuple[NDArray, NDArray]:
    task = load_checkpoint(find_checkpoint(run))
    samples = SampleDataset(load_dataset("phantom", **PHANTOM), split, task.spec.preprocess)
    features = Runner(make_accelerator("cpu")).features(task, samples)
    return features.numpy().astype(np.float64), samples.targets.argmax(1)


def test_the_run_predicts_what_scikit_learn_does_from_its_features(run: Path) -> None:
    """The whole way: standardisation, the fit, the choice by AUROC, and the folding into the head."""
    seen = {split: features_and_codes(run, split) for split in ("train", "val", "test")}
    scaler = StandardScaler().fit(seen["train"][0])
    inputs = {split: scaler.transform(features) for split, (features, _) in seen.items()}
    fitted, scores = {}, {}
    for penalty in PROBE_PENALTIES:
        fitted[penalty] = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=20000).fit(inputs["train"], seen["train"][1])
        scores[penalty] = roc_auc_score(seen["val"][1], fitted[penalty].predict_proba(inputs["val"]), multi_class="ovr")
    training = json.loads((run / "spec.json").read_text())["training"]
    tried = [row["penalty"] for row in training["tried"]]
    assert tried == list(PROBE_PENALTIES[: len(tried)])
    assert len(tried) == min(tried.index(training["penalty"]) + PATIENCE + 1, len(PROBE_PENALTIES))
    for row in training["tried"]:
        assert row["val_auroc"] == pytest.approx(scores[row["penalty"]], abs=1e-6)
    assert scores[training["penalty"]] == pytest.approx(max(scores[penalty] for penalty in tried))
    frame = pd.read_parquet(run / "predictions.parquet")
    ours = frame.loc[frame["split"] == "test", [c for c in frame.columns if c.startswith("prob.")]].to_numpy()
    np.testing.assert_allclose(ours, fitted[training["penalty"]].predict_proba(inputs["test"]), atol=1e-5)


def test_the_record_says_what_was_tried_and_the_head_alone_changed(run: Path) -> None:
    training = json.loads((run / "spec.json").read_text())["training"]
    learnt = len(features_and_codes(run, "train")[1])
    assert (training["probe"], training["monitor"], training["samples"]) == ("solved", "auroc", learnt)
    with (run / "history.csv").open() as opened:
        rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(opened)]
    assert rows == training["tried"]
    report = json.loads((run / "metrics.json").read_text())
    assert report["splits"]["val"]["metrics"]["auroc"]["value"] == pytest.approx(max(row["val_auroc"] for row in rows))
    assert report["details"]["chosen_by"].startswith("val auroc of ")
    assert not (run / "state").exists()
    start = create_model("test_resnet", outputs=4, channels=1, size=(24, 24), small_stem=True, seed=0).state_dict()
    after = tensors(run)
    assert {name for name in start if not torch.equal(start[name], after[name])} == {"fc.weight", "fc.bias"}


def test_equal_commands_have_equal_files_whoever_reads_the_images(run: Path, tmp_path: Path) -> None:
    probed(tmp_path / "again", "trainer.workers=1", "trainer.probe=solved")
    for file in ("spec.json", "history.csv", "predictions.parquet", "checkpoints/fitted/model.safetensors"):
        assert (run / file).read_bytes() == (tmp_path / "again" / file).read_bytes(), file


@pytest.mark.slow
def test_the_monitor_chooses_and_a_loss_is_the_least(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = {}
    for monitor, best in (("loss", min), ("kappa", max)):
        training = probed(tmp_path / monitor, "data.labels=ordinal", f"trainer.monitor={monitor}", "evaluate=false")["training"]
        by = {row["penalty"]: row[f"val_{monitor}"] for row in training["tried"]}
        wanted = best(by.values())
        assert training["penalty"] == max(penalty for penalty, value in by.items() if value == wanted)
        chosen[monitor] = training["penalty"]
    words = f"penalty {chosen['kappa']:g} (C = {1 / chosen['kappa']:g}), of {len(by)} tried the best: val kappa"
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "loss"),
    [
        (["data.labels=multilabel"], "binary_cross_entropy"),
        (["data.labels=regression"], "squared_error"),
        (["data.labels=ordinal", "loss=corn"], "corn"),
        pytest.param(["data.labels=binary", "loss.class_weights=balanced"], "cross_entropy", marks=pytest.mark.slow),
    ],
)
def test_every_kind_learns_and_is_evaluated_as_it_was(options: list[str], loss: str, tmp_path: Path) -> None:
    spec = probed(tmp_path / "run", *options, "evaluation.splits=[val]")
    assert spec["objective"]["loss"] == loss
    tried = spec["training"]["tried"]
    assert tried[0]["train_loss"] > 1.02 * tried[-1]["train_loss"]  # the weaker the penalty, the closer the fit
    before = pd.read_parquet(tmp_path / "run" / "predictions.parquet")
    assert main(["evaluate", f"run={tmp_path / 'run'}", "evaluation.splits=[val]", "evaluation.replicates=10"]) == 0
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "run" / "predictions.parquet"), before)


STEPS = {
    "trainer.epochs=1": "trainer.epochs=1 is for steps",
    "trainer.learning_rate=0.01": "trainer.learning_rate=0.01 is for steps",
    "trainer.sampling=balanced": "trainer.sampling=balanced is for steps",
    "trainer.augment=fundus": "trainer.augment is for steps",
    "trainer.cache_features=false": "trainer.cache_features=false is for steps",
    "loss=cumulative": "loss=cumulative has no solution at once",
    "loss=focal": "loss=focal has no solution at once",
    "loss=smooth_l1": "loss=smooth_l1 has no solution at once",
    "model=cbm": "a head of task 'bottleneck' has no solution at once",
}
LABELS = {"loss=cumulative": "ordinal", "loss=focal": "multilabel", "loss=smooth_l1": "regression"}


def asked(setting: str) -> list[str]:
    named = setting if setting != "loss=smooth_l1" else "loss.name=smooth_l1"
    model = ["model.backbone=test_resnet"] if setting == "model=cbm" else []
    return [*model, named, f"data.labels={LABELS.get(setting, 'multiclass')}"]


@pytest.mark.parametrize("setting", STEPS)
def test_what_asks_for_steps_cannot_be_solved(setting: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *PROBE, *asked(setting), "trainer.probe=solved", f"run={tmp_path / 'x'}"]) == 2
    error = capsys.readouterr().err
    assert f"trainer.probe=solved: {STEPS[setting]}" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "x").exists()


def test_a_bottleneck_of_quantities_is_told_so_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*asked("model=cbm")[:-1], "data.labels=regression", "trainer.probe=solved"]
    assert main(["train", *PROBE, *words, f"run={tmp_path / 'x'}"]) == 2
    assert "a head of task 'bottleneck' has no solution at once" in capsys.readouterr().err


def test_trackers_have_no_course_to_follow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["trainer.trackers=[tensorboard]", "trainer.probe=solved"]
    assert main(["train", *PROBE, *words, f"run={tmp_path / 'x'}"]) == 2
    assert "trainer.trackers=['tensorboard'] is for steps" in capsys.readouterr().err


@pytest.mark.parametrize("setting", ["trainer.epochs=1", "loss=cumulative"])
def test_and_by_default_takes_them_and_says_why(setting: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = ["trainer.epochs=1", "evaluate=false"] if setting.startswith("trainer") else ["evaluate=false"]
    spec = probed(tmp_path / "run", *asked(setting), *short)
    assert f"note: the probe is trained by steps, not solved: {STEPS[setting]}" in capsys.readouterr().out
    assert "training" not in spec
    assert (tmp_path / "run" / "history.csv").read_text().startswith("epoch,")


def test_sgd_is_still_to_be_had_and_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = probed(tmp_path / "run", "trainer.probe=sgd", "trainer.epochs=2", "evaluate=false")
    assert "by steps" not in capsys.readouterr().out
    assert "training" not in spec
    assert (tmp_path / "run" / "state" / "latest").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["trainer.probe=lbfgs"], "unknown trainer.probe 'lbfgs'"),
        (["trainer.probe=solved", "trainer.finetune=full"], "trainer.probe=solved is for trainer.finetune=linear"),
        (["trainer.probe=sgd", "trainer.finetune=partial"], "trainer.probe=sgd is for trainer.finetune=linear"),
        (["data.labels=multilabel", "trainer.monitor=kappa"], "kappa"),
    ],
)
def test_what_cannot_be_is_one_line(options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *PROBE, *options, f"run={tmp_path / 'x'}"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "x").exists()


def test_a_solved_run_has_nothing_to_resume_and_was_not_stopped(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", f"resume={run}"]) == 2
    assert "has no training to go on with" in capsys.readouterr().err
    assert training_left(RunDirectory(run)) == ""


def test_compare_names_the_way(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(run)]) == 0
    assert "test_resnet at 24x24, from scratch, cross_entropy, linear, solved, penalty by val auroc" in capsys.readouterr().out


def test_it_is_exported_as_any_classifier_and_is_a_start(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", f"run={run}", "images=8", f"output={tmp_path / 'model.onnx'}"]) == 0
    further = [*TINY, f"model.backbone={run}", "trainer.epochs=1", "trainer.learning_rate=1e-12", "evaluate=false"]
    assert main(["train", *[w for w in further if w != "model.backbone=test_resnet"], f"run={tmp_path / 'on'}"]) == 0
    assert "its last layer included" in capsys.readouterr().out
    torch.testing.assert_close(tensors(tmp_path / "on")["fc.weight"], tensors(run)["fc.weight"], rtol=0, atol=1e-6)
