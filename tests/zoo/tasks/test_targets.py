"""Several targets of one model, from settings to answers: each is trained, scored, shipped and asked for by its name."""

from __future__ import annotations

import json
import shutil
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import medzoo
from medzoo.cli import main
from medzoo.data.errors import ConfigError, MedzooError, TrainingError
from medzoo.data.registry import load_dataset
from medzoo.evaluation.monitor import monitor_value
from medzoo.evaluation.predictions import Predictions
from medzoo.export import OnnxModel
from medzoo.settings.schema import FusionConfig, LossConfig, ModelConfig
from medzoo.store.checkpoint import find_checkpoint, tensors_from_file
from medzoo.store.directory import RunDirectory
from medzoo.store.spec import ModelSpec
from medzoo.tasks.load import load_checkpoint
from medzoo.tasks.setup.families import task_from_config
from medzoo.tasks.targets import SeveralTargets
from medzoo.train import loop

TINY = {"patients": 16, "size": 16}
KINDS = ("multiclass", "ordinal", "multilabel", "regression")
OPTIONS = [
    "data=phantom", "data.size=16", "data.patients=24", "model.backbone=test_resnet", "trainer.epochs=2", "trainer.batch_size=16",
    "trainer.trackers=[]", "evaluation.replicates=20", "device=cpu",
]  # fmt: skip
SEVERAL = [
    "data.targets=[multiclass,regression,multilabel]", "loss.targets={regression: 0.5}", "trainer.monitor=regression.mae",
    "trainer.save_every=2",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("targets") / "run"
    asked = ["evaluation.operating_points=[youden]", "evaluation.calibration=temperature"]
    assert main(["train", *OPTIONS, *SEVERAL, *asked, f"run={path}"]) == 0
    assert main(["export", f"run={path}", "images=6"]) == 0
    return path


def built(targets: list[str], loss: LossConfig | None = None, **options: object) -> SeveralTargets:
    data = load_dataset("phantom", **{**TINY, "targets": targets, **options})
    fusion = FusionConfig(width=16, dropout=0.0) if options.get("modalities") else None
    asked = ModelConfig(family="fusion" if fusion else "cnn", backbone="test_resnet", fusion=fusion)
    task = task_from_config(asked, loss or LossConfig(), data, seed=0)
    assert isinstance(task, SeveralTargets)
    return task


def batch_of(task: SeveralTargets, targets: list[str], **options: object) -> dict[str, object]:
    samples = task.samples(load_dataset("phantom", **{**TINY, "targets": targets, **options}), "train")
    return torch.utils.data.default_collate([samples[index] for index in range(6)])


@pytest.mark.parametrize("pair", [*combinations(KINDS, 2), ("regression", "ordinal")])
def test_every_pair_of_kinds_learns_and_answers(pair: tuple[str, str]) -> None:
    loss = LossConfig(targets={name: {"name": "corn" if pair[0] == name else "cumulative"} for name in pair if name == "ordinal"})
    task = built(list(pair), loss)
    batch = batch_of(task, list(pair))
    found = task.train().training_step(batch)
    found["loss"].backward()
    assert all(parameter.grad is not None for parameter in task.model.parameters())
    outputs = {name: value.numpy() for name, value in task.eval().predict(batch).items()}
    answers, graph = task.answers(outputs), task.deploy()
    given = graph(batch["image"].movedim(1, -1))
    for name, value in zip(graph.outputs, given, strict=True):
        np.testing.assert_allclose(value.detach().numpy(), answers[name], rtol=1e-4, atol=1e-5)
    for name in set(pair) & {"multiclass", "ordinal"}:
        np.testing.assert_allclose(answers[f"{name}.probabilities"].sum(axis=1), 1, rtol=1e-5)


def test_what_one_target_lacks_leaves_the_gradient_of_the_others_untouched() -> None:
    names = ["multiclass", "regression"]
    task = built(names).eval()
    batch, gradients = batch_of(task, names), []
    whole, part = batch["target"].clone(), task.parts[1]
    for lacking in (0, 4, 6):
        batch["target"] = whole.clone()
        batch["target"][:lacking, task.parts[0].place] = torch.nan
        task.zero_grad()
        outputs = task.logits(batch)
        part.loss(outputs[:, part.place], batch["target"][:, part.place])[0].backward()
        own = [p.grad.clone() for p in task.model.parameters() if p.grad is not None]
        task.zero_grad()
        found = task.training_step(batch)
        found["loss"].backward()
        assert found["count"] == 6 - lacking + 6 * 2
        head = task.model.heads.modules_of("regression")[0].weight.grad
        gradients.append([*own, head.clone()])
    for other in gradients[1:]:
        assert all(torch.equal(one, two) for one, two in zip(gradients[0], other, strict=True))
    batch["target"][:] = torch.nan
    found = task.training_step(batch)
    assert found["loss"] == found["count"] == 0


@pytest.mark.parametrize(
    ("targets", "adds_up"),
    [
        (None, True),
        ({"multiclass": {"label_smoothing": 0.1}, "ordinal": 2}, True),
        ({"multiclass": {"class_weights": [9.0, 1.0, 1.0, 1.0]}}, False),
        ({"ordinal": {"name": "corn"}}, False),
        ({"multiclass": 0, "ordinal": {"name": "corn"}}, True),
    ],
)
def test_batches_add_up_where_each_has_the_same_share_of_what_every_target_counts(targets: Any, adds_up: bool) -> None:
    names = ["multiclass", "ordinal"]
    task = built(names, LossConfig(targets=targets)).double().eval()
    assert task.accumulates == adds_up
    samples = task.samples(load_dataset("phantom", **TINY, targets=names), "train")
    assert samples.targets is not None
    logits = torch.randn(*samples.targets.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    outputs, size = {"logits": logits.numpy()}, len(logits) // 4
    parts = [task._loss(*both) for both in zip(logits.split(size), torch.from_numpy(samples.targets).split(size), strict=True)]
    added = sum(float(loss) * float(count) for loss, count in parts) / sum(float(count) for _, count in parts)
    whole = float(task._loss(logits, torch.from_numpy(samples.targets))[0])
    assert (added == pytest.approx(whole, rel=1e-6)) == adds_up
    assert (task.whole_loss(outputs, samples, size) is None) == adds_up  # else in batches of the table's order, whoever has which
    samples.targets[0] = np.nan
    assert (task.whole_loss(outputs, samples, size) is None) == (adds_up and len([p for p in task.parts if p.weight]) == 1)


def test_a_target_of_weight_1_beside_one_of_weight_0_is_trained_as_alone(tmp_path: Path) -> None:
    once = [*OPTIONS, "evaluation.splits=[test]", "trainer.ema=0.9", "+model.arguments.drop_rate=0.2"]
    assert main(["train", *once, "data.missing=0.2", f"run={tmp_path / 'alone'}"]) == 0
    further = ["data.targets=[multiclass,regression]", "loss.targets={regression: 0}", "data.missing=0.2"]
    assert main(["train", *once, *further, f"run={tmp_path / 'both'}"]) == 0
    for which in ("best", "last"):
        alone, both = (
            tensors_from_file(find_checkpoint(tmp_path / name, which) / "model.safetensors") for name in ("alone", "both")
        )
        assert {f"backbone.{name}" for name in alone} == {name for name in both if not name.startswith("heads.")}
        assert all(torch.equal(tensor, both[f"backbone.{name}"]) for name, tensor in alone.items())
    untrained = built(["multiclass", "regression"], LossConfig(targets={"regression": 0}), patients=24, missing=0.2)
    first = untrained.model.heads.state_dict()
    assert all(torch.equal(tensor, both[f"heads.{name}"]) for name, tensor in first.items())
    own, other = (
        Predictions.read(path / "predictions.parquet") for path in (tmp_path / "alone", tmp_path / "both/targets/multiclass")
    )
    np.testing.assert_array_equal(own.logits, other.logits)
    reports = [
        json.loads((path / "metrics.json").read_text()) for path in (tmp_path / "alone", tmp_path / "both/targets/multiclass")
    ]
    assert reports[0]["splits"] == reports[1]["splits"]
    columns = ["epoch", "train_loss", "val_loss"]
    histories = [pd.read_csv(tmp_path / name / "history.csv")[columns] for name in ("alone", "both")]
    pd.testing.assert_frame_equal(*histories, check_exact=True)


def test_each_target_has_a_report_as_of_a_model_of_it_alone(run: Path) -> None:
    whole = json.loads((run / "metrics.json").read_text())
    assert list(whole["targets"]) == ["multiclass", "regression", "multilabel"]
    table = pd.read_parquet(run / "predictions.parquet")
    for name, report in whole["targets"].items():
        files = RunDirectory(run).of_target(name)
        assert report == json.loads(files.metrics.read_text())
        assert report["details"]["target"] == name
        own = Predictions.read(files.predictions)
        assert report["labels"] == own.labels.to_dict()
        assert report["splits"]["test"]["subgroups"]
        for place, label in enumerate(own.labels.names):
            assert np.array_equal(table[f"logit.{name}.{label}"], own.logits[:, place])
            assert np.array_equal(table[f"target.{name}.{label}"], own.targets[:, place], equal_nan=True)
    quantities, classes = whole["targets"]["regression"], whole["targets"]["multiclass"]
    assert "calibration" in classes["splits"]["test"]
    assert "recalibration" in classes
    assert "operating_points" in classes
    assert "recalibration" not in quantities
    assert "operating_points" not in quantities
    assert RunDirectory(run).of_target("multilabel").operating_points.is_file()


def test_the_epoch_is_chosen_by_the_named_target(run: Path) -> None:
    history = pd.read_csv(run / "history.csv")
    names = ["val_regression.mae", "val_multiclass.auroc", "val_multilabel.auroc"]
    assert set(names) <= set(history.columns)
    details = json.loads((run / "metrics.json").read_text())["details"]
    assert details["chosen_by"] == "val regression.mae"
    assert details["epoch"] == history["epoch"][history["val_regression.mae"].idxmin()]
    own = Predictions.read(run / "targets/regression/predictions.parquet").of_split("val")
    chosen = monitor_value(own.labels, own.targets, own.logits, "mae")  # in spreads of each: they have different units
    assert chosen == pytest.approx(history["val_regression.mae"].min(), rel=1e-5)
    errors = np.abs(own.logits - own.targets).mean(axis=0) / own.targets.astype(np.float64).std(axis=0)
    assert chosen == pytest.approx(errors.mean(), rel=1e-5)


def test_a_training_that_is_stopped_goes_on_to_the_same_bits(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = loop.Trainer._step

    def stopped(self, *given):
        if self.progress.step == 5:
            raise InterruptedError
        return step(self, *given)

    again = tmp_path / "again"
    with monkeypatch.context() as patched:
        patched.setattr(loop.Trainer, "_step", stopped)
        with pytest.raises(InterruptedError):
            main(["train", *OPTIONS, *SEVERAL, "evaluate=false", f"run={again}"])
    assert main(["train", f"resume={again}"]) == 0
    for which in ("best", "last"):
        one, other = (find_checkpoint(path, which) / "model.safetensors" for path in (run, again))
        assert one.read_bytes() == other.read_bytes()
    assert (run / "history.csv").read_bytes() == (again / "history.csv").read_bytes()


def test_the_file_says_what_the_model_says_of_every_target(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, loaded = OnnxModel(run / "model.onnx"), medzoo.load(run)
    assert model.labels is None
    assert list(model.targets) == list(loaded.targets) == ["multiclass", "regression", "multilabel"]
    images = sorted((run / "samples").glob("*.png"))
    theirs, ours = model.predict(images), loaded.predict(images)
    assert set(theirs) == set(ours) == {f"{name}.{kind}" for name in model.targets for kind in ("logits", "probabilities")}
    for name, values in ours.items():
        np.testing.assert_allclose(theirs[name], values, rtol=1e-3, atol=1e-4)
    proof = json.loads((run / "model.json").read_text())
    assert list(proof["targets"]) == list(model.targets)
    assert all(own["parity"]["relative"] <= 1e-3 for own in proof["targets"].values())
    assert proof["parity"]["relative"] == max(own["parity"]["relative"] for own in proof["targets"].values())
    capsys.readouterr()
    assert main(["predict", str(run / "model.onnx"), str(images[0])]) == 0
    line = capsys.readouterr().out
    assert [part.split(":")[0].split()[-1] for part in line.split("  |  ")] == ["multiclass", "regression", "multilabel"]
    assert "percent of width" in line
    assert main(["predict", str(run / "model.onnx"), str(images[0]), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["targets"]
    assert said["multiclass"]["probabilities"]["cyst"] == pytest.approx(float(theirs["multiclass.probabilities"][0, 1]))
    assert said["regression"]["units"] == {"diameter": "percent of width", "risk": "points"}


def test_verbs_take_one_target_by_its_folder(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run"
    shutil.copytree(run, path)
    assert main(["compare", str(path / "targets/multiclass")]) == 0
    page = capsys.readouterr().out
    assert "run/targets/multiclass" in page
    assert "3 targets at once" in page
    assert main(["report", f"run={path / 'targets/regression'}", "cases=0"]) == 0
    html = (path / "targets/regression/report.html").read_text()
    assert "diameter" in html
    (path / "metrics.json").unlink()
    assert main(["evaluate", f"run={path}", "predict=false", "evaluation.replicates=20", "evaluation.splits=[test]"]) == 0
    assert list(json.loads((path / "metrics.json").read_text())["targets"]["multilabel"]["splits"]) == ["test"]


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        (["compare", "{run}"], "answers for several targets: give the results of one"),
        (["report", "run={run}"], "answers for several targets: give the results of one"),
        (["robustness", "run={run}"], "several targets"),
        (["explain", "run={run}", "measure=deletion"], "several targets"),
        (["evaluate", "run={run}", "on=phantom"], "tests models of one target"),
        (["evaluate", "run={run}", "evaluation.tta=2"], "evaluation.tta is for models of one target"),
        (["export", "run={run}", "map=true"], "a head for each of several targets"),
        (["export", "run={run}", "calibrated=true"], "calibrated=true is for models of one target"),
    ],
)
def test_what_is_of_one_target_alone_says_so_in_a_line(
    run: Path, verb: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(str(path) for path in run.rglob("*"))
    assert main([word.format(run=run) for word in verb]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if line.startswith("medzoo: ")]) == 1
    assert said in lines[-1]
    assert sorted(str(path) for path in run.rglob("*")) == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["loss.targets={regression: -1}"], "the weight -1 is not a number of at least 0"),
        (["trainer.monitor=auroc"], "says of no target: write <target>.<metric>, such as multiclass.auroc"),
        (["trainer.monitor=tone.auroc"], "unknown target 'tone' in trainer.monitor=tone.auroc"),
        (["trainer.monitor=regression.auroc"], "unknown metric 'auroc' for regression labels"),
        (["trainer.monitor=regression.mae", "loss.targets={regression: 0}"], "has the weight 0 and is not trained"),
        (["trainer.metrics=true"], "trainer.metrics follows the answers for one target"),
        (["trainer.sampling=balanced"], "trainer.sampling=balanced is of one target's classes"),
        (["trainer.accumulate=2", "data.missing=0.2"], "or of several targets with labels missing"),
        (
            ["trainer.accumulate=2", "loss.targets={multiclass: {class_weights: balanced}}"],
            "or of several targets with labels missing, class weights or loss=corn",
        ),
        (["evaluation.embeddings=true"], "evaluation.embeddings is for models of one target"),
        (["model=cbm"], "model=cbm learns one target and would ignore the others"),
        (["model.neighbours=3"], "model.neighbours answers for one target"),
        (["data.targets=null", "loss.targets={regression: 1}"], "loss.targets weighs several targets, and the data have one"),
    ],
)
def test_mistakes_are_one_line_and_leave_no_run(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [*OPTIONS, "data.targets=[multiclass,regression]", *options, f"run={tmp_path / 'run'}"]
    assert main(["train", *asked]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert said in lines[0]
    assert not (tmp_path / "run").exists()


def test_a_target_that_no_training_sample_has_is_named() -> None:
    names = ["multiclass", "regression"]
    data = load_dataset("phantom", targets=names, **TINY)
    table = data.table.copy()
    table.loc[table["split"] == "train", ["targets.regression.diameter", "targets.regression.risk"]] = np.nan
    lacking = data.with_table(table)
    asked = ModelConfig(backbone="test_resnet")
    task = task_from_config(asked, LossConfig(), lacking, seed=0)
    with pytest.raises(TrainingError, match=r"target 'regression' is missing in all \d+ samples of the train split"):
        task.require(task.samples(lacking, "train"))
    ignored = task_from_config(asked, LossConfig(targets={"regression": 0}), lacking, seed=0)
    ignored.require(ignored.samples(lacking, "train"))


def test_another_dataset_s_targets_are_refused(run: Path) -> None:
    task = load_checkpoint(find_checkpoint(run, "best"))
    for options, said in (({"targets": ["multiclass", "regression"]}, "'multilabel': it has multiclass, regression"),
                          ({"labels": "multiclass"}, "it has one target alone"),
                          ({"targets": ["regression", "multiclass", "multilabel"]}, "has the targets regression")):  # fmt: skip
        with pytest.raises(ConfigError, match=said):
            task.samples(load_dataset("phantom", **TINY, **options), "val")


def test_a_spec_of_several_targets_keeps_their_order_and_gives_each_alone(run: Path) -> None:
    spec = ModelSpec.read(run / "spec.json")
    assert spec.labels is None
    assert list(spec.targets) == ["multiclass", "regression", "multilabel"]
    assert ModelSpec.from_dict(json.loads(spec.to_json())).hash == spec.hash
    alone = spec.of_target("regression")
    assert alone.label_space == spec.targets["regression"]
    assert alone.objective["loss"] == "smooth_l1"
    assert spec.objective["targets"]["regression"]["weight"] == 0.5
    with pytest.raises(MedzooError, match="answers for several targets"):
        _ = spec.label_space


def test_several_modalities_answer_for_several_targets() -> None:
    names, several = ["ordinal", "regression"], {"modalities": ["image", "second"], "inputs": ["flag"]}
    task = built(names, LossConfig(targets={"ordinal": {"name": "cumulative"}}), **several)
    samples = task.samples(load_dataset("phantom", **TINY, targets=names, **several), "train")
    batch = torch.utils.data.default_collate([samples[index] for index in range(6)])
    found = task.train().training_step(batch)
    found["loss"].backward()
    assert all(part.weight.grad is not None for part in task.model.heads.modules_of("regression"))
    task.eval()
    graph = task.deploy()
    outputs = task.answers({name: value.numpy() for name, value in task.predict(batch).items()})
    beside = [torch.from_numpy(np.stack([samples.beside(i)[name] for i in range(6)])) for name in graph.optional_inputs]
    given = graph(torch.from_numpy(np.stack([samples.pixels(i) for i in range(6)])), *beside)
    for name, value in zip(graph.outputs, given, strict=True):
        np.testing.assert_allclose(value.detach().numpy(), outputs[name], rtol=1e-4, atol=1e-5)
