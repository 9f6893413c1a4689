"""Embeddings of any run: the features timm itself gives, of every family; scored, searched, shown; mistakes in one line."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from medzoo.cli import main
from medzoo.commands.search import main as search
from medzoo.data.errors import ConfigError, EvaluationError, UnknownNameError
from medzoo.data.registry import load_dataset
from medzoo.evaluation.embeddings import Embeddings
from medzoo.inference.devices import make_accelerator
from medzoo.inference.embed import embed_features
from medzoo.inference.run import Runner
from medzoo.report.document import report_page
from medzoo.store.checkpoint import find_checkpoint
from medzoo.store.directory import RunDirectory
from medzoo.tasks.load import load_checkpoint

DATA = ["data=phantom", "data.size=24", "data.patients=30", "trainer.trackers=[]", "trainer.batch_size=16", "trainer.epochs=1"]
ASKED = ["evaluation.embeddings=true", "evaluation.robustness_index=site", "evaluation.replicates=20"]
FAMILIES = {
    "vit": ["model=vit", "model.backbone=test_vit"],
    "zach_vit": ["model=zach_vit", "model.preprocess.size=32"],
    "slices": ["model=slices", "data.dims=3", "data.size=16", "model.backbone=test_resnet"],
    "cnn3d": ["model=cnn3d", "+model.arguments.width=0.125", "data.dims=3", "data.size=16"],
    "bottleneck": ["model=cbm", "model.backbone=test_resnet"],
    "findings": ["model.backbone=test_resnet", "data.labels=multilabel"],
    "quantities": ["model.backbone=test_resnet", "data.labels=regression"],
    "neighbours": ["model.backbone=test_resnet", "model.neighbours=5", "trainer.epochs=20"],
}


@pytest.fixture(scope="module")
def run(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of a run, evaluated with embeddings."""
    own = tmp_path_factory.mktemp("embedded") / "run"
    shutil.copytree(trained_run, own)
    assert main(["evaluate", f"run={own}", *ASKED]) == 0
    return own


def test_features_are_timms_own(run: Path) -> None:
    embeddings = Embeddings.read(run / "embeddings.parquet").of_split("test")
    dataset = load_dataset("phantom", patients=40, size=32)
    rows = dataset.rows("test")
    folder = find_checkpoint(run, "best")
    spec = json.loads((folder / "spec.json").read_text())
    network = timm.create_model("test_resnet", in_chans=1, num_classes=4).eval()
    weights = load_file(folder / "model.safetensors")
    network.conv1, network.maxpool = nn.Conv2d(1, len(weights["conv1.weight"]), 3, padding=1, bias=False), nn.Identity()
    network.load_state_dict(weights)
    pixels = np.stack([dataset.reader.read(*(row[column] for column in dataset.reader.columns)) for _, row in rows.iterrows()])
    mean, spread = (np.array(spec["preprocess"][name], np.float32)[:, None, None] for name in ("mean", "std"))
    images = torch.from_numpy((pixels.astype(np.float32) / 255 - mean) / spread)
    with torch.no_grad():
        features = network.forward_head(network.forward_features(images), pre_logits=True).numpy()
    assert list(embeddings.sample_id) == list(rows["sample_id"])
    np.testing.assert_allclose(embeddings.features, features, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(embeddings.image, axis=1), 1, atol=1e-6)


def test_the_file_knows_what_the_dataset_does(run: Path) -> None:
    embeddings = Embeddings.read(run / "embeddings.parquet")
    assert set(embeddings.split) == {"train", "val", "test"}
    rows = load_dataset("phantom", patients=40, size=32).table.set_index("sample_id").loc[list(embeddings.sample_id)]
    assert embeddings.labels is not None
    assert embeddings.targets is not None
    assert embeddings.subgroups is not None
    assert embeddings.targets.argmax(axis=1).tolist() == rows["target"].tolist()
    for column in ("sex", "age_band", "site"):
        assert embeddings.subgroups[column].tolist() == rows[column].tolist()
    assert list(embeddings.group) == list(rows["group"])
    spec = load_checkpoint(find_checkpoint(run, "best")).spec
    assert embeddings.spec_hash == spec.hash
    assert embeddings.details["checkpoint"] == "best"


