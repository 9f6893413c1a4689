"""Bags whose members say what they show: from the table to the file, alike in torch and ONNX, and what is no view."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medzoo.api import load
from medzoo.cli import main
from medzoo.data.errors import ConfigError, DatasetError, UnknownNameError
from medzoo.data.registry import load_dataset
from medzoo.data.samples.modalities.viewed import ViewedSamples
from medzoo.data.samples.preprocess import Preprocess
from medzoo.data.samples.sample_dataset import collate
from medzoo.evaluation.predictions import Predictions
from medzoo.export.runtime.model import OnnxModel
from medzoo.losses.votes import fit_votes
from medzoo.store.spec import ModelSpec
from medzoo.tasks.setup.ensemble import Member, check_members

SHOWN = ("PA", "lateral", "")
BAGS = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, draw, rows = tmp_path_factory.mktemp("views"), np.random.default_rng(0), []
    for bag in range(BAGS):
        split = ("train", "train", "val", "test")[bag // 2 % 4]
        for member in range(1 + bag % 3):
            name = f"{bag}-{member}.png"
            Image.fromarray(draw.integers(0, 255, (16, 16), dtype=np.uint8)).save(folder / name)
            shown = SHOWN[(bag + member) % 3] if split == "train" else "oblique" if member == 2 else SHOWN[member]
            rows.append({"image": name, "y": "ab"[bag % 2], "study": f"s{bag}", "split": split, "view": shown})
    pd.DataFrame(rows).to_csv(folder / "t.csv", index=False)
    return folder


def options(folder: Path, **changes: Any) -> dict[str, Any]:
    plain = {"file": str(folder / "t.csv"), "target": "y", "bag": "study", "view": "view", "split": "split", "channels": 1}
    return {**plain, **changes}


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    data = [f"data.{name}={value}" for name, value in options(folder, max_members=2).items()]
    model = ["model.backbone=test_resnet", "model.preprocess.size=16", "model.pool=attention"]
    short = ["trainer.epochs=2", "trainer.batch_size=4", "trainer.trackers=[]", "evaluation.replicates=0", "seed=1"]
    assert main(["train", "data=table", *data, *model, *short, f"run={folder / 'run'}"]) == 0
    assert main(["export", f"run={folder / 'run'}"]) == 0
    return folder / "run"


def test_members_bear_the_codes_of_what_they_show(folder: Path) -> None:
    dataset = load_dataset("table", **options(folder))
    assert dataset.table["member_view"].iloc[2] == (None, "PA", "lateral")
    pixels = Preprocess(size=(16, 16), channels=1, mean=(0.5,), std=(0.5,))
    samples = ViewedSamples(dataset, "train", pixels, ("PA", "lateral"))
    batch = collate([samples[index] for index in range(3)])
    assert batch["member_view"].tolist() == [[1, 0, 0], [2, 0, 0], [0, 1, 2]]
    assert batch["view_mask"].tolist() == [[True, False, False], [True, True, False], [True, True, True]]
    drawn = ViewedSamples(dataset, "train", pixels, ("PA", "lateral"), members=2)
    whole = dict(zip(map(str, samples[2]["image"]), samples[2]["member_view"].tolist(), strict=True))
    for epoch in range(6):
        part = drawn[epoch, 2]  # members are drawn with their codes
        assert [whole[str(image)] for image in part["image"]] == part["member_view"].tolist()
    other = load_dataset("table", **options(folder, view=None))
    assert ViewedSamples(other, "train", pixels, ("PA",))[2]["member_view"].tolist() == [0, 0, 0]


def test_torch_the_file_and_the_predictions_say_the_same(run: Path, folder: Path) -> None:
    assert ModelSpec.read(run / "spec.json").arguments["bag"]["views"] == ["PA", "lateral"]  # what training has seen
    model, graph = load(run), OnnxModel(run / "model.onnx")
    predictions = Predictions.read(run / "predictions.parquet").of_split("test")
    table = pd.read_csv(folder / "t.csv", keep_default_na=False)
    cases = []
    for name in predictions.sample_id:
        rows = table[table["study"] == name]
        shown = [view if view in ("PA", "lateral") else None for view in rows["view"]]  # oblique: never seen
        cases.append({"images": [folder / file for file in rows["image"]], "views": shown})
    ours, theirs = model.predict_cases(cases), graph.predict_cases(cases)
    for name in ("logits", "attention"):
        np.testing.assert_allclose(theirs[name], ours[name], atol=1e-4)
    np.testing.assert_allclose(ours["logits"], predictions.logits, atol=1e-5)
    whole = max(cases, key=lambda case: len(case["images"]))
    turned = {name: values[::-1] for name, values in whole.items()}
    same = graph.predict_cases([whole, turned])["logits"]
    np.testing.assert_allclose(same[0], same[1], atol=1e-6)
    others = [{**whole, "views": ["lateral"] * len(whole["images"])}, whole["images"]]
    found = graph.predict_cases(others)
    np.testing.assert_allclose(found["logits"], model.predict_cases(others)["logits"], atol=1e-4)
    assert np.abs(found["logits"] - same[0]).max(axis=1).min() > 0  # what they show counts
    alone = graph.predict([whole["images"][0]])["logits"]
    np.testing.assert_allclose(alone, model.predict([whole["images"][0]])["logits"], atol=1e-4)
    graph.warm_up()


def test_an_ensemble_and_its_votes_heed_what_members_show(run: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = ["trainer.epochs=2", "trainer.batch_size=4", "trainer.trackers=[]", "evaluation.replicates=0", "device=cpu"]
    model = ["data=table", "model.backbone=test_resnet", "model.preprocess.size=16", "model.pool=attention"]
    data = [f"data.{key}={value}" for key, value in options(folder).items()]
    assert main(["train", *data, *model, *short, "seed=2", f"run={folder / 'other'}"]) == 0
    both, ensemble = [str(run), str(folder / "other")], folder / "ensemble"
    assert main(["ensemble", *both, "--votes", "--run", str(ensemble), "--device", "cpu"]) == 0
    parts = [Predictions.read(Path(one) / "predictions.parquet") for one in (*both, ensemble)]
    spec = ModelSpec.read(ensemble / "spec.json")
    val = [part.of_split("val") for part in parts]
    votes = fit_votes(spec.label_space, val[0].targets, [part.logits for part in val[:2]], "probabilities")
    np.testing.assert_allclose(spec.objective["votes"], votes, atol=1e-4)
    test = [part.of_split("test") for part in parts]
    mean = sum(vote * part.probabilities for vote, part in zip(spec.objective["votes"], test[:2], strict=True))
    np.testing.assert_allclose(test[2].probabilities, mean, atol=1e-5)
    table, cases = pd.read_csv(folder / "t.csv", keep_default_na=False), []
    for name in test[2].sample_id:
        rows = table[table["study"] == name]
        shown = [view if view in ("PA", "lateral") else None for view in rows["view"]]
        cases.append({"images": [folder / file for file in rows["image"]], "views": shown})
    np.testing.assert_allclose(load(ensemble).predict_cases(cases)["probabilities"], mean, atol=1e-5)
    member, blind = (Member.read(Path(one), "best", {}) for one in both)
    bag = {name: value for name, value in blind.task.spec.arguments["bag"].items() if name != "views"}
    blind.task.spec = replace(blind.task.spec, arguments={**blind.task.spec.arguments, "bag": bag})
    with pytest.raises(ConfigError, match="that they show nothing"):
        check_members([member, blind])
    capsys.readouterr()
    unsaid = [f"data.{key}={value}" for key, value in options(folder, view="null").items()]
    assert main(["train", *unsaid, *model, *short, f"trainer.teacher={run}", f"run={folder / 'taught'}"]) == 2
    assert "teacher would be shown other samples" in capsys.readouterr().err


def test_what_is_no_view_is_one_line(run: Path, folder: Path) -> None:
    film = folder / "0-0.png"
    for one in (load(run), OnnxModel(run / "model.onnx")):
        with pytest.raises(UnknownNameError, match="unknown view 'laterall' of case 0; did you mean 'lateral'"):
            one.predict_cases([{"images": [film], "views": ["laterall"]}])
        with pytest.raises(ConfigError, match="case 0 has 1 images and 2 views; give one each"):
            one.predict_cases([{"images": [film], "views": ["PA", "PA"]}])
    with pytest.raises(ConfigError, match=r"data\.view=view says what the images of a bag show: give data.bag"):
        load_dataset("table", **options(folder, bag=None))
    empty = pd.read_csv(folder / "t.csv", keep_default_na=False).assign(view="")
    empty.to_csv(folder / "empty.csv", index=False)
    with pytest.raises(DatasetError, match=r"data\.view=view is empty in all"):
        load_dataset("table", **options(folder, file=str(folder / "empty.csv")))
    data = [f"data.{name}={value}" for name, value in options(folder).items()]
    assert main(["train", "data=table", *data, "model.backbone=test_resnet", f"run={folder / 'no'}"]) == 2
