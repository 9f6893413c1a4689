"""Every published recipe composes and takes a step, on tiny files of the set it names."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from medzoo.cli import main
from medzoo.commands.suites.grid import Grid
from medzoo.data.datasets.medmnist.sets import SETS
from medzoo.settings.compose import compose_config
from tests.data.datasets import chestxray14_files

ROOT = Path(__file__).parents[3]
EXPERIMENTS = sorted((ROOT / "conf" / "experiment").glob("*.yaml"))


def tiny_set(folder: Path, name: str) -> None:
    """Write a file of the exact format of a MedMNIST set, with six training samples a class."""
    described = SETS[name]
    classes = described.labels.width
    rng = np.random.default_rng(0)
    shape = (28, 28, 28) if described.volume else (28, 28, 3) if described.channels == 3 else (28, 28)
    arrays = {}
    for split, each in (("train", 6), ("val", 2), ("test", 2)):
        codes = np.repeat(np.arange(classes), each).astype(np.uint8)
        images = rng.integers(0, 100, (len(codes), *shape), dtype=np.uint8) + (codes * 20).reshape(-1, *[1] * len(shape)).astype(
            np.uint8
        )
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = images, codes[:, None]
    np.savez(folder / f"{name}.npz", **arrays)


def tiny_videos(folder: Path) -> None:
    """Write two frames of ten videos a class, as POCOVID-Net's own scripts name them."""
    rng = np.random.default_rng(0)
    for code, name in enumerate(("covid", "pneumonia", "regular")):
        (folder / name).mkdir(parents=True)
        for video, frame in product(range(10), range(2)):
            pixels = rng.integers(0, 100, (40, 44, 3), dtype=np.uint8) + np.uint8(50 * code)
            Image.fromarray(pixels).save(folder / name / f"{name[:3].title()}-v{video}.mp4_frame{frame}.jpg")


