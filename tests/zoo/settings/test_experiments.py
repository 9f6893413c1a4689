"""Every published recipe composes and takes a step, on tiny files of the set it names."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from medzoo.cli import main
from medzoo.data.datasets.medmnist.sets import SETS
from medzoo.settings.compose import compose_config

EXPERIMENTS = sorted((Path(__file__).parents[3] / "conf" / "experiment").glob("*.yaml"))


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


QUICK = ("demo", "low_label", "medmnistplus_knn", "retinamnist_ordinal", "zach_vit_few_shot")
"""Those of seconds; the slow lane takes a step of each of the others."""
STEPS = [
    pytest.param(path, id=path.stem, marks=[] if path.stem in QUICK else [pytest.mark.slow]) for path in EXPERIMENTS
]  # fmt: skip


@pytest.mark.parametrize("path", STEPS)
def test_an_experiment_composes_and_takes_a_step(path: Path, tmp_path: Path) -> None:
    config = compose_config("train", [f"experiment={path.stem}"])
    if config.data.name == "phantom":  # drawn: no file
        data = ["data.patients=24"]
    elif config.data.name == "folder":
        tiny_videos(tmp_path / "frames")
        data = [f"data.root={tmp_path / 'frames'}"]
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
    by = config.evaluation.by
    assert by is None or (tmp_path / "run" / "by" / by / "metrics.json").is_file()


SMALL = {"vgg16": "test_resnet", "resnet50": "resnet26", "resnet50_3d": "resnet18_3d"}
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
