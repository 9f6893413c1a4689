"""A trained run as the start of another: which weights go over, what is refused, and nobody tested whom it has learnt from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from timm.layers import resample_abs_pos_embed
from torch import Tensor

import medzoo
from medzoo.cli import main
from medzoo.commands.compared.page import comparison
from medzoo.commands.compared.result import Result
from medzoo.data.labels import LabelSpace
from medzoo.data.registry import load_dataset
from medzoo.data.samples.preprocess import Preprocess
from medzoo.export.graph.onnx_file import licences
from medzoo.export.runtime.model import OnnxModel
from medzoo.models.trained import has_same_outputs, is_run
from medzoo.settings.compose import compose_config, typed
from medzoo.settings.schema import TrainConfig
from medzoo.store.checkpoint import find_checkpoint
from medzoo.store.spec import ModelSpec
from medzoo.tasks.load import load_checkpoint
from medzoo.tasks.setup.families import task_from_config
from medzoo.tasks.task import Task

PHANTOM = ["data=phantom", "data.size=24", "data.patients=30", "trainer.batch_size=16", "evaluation.replicates=10"]
SHORT = [*PHANTOM, "trainer.epochs=1", "trainer.trackers=[]", "evaluate=false"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("start") / "run"
    assert (
        main(["train", *SHORT, "model.backbone=test_resnet", "model.preprocess.mean=[0.3]", "evaluate=true", f"run={path}"]) == 0
    )
    return path


@pytest.fixture(scope="module")
def bottleneck(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("start") / "cbm"
    assert main(["train", *SHORT, "model=cbm", "model.backbone=test_resnet", f"run={path}"]) == 0
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("start") / "clip"
    few = ["data.patients=20", "data.images_per_patient=2"]
    assert main(["train", *SHORT, *few, "model=clip", "model.captions=labels", f"run={path}"]) == 0
    return path


def build(*options: str) -> Task:
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
    assert main(["train", *SHORT, *frozen, "evaluate=true", f"run={second}"]) == 0
    assert f"starts from {run}, with a new last layer\n" in capsys.readouterr().out
    assert differing(weights(second), weights(run)) == {"fc.weight", "fc.bias"}
    images = [second / "samples" / "val-0.png"]
    assert main(["export", f"run={second}", "images=8"]) == 0
    torch_says = medzoo.load(second).predict(images)["probabilities"]
    np.testing.assert_allclose(OnnxModel(second / "model.onnx").predict(images)["probabilities"], torch_says, atol=1e-4)
    assert main(["compare", str(second)]) == 0
    assert "pretrained on phantom/multiclass" in capsys.readouterr().out


def refused(command: list[str], capsys: pytest.CaptureFixture[str], message: str) -> None:
    capsys.readouterr()
    assert main(command) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


FOLD = ["data.folds=4", "data.fold=1"]


def test_nobody_is_tested_whom_the_first_run_learnt_from(
    run: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loose = ["model.bottleneck.filter.class_similarity=1.01", "model.bottleneck.filter.concept_similarity=1.01"]
    other = "model.bottleneck.concept_data={name: phantom, patients: 30, size: 24, folds: 4, fold: 0}"
    for command in (
        ["train", *SHORT, *FOLD, f"model.backbone={run}"],
        ["train", *SHORT, *FOLD, f"model.backbone={find_checkpoint(run)}"],
        ["train", *PHANTOM, *FOLD, "model=cbm_posthoc", f"model.backbone={run}"],
        ["train", *PHANTOM, "model=cbm_posthoc", f"model.backbone={run}", other],
        ["train", *PHANTOM, *FOLD, "model=cbm_language", f"model.backbone={clip}", *loose],
        ["train", *SHORT, *FOLD, "model=clip_image", f"model.backbone={clip}"],
        ["train", *SHORT, *FOLD, "model=clip", "model.captions=labels", f"model.backbone={clip}"],
        ["zeroshot", f"trained={clip}", "data=phantom", "data.patients=30", *FOLD],
        ["zeroshot", f"model.backbone={clip}", "data=phantom", "data.patients=30", *FOLD],
    ):
        refused([*command, f"run={tmp_path / 'a'}"], capsys, "patient groups of the val split")
    assert not (tmp_path / "a").exists()
    others = [f"+{option}" for option in FOLD]
    refused(["evaluate", f"run={run}", *others], capsys, "was trained with no folds")


def test_a_split_that_is_not_looked_at_does_no_harm(clip: Path, tmp_path: Path) -> None:
    command = ["zeroshot", f"trained={clip}", "data=phantom", "data.patients=30", "data.size=24", *FOLD]
    assert main([*command, "evaluation.splits=[test]", "evaluation.replicates=10", f"run={tmp_path / 'scored'}"]) == 0


def test_a_run_that_stopped_is_held_against_the_data_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(24):
        level = np.random.default_rng(number).integers(0, 255, (24, 24), dtype=np.uint8)
        Image.fromarray(level).save(tmp_path / f"{number}.png")

    own = ["data=table", f"data.file={tmp_path / 't.csv'}", "data.target=y", "data.group=patient", "data.split=split"]
    path = tmp_path / "run"
    rows = ["image,patient,y,split", *[f"{n}.png,{n // 2},{n % 2},{('train', 'val', 'test')[n // 2 % 3]}" for n in range(24)]]
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    options = [*own, "model.backbone=test_resnet", "model.preprocess.size=24", "trainer.epochs=1", "trainer.trackers=[]"]
    assert main(["train", *options, "evaluation.replicates=10", f"run={path}"]) == 0
    swapped = (tmp_path / "t.csv").read_text().replace("train", "?").replace("test", "train").replace("?", "test")
    (tmp_path / "t.csv").write_text(swapped)
    refused(["train", f"resume={path}"], capsys, "is not the data that")
    refused(["evaluate", f"run={path}"], capsys, "is not the data that")
    again = [*options, f"model.backbone={path}", f"run={tmp_path / 'second'}"]
    refused(["train", *again], capsys, "learnt from 4 patient groups of the test split")


def test_weights_of_ones_own_are_not_a_plain_file(run: Path, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path, options in ((run, ["model.backbone=test_resnet"]), (clip, ["model=clip", "model.captions=labels"])):
        file = find_checkpoint(path) / "model.safetensors"
        command = ["train", *SHORT, *options, f"model.checkpoint_path={file}", f"run={path.parent / 'no'}"]
        refused(command, capsys, f"give its run as model.backbone={file.parent}")


def test_a_sweep_starts_from_a_run(run: Path, tmp_path: Path) -> None:
    jobs = ["seed=1,2", f"run='{tmp_path}/s-${{seed}}'"]
    assert main(["train", "-m", *SHORT, f"model.backbone={run}", *jobs]) == 0
    assert all((tmp_path / f"s-{seed}" / "checkpoints").is_dir() for seed in (1, 2))


def test_settings_that_nobody_gave_are_not_held_against_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    volumes = ["data=phantom", "data.size=16", "data.patients=20", "data.images_per_patient=1", "data.dims=3"]
    volumes += ["trainer.trackers=[]", "evaluate=false"]
    volumes += ["trainer.epochs=1", "trainer.batch_size=16"]
    first = tmp_path / "first"
    own = ["model=slices", "model.backbone=test_resnet", "model.arguments.context=0", "model.preprocess.size=[16,16]"]
    assert main(["train", *volumes, *own, f"run={first}"]) == 0
    second = ["model=slices", f"model.backbone={first}"]
    assert main(["train", *volumes, *second, "model.preprocess.size=[16,16]", f"run={tmp_path / 'second'}"]) == 0
    assert "context" not in capsys.readouterr().err
    refused(["train", *volumes, *second, "model.arguments.context=2", f"run={tmp_path / 'no'}"], capsys, "the run has 0")


def test_what_was_asked_for_then_may_be_asked_for_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, asked = tmp_path / "first", ["data.channels=3", "model.preprocess.mean=[0.3]"]
    assert main(["train", *SHORT, *asked, "model.backbone=test_resnet", f"run={first}"]) == 0
    task = build(*asked, f"model.backbone={first}", "model.preprocess.size=[24,24]")
    assert task.spec.preprocess.mean == (0.3, 0.3, 0.3)
    other = ["data.channels=3", "model.preprocess.mean=[0.3,0.3,0.4]", f"model.backbone={first}", f"run={tmp_path / 'no'}"]
    refused(["train", *SHORT, *other], capsys, "is not the trained run's ((0.3, 0.3, 0.3))")


def test_compare_parts_runs_by_what_they_started_from(run: Path, tmp_path: Path) -> None:
    def described(name: str, start: Path | None, seed: int, **trainer: float) -> Path:
        """Write what `compare` reads of a run that started from another: configuration, spec and metrics."""
        path = tmp_path / name
        path.mkdir()
        shutil.copy(run / "metrics.json", path)
        config, spec = yaml.safe_load((run / "config.yaml").read_text()), json.loads((run / "spec.json").read_text())
        config["seed"] = seed
        config["trainer"].update(trainer)
        if start is not None:
            config["model"]["backbone"] = str(start)
            spec["data"]["learnt_from"] = [json.loads((start / "spec.json").read_text())["data"]]
        (path / "config.yaml").write_text(yaml.safe_dump(config))
        (path / "spec.json").write_text(json.dumps(spec))
        return path

    other = described("other", None, 0, learning_rate=0.01)
    first, second = described("a-0", run, 0), described("a-1", run, 1)
    described("b-2", other, 2)
    described("c-0", first, 0)  # a chain
    described("c-1", second, 1)

    def rows(*names: str) -> int:
        page = comparison([Result.read(tmp_path / name) for name in names])
        return page.split("Every run")[0].count("pretrained on")

    assert rows("a-0", "a-1") == 1
    assert rows("a-0", "b-2") == 2
    assert rows("c-0", "c-1") == 1
    assert rows("a-0", "c-1") == 2
    shutil.rmtree(other)  # what is gone cannot be told to be the same
    assert rows("a-0", "b-2") == 2


def test_all_licences_of_a_chain_go_into_the_file() -> None:
    first = {"licence": "CC BY-NC 4.0", "learnt_from": [{"licence": "CC0-1.0"}]}
    assert licences({"licence": "CC BY 4.0", "learnt_from": [first, {"licence": "CC BY 4.0"}, {}]}) == [
        "CC BY 4.0", "CC BY-NC 4.0", "CC0-1.0",
    ]  # fmt: skip


def spec(**changes: Any) -> ModelSpec:
    """Return what `has_same_outputs` reads of a classifier's spec."""
    plain: dict[str, Any] = {
        "family": "cnn", "task": "classify", "architecture": "resnet18", "preprocess": Preprocess((24, 24)),
        "labels": LabelSpace("regression", ("size",)), "objective": {"loss": "smooth_l1", "mean": [1.0], "std": [2.0]},
        "data": {"options": {"target": "y"}},
    }  # fmt: skip
    return ModelSpec(**{**plain, **changes})