def test_the_report_says_what_is_near_what(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = json.loads((run / "metrics.json").read_text())["embeddings"]
    assert set(before) == {"val", "test"}
    assert 0 <= before["test"]["retrieval"]["map"]["value"] <= 1
    assert 0 <= before["test"]["prototypes"]["auroc"]["value"] <= 1
    assert 0 <= before["test"]["robustness_index"]["site"]["k"]["5"]["value"] <= 1
    # From the file alone, to the last digit.
    assert main(["evaluate", f"run={run}", "predict=false", *ASKED]) == 0
    assert json.loads((run / "metrics.json").read_text())["embeddings"] == before
    said = capsys.readouterr().out
    assert "test: embeddings of 14 images, 96 wide" in said
    assert "robustness index by site: k=5 " in said
    page = report_page(RunDirectory.open(run), split="test", each=0, dataset=None, command=["medzoo"])
    for place in (
        "retrieval/map",
        "prototypes/balanced_accuracy",
        "robustness_index/site/k/5",
        "robustness_index/site/at_random",
    ):
        assert f"metrics.json#/embeddings/test/{place}" in page


def test_a_run_is_searched_by_sample_and_by_image(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = load_dataset("phantom", patients=40, size=32)
    row = dataset.rows("test").iloc[3]
    Image.fromarray(dataset.reader.read(*(row[column] for column in dataset.reader.columns))[0]).save(tmp_path / "image.png")
    capsys.readouterr()
    assert search([str(run), "--image", str(tmp_path / "image.png"), "-k", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sample_id"] == row["sample_id"]
    assert found["similarity"] == pytest.approx(1, abs=1e-5)
    assert found["label"] == dataset.labels.names[int(row["target"])]  # type: ignore[union-attr]
    assert search([str(run), "--like", row["sample_id"], "-k", "30"]) == 0
    lines = capsys.readouterr().out.splitlines()
    groups = dataset.table.set_index("sample_id")["group"]
    same = {line.split()[0] for line in lines if line.endswith("(same patient)")}
    assert same == {line.split()[0] for line in lines if groups[line.split()[0]] == row["group"]} != set()
    assert search([str(run), "--like", row["sample_id"], "-k", "30", "--other-groups"]) == 0
    assert "(same patient)" not in capsys.readouterr().out


def test_other_weights_are_refused(run: Path, tmp_path: Path) -> None:
    embeddings = Embeddings.read(run / "embeddings.parquet")
    replace(embeddings, details={**embeddings.details, "weights": "of before"}).write(tmp_path / "embeddings.parquet")
    with pytest.raises(EvaluationError, match=r"made by other weights than .* has in checkpoint=best"):
        search([str(tmp_path), "--image", "any.png", "--run", str(run)])
    other = tmp_path / "run"
    shutil.copytree(run, other)
    shutil.copy(tmp_path / "embeddings.parquet", other / "embeddings.parquet")
    assert main(["evaluate", f"run={other}", "predict=false", *ASKED]) == 2
    # Unless they are asked for, features of before enter nothing.
    assert main(["evaluate", f"run={other}", "predict=false", "evaluation.replicates=5"]) == 0
    assert "embeddings" not in json.loads((other / "metrics.json").read_text())


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_them(family: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(["train", *DATA, *FAMILIES[family], *ASKED, f"run={run}"]) == 0
    embeddings = Embeddings.read(run / "embeddings.parquet").of_split("test")
    task = load_checkpoint(find_checkpoint(run, "best")).eval()
    rows = dict.fromkeys(embeddings.sample_id)
    size = next(word.removeprefix("data.size=") for word in [*FAMILIES[family], *DATA] if word.startswith("data.size="))
    dims = 3 if "data.dims=3" in FAMILIES[family] else 2
    dataset = load_dataset("phantom", patients=30, size=int(size), dims=dims)
    row = dataset.table.set_index("sample_id").loc[next(iter(rows))]
    image = dataset.reader.read(*({**row, "sample_id": row.name}[column] for column in dataset.reader.columns))
    with torch.no_grad():
        shown = task.input(torch.from_numpy(image)[None])
        features = task.model.forward_head(task.model.forward_features(shown), pre_logits=True)[0].numpy()
    np.testing.assert_allclose(embeddings.features[0], features, rtol=1e-3, atol=1e-5)
    report = json.loads((run / "metrics.json").read_text())["embeddings"]["test"]
    if family == "quantities":
        assert report["undefined"] == "quantities are never the same"
        return
    assert report["retrieval"]["queries"] > 0
    if family == "findings":
        assert "findings" in report["robustness_index"]["site"]["undefined"]


def test_image_text_models_are_scored_alike(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(["train", *DATA, "model=clip", "data.patients=16", "trainer.batch_size=8", *ASKED, f"run={run}"]) == 0
    report = json.loads((run / "metrics.json").read_text())
    assert set(report["retrieval"]) == set(report["embeddings"]) == {"val", "test"}
    assert Embeddings.read(run / "embeddings.parquet").length is None


def test_mistakes_are_one_line(run: Path, trained_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def told(*words: str) -> str:
        capsys.readouterr()
        assert main(["evaluate", *words]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        return lines[0]

    assert "evaluation.embeddings=true" in told(f"run={run}", "evaluation.robustness_index=site")
    wrong = told(f"run={run}", "evaluation.embeddings=true", "evaluation.robustness_index=sit")
    assert "unknown subgroup column 'sit' in evaluation.robustness_index; did you mean 'site'" in wrong
    assert "not 3" in told(f"run={run}", "evaluation.embeddings=true", "evaluation.robustness_index=3")
    assert "no embeddings file at" in told(f"run={trained_run}", "predict=false", "evaluation.embeddings=true")
    with pytest.raises(UnknownNameError):
        search([str(run), "--like", "nobody"])


class Without(nn.Module):
    """A network in one piece."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, :4]


class Dead(Without):
    """A network whose features are 0."""

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(images), 4)

    def forward_head(self, features: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        return features


def test_a_network_without_features_is_refused(run: Path) -> None:
    task, dataset = load_checkpoint(find_checkpoint(run, "best")).eval(), load_dataset("phantom", patients=12, size=32)
    runner = Runner(make_accelerator("cpu"))
    task.model = Without()
    with pytest.raises(ConfigError, match="Without has no forward_features and forward_head: its features cannot be had"):
        embed_features(task, dataset, ["test"], runner)
    task.model = Dead()
    with pytest.raises(EvaluationError, match=r"are all 0: .* leave out evaluation.embeddings"):
        embed_features(task, dataset, ["test"], runner)
