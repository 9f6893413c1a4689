"""Volumes and text from settings to answers: trained, started from flat models, asked, searched, shipped; and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import medzoo
from medzoo.cli import main
from medzoo.data.errors import MedzooError
from medzoo.data.registry import load_dataset
from medzoo.evaluation.embeddings import Embeddings
from medzoo.export.runtime.model import OnnxModel
from medzoo.inference.maps.of_run import MappedRun
from medzoo.settings.schema import LossConfig, ModelConfig, PreprocessConfig, TrainerConfig
from medzoo.store.checkpoint import find_checkpoint
from medzoo.store.directory import RunDirectory
from medzoo.store.spec import ModelSpec
from medzoo.tasks.load import load_checkpoint
from medzoo.tasks.setup.contrast import contrast_with_weights
from medzoo.tasks.setup.families import task_from_config
from medzoo.train.fit import write_checkpoint

DATA = ["data=phantom", "data.dims=3", "data.size=16", "data.patients=12"]
SLICES = ["model=clip", "model.slices=attention", "model.image_tower=test_resnet", "model.preprocess.size=[4,32,32]"]
TRAINER = ["trainer.epochs=1", "trainer.batch_size=8", "trainer.trackers=[]", "evaluation.replicates=5", "device=cpu"]


def volumes(dims: int = 3):
    return load_dataset("phantom", dims=dims, size=16, patients=12)


def built(dims: int = 3, size: object = None, **options):
    preprocess = PreprocessConfig(size=size, mode="auto")
    config = ModelConfig(family="clip", backbone=options.pop("backbone", "clip_tiny"), preprocess=preprocess, **options)
    return task_from_config(config, LossConfig(), volumes(dims), seed=0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("volumes") / "run"
    assert main(["train", *DATA, *SLICES, *TRAINER, "trainer.checkpoint_activations=true", f"run={folder}"]) == 0
    return folder


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    assert main(["export", f"run={run}", "images=6", f"output={folder}"]) == 0
    return folder


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of flat images, with its first weights."""
    folder, task = tmp_path_factory.mktemp("flat") / "run", built(2, image_tower="test_resnet", size=32)
    directory = RunDirectory.create(folder, "model: {}\n", task.spec, task.assets())
    write_checkpoint(directory, task, "model: {}\n", "first", "best")
    return folder


def test_a_run_embeds_volumes_and_is_scored_by_prompts(run: Path) -> None:
    spec = ModelSpec.read(run / "spec.json")
    assert spec.preprocess.size == (4, 32, 32)
    assert spec.arguments["slices"] == {"pool": "attention", "chunk": None}
    model, dataset = medzoo.load(run), volumes()
    rows = dataset.rows("test")
    pixels = [np.moveaxis(dataset.reader.read(*(row[c] for c in dataset.reader.columns)), 0, -1) for _, row in rows.iterrows()]
    embeddings = Embeddings.read(run / "embeddings.parquet").of_split("test")
    np.testing.assert_allclose(model.predict(pixels)["image_embedding"], embeddings.image, atol=1e-5)
    report = json.loads((run / "metrics.json").read_text())
    assert report["splits"]["test"]["metrics"]["accuracy"]["value"] is not None
    assert "image_to_text" in report["retrieval"]["test"]


