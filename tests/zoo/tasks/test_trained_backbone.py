"""A trained run as the start of another: which weights go over, what is refused, and nobody tested whom it has learnt from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from timm.layers import resample_abs_pos_embed
from torch import Tensor

import medzoo
from medzoo.checkpoint import find_checkpoint, load_checkpoint
from medzoo.cli import main
from medzoo.compose import compose_config, typed
from medzoo.config import TrainConfig
from medzoo.data.registry import load_dataset
from medzoo.export.runtime import OnnxModel
from medzoo.tasks.registry import TrainableTask, task_from_config
from medzoo.tasks.trained_backbone import is_run

PHANTOM = ["data=phantom", "data.size=24", "data.patients=30", "trainer.batch_size=16", "evaluation.replicates=10"]
SHORT = [*PHANTOM, "trainer.epochs=1", "trainer.trackers=[]"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("start") / "run"
    assert main(["train", *SHORT, "model.backbone=test_resnet", "model.preprocess.mean=[0.3]", f"run={path}"]) == 0
    return path


@pytest.fixture(scope="module")
def bottleneck(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("start") / "cbm"
    assert main(["train", *SHORT, "model=cbm", "model.backbone=test_resnet", f"run={path}"]) == 0
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("start") / "clip"
    assert main(["train", *SHORT, "model=clip", "model.captions=labels", f"run={path}"]) == 0
    return path


def build(*options: str) -> TrainableTask:
    """Return the task that `medzoo train` would train, before its first step."""
    settings = typed(TrainConfig, compose_config("train", [*PHANTOM, *options]))
    return task_from_config(settings.model, settings.loss, load_dataset(**settings.data), seed=5)


def weights(path: Path) -> dict[str, Tensor]:
    return load_checkpoint(find_checkpoint(path)).model.state_dict()


def differing(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> set[str]:
    return {name for name in ours if name not in theirs or not torch.equal(ours[name], theirs[name])}


def test_the_same_task_goes_on_where_the_run_stopped(run: Path) -> None:
    task = build(f"model.backbone={run}")
    assert not differing(task.model.state_dict(), weights(run))
    before = load_checkpoint(find_checkpoint(run)).spec
    assert (task.spec.architecture, task.spec.preprocess, task.spec.labels) == ("test_resnet", before.preprocess, before.labels)
    assert task.spec.preprocess.mean == (0.3,) * task.spec.preprocess.channels
    assert task.spec.data["learnt_from"] == [json.loads(json.dumps(before.to_dict()))["data"]]


@pytest.mark.parametrize(
    ("options", "new"),
    [
        (["data.labels=multilabel"], {"fc.weight", "fc.bias"}),
        (["data.labels=ordinal", "loss=corn"], {"backbone.fc.weight", "backbone.fc.bias"}),
        (["model=cbm"], {"backbone.fc.weight", "backbone.fc.bias", "head.weight", "head.bias", "low", "high"}),
        (["model.neighbours=3"], None),
    ],
)
def test_another_task_takes_all_but_the_last_layer(run: Path, options: list[str], new: set[str] | None) -> None:
    ours = build(*options, f"model.backbone={run}").model.state_dict()
    theirs = {**weights(run), **{f"backbone.{name}": tensor for name, tensor in weights(run).items()}}
    different = {name for name in differing(ours, theirs) if name.startswith(("backbone", "fc", "head", "l", "h", "conv", "bn"))}
    if new is None:  # the memory of neighbours is what is new
        assert not {name for name in different if name.startswith("backbone.") and ".fc." not in name}
    else:
        assert different <= new
        assert {name for name in new if name.endswith("fc.weight")} <= different


def test_a_bottleneck_keeps_the_last_layer_of_its_concepts_and_a_classifier_on_it_does_not(bottleneck: Path) -> None:
    theirs = weights(bottleneck)
    ours = build("model=cbm", f"model.backbone={bottleneck}").model.state_dict()
    assert not {name for name in differing(ours, theirs) if name.startswith("backbone.")}
    assert "head.weight" in differing(ours, theirs)
    fewer = build("model=cbm", f"model.backbone={bottleneck}", "model.bottleneck.concepts=[lesion,vessel]").model.state_dict()
    new = {"backbone.fc.weight", "backbone.fc.bias"}
    assert {name for name in differing(fewer, theirs) if name.startswith("backbone.")} == new
    plain = build(f"model.backbone={bottleneck}").model.state_dict()
    bare = {name.removeprefix("backbone."): tensor for name, tensor in theirs.items()}
    assert differing(plain, bare) == {"fc.weight", "fc.bias"}


def test_an_image_text_model_is_trained_further_or_probed(clip: Path, tmp_path: Path) -> None:
    task = build("model=clip", "model.captions=labels", "data.labels=multilabel", f"model.backbone={clip}")
    assert not differing(task.model.state_dict(), weights(clip))
    assert task.spec.data["learnt_from"][0]["name"] == "phantom/multiclass"
    probe = tmp_path / "probe"
    assert main(["train", *SHORT, "model=clip_image", f"model.backbone={clip}", f"run={probe}"]) == 0
    again = build("model=clip_image", f"model.backbone={probe}")
    assert not differing(again.model.state_dict(), weights(probe))
    assert again.spec.data["learnt_from"][0]["learnt_from"][0]["name"] == "phantom/multiclass"


def test_a_network_without_fixed_size_may_see_larger_images(run: Path) -> None:
    task = build(f"model.backbone={run}", "model.preprocess.size=40")
    assert task.spec.preprocess.size == (40, 40)
    assert not differing(task.model.state_dict(), weights(run))


def test_a_second_run_trains_says_what_it_took_over_and_exports(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = tmp_path / "second"
    frozen = ["data.labels=multilabel", "trainer.finetune=linear", f"model.backbone={run}"]
    assert main(["train", *SHORT, *frozen, f"run={second}"]) == 0
    assert f"starts from {run}, with a new last layer" in capsys.readouterr().out
    assert differing(weights(second), weights(run)) == {"fc.weight", "fc.bias"}
    images = [second / "samples" / "val-0.png"]
    assert main(["export", f"run={second}", "images=8"]) == 0
    torch_says = medzoo.load(second).predict(images)["probabilities"]
    np.testing.assert_allclose(OnnxModel(second / "model.onnx").predict(images)["probabilities"], torch_says, atol=1e-4)
    assert main(["compare", str(second)]) == 0
    assert "pretrained on phantom/multiclass" in capsys.readouterr().out


def test_nobody_is_tested_whom_the_first_run_learnt_from(
    run: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fold = ["data.folds=4", "data.fold=1"]
    for command in (
        ["train", *SHORT, *fold, f"model.backbone={run}", f"run={tmp_path / 'a'}"],
        ["train", *PHANTOM, *fold, "model=cbm_posthoc", f"model.backbone={run}", f"run={tmp_path / 'a'}"],
        ["train", *SHORT, *fold, "model=clip_image", f"model.backbone={clip}", f"run={tmp_path / 'a'}"],
        ["evaluate", f"run={run}", *[f"+{option}" for option in fold]],
        ["zeroshot", f"trained={clip}", "data=phantom", "data.patients=30", *fold, f"run={tmp_path / 'a'}"],
    ):
        assert main(command) == 2
        message = capsys.readouterr().err
        assert message.count("\n") == 1
        assert "patient groups of the val split" in message
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["model=cnn3d", "data.dims=3", "data.size=16"], "holds a network of family cnn: use model=cnn"),
        (["model.pretrained=true"], "model.pretrained has no effect on a trained run"),
        (["model.small_stem=true"], "model.small_stem has no effect"),
        (["+model.arguments.drop_rate=0.5"], "model.arguments.drop_rate=0.5 has no effect on a trained run"),
        (["model.preprocess.mean=[0.4]"], "model.preprocess.mean=[0.4] is not the trained run's"),
        (["model.preprocess.mode=pad"], "model.preprocess.mode=pad is not the trained run's (stretch)"),
        (["data.dims=3", "data.size=16"], "takes images, phantom/multiclass has volumes"),
    ],
)
def test_what_does_not_go_with_a_trained_run_is_one_line(
    run: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *SHORT, *options, f"model.backbone={run}", f"run={run.parent / 'no'}"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


def test_images_and_text_are_told_from_classifiers(run: Path, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options, message in (
        ([f"model.backbone={clip}"], "holds an image–text model: use model=clip_image"),
        (["model=clip", "model.captions=labels", f"model.backbone={run}"], "is no image-text model (cnn)"),
        (["model.backbone=runs/nowhere"], "model.backbone=runs/nowhere: there is no run directory"),
    ):
        assert main(["train", *SHORT, *options, f"run={run.parent / 'no'}"]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("loss", ["loss=default", "loss=corn"])
def test_a_transformers_position_embedding_is_resampled(loss: str, tmp_path: Path) -> None:
    vit = tmp_path / "vit"
    options = ["data.labels=ordinal", loss, "model=vit"]
    assert main(["train", *SHORT, *options, "model.backbone=test_vit", "model.preprocess.size=64", f"run={vit}"]) == 0
    theirs = weights(vit)
    ours = build(*options, f"model.backbone={vit}", "model.preprocess.size=96").model.state_dict()
    (name,) = differing(ours, theirs)
    assert name.endswith("pos_embed")
    expected = resample_abs_pos_embed(theirs[name], new_size=[6, 6], old_size=[4, 4], num_prefix_tokens=1)
    torch.testing.assert_close(ours[name], expected)


def test_what_cannot_be_resampled_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cait = tmp_path / "cait"
    start = ["model=vit", "model.backbone=cait_xxs24_224", "+model.arguments.depth=1", "model.preprocess.size=32"]
    assert main(["train", *SHORT, *start, f"run={cait}", "evaluate=false"]) == 0
    larger = ["model=vit", f"model.backbone={cait}", "model.preprocess.size=64", f"run={tmp_path / 'no'}"]
    assert main(["train", *SHORT, *larger]) == 2
    assert "does not fit cait_xxs24_224, or not at this size: pos_embed" in capsys.readouterr().err


def test_an_architectures_plain_name_is_never_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("resnet18", "zach_vit", "first"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "spec.json").write_text("{}")
    assert not any(is_run(name) for name in ("resnet18", "zach_vit", "second", ""))
    assert is_run("first")
    assert is_run("./resnet18")
