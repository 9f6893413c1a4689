"""Trainings that are led by groups or a teacher: nothing asked for changes nothing, resuming is exact, mistakes are one line."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from medzoo.cli import main
from medzoo.data.registry import load_dataset
from medzoo.data.splits.learnt_from import FILE, LearntFrom, read_record, record
from medzoo.export.graph.onnx_file import licences
from medzoo.settings.schema import LossConfig, ModelConfig
from medzoo.store.checkpoint import find_checkpoint
from medzoo.store.spec import ModelSpec
from medzoo.store.storage import pointed_folder
from medzoo.tasks.classify import Classify
from medzoo.tasks.guide.groups import GROUP, group_codes
from medzoo.tasks.load import load_checkpoint
from medzoo.tasks.setup.families import task_from_config
from medzoo.train.loop import Trainer

SHORT = [
    "data=phantom", "data.size=24", "data.patients=24", "model.backbone=test_resnet", "trainer.trackers=[]", "trainer.epochs=2",
    "trainer.batch_size=8", "evaluate=false", "device=cpu",
]  # fmt: skip


def weights(run: Path, which: str = "last") -> bytes:
    return (find_checkpoint(run, which) / "model.safetensors").read_bytes()


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(["train", *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_a_teacher_of_weight_0_changes_no_bit(trained_run: Path, tmp_path: Path) -> None:
    options = [*SHORT, "trainer.epochs=1"]
    assert main(["train", *options, f"run={tmp_path / 'plain'}"]) == 0
    taught = [f"trainer.teacher={trained_run}", "trainer.distill={weight: 0}"]
    assert main(["train", *options, *taught, f"run={tmp_path / 'taught'}"]) == 0
    assert weights(tmp_path / "taught") == weights(tmp_path / "plain")


@pytest.mark.parametrize("loss", [
    pytest.param("{column: site, how: dro, cells: true}", id="groups", marks=pytest.mark.slow), pytest.param(None, id="teacher"),
])  # fmt: skip
def test_resuming_is_exact(loss: str | None, trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = [*SHORT, "trainer.save_every=2", "trainer.ema=0.9"]
    if loss is not None:
        options.append(f"loss.group={loss}")
    else:
        options += [f"trainer.teacher={trained_run}", "trainer.distill={features: 0.5, threshold: 0.5}", "data.fraction=0.5"]
        options += ["data.unlabelled=true"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert main(["train", *options, f"run={whole}"]) == 0
    step = Trainer._step

    def interrupted(self: Trainer, *given: object) -> float:
        if self.progress.step == 5:
            raise KeyboardInterrupt
        return step(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "_step", interrupted)
    assert main(["train", *options, f"run={stopped}"]) == 130
    monkeypatch.setattr(Trainer, "_step", step)
    assert main(["train", f"resume={stopped}"]) == 0
    states = [load_file(pointed_folder(run / "state", "latest") / "tensors.safetensors") for run in (whole, stopped)]  # type: ignore[operator]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    learnt = "beside.groups.shares" if loss is not None else "beside.projection.weight"
    assert learnt in states[0]
    if loss is not None:
        assert states[0][learnt].std() > 0
    assert weights(whole) == weights(stopped)


def test_one_group_trains_as_none_to_the_last_bit() -> None:
    dataset = load_dataset("phantom", size=24, patients=12)
    task = task_from_config(ModelConfig(backbone="test_resnet"), LossConfig(), dataset, seed=0)
    groups = {"column": "site", "cells": False, "levels": ["all"], "counts": [9], "how": "dro", "arguments": {"step": 0.5}}
    found = []
    for described in (None, groups):
        spec = replace(task.spec, objective={**task.spec.objective, **({"groups": described} if described else {})})
        torch.manual_seed(0)
        own = Classify(spec, task_from_config(ModelConfig(backbone="test_resnet"), LossConfig(), dataset, seed=0).model).train()
        optimizer = torch.optim.AdamW(own.model.parameters(), lr=1e-3)
        for seed in range(3):
            drawn = torch.Generator().manual_seed(seed)
            images = torch.randint(0, 256, (6, 1, 24, 24), dtype=torch.uint8, generator=drawn)
            batch = {"image": images, "target": torch.eye(4)[[0, 1, 2, 3, 0, 1]], GROUP: torch.zeros(6, dtype=torch.int64)}
            own.training_step(batch)["loss"].backward()
            optimizer.step()
            optimizer.zero_grad()
        found.append(own.model.state_dict())
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_a_missing_value_is_a_group_and_codes_follow_the_names() -> None:
    dataset = load_dataset("phantom", size=24, patients=24)
    table = dataset.table.copy()
    table.loc[table.index[::3], "site"] = None
    gapped = dataset.with_table(table)
    task = task_from_config(ModelConfig(backbone="test_resnet"), LossConfig(group="site"), gapped, seed=0)
    described = task.spec.objective["groups"]
    assert "missing" in described["levels"]
    codes = group_codes(described, gapped, "train")
    names = gapped.rows("train")["site"].fillna("missing").to_numpy()
    assert [described["levels"][code] for code in codes] == list(names)
    assert described["counts"] == [int((names == level).sum()) for level in described["levels"]]


@pytest.mark.slow
def test_a_last_layer_retrained_on_balanced_groups_is_the_solution_of_weighed_samples(trained_run: Path, tmp_path: Path) -> None:
    options = ["data=phantom", "data.size=32", "data.patients=40", f"model.backbone={trained_run}", "trainer.finetune=linear"]
    asked = "loss.group={column: sex, how: balanced, cells: true}"
    for name, further in (("plain", []), ("balanced", [asked])):
        assert main(["train", *options, *further, "evaluate=false", "device=cpu", f"run={tmp_path / name}"]) == 0
    tasks = [load_checkpoint(find_checkpoint(tmp_path / name)) for name in ("plain", "balanced")]
    backbone = [name for name in tasks[0].model.state_dict() if not name.startswith("fc.")]
    states = [task.model.state_dict() for task in tasks]
    assert all(torch.equal(states[0][name], states[1][name]) for name in backbone)
    assert not torch.equal(states[0]["fc.weight"], states[1]["fc.weight"])
    assert tasks[1].spec.objective["groups"]["how"] == "balanced"


def test_a_teacher_leaves_its_record_and_its_licence(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = tmp_path / "teacher"
    shutil.copytree(trained_run, teacher)
    other = load_dataset("phantom", size=24, patients=24, seed=9)
    other = other.with_table(other.table.assign(split=other.table["split"].replace({"train": "test", "test": "train"})))
    file = teacher / "assets" / FILE
    file.write_bytes((LearntFrom.from_bytes(file.read_bytes()) | record(other)).to_bytes())
    run = tmp_path / "run"
    assert main(["train", *SHORT, "trainer.epochs=1", f"trainer.teacher={teacher}", f"run={run}"]) == 0
    learnt = read_record(run)
    assert np.isin(record(other).train, learnt.train).all()
    spec = ModelSpec.read(run / "spec.json")
    assert [card["name"] for card in spec.data["taught_by"]] == ["phantom/multiclass"]
    assert licences({**spec.data, "taught_by": [{"licence": "of the teacher's"}]})[-1] == "of the teacher's"
    assert spec.objective["teacher"]["run"] == "teacher"
    # Test rows that the teacher has learnt from are none to test the student on.
    asked = [*SHORT, "data.seed=9", f"trainer.teacher={teacher}", "evaluate=true", f"run={tmp_path / 'none'}"]
    assert "has learnt from" in refused(capsys, *asked)
    # Another teacher in its place is not gone on with.
    for weights_file in teacher.rglob("model.safetensors"):
        weights_file.write_bytes((find_checkpoint(run) / "model.safetensors").read_bytes())
    assert "not the teacher that this training began with" in refused(capsys, f"resume={run}")


MISTAKES = {
    "a teacher of other labels": (["data.labels=binary", "trainer.teacher=RUN"], "has other labels: multiclass normal, cyst"),
    "a teacher of other channels": (["data.channels=3", "trainer.teacher=RUN"], "takes images of channels 1, the student of 3"),
    "no teacher": (["trainer.distill={weight: 0.1}"], "name it, trainer.teacher=<run>"),
    "a share above 1": (["trainer.teacher=RUN", "trainer.distill={weight: 1.5}"], "weight=1.5 is not in 0..1"),
    "a threshold below a half": (["trainer.teacher=RUN", "trainer.distill={threshold: 0.2}"], "not in 0.5..1"),
    "cells of labels that a teacher gives": (
        ["trainer.teacher=RUN", "trainer.distill={threshold: 0.9}", "data.fraction=0.5", "data.unlabelled=true",
         "loss.group={column: sex, cells: true}"],
        "parts groups by the labels that are there",
    ),
    "a bottleneck": (["trainer.teacher=RUN", "model=cbm"], "is for classifiers"),
    "no such run": (["trainer.teacher=runs/none"], "no run directory at runs/none"),
    "no such column": (["loss.group=sight"], "'site'"),
    "a mapping without a column": (["loss.group={how: dro}"], "no {column: ..., how: ...}"),
    "groups of a bottleneck": (["loss.group=sex", "model=cbm"], "loss.group weighs the samples of a classifier's loss"),
    "sampling by no groups": (["trainer.sampling=groups"], "name their column there"),
    "groups and mixup": (["loss.group=sex", "trainer.mixup=0.2"], "mix samples of two groups"),
    "groups and accumulation": (["loss.group=sex", "trainer.accumulate=2"], "held against each other"),
    "cells of findings": (["data.labels=multilabel", "loss.group={column: sex, cells: true}"], "multilabel labels have none"),
    "a solved probe by dro": (
        ["loss.group=sex", "trainer.finetune=linear", "trainer.probe=solved", "trainer.epochs=20", "trainer.batch_size=64"],
        "no solution at once",
    ),
    "unlabelled rows of a whole": (["data.unlabelled=true"], "give one of them"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(mistake: str, trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options, words = MISTAKES[mistake]
    given = [option.replace("RUN", str(trained_run)) for option in options]
    models = [option for option in given if option.startswith("model=")]
    rest = [option for option in given if not option.startswith("model=")]
    assert words in refused(capsys, *models, *SHORT, *rest, f"run={tmp_path / 'run'}")
    assert not (tmp_path / "run").exists()


def test_one_group_alone_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = load_dataset("phantom", size=24, patients=24)
    table = rows.table.assign(site="north")
    with pytest.raises(Exception, match="groups are weighed against each other"):
        task_from_config(ModelConfig(backbone="test_resnet"), LossConfig(group="site"), rows.with_table(table), seed=0)
