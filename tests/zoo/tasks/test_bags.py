"""Bags from the table to the file: trained, predicted, exported, and alike in torch and ONNX for any number of members."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from medzoo.api import load
from medzoo.cli import main
from medzoo.data.errors import ConfigError, ImageError, OnnxFileError
from medzoo.data.registry import load_dataset
from medzoo.evaluation.predictions import Predictions
from medzoo.export.runtime.model import OnnxModel
from medzoo.settings.schema import LossConfig, ModelConfig, PreprocessConfig
from medzoo.store.checkpoint import checkpoint_files
from medzoo.store.storage import write_folder
from medzoo.tasks.bags import Bags
from medzoo.tasks.load import load_checkpoint
from medzoo.tasks.setup.families import task_from_config
from tests.export.service.served import running, service

FEATURES = "abcde"
BAGS = 16
SHORT = ["trainer.epochs=1", "trainer.batch_size=4", "trainer.trackers=[]", "evaluation.replicates=0", "seed=1"]


def size(bag: int) -> int:
    return 1 + bag % 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of bags of tiles, and of files of feature rows."""
    folder, draw = tmp_path_factory.mktemp("bags"), np.random.default_rng(0)
    split = [("train", "train", "val", "test")[bag // 2 % 4] for bag in range(BAGS)]
    tiles, files = [], []
    for bag in range(BAGS):
        row = {"y": "ab"[bag % 2], "p": bag // 2, "split": split[bag], "slide": f"s{bag}", "grade": bag % 3}
        np.save(folder / f"{bag}.npy", draw.normal(size=(size(bag), 5)) + bag % 2)
        files.append({"file": f"{bag}.npy" if bag else "0.parquet", **row})
        for member in range(size(bag)):
            pixels = draw.integers(0, 150, (20, 18), dtype=np.uint8) + 100 * np.uint8(bag % 2)
            Image.fromarray(pixels).save(folder / f"{bag}-{member}.png")
            tiles.append({"image": f"{bag}-{member}.png", **row})
    pd.DataFrame(np.load(folder / "0.npy"), columns=list(FEATURES)).to_parquet(folder / "0.parquet")
    pd.DataFrame(tiles).to_csv(folder / "tiles.csv", index=False)
    pd.DataFrame(files).to_csv(folder / "files.csv", index=False)
    return folder


def options(folder: Path, kind: str) -> dict[str, Any]:
    common = {"target": "y", "group": "p", "split": "split"}
    if kind == "tiles":
        return {"file": str(folder / "tiles.csv"), "bag": "slide", "channels": 1, "max_members": 3, **common}
    return {"file": str(folder / "files.csv"), "features": "file", **common}


@pytest.fixture(scope="module")
def run(folder: Path, request: pytest.FixtureRequest) -> Path:
    """Return a trained and exported run of bags, by kind and pooling."""
    kind, pool = request.param
    place = folder / f"{kind}-{pool}"
    if not place.exists():
        model = ["model=features"] if kind == "files" else ["model.backbone=test_resnet", "model.preprocess.size=16"]
        data = [f"data.{name}={value}" for name, value in options(folder, kind).items()]
        assert main(["train", "data=table", *data, *model, f"model.pool={pool}", *SHORT, f"run={place}"]) == 0
        assert main(["export", f"run={place}"]) == 0
    return place


def members(folder: Path, kind: str) -> list[Any]:
    if kind == "files":
        return [np.load(folder / f"{bag}.npy") for bag in range(BAGS)]
    return [[folder / f"{bag}-{member}.png" for member in range(size(bag))] for bag in range(BAGS)]


EVERY = pytest.mark.parametrize("run", [("tiles", "attention"), ("files", "max"), ("files", "mean")], indirect=True, ids="-".join)


@EVERY
def test_torch_the_file_and_the_predictions_say_the_same_of_bags_of_any_size(run: Path, folder: Path) -> None:
    kind, pool = run.name.split("-")
    bags, model, graph = members(folder, kind), load(run), OnnxModel(run / "model.onnx")
    ours, theirs = model.predict_cases(bags), graph.predict_cases(bags)
    assert set(ours) == set(theirs) == {"logits", "probabilities", *(("attention",) if pool == "attention" else ())}
    for name, values in ours.items():
        np.testing.assert_allclose(theirs[name], values, atol=1e-4 * max(1, np.nanstd(values)))
    alone = [graph.predict_cases([bag])["logits"][0] for bag in bags]  # alone as among others
    np.testing.assert_allclose(alone, theirs["logits"], atol=1e-5)
    predictions = Predictions.read(run / "predictions.parquet")
    places = [int(name.removeprefix("s").removesuffix(".npy")) for name in predictions.sample_id]
    np.testing.assert_allclose(predictions.logits, ours["logits"][places], atol=1e-5)
    turned = [graph.predict_cases([bag[::-1]])["logits"][0] for bag in bags]
    np.testing.assert_allclose(turned, theirs["logits"], atol=1e-6)
    if pool == "attention":
        assert predictions.attention is not None
        np.testing.assert_allclose(
            predictions.attention, ours["attention"][places][:, : predictions.attention.shape[1]], atol=1e-5
        )
        assert [int((~np.isnan(row)).sum()) for row in ours["attention"]] == [size(bag) for bag in range(BAGS)]
        np.testing.assert_allclose(np.nansum(ours["attention"], axis=1), 1, rtol=1e-5)
        single = [graph.predict([bag[0]]) for bag in bags]  # an image is a bag of its own
        np.testing.assert_allclose(
            [one["logits"][0] for one in single], model.predict([bag[0] for bag in bags])["logits"], atol=1e-4
        )
        assert {one["attention"].item() for one in single} == {1.0}
        warm = OnnxModel(run / "model.onnx")
        warm.warm_up(batch_size=3)


@EVERY
def test_what_no_bag_is_is_one_line(run: Path, folder: Path) -> None:
    kind, model, graph = run.name.split("-")[0], load(run), OnnxModel(run / "model.onnx")
    if kind == "tiles":
        for one in (model, graph):
            with pytest.raises(ImageError, match="case 1 has no image"):
                one.predict_cases([[folder / "0-0.png"], []])
        with pytest.raises(ImageError, match="case 0 has images of 18x20 and 20x18 pixels"):
            graph.predict_cases([[folder / "0-0.png", Image.open(folder / "0-0.png").rotate(90, expand=True)]])
        assert main(["export", f"run={run}", "precision=int8"]) == 2
        return
    for one in (model, graph):
        with pytest.raises(ImageError, match="case 0 has members of 4 features, the model takes 5"):
            one.predict_cases([np.zeros((2, 4))])
        with pytest.raises(ImageError, match="case 0: holds no member"):
            one.predict_cases([np.zeros((0, 5))])
        with pytest.raises((ConfigError, OnnxFileError), match="use predict_cases"):
            one.predict([folder / "0-0.png"])
    paths = graph.predict_cases([folder / "3.npy", [folder / "1.npy", folder / "2.npy"]])["logits"]
    arrays = graph.predict_cases([np.load(folder / "3.npy"), np.concatenate([np.load(folder / f"{n}.npy") for n in (1, 2)])])
    np.testing.assert_allclose(paths, arrays["logits"], atol=1e-6)
    pd.DataFrame(np.load(folder / "3.npy"), columns=list(FEATURES))[list(FEATURES[::-1])].to_parquet(folder / "turned.parquet")
    for one in (model, graph):
        np.testing.assert_allclose(one.predict_cases([folder / "turned.parquet"])["logits"], arrays["logits"][:1], atol=1e-5)


@EVERY
def test_the_command_line_takes_folders_and_files_for_bags(
    run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if run.name.startswith("files"):
        bag, words = folder / "3.npy", [str(folder / "3.npy")]
        expected = OnnxModel(run / "model.onnx").predict_cases([np.load(bag)])
    else:
        images = [folder / f"3-{member}.png" for member in range(4)]
        for image in images:
            shutil.copy(image, tmp_path)
        expected, words = OnnxModel(run / "model.onnx").predict_cases([images]), [str(tmp_path), "--bags"]
    assert main(["predict", str(run / "model.onnx"), *words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    np.testing.assert_allclose(list(said["probabilities"].values()), expected["probabilities"][0], atol=1e-5)
    assert len(said.get("attention", [0] * 4)) == 4


@pytest.mark.parametrize("run", [("tiles", "attention")], indirect=True, ids="-".join)
def test_a_folder_of_bags_is_no_bag(run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slides = tmp_path / "all slides"
    for bag in (3, 7):
        (slides / f"sl{bag}" / "deep").mkdir(parents=True)
        shutil.copy(folder / f"{bag}-0.png", slides / f"sl{bag}" / "deep")
    words = ["predict", str(run / "model.onnx"), "--bags", "--json"]
    assert main([*words, str(slides)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"medzoo: {slides} holds folders of images and no image itself: give each as a bag, '{slides}'/*/\n"
    assert main([*words, *map(str, sorted(slides.iterdir()))]) == 0
    assert [json.loads(line)["image"] for line in capsys.readouterr().out.splitlines()] == [
        str(slides / n) for n in ("sl3", "sl7")
    ]
    shutil.copy(folder / "3-1.png", slides)  # with images of its own it is a bag, with all that lies below it
    assert main([*words, str(slides)]) == 0
    assert len(json.loads(capsys.readouterr().out)["attention"]) == 3


@EVERY
def test_a_bag_that_cannot_be_read_stops_or_is_skipped_alone(
    run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of_files = run.name.startswith("files")
    bags = [tmp_path / name for name in (("a.npy", "b.npy", "c.npy") if of_files else "abc")]
    for bag, number in zip(bags, (3, 0, 7), strict=True):
        if of_files:
            shutil.copy(folder / f"{number}.npy", bag)
        else:
            bag.mkdir()
            shutil.copy(folder / f"{number}-0.png", bag)
    (bags[1] if of_files else bags[1] / "0-0.png").write_bytes(b"nothing of the kind")
    words = ["predict", str(run / "model.onnx"), *map(str, bags), "--json", *([] if of_files else ["--bags"])]
    assert main(words) == 2
    capsys.readouterr()
    assert main([*words, "--on-error", "skip"]) == 0
    said = capsys.readouterr()
    assert [json.loads(line)["image"] for line in said.out.splitlines()] == [str(bags[0]), str(bags[2])]
    assert f"skipped: {bags[1]}" in said.err
    assert "1 of 3 bags skipped" in said.err
    for option in (["--inputs", "rows.csv"], ["--set", "lesion=1"], ["--series", "1.2"]):
        assert main([*words, *option]) == 2
        assert f"{option[0]} is for single images" in capsys.readouterr().err


def test_an_ordinal_head_stands_behind_the_pooling(folder: Path, tmp_path: Path) -> None:
    data = {**options(folder, "tiles"), "target": "grade", "kind": "ordinal"}
    dataset = load_dataset("table", **data)
    config = ModelConfig(backbone="test_resnet", pool="attention", preprocess=PreprocessConfig(size=16))
    task = task_from_config(config, LossConfig(name="corn"), dataset, seed=0)
    images, mask = torch.randint(0, 256, (2, 3, 1, 16, 16), dtype=torch.uint8), torch.tensor([[True] * 3, [True, False, False]])
    batch = {"image": images, "view_mask": mask, "target": torch.eye(3)[:2]}
    task.train()
    task.training_step(batch)["loss"].backward()
    assert all(p.grad is not None for p in task.model.parameters())
    task.eval()
    said = task.predict(batch)
    torch.testing.assert_close(said["probabilities"].sum(dim=1), torch.ones(2))
    torch.testing.assert_close(said["logits"][1:], task.predict({"image": images[1:, 0]})["logits"])  # a bag of one
    changed = images.clone()
    changed[~mask] = 255
    assert torch.equal(task.predict({**batch, "image": changed})["logits"], said["logits"])
    saved = write_folder(tmp_path, "checkpoint", checkpoint_files(task.spec, task.model.state_dict(), "{}"), "best")
    assert torch.equal(load_checkpoint(saved).predict(batch)["logits"], said["logits"])


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        ("files", {"family": "cnn"}, "has rows of features: use model=features"),
        ("tiles", {"family": "features", "backbone": "rows"}, "has images: model=features is for data.features"),
        ("tiles", {"pool": "median"}, "none of mean, max, attention"),
        ("tiles", {"pool": "max", "neighbours": 1}, "not for model.neighbours"),
        ("files", {"family": "features", "backbone": "resnet18"}, "has no network"),
        ("files", {"family": "features", "backbone": "rows", "preprocess": PreprocessConfig(size=8)}, "taken as they are"),
        ("files", {"family": "features", "backbone": "rows", "arguments": {"drop_rate": 0.5}}, "the layer that width names"),
        ("phantom", {"pool": "attention"}, "is for samples of several images"),
    ],
)
def test_settings_that_do_not_go_together_are_one_line(kind: str, changes: dict[str, Any], said: str, folder: Path) -> None:
    dataset = load_dataset("phantom", patients=8) if kind == "phantom" else load_dataset("table", **options(folder, kind))
    config = ModelConfig(**{"backbone": "test_resnet", **changes})
    with pytest.raises(ConfigError, match=said) as error:
        task_from_config(config, LossConfig(), dataset, seed=0)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("run", [("files", "max")], indirect=True)
def test_a_model_of_rows_is_tested_on_rows_alone(run: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    on = [f"on.{name}={value}" for name, value in options(folder, "tiles").items()]
    assert main(["evaluate", f"run={run}", "on=table", *on]) == 2
    assert "the model takes rows of 5 features, table/tiles has images" in capsys.readouterr().err
    np.save(folder / "wide.npy", np.zeros((2, 6)))
    pd.DataFrame({"file": ["wide.npy"], "y": ["a"], "p": [90], "split": ["test"]}).to_csv(folder / "wide.csv", index=False)
    on = ["on.features=file", f"on.file={folder / 'wide.csv'}", "on.target=y", "on.group=p", "on.split=split", "on.names=[a,b]"]
    assert main(["evaluate", f"run={run}", "on=table", *on]) == 2
    assert "rows of 5 features, table/wide has rows of 6 features" in capsys.readouterr().err


@pytest.mark.parametrize("run", [("tiles", "attention")], indirect=True)
def test_verbs_that_have_no_bags_say_so(run: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = [f"data.{name}={value}" for name, value in options(folder, "tiles").items()]
    for words, said in (
        (["bench", f"run={run}"], "is a model of bags, and what is timed are single images"),
        (["export", f"run={run}", "map=true"], "weighs the members of a bag by each other"),
        (["prepare", "data=table", *data, f"output={folder / 'packed'}"], "cannot be prepared"),
        (["export", f"run={run}", "target=triton"], "target=triton is for one image a request"),
    ):
        assert main(words) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1


@EVERY
def test_the_file_is_served_as_it_is_asked_here(run: Path, folder: Path) -> None:
    kind, graph = run.name.split("-")[0], OnnxModel(run / "model.onnx")
    graph.warm_up(batch_size=4)
    bag = members(folder, kind)[3]
    wanted = graph.predict_cases([bag])
    files = [folder / "3.npy"] if kind == "files" else bag
    parts = [("members" if kind == "files" else "image", (file.name, file.read_bytes())) for file in files]
    with running(service(run / "model.onnx")) as address:
        found = httpx.post(f"{address}/predict", files=parts, timeout=60)
    (answer,) = found.json()["results"]
    assert np.array_equal(np.array(list(answer["logits"].values()), np.float32), wanted["logits"][0])
    assert np.array_equal(np.array(answer.get("attention", []), np.float32), wanted.get("attention", np.zeros((1, 0)))[0])


def test_rows_are_not_augmented(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = [f"data.{name}={value}" for name, value in options(folder, "files").items()]
    assert main(["train", "data=table", *data, "model=features", "trainer.augment=skin", *SHORT, f"run={folder / 'no'}"]) == 2
    assert "has rows of features, which no augmentation is for" in capsys.readouterr().err
    assert not (folder / "no").exists()


def test_the_features_that_guide_a_training_are_those_that_the_answer_follows_from(folder: Path) -> None:
    config = ModelConfig(backbone="test_resnet", pool="attention", preprocess=PreprocessConfig(size=16))
    task = task_from_config(config, LossConfig(), load_dataset("table", **options(folder, "tiles")), seed=0).eval()
    assert isinstance(task, Bags)
    images = torch.randint(0, 256, (3, 3, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    batch = {"image": images, "view_mask": torch.tensor([[True] * 3, [True, True, False], [True, False, False]])}
    logits, features = task._seen(batch)
    assert torch.equal(logits, task.logits(batch))
    assert torch.equal(features, task.features(batch))
