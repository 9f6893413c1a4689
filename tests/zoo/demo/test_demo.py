"""The shipped model, images and figures are what they say they are, and `medzoo demo` needs nothing but the runtime."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import accuracy_score, roc_auc_score

from medzoo.cli import main
from medzoo.data.dataset import Dataset
from medzoo.data.errors import OnnxFileError
from medzoo.data.registry import load_dataset
from medzoo.demo import show
from medzoo.demo.make import main as make
from medzoo.demo.picture import GAP, LINE, PALE, RIGHT, TILE, WRONG, Tile, draw
from medzoo.demo.shipped import ANSWERS, HOME, METRICS, MODEL, read_shipped
from medzoo.export import OnnxModel
from medzoo.export.graph.figures import TOLERANCE
from medzoo.settings.compose import compose_config

ALONE = """
import socket, sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in sys.argv[1].split(","):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocker())
def refused(*arguments, **named):
    raise AssertionError("the demo asks the network")
socket.socket.connect = socket.getaddrinfo = refused
from medzoo.cli import main
sys.exit(main(sys.argv[2:]))
"""
TRAINING_HALF = (
    "torch,torchvision,timm,pandas,pyarrow,hydra,omegaconf,yaml,accelerate,onnx,onnxscript,matplotlib,scipy,sklearn,safetensors"
)


@pytest.fixture(scope="module")
def test_split() -> Dataset:
    options = OnnxModel(HOME / MODEL).spec["data"]["options"]
    return load_dataset(**options)


def test_the_shipped_file_is_whole_proven_and_of_the_shipped_figures() -> None:
    shipped = read_shipped()
    model = OnnxModel(shipped.model)
    parity, metric = shipped.proof["parity"], shipped.proof["metric"]
    assert parity["relative"] <= TOLERANCE
    assert parity["agreement"] == 1
    assert abs(metric["torch"] - metric["onnx"]) <= 1e-3
    assert shipped.proof["dataset_differs"] == {}
    assert "training" not in shipped.proof  # it was trained to the end
    assert model.spec["data"]["licence"] == "CC0-1.0"
    assert sum(path.stat().st_size for path in HOME.iterdir()) < 2_000_000
    assert {path.name for path in HOME.iterdir()} == {MODEL, METRICS, ANSWERS, *(path.name for path in shipped.images)}


def test_the_demo_runs_without_the_training_half_and_the_network_and_gives_the_stored_answers(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ALONE, TRAINING_HALF, "demo"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    shipped = read_shipped()
    for answer in shipped.answers:
        assert f"{answer.sample}  {answer.said} {answer.probability:.3f}  (truth: {answer.truth})" in done.stdout
    test = shipped.metrics["splits"]["test"]
    auroc = test["metrics"]["auroc"]
    assert f"  auroc     {auroc['value']:.3f} [{auroc['low']:.3f}, {auroc['high']:.3f}]" in done.stdout
    assert f"on {test['samples']} test images of {test['groups']} patients" in done.stdout
    assert f"largest logit difference {shipped.proof['parity']['largest']:.1e}" in done.stdout
    written = tmp_path / "medzoo-demo"
    assert sorted(path.name for path in written.iterdir()) == ["demo.png", "images", "model.onnx"]
    assert (written / "model.onnx").read_bytes() == shipped.model.read_bytes()
    for path in shipped.images:
        assert (written / "images" / path.name).read_bytes() == path.read_bytes()
    with Image.open(written / "demo.png") as picture:
        assert picture.width == GAP + len(shipped.answers) * (TILE + GAP)


def test_what_it_says_to_do_next_can_be_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", str(tmp_path / "a folder")]) == 0
    commands = [line.split("#")[0].strip() for line in capsys.readouterr().out.split("go on:\n")[1].splitlines()]
    predict = next(command for command in commands if command.startswith("medzoo predict"))
    program = [sys.executable, "-c", ALONE, TRAINING_HALF]
    done = subprocess.run(
        ["sh", "-c", predict.replace("medzoo", '"$@"', 1), "sh", *program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = {Path(row["image"]).name: row["class"] for row in map(json.loads, done.stdout.splitlines())}
    assert said == {answer.file: answer.said for answer in read_shipped().answers}
    train = next(command for command in commands if command.startswith("medzoo train"))
    compose_config("train", train.split()[2:])


def test_the_images_are_the_first_of_each_class_in_the_test_split(test_split: Dataset) -> None:
    rows = test_split.rows("test")
    shipped = read_shipped()
    assert test_split.labels is not None
    for code, (answer, path) in enumerate(zip(shipped.answers, shipped.images, strict=True)):
        first = rows[rows["target"] == code].iloc[0]
        assert (answer.sample, answer.truth) == (first["sample_id"], test_split.labels.names[code])
        drawn = test_split.reader.read(*(first[column] for column in test_split.reader.columns))[0]
        with Image.open(path) as image:
            stored = np.asarray(image)
        assert np.abs(stored.astype(int) - drawn.astype(int)).max() <= 1  # another processor may round a pixel otherwise


def test_the_shipped_figures_are_the_shipped_files_own(test_split: Dataset) -> None:
    rows = test_split.rows("test")
    images = [test_split.reader.read(*values)[0] for values in rows[list(test_split.reader.columns)].itertuples(index=False)]
    found = OnnxModel(HOME / MODEL).predict(images)["probabilities"]
    truth = rows["target"].to_numpy(dtype=int)
    metrics = read_shipped().metrics["splits"]["test"]["metrics"]
    assert roc_auc_score(truth, found.astype(float), multi_class="ovr") == pytest.approx(metrics["auroc"]["value"], abs=1e-3)
    assert accuracy_score(truth, found.argmax(axis=1)) == pytest.approx(metrics["accuracy"]["value"], abs=3e-3)


def damaged(folder: Path, name: str, change: str) -> Path:
    shutil.copytree(HOME, folder)
    if change == "missing":
        (folder / name).unlink()
    elif change == "other weights":
        content = json.loads((folder / name).read_text())
        content["details"]["weights"] = "0" * 64
        (folder / name).write_text(json.dumps(content))
    else:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1 if name == MODEL else 0x80
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (MODEL, "missing", "cannot read"), (MODEL, "altered", "SHA-256 does not match"),
        (METRICS, "missing", "install medzoo again"), (METRICS, "altered", "install medzoo again"),
        (METRICS, "other weights", "is of other weights than model.onnx"), (ANSWERS, "missing", "install medzoo again"),
    ],
)  # fmt: skip
def test_files_that_are_not_as_they_were_made_are_refused(name: str, change: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(OnnxFileError, match=said):
        read_shipped(damaged(tmp_path / "files", name, change))


@pytest.mark.parametrize(("key", "value"), [("said", "cyst"), ("probability", 0.123)])
def test_a_machine_that_computes_otherwise_is_told(
    key: str, value: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(HOME, tmp_path / "files")
    rows = json.loads((HOME / ANSWERS).read_text())
    rows[0][key] = value
    (tmp_path / "files" / ANSWERS).write_text(json.dumps(rows))
    monkeypatch.setattr(show, "read_shipped", lambda: read_shipped(tmp_path / "files"))
    assert main(["demo", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("medzoo: this machine answers normal")
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_demo_is_repeated_in_its_folder_and_written_over_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["demo", str(out)]) == 0
    assert main(["demo", str(out)]) == 0
    (out / "thesis.txt").write_text("x")
    assert main(["demo", str(out)]) == 2
    assert "holds other files (thesis.txt)" in capsys.readouterr().err
    assert main(["demo", str(out / "thesis.txt")]) == 2
    assert "is a file" in capsys.readouterr().err
    assert main(["demo", str(out / "thesis.txt" / "below")]) == 2
    assert "cannot write to" in capsys.readouterr().err


def test_the_picture_shows_right_from_wrong_and_how_sure() -> None:
    image = Image.new("L", (8, 8), 255)
    picture = draw([Tile(image, "cyst", 0.75, "cyst"), Tile(image, "cyst", 0.25, "normal")], "title")
    row = GAP + LINE + GAP + TILE + GAP // 2 + 2
    bars = [[picture.getpixel((GAP + place * (TILE + GAP) + x, row)) for x in range(TILE)] for place in (0, 1)]
    assert [bars[0].count(RIGHT), bars[0].count(PALE)] == [TILE * 3 // 4, TILE // 4]
    assert [bars[1].count(WRONG), bars[1].count(PALE)] == [TILE // 4, TILE * 3 // 4]
    assert picture.getpixel((GAP + 5, GAP + LINE + GAP + 5)) == (255, 255, 255)


def test_files_are_made_of_any_exported_run(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, files = exported.parent, tmp_path / "files"
    assert make([str(run), str(files)]) == 2
    assert "no test image of the class 'normal'" in capsys.readouterr().err  # of forty patients none, in test
    larger = load_dataset("phantom", patients=60, size=32)
    monkeypatch.setattr("medzoo.demo.make.run_dataset", lambda *_: larger)
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("*.onnx"))
    assert make([str(tmp_path / "run"), str(files)]) == 2
    assert "medzoo export run=" in capsys.readouterr().err
    assert not files.exists()
    assert make([str(run), str(files)]) == 0
    made = read_shipped(files)
    assert [answer.truth for answer in made.answers] == ["normal", "cyst", "calcified nodule", "tumour"]
    found = OnnxModel(made.model).predict(made.images)["probabilities"]
    np.testing.assert_allclose(found.max(axis=1), [answer.probability for answer in made.answers], atol=1e-5)


OF_THE_DRAW = 0.005
"""Seeds 0 and 1 gave AUROCs of 0.957 and 0.952 on the same images. On one machine the model is the same to the last bit; where a
processor rounds otherwise it is as if drawn anew, and the shipped interval is of the test patients alone."""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_made_again_the_model_is_as_good(tmp_path: Path) -> None:
    """By the commands that docs/demo.md gives; the weights differ by the rounding of another processor and other libraries."""
    run = tmp_path / "run"
    assert main(["train", "experiment=demo", f"run={run}"]) == 0
    assert main(["export", f"run={run}"]) == 0
    assert make([str(run), str(tmp_path / "files")]) == 0
    before, again = read_shipped(), read_shipped(tmp_path / "files")
    assert [(a.file, a.sample, a.truth) for a in again.answers] == [(a.file, a.sample, a.truth) for a in before.answers]
    shipped, made = (found.metrics["splits"]["test"]["metrics"]["auroc"] for found in (before, again))
    assert shipped["low"] - OF_THE_DRAW <= made["value"] <= shipped["high"] + OF_THE_DRAW