def tiny_lesions(folder: Path) -> None:
    """Write two images of six patients a class, as the README of MSLD v2.0 names them, in the three folders of a fold."""
    rng = np.random.default_rng(0)
    for code, patient in product(("MKP", "CHP", "MSL", "CWP", "HFMD", "HEALTHY"), range(6)):
        split = ("Train", "Train", "Train", "Train", "Valid", "Test")[patient]
        (folder / split / code.title()).mkdir(parents=True, exist_ok=True)
        for image in (1, 2):
            pixels = rng.integers(0, 255, (40, 44, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / split / code.title() / f"{code}_{patient:02d}_{image:02d}.jpg")


def tiny_films(folder: Path) -> None:
    """Write a small download of ChestX-ray14."""
    films = chestxray14_files.many_films(16)
    chestxray14_files.write_release(folder, films, [film[0] for film in films if film[0][:8] > "00000012"])
    chestxray14_files.write_images(folder, [film[0] for film in films])


TREE = {"Fungal": "Infectious Disorders", "Bacterial": "Infectious Disorders", "Hair Disorders": "Other skin disorders"}
SIGNS = ("Descriptors_Plaque", "Descriptors_Crust", "Body_part_Armpits (Axillary Region)")


def tiny_concepts(folder: Path) -> None:
    """Write the two files of DermaCon-IN's split with the columns of its schema, and their images."""
    rng = np.random.default_rng(0)
    (folder / "DATASET").mkdir(parents=True)
    (folder / "METADATA").mkdir()
    lines = {"train": [], "test": []}
    for number in range(60):
        below = list(TREE)[number % 3]
        pixels = rng.integers(0, 100, (40, 44, 3), dtype=np.uint8) + np.uint8(50 * (number % 3))
        Image.fromarray(pixels).save(folder / "DATASET" / f"IMG_{number:04d}.jpg")
        signs = [str(int(number % 3 == 0)), str(rng.integers(2)), str(rng.integers(2))]
        of_patient = (f"SUB{number // 2:05d}", ("Male", "Female")[number // 2 % 2], f"FST {1 + number // 2 % 6}")
        row = [f"IMG_{number:04d}.jpg", *of_patient, *signs, TREE[below], below, f"disease {number % 5}"]
        lines["test" if number % 5 == 4 else "train"].append(",".join(row))
    header = ",".join(("Image_name", "Subject_ID", "Sex", "Fitzpatrick", *SIGNS, "Main_class", "Sub_class", "Disease_label"))
    for part, rows in lines.items():
        (folder / "METADATA" / f"{part}_split.csv").write_text("\n".join([header, *rows]) + "\n")


def block(heading: str, language: str) -> str:
    """Return the first block of a language below a heading of the page of recipes."""
    below = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8").split(f"## {heading}\n")[1]
    return below.split(f"```{language}\n")[1].split("```")[0]


QUICK = ("demo", "low_label", "medmnistplus_knn", "retinamnist_ordinal", "zach_vit_few_shot")
"""Those of seconds; the slow lane takes a step of each of the others."""
STEPS = [
    pytest.param(path, id=path.stem, marks=[] if path.stem in QUICK else [pytest.mark.slow]) for path in EXPERIMENTS
]  # fmt: skip


@pytest.mark.parametrize("path", STEPS)
def test_an_experiment_composes_and_takes_a_step(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = compose_config("train", [f"experiment={path.stem}"])
    if config.data.name == "phantom":  # drawn: no file
        data = ["data.patients=24"]
    elif config.data.name == "folder":
        (tiny_lesions if path.stem == "msld" else tiny_videos)(tmp_path / "images")
        data = [f"data.root={tmp_path / 'images'}"]
    elif config.data.name == "table":
        monkeypatch.chdir(tmp_path)
        tiny_concepts(tmp_path)
        exec(block("Three kinds of model on DermaCon-IN", "python"), {})
        data = ["data.file=dermacon_in.csv", "data.root=DATASET", "data.parents=tree.json"]
    elif config.data.name == "chestxray14":
        tiny_films(tmp_path / "films")
        data = [f"data.root={tmp_path / 'films'}"]
    else:
        tiny_set(tmp_path, config.data.set)
        data = [f"data.root={tmp_path}", "data.verify=false"]
    options = [
        f"experiment={path.stem}", *data, "trainer.batch_size=8",
        "trainer.trackers=[]", "data.shots=3", "data.fraction=null", "evaluation.replicates=5", f"run={tmp_path / 'run'}",
        "model.backbone=" + SMALL.get(config.model.backbone, config.model.backbone),
    ]  # fmt: skip
    if not config.model.get("neighbours"):
        options.append("trainer.epochs=1")
    if "pretrained" in config.model:
        options.append("model.pretrained=false")
    assert main(["train", *options]) == 0
    assert (tmp_path / "run" / "metrics.json").is_file()
    if path.stem == "dermacon_in":
        assert "hierarchy" in json.loads((tmp_path / "run" / "metrics.json").read_text())["splits"]["test"]
    by = config.evaluation.by
    assert by is None or (tmp_path / "run" / "by" / by / "metrics.json").is_file()


SMALL = {"vgg16": "test_resnet", "densenet121": "test_resnet", "resnet50": "resnet26", "resnet50_3d": "resnet18_3d"}
"""The deep ones take minutes on volumes and large images; the slow lane exports them as they are."""


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_an_experiment_says_where_it_is_from_and_how_to_run_it(path: Path) -> None:
    text = path.read_text()
    comment = " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
    command = next(line for line in text.splitlines() if line.startswith("# medzoo train"))
    assert f"experiment={path.stem}" in command
    assert "20" in comment, "no source with its year"
    overrides = [w for w in command.split()[3:] if "=" in w]
    for override in overrides:
        key = override.split("=")[0]
        if key in ("experiment", "loss"):
            continue
        compose_config("train", [f"experiment={path.stem}", f"{key}={override.split('=', 1)[1].split(',')[0]}"])
    assert yaml.safe_load(text)


def test_the_three_kinds_of_model_on_dermacon_in_are_of_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tiny_concepts(tmp_path)
    exec(block("Three kinds of model on DermaCon-IN", "python"), {})
    assert json.loads(Path("tree.json").read_text()) == TREE
    jobs = {job.model: compose_config("train", list(job.words)) for job in Grid.read(Path("dermacon_in.yaml")).jobs()}
    assert {name: job.model.family for name, job in jobs.items()} == {
        "resnet50": "cnn", "densenet121": "cnn", "swin": "vit", "bottleneck": "cbm"
    }  # fmt: skip
    assert all(list(job.data.concepts) == list(SIGNS) and job.data.target == "Sub_class" for job in jobs.values())
    assert {name: job.trainer.learning_rate for name, job in jobs.items()}["bottleneck"] == 3e-5
    assert jobs["swin"].loss.label_smoothing == jobs["bottleneck"].loss.label_smoothing == 0.1
    # A step of the bottleneck; that of a classifier is the experiment's own.
    options = ["model.backbone=test_resnet", "model.pretrained=false", "model.preprocess.size=32", "trainer.epochs=1"]
    words = next(job.words for job in Grid.read(Path("dermacon_in.yaml")).jobs() if job.model == "bottleneck")
    quick = [*options, "trainer.batch_size=16", "trainer.trackers=[]", "evaluation.replicates=5", "run=run"]
    assert main(["train", *words, *quick]) == 0
    report = json.loads(Path("run/metrics.json").read_text())["splits"]["test"]
    assert len(report["hierarchy"]["levels"]) == 2
    assert set(report["concepts"]["auroc"]["classes"]) == set(SIGNS)


def test_few_labels_of_chest_sets_are_a_grid_of_shares(tmp_path: Path) -> None:
    (tmp_path / "benchx.yaml").write_text(block("Few labels of several chest sets", "yaml"))
    jobs = Grid.read(tmp_path / "benchx.yaml").jobs()
    configs = [compose_config("train", list(job.words)) for job in jobs]
    assert len(jobs) == 6 * 2 * 3
    assert [config.data.fraction for config in configs[::6]] == [0.01, 0.1, 1.0] * 2
    assert [config.data.name for config in configs[::18]] == ["chestxray14", "table"]
    assert all(config.data.draw_seed == config.seed for config in configs)
    assert {config.trainer.learning_rate for config in configs} == {1e-5}