@pytest.mark.parametrize(
    "other",
    [
        {"objective": {"loss": "smooth_l1", "mean": [1.5], "std": [2.0]}},
        {"objective": {"loss": "smooth_l1", "mean": [1.0], "std": [2.5]}},
        {"objective": {"loss": "squared_error", "mean": [1.0], "std": [2.0]}},
        {"arguments": {"neighbours": {"count": 3}}},
        {"labels": LabelSpace("regression", ("depth",))},
        {"data": {"options": {"target": "z"}}},
        {"task": "bottleneck"},
    ],
)
def test_outputs_are_the_same_in_name_loss_and_units_alone(other: dict[str, Any]) -> None:
    assert has_same_outputs(spec(), spec())
    assert not has_same_outputs(spec(), spec(**other))
    assert not has_same_outputs(spec(**other), spec())


@pytest.mark.parametrize("regime", ["posthoc", "language"])
def test_concept_vectors_are_no_last_layer_to_go_on_with(regime: str) -> None:
    trained, fitted = (
        spec(task="bottleneck", objective={"regime": name, "concepts": ["a", "b"]}) for name in ("sequential", regime)
    )
    assert has_same_outputs(trained, trained)
    assert not has_same_outputs(trained, fitted)


@pytest.mark.parametrize("loss", ["corn", "cumulative"])
def test_an_ordinal_link_goes_over_with_its_layer(loss: str, tmp_path: Path) -> None:
    first, options = tmp_path / "first", ["data.labels=ordinal", f"loss={loss}"]
    assert main(["train", *SHORT, *options, "model.backbone=test_resnet", f"run={first}"]) == 0
    fresh = build(*options, "model.backbone=test_resnet").model.state_dict()
    theirs = weights(first)
    moved = {name for name in theirs if "link" in name and not torch.equal(theirs[name], fresh[name])}
    assert moved or loss == "corn"  # cumulative thresholds are learnt
    assert not differing(build(*options, f"model.backbone={first}").model.state_dict(), theirs)


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
        (["model=clip", f"model.backbone={clip}", "model.preprocess.mode=pad"], "mode=pad is not the trained run's"),
        (["model=clip", f"model.backbone={clip}", "model.preprocess.size=48"], "size=48 is not the trained run's"),
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
    assert main(["train", *SHORT, *start, f"run={cait}"]) == 0
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
