"""Towers and zero-shot classifiers in ONNX: equal to torch at every batch, text without torch, open_clip folders too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from medzoo.cli import main
from medzoo.data.errors import OnnxFileError
from medzoo.export.runtime.model import OnnxModel
from medzoo.store.checkpoint import find_checkpoint
from medzoo.tasks.load import load_checkpoint
from tests.zoo.models.clip.clip_folder import write_folder

TINY = [
    "data=phantom", "data.patients=12", "data.size=24", "model=clip", "trainer.trackers=[]", "trainer.batch_size=8",
    "trainer.epochs=1", "evaluation.replicates=5",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip") / "run"
    assert main(["train", *TINY, "evaluate=false", f"run={folder}"]) == 0
    assert main(["export", f"run={folder}", "images=8"]) == 0
    return folder


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.mark.parametrize("batch", [1, 2, 3, 7])
def test_towers_and_classifiers_equal_torch(run: Path, batch: int) -> None:
    task = load_checkpoint(find_checkpoint(run, "best"))
    images = np.random.default_rng(batch).integers(0, 256, (batch, 40, 30, 3), dtype=np.uint8)
    theirs = task.predict({"image": torch.from_numpy(images).movedim(-1, 1)})["image_embedding"].numpy()
    for name in ("image.onnx", "zeroshot.onnx"):
        ours = OnnxModel(run / name).predict(list(images), batch_size=batch)["image_embedding"]
        assert cosines(ours, theirs).min() >= 0.9999
    texts = ["a cyst", "no lesion", "Synthetic image: a tumour.", "ONE", "two words", "3 mm", "a" * 500][:batch]
    text = OnnxModel(run / "text.onnx")
    with torch.no_grad():
        assert cosines(text.embed_texts(texts), task.embed_texts(texts).numpy()).min() >= 0.9999
    vectors = text.class_embeddings({"cyst": ["a cyst", "cyst"], "tumour": ["a tumour"]})
    answer = OnnxModel(run / "zeroshot_open.onnx").predict(list(images), class_embeddings=vectors)
    scale = float(task.model.logit_scale.detach().exp())
    np.testing.assert_allclose(answer["logits"], scale * theirs @ vectors.T, atol=1e-3)
    np.testing.assert_allclose(answer["probabilities"].sum(axis=1), 1, atol=1e-5)
    report = json.loads((run / "export.json").read_text())
    assert all(part["parity"]["cosine"] is None or part["parity"]["cosine"] >= 0.9999 for part in report.values())


def test_the_closed_classifier_says_what_zeroshot_reports(run: Path, tmp_path: Path) -> None:
    from medzoo.evaluation.predictions import Predictions

    assert (
        main(
            [
                "zeroshot",
                f"trained={run}",
                *TINY[:3],
                "evaluation.splits=[val]",
                "evaluation.replicates=5",
                f"run={tmp_path / 'z'}",
            ]
        )
        == 0
    )
    report = json.loads((run / "export.json").read_text())["zeroshot.onnx"]
    predictions = Predictions.read(tmp_path / "z" / "predictions.parquet")
    from medzoo.data.registry import load_dataset

    dataset = load_dataset("phantom", patients=12, size=24)
    rows = dataset.rows("val")
    images = [
        np.moveaxis(dataset.reader.read(*(rows[c].iloc[i] for c in dataset.reader.columns)), 0, -1) for i in range(len(rows))
    ]
    ours = OnnxModel(run / "zeroshot.onnx").predict(images)
    np.testing.assert_allclose(ours["logits"], predictions.logits, atol=2e-3)
    assert report["prompts"]["hash"] == predictions.details["zero-shot"]["hash"]


def test_files_say_what_they_take(run: Path) -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(OnnxFileError, match="takes text, not images"):
        OnnxModel(run / "text.onnx").predict([image])
    with pytest.raises(OnnxFileError, match="needs class_embeddings"):
        OnnxModel(run / "zeroshot_open.onnx").predict([image])
    with pytest.raises(OnnxFileError, match="does not take class_embeddings"):
        OnnxModel(run / "image.onnx").predict([image], class_embeddings=np.zeros((2, 128), np.float32))
    with pytest.raises(OnnxFileError, match="embeds no text"):
        OnnxModel(run / "image.onnx").embed_texts(["a"])


def test_text_classification_needs_no_torch(run: Path, tmp_path: Path) -> None:
    Image.new("RGB", (20, 20), (90, 20, 20)).save(tmp_path / "a.png")
    blocked = tmp_path / "site" / "torch"
    blocked.mkdir(parents=True)
    (blocked / "__init__.py").write_text("raise ImportError('torch is not to be imported here')\n")
    for name in ("transformers", "open_clip"):
        (tmp_path / "site" / f"{name}.py").write_text(f"raise ImportError('{name} is not to be imported here')\n")
    command = [
        sys.executable, "-m", "medzoo", "predict", str(run / "zeroshot_open.onnx"), str(tmp_path / "a.png"), "--text-model",
        str(run / "text.onnx"), "--class", "a cyst", "--class", "no lesion", "--template", "A phantom with {}.", "--json",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["class"] in ("a cyst", "no lesion")
    assert sum(said["probabilities"].values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_an_open_clip_folder_runs_zero_shot_trains_and_exports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_folder(tmp_path / "tiny-bert")
    model = f"model.backbone=local-dir:{folder}"
    zeroshot = ["zeroshot", *TINY[:4], model, "evaluation.splits=[test]", "evaluation.replicates=5"]
    assert main([*zeroshot, f"run={tmp_path / 'z'}"]) == 0
    capsys.readouterr()
    assert main(["compare", str(tmp_path / "z"), "--metrics", "auroc"]) == 0  # as runs are, though nothing was trained
    figure = json.loads((tmp_path / "z" / "metrics.json").read_text())["splits"]["test"]["metrics"]["auroc"]["value"]
    assert f"zero-shot, prompts phantom 1 | 1 | {figure:.3f}" in capsys.readouterr().out
    (tmp_path / "photos").mkdir()
    for number in range(3):
        Image.new("RGB", (30, 20 + number), (80 * number, 40, 90)).save(tmp_path / "photos" / f"{number}.png")
    (tmp_path / "photos" / "x.heic").write_bytes(b"\0\0\0\x1cftypheic" + bytes(20))
    (tmp_path / "photos" / "list.csv").write_text("a,b")
    (tmp_path / "photos" / "._0.png").write_bytes(b"\0\x05\x16\x07")
    assert main(["zeroshot", model, f"images=[{tmp_path / 'photos'}]", "classes=[nevus,melanoma]", "json=true"]) == 0
    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert [Path(line["image"]).name for line in lines] == ["0.png", "1.png", "2.png"]
    assert "note: left out: 1 HEIC, 1 csv (not images that are read here)" in captured.err
    run = tmp_path / "run"
    assert main(["train", *TINY, model, "evaluate=false", f"run={run}"]) == 0
    folder.rename(tmp_path / "moved")  # the run needs it no more
    assert main(["export", f"run={run}", "images=7"]) == 0
    text = OnnxModel(run / "text.onnx")
    task = load_checkpoint(find_checkpoint(run, "best"))
    with torch.no_grad():
        assert cosines(text.embed_texts(["a nevus"] * 3), task.embed_texts(["a nevus"] * 3).numpy()).min() >= 0.9999


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "clip_tiny has random weights"),
        (["classes=[a,b]", "TRAINED"], "classes has 2 names, the dataset 4"),
        (["prompts=medmnist_pathmnist", "TRAINED"], "'adipose'"),
        (["templates=['{}']", "TRAINED"], "templates are for classes"),
        (["held_out=template", "TRAINED"], "did you mean 'templates'"),
        (["images=[/nowhere]", "TRAINED"], "say what the images may show"),
        (["held_out=both", "classes=[a,b,c,d]", "TRAINED"], "classes=[...] have none"),
        (["ontology=LIST", "TRAINED"], "is not an ontology"),
        (["ontology=OTHER", "TRAINED"], "the ontology would change nothing"),
        (["data.labels=regression", "TRAINED"], "not quantities"),
    ],
)
def test_mistakes_are_one_line(
    options: list[str], message: str, run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "other.json").write_text('{"skin": ["nevus"]}')
    given = {"TRAINED": f"trained={run}", "ontology=LIST": f"ontology={tmp_path / 'list.json'}"}
    given["ontology=OTHER"] = f"ontology={tmp_path / 'other.json'}"
    words = [given.get(word, word) for word in options]
    data = [] if "images=[/nowhere]" in options else TINY[:3]
    assert main(["zeroshot", *data, *words, f"run={tmp_path / 'z'}"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_the_ten_lines_of_the_docs_run(run: Path, tmp_path: Path) -> None:
    Image.new("RGB", (20, 20), (90, 20, 20)).save(tmp_path / "a.png")
    script = Path(__file__).parents[3] / "docs" / "zero_shot_folder.py"
    done = subprocess.run(
        [sys.executable, str(script), str(run), str(tmp_path), "a cyst", "no lesion"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{tmp_path / 'a.png'}  ")


@pytest.mark.slow
def test_the_exported_classifier_has_the_wording_it_was_scored_with(tmp_path: Path) -> None:
    import yaml

    wording = {
        "name": "mine", "version": 1, "source": "us", "templates": ["Seen: {}."],
        "classes": {"normal": ["nothing"], "cyst": ["a cyst"], "calcified nodule": ["chalk"], "tumour": ["a tumour"]},
    }  # fmt: skip
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(wording))
    run = tmp_path / "run"
    assert main(["train", *TINY, f"model.captions={tmp_path / 'mine.yaml'}", f"run={run}"]) == 0
    assert main(["export", f"run={run}", "images=4"]) == 0
    scored = json.loads((run / "metrics.json").read_text())["details"]["zero-shot"]["hash"]
    assert json.loads((run / "export.json").read_text())["zeroshot.onnx"]["prompts"]["hash"] == scored
