"""Pre-training through the one loop: learns, resumes to the last bit, starts others, ships an encoder; what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from timm.utils import ModelEmaV3

import medzoo
from medzoo.cli import main
from medzoo.data.dataset import Dataset
from medzoo.data.errors import ConfigError
from medzoo.data.registry import load_dataset
from medzoo.data.samples.sample_dataset import collate
from medzoo.data.splits.learnt_from import read_record
from medzoo.evaluation.embeddings import Embeddings
from medzoo.export import OnnxModel
from medzoo.losses.self_supervised import self_distillation
from medzoo.settings.pretraining import SslConfig
from medzoo.settings.schema import LossConfig, ModelConfig, PreprocessConfig
from medzoo.store.checkpoint import find_checkpoint, tensors_from_file
from medzoo.store.storage import pointed_folder
from medzoo.tasks.pretraining import Dino, SimClr
from medzoo.tasks.setup.families import task_from_config
from tests.zoo.train.test_resume import KILL_AT_STEP

TINY = [
    "data=phantom", "data.patients=20", "data.size=32", "model=ssl", "model.backbone=test_resnet", "model.ssl.hidden=32",
    "trainer.trackers=[]", "trainer.batch_size=8", "trainer.epochs=2", "evaluation.replicates=10", "device=cpu",
]  # fmt: skip
VIT = ["model.family=vit", "model.backbone=test_vit", "+model.arguments.patch_size=8"]
OBJECTIVES = {
    "simclr": [], "dino": ["model.ssl.objective=dino", "model.ssl.outputs=64", "trainer.ema=0.9"],
    "dino with crops": ["model.ssl.objective=dino", "model.ssl.outputs=64", "model.ssl.crops=2"],
    "spark": ["model.ssl.objective=spark", "model.ssl.hidden=512", "model.ssl.decoder=[16,1]"],
    "mae": ["model.ssl.objective=mae", "model.ssl.hidden=512", "model.ssl.decoder=[32,1]", *VIT],
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ssl") / "run"
    assert main(["train", *TINY, f"run={folder}"]) == 0
    return folder


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(list(arguments)) == 2
    error = capsys.readouterr().err.strip()
    assert len(error.splitlines()) == 1
    return error


def test_a_run_has_embeddings_and_what_they_tell_of_labels_it_never_saw(run: Path) -> None:
    report = json.loads((run / "metrics.json").read_text())
    assert report["splits"] == {}
    assert report["embeddings"]["test"]
    found = Embeddings.read(run / "embeddings.parquet").of_split("test")
    np.testing.assert_allclose(np.linalg.norm(found.image, axis=1), 1, atol=1e-5)
    assert json.loads((run / "spec.json").read_text())["labels"] is None
    assert len(read_record(run).train) > 0


def test_the_encoder_ships_with_proof(run: Path) -> None:
    assert main(["export", f"run={run}", "images=4"]) == 0
    report = json.loads((run / "model.json").read_text())
    assert report["parity"]["cosine"] > 0.9999
    images = [np.random.default_rng(n).integers(0, 256, (40, 36), dtype=np.uint8) for n in range(3)]
    ours = medzoo.load(run).predict(images)["image_embedding"]
    np.testing.assert_allclose(ours, OnnxModel(run / "model.onnx").predict(images)["image_embedding"], atol=1e-5)


def test_another_model_starts_from_it(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fine = ["train", *TINY[:3], "trainer.trackers=[]", "trainer.batch_size=8", "evaluate=false", f"model.backbone={run}"]
    assert (
        main([*fine, "trainer.epochs=1", "trainer.learning_rate=1e-12", "trainer.weight_decay=0", f"run={tmp_path / 'a'}"]) == 0
    )
    assert f"starts from {run}, with a new last layer" in capsys.readouterr().out
    before = tensors_from_file(find_checkpoint(run) / "model.safetensors")
    after = tensors_from_file(find_checkpoint(tmp_path / "a") / "model.safetensors")
    torch.testing.assert_close(after["conv1.weight"], before["backbone.conv1.weight"], atol=1e-6, rtol=0)
    assert main([*fine, "trainer.finetune=linear", f"run={tmp_path / 'b'}"]) == 0
    assert main([*fine, "model.neighbours=3", f"run={tmp_path / 'c'}"]) == 0
    # What it has seen is what those have seen that start from it.
    for name in "abc":
        assert set(read_record(run).train) <= set(read_record(tmp_path / name).train)


@pytest.mark.parametrize(
    "objective", ["dino with crops", *(pytest.param(name, marks=pytest.mark.slow) for name in ("simclr", "dino", "mae", "spark"))]
)
def test_each_objective_learns_and_resumes_to_the_last_bit(objective: str, tmp_path: Path) -> None:
    asked = [*TINY, *OBJECTIVES[objective], "evaluate=false", "trainer.save_every=1", "trainer.learning_rate=3e-3"]
    assert main(["train", *asked, f"run={tmp_path / 'whole'}"]) == 0
    program = [sys.executable, "-c", KILL_AT_STEP.format(step=5), "train", *asked, f"run={tmp_path / 'killed'}"]
    assert subprocess.run(program, capture_output=True, check=False).returncode < 0
    assert main(["train", f"resume={tmp_path / 'killed'}"]) == 0
    states = [pointed_folder(tmp_path / name / "state", "latest") for name in ("whole", "killed")]
    one, other = ((state / "tensors.safetensors").read_bytes() for state in states)  # type: ignore[operator]
    assert one == other
    held = tensors_from_file(states[0] / "tensors.safetensors")  # type: ignore[operator]
    assert any(name.startswith("beside.teacher.") for name in held) == objective.startswith("dino")
    histories = [(tmp_path / name / "history.csv").read_text() for name in ("whole", "killed")]
    assert histories[0] == histories[1]
    header, *rows = ([*line.split(",")] for line in histories[0].splitlines())
    first, last = (dict(zip(header, row, strict=True)) for row in (rows[0], rows[-1]))
    if objective.startswith("dino"):  # whose loss rises while the center is found
        assert 0 <= float(last["val_agreement"]) <= 1
    else:
        assert float(last["train_loss"]) < float(first["train_loss"])


def dino(**asked: object) -> tuple[Dino, Dataset]:
    dataset = load_dataset("phantom", patients=12, size=24)
    ssl = SslConfig(objective="dino", hidden=16, outputs=8, **asked)  # type: ignore[arg-type]
    task = task_from_config(ModelConfig(backbone="test_resnet", ssl=ssl), LossConfig(), dataset, seed=0)
    assert isinstance(task, Dino)
    return task, dataset


def test_the_teacher_never_sees_crops_and_none_change_nothing() -> None:
    task, dataset = dino(crops=2)
    samples = task.samples(dataset, "train", training=True)
    batch = collate([samples[(0, index)] for index in range(4)])
    assert batch["crops"].shape == (4, 2, 1, 24, 24)
    assert "crops" not in task.validation_samples(dataset, "opencv", 0)[0]
    shown: list[int] = []
    task.teacher.register_forward_pre_hook(lambda module, given: shown.append(len(given[0])))
    task.eval()
    loss = task.loss(batch)
    assert shown == [8]
    with torch.no_grad():
        both = torch.cat([task.input(batch[name]) for name in ("image", "other_view")])
        views = [*task.model(both).chunk(2), *(task.model(task.input(batch["crops"][:, place])) for place in (0, 1))]
        told = task.teacher(both).chunk(2)
    assert loss.item() == pytest.approx(self_distillation(views, told, task.center, (0.1, 0.04)).item(), rel=1e-5)
    plain, _ = dino()
    assert plain.spec.objective.keys().isdisjoint({"crops", "crop_scale"})
    assert "crops" not in plain.samples(dataset, "train", training=True)[0]


def test_the_teacher_s_outputs_are_centered_by_the_batches_before() -> None:
    task, dataset = dino()
    samples = task.samples(dataset, "train", training=True)
    batch = collate([samples[(0, index)] for index in range(4)])
    before = torch.randn(8, generator=torch.Generator().manual_seed(0))
    task.eval()
    task.center.copy_(before)
    with torch.no_grad():
        both = torch.cat([task.input(batch[name]) for name in ("image", "other_view")])
        said, told = task.model(both), task.teacher(both)  # which follows a student that has not moved
    task.training = True
    loss = task.loss(batch).item()
    torch.testing.assert_close(task.center, 0.9 * before + 0.1 * told.mean(dim=0))
    wanted, later = (self_distillation(said.chunk(2), told.chunk(2), c, (0.1, 0.04)).item() for c in (before, task.center))
    assert loss == pytest.approx(wanted, rel=1e-5)
    assert loss != pytest.approx(later, rel=1e-5)


def test_the_student_s_average_is_judged_by_the_one_teacher() -> None:
    task, dataset = dino()
    average = ModelEmaV3(task, decay=0.5).module
    assert average.model is not task.model
    samples = task.samples(dataset, "train", training=True)
    task.training = True
    task.loss(collate([samples[(0, index)] for index in range(4)]))
    assert average.teacher is task.teacher
    assert average.center is task.center


def test_agreement_is_how_often_two_views_find_each_other() -> None:
    task = SimClr.__new__(SimClr)
    eye = np.eye(4, dtype=np.float32)
    assert task.monitor_value("agreement", {"image": eye, "other_view": eye}, None) == 1  # type: ignore[arg-type]
    assert task.monitor_value("agreement", {"image": eye, "other_view": eye[[0, 1, 3, 2]]}, None) == 0.5  # type: ignore[arg-type]


@pytest.mark.slow
def test_volumes_learn_too(tmp_path: Path) -> None:
    assert main([
        "train", *TINY[:1], "data.patients=12", "data.size=16", "data.dims=3", "model=ssl", "model.family=cnn3d",
        "model.backbone=resnet18_3d", "+model.arguments.width=0.125", "model.ssl.hidden=16", "trainer.trackers=[]",
        "trainer.batch_size=4", "trainer.epochs=1", "evaluation.replicates=10", f"run={tmp_path / 'v'}",
    ]) == 0  # fmt: skip
    assert (tmp_path / "v" / "embeddings.parquet").is_file()


@pytest.mark.parametrize("objective", ["mae", "spark"])
def test_networks_of_volumes_hide_nothing_and_say_so(objective: str) -> None:
    dataset = load_dataset("phantom", patients=12, size=16, dims=3)
    config = ModelConfig(family="cnn3d", backbone="resnet18_3d", arguments={"width": 0.125}, ssl=SslConfig(objective=objective))
    with pytest.raises(ConfigError, match=r"not (of|for) a VolumeResNet"):
        task_from_config(config, LossConfig(), dataset, seed=0)


@pytest.mark.parametrize("masked", [0.01, 0.99])
@pytest.mark.parametrize("objective", ["mae", "spark"])
def test_of_few_patches_one_is_hidden_and_one_seen(objective: str, masked: float) -> None:
    dataset = load_dataset("phantom", patients=12, size=32)
    of_mae: dict[str, Any] = {"family": "vit", "backbone": "test_vit", "arguments": {"patch_size": 16}}
    ssl = SslConfig(objective=objective, masked=masked, decoder=[32, 1])
    preprocess = PreprocessConfig(size=32 if objective == "mae" else 64)
    model = of_mae if objective == "mae" else {"backbone": "test_resnet"}
    task = task_from_config(ModelConfig(**model, preprocess=preprocess, ssl=ssl), LossConfig(), dataset, seed=0)
    side = task.spec.preprocess.size[0]
    batch = {"image": torch.randint(0, 256, (3, task.spec.preprocess.channels, side, side), dtype=torch.uint8)}
    assert torch.isfinite(task.loss(batch))


def test_images_of_one_patch_have_nothing_to_tell_the_rest_from() -> None:
    dataset = load_dataset("phantom", patients=12, size=32)
    config = ModelConfig(
        family="vit", backbone="test_vit", arguments={"patch_size": 32}, preprocess=PreprocessConfig(size=32),
        ssl=SslConfig(objective="mae", decoder=[32, 1]),
    )  # fmt: skip
    with pytest.raises(ConfigError, match="images of 32x32 are one patch of 32x32"):
        task_from_config(config, LossConfig(), dataset, seed=0)


def test_what_does_not_go_together_is_one_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = f"run={tmp_path / 'x'}"
    for asked, said in {
        ("model.ssl.objective=simclrr",): "'simclr'",
        ("model.ssl.momentum=0.9",): "model.ssl.momentum is for dino, not for simclr",
        ("model.ssl.crops=2",): "model.ssl.crops and crop_scale are for dino",
        ("model.ssl.objective=dino", "model.ssl.crop_scale=[0.1,0.3]"): "crop_scale for crops above 0",
        ("model.ssl.objective=dino", "model.ssl.crops=-1"): "is less than 0",
        ("model.ssl.objective=dino", "model.ssl.crops=2", "model.ssl.crop_scale=[0.4,1.2]"): "scale",
        ("model.ssl.objective=dino", "model.ssl.crops=2", "model.ssl.crop_scale=[0.4]"): "crop_scale=[0.4] is not two shares",
        ("model.ssl.temperature=0",): "model.ssl.temperature=0",
        ("model.ssl.scale=[0.5]",): "is not two shares",
        ("model.ssl.scale=[0.9,0.2]",): "scale",
        ("model.ssl.objective=mae", "model.ssl.hidden=512"): "not of a ResNet",
        ("model.ssl.objective=spark", "model.ssl.hidden=512", *VIT): "not for a VisionTransformer",
        (
            "model.ssl.objective=spark",
            "model.ssl.hidden=512",
            "trainer.checkpoint_activations=true",
        ): "is not for model.ssl.objective",
        ("model.family=clip",): "'clip'",
        ("loss=focal",): "loss is of labels",
        ("trainer.finetune=linear",): "pre-training trains the whole network",
        ("trainer.augment=skin",): "model.ssl.augment",
        ("trainer.monitor=auroc",): "'auroc'",
        ("trainer.accumulate=2",): "trainer.accumulate",
        ("trainer.mixup=0.2",): "mixup",
        ("trainer.metrics=true",): "trainer.metrics",
        ("trainer.sampling=balanced",): "trainer.sampling=balanced draws by labels",
        ("evaluation.tta=3",): "evaluation.tta is of answers",
        ("evaluation.conformal={coverage: 0.9}",): "evaluation.conformal is of answers",
        ("evaluation.extra=[specificity]",): "evaluation.extra is of answers",
        ("evaluation.by=group",): "evaluation.by is of answers",
    }.items():
        assert said in refused(capsys, "train", *TINY, *asked, new), asked
    assert "evaluation.by is of answers" in refused(capsys, "evaluate", f"run={run}", "evaluation.by=group")
    assert "holds no results of labels" in refused(capsys, "report", f"run={run}")
    assert "has none: use fp32" in refused(capsys, "export", f"run={run}", "precision=int8")
    assert "for model=ssl" in refused(capsys, "train", "data=phantom", "model=clip", "+model.ssl.objective=simclr", new)
    assert not (tmp_path / "x").exists()