def test_prompts_never_seen_classify_a_dataset_and_files(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["zeroshot", *DATA, f"trained={run}", "held_out=templates", "evaluation.splits=[test]", "evaluation.replicates=5"]
    assert main([*asked, f"run={tmp_path / 'zeroshot'}"]) == 0
    texts = json.loads((tmp_path / "zeroshot" / "metrics.json").read_text())["details"]["zero-shot"]["texts"]
    assert "Seen in a phantom: a cyst." in texts["cyst"]
    nibabel = pytest.importorskip("nibabel")
    values = np.random.default_rng(0).integers(0, 256, (20, 18, 6)).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "scan.nii.gz")
    capsys.readouterr()
    assert main(["zeroshot", f"trained={run}", f"images=[{tmp_path}]", "classes=[a cyst,no lesion]", "json=true"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["image"].endswith("scan.nii.gz")
    assert sum(said["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert main(["search", str(run), "--image", str(tmp_path / "scan.nii.gz"), "-k", "2"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_map_lies_over_the_volume(run: Path) -> None:
    explainer = MappedRun.open(run).explainer
    pixels = np.random.default_rng(0).integers(0, 256, (9, 20, 24, 3), dtype=np.uint8)
    found = explainer.map(pixels, "cyst")
    assert found.method == "gradcam"
    assert found.cells.shape[0] == 4  # the slices that the model sees
    assert found.image.shape == (9, 20, 24)
    assert np.abs(found.cells).max() > 0


@pytest.mark.parametrize("shape", [(4, 32, 32), (7, 20, 41), (1, 32, 32)])
def test_exported_files_take_any_number_of_slices(run: Path, exported: Path, shape: tuple[int, ...]) -> None:
    given = list(np.random.default_rng(len(shape)).integers(0, 256, (3, *shape, 3), dtype=np.uint8))
    theirs = medzoo.load(run).predict(given)["image_embedding"]
    for name in ("image", "zeroshot"):
        ours = OnnxModel(exported / f"{name}.onnx").predict(given)["image_embedding"]
        assert (ours * theirs).sum(axis=1).min() >= 0.9999
    report = json.loads((exported / "export.json").read_text())
    assert all(part["parity"]["cosine"] is None or part["parity"]["cosine"] >= 0.9999 for part in report.values())


def test_a_flat_run_begins_a_model_of_volumes(flat: Path, tmp_path: Path) -> None:
    task, own = built(backbone=str(flat), slices="mean", size=[1, 32, 32]).eval(), load_checkpoint(find_checkpoint(flat, "best"))
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    wanted = own.eval().predict({"image": images})["image_embedding"]
    assert torch.equal(task.predict({"image": images[:, :, None]})["image_embedding"], wanted)
    assert task.spec.data["learnt_from"][0]["name"] == "phantom/multiclass"
    asked = ModelConfig(
        family="clip", backbone=str(flat), slices="attention", preprocess=PreprocessConfig(size=[6, 32, 32], mode="auto")
    )
    assert contrast_with_weights(asked).spec.preprocess.size == (6, 32, 32)  # of no dataset, as zero-shot of files is
    again = RunDirectory.create(tmp_path / "run", "model: {}\n", task.spec, task.assets())
    write_checkpoint(again, task, "model: {}\n", "first", "best")
    further = built(backbone=str(tmp_path / "run")).eval()
    assert torch.equal(further.predict({"image": images[:, :, None]})["image_embedding"], wanted)
    with pytest.raises(MedzooError, match=r"image–text model of volumes, and model\.slices takes"):
        built(backbone=str(tmp_path / "run"), slices="mean")
    with pytest.raises(MedzooError, match="image–text model of volumes"):
        task_from_config(
            ModelConfig(family="clip_image", backbone=str(tmp_path / "run"), preprocess=PreprocessConfig(mode="auto")),
            LossConfig(), volumes(), seed=0,
        )  # fmt: skip


def test_a_network_over_volumes_learns_with_the_text() -> None:
    task = built(image_tower="resnet18_3d", arguments={"width": 0.125, "stem_kernel": 3})
    assert task.spec.preprocess.size == (16, 16, 16)
    assert task.spec.preprocess.channels == 1
    batch = {"image": torch.randint(0, 256, (3, 1, 16, 16, 16), dtype=torch.uint8), "text": ["a", "b", "c"]}
    loss = task.train().training_step({**batch, "image_key": torch.arange(3)})["loss"]
    loss.backward()
    assert task.model.visual.conv1.weight.grad.abs().max() > 0
    rebuilt = type(task).from_spec(ModelSpec.from_dict(json.loads(task.spec.to_json())), task.assets())
    assert rebuilt.model.state_dict().keys() == task.model.state_dict().keys()
    with pytest.raises(MedzooError, match="trains projections"):
        task.freeze(TrainerConfig(finetune="linear"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "phantom/multiclass has volumes: give model.slices=mean or attention"),
        ({"slices": "median"}, "unknown slice pooling 'median'"),
        ({"slices": "mean", "dims": 2}, "model.slices is for volumes, and phantom/multiclass has flat images"),
        ({"slices": "mean", "size": [4, 32, 32]}, r"clip_tiny takes slices of \[64, 64\]: .*\[depth,64,64\], not \[4, 32, 32\]"),
        ({"slices": "mean", "image_tower": "resnet18_3d"}, "model.slices is for flat towers, and resnet18_3d takes volumes"),
        ({"image_tower": "resnet18_3d", "dims": 2}, "model.image_tower=resnet18_3d is for volumes"),
        ({"image_tower": "resnet18_3d", "image_pretrained": True}, "model.image_pretrained is for flat towers"),
        ({"image_tower": "resnet17_3d"}, "unknown model 'resnet17_3d'; did you mean 'resnet18_3d'"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_one_line(options: dict[str, object], message: str) -> None:
    with pytest.raises(MedzooError, match=message) as error:
        built(**options)
    assert "\n" not in str(error.value)


def test_what_trains_with_projections_weighs_the_slices_too() -> None:
    task = built(slices="attention", image_tower="test_resnet", size=[2, 32, 32])
    task.freeze(TrainerConfig(finetune="linear"))
    learnt = {name for name, parameter in task.model.named_parameters() if parameter.requires_grad}
    assert learnt == {
        "text_projection", "logit_scale", "visual.tower.head.proj.weight", "visual.attention.content.weight",
        "visual.attention.content.bias", "visual.attention.gate.weight", "visual.attention.gate.bias",
        "visual.attention.score.weight",
    }  # fmt: skip


def test_slices_are_for_image_text_models() -> None:
    config = ModelConfig(family="slices", backbone="test_resnet", slices="mean")
    with pytest.raises(MedzooError, match=r"model\.slices is for model=clip; model=slices pools by model\.arguments\.pool"):
        task_from_config(config, LossConfig(), volumes(), seed=0)
