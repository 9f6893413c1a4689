"""The official ChestX-ray14 metadata, all 112,120 rows and 984 boxes, and the few real films there are beside it."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest

from medzoo.cli import main
from medzoo.data import load_dataset
from medzoo.data.dataset import target_matrix
from medzoo.data.datasets.chestxray14.boxes import load_boxes
from medzoo.data.errors import DatasetError
from medzoo.data.splits.groups import shared_groups

# Counted in Data_Entry_2017_v2020.csv with cut, tr, sort and uniq, in the order of the paper's tables.
COUNTS = {
    "Atelectasis": 11559, "Cardiomegaly": 2776, "Effusion": 13317, "Infiltration": 19894, "Mass": 5782, "Nodule": 6331,
    "Pneumonia": 1431, "Pneumothorax": 5302, "Consolidation": 4667, "Edema": 2303, "Emphysema": 2516, "Fibrosis": 1686,
    "Pleural_Thickening": 3385, "Hernia": 227,
}  # fmt: skip
NO_FINDING, SEVERAL = 60361, 20796
BOXES = {"Atelectasis": 180, "Effusion": 153, "Cardiomegaly": 146, "Infiltration": 123, "Pneumonia": 120,
         "Pneumothorax": 98, "Mass": 85, "Nodule": 79}  # fmt: skip
THERE = 429
"""Films of the partial download."""


@pytest.fixture(scope="module")
def whole(real_data):
    return load_dataset("chestxray14", root=real_data / "chestxray14", missing="ignore")


def test_every_label_of_every_film(whole):
    targets = target_matrix(whole.table, whole.labels)
    assert targets.shape == (112_120, 14)
    assert dict(zip(whole.labels.names, targets.sum(axis=0).astype(int).tolist(), strict=True)) == COUNTS
    assert list(whole.labels.names) == list(COUNTS)
    assert int((targets.sum(axis=1) == 0).sum()) == NO_FINDING
    assert int((targets.sum(axis=1) > 1).sum()) == SEVERAL
    assert not any("not the official" in note for note in whole.info.notes)


def test_the_official_split_cuts_no_patient(whole):
    table = whole.table
    official = table["split"].replace("val", "train")
    assert official.value_counts().to_dict() == {"train": 86_524, "test": 25_596}
    assert table.groupby(official)["group"].nunique().to_dict() == {"train": 28_008, "test": 2_797}
    assert shared_groups(table) == {}
    assert table.loc[table["split"] == "val", "group"].nunique() == 2_801  # a tenth of 28,008


def test_patients_and_views(whole):
    table = whole.table
    assert table["group"].nunique() == 30_805
    assert table["sex"].value_counts().to_dict() == {"male": 63_340, "female": 48_780}
    assert table["view"].value_counts().to_dict() == {"PA": 67_310, "AP": 44_810}
    assert (table["age"].min(), table["age"].max(), int(table["age"].isna().sum())) == (0, 95, 0)
    # The note on test being harder, from the table itself.
    targets = target_matrix(table, whole.labels)
    test = (table["split"] == "test").to_numpy()
    for rows, none, ap in ((test, 38.5, 56.6), (~test, 58.4, 35.0)):
        assert round(100 * float((targets[rows].sum(axis=1) == 0).mean()), 1) == none
        assert round(100 * float((table.loc[rows, "view"] == "AP").mean()), 1) == ap


def test_eight_labels_are_the_first_eight(whole, real_data):
    eight = load_dataset("chestxray14", root=real_data / "chestxray14", missing="ignore", labels=8)
    assert eight.labels.names == whole.labels.names[:8]
    columns = [f"target.{name}" for name in eight.labels.names]
    pd.testing.assert_frame_equal(eight.table[columns], whole.table[columns])


def test_every_box_lies_on_a_test_film_that_has_its_finding(whole, real_data):
    boxes = load_boxes(real_data / "chestxray14")
    assert boxes["label"].value_counts().to_dict() == BOXES
    joined = boxes.merge(whole.table, on="sample_id", validate="many_to_one")
    assert (len(joined), joined["sample_id"].nunique(), set(joined["split"])) == (984, 880, {"test"})
    for finding, rows in joined.groupby("label"):
        assert (rows[f"target.{finding}"] == 1).all()
    assert round((boxes["x"] + boxes["width"]).max()) == 1012
    assert round((boxes["y"] + boxes["height"]).max()) == 1022


def test_a_partial_download(real_data):
    root = real_data / "chestxray14"
    with pytest.raises(DatasetError, match=r"111691 image files are not there \(00000001_001\.png, .*data\.missing=skip"):
        load_dataset("chestxray14", root=root)
    dataset = load_dataset("chestxray14", root=root, missing="skip")
    assert len(dataset) == THERE
    assert any("111691 of 112120 samples left out" in note for note in dataset.info.notes)
    sizes = []
    for path in dataset.table["path"]:
        pixels = dataset.reader.read(path)
        assert pixels.dtype == np.uint8
        assert pixels.shape[0] == 1
        assert pixels.min() < pixels.max()
        sizes.append(pixels.shape[1:])
    assert {size: sizes.count(size) for size in set(sizes)} == {(1024, 1024): 3, (64, 64): 426}


@pytest.mark.parametrize("missing", ["skip", "ignore"])
def test_the_index_opens_no_image_and_takes_columns_at_once(real_data, missing, monkeypatch):
    """What it takes in seconds is measured by benchmarks/dataset_index.py."""
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event == "call"

    monkeypatch.setattr("PIL.Image.open", lambda *given: pytest.fail("an image was opened"))
    sys.setprofile(count)
    try:
        dataset = load_dataset("chestxray14", root=real_data / "chestxray14", missing=missing)
    finally:
        sys.setprofile(None)
    rows = 112_120
    assert len(dataset) == rows or missing == "skip"
    assert calls < 10 * rows  # 4.4 and 6.6 a row: names, places and little else are looked at one by one


def test_training_on_the_real_films(real_data, tmp_path):
    run = tmp_path / "run"
    options = ["model.backbone=test_resnet", "model.preprocess.size=32", "trainer.epochs=1", "trainer.trackers=[]"]
    options += ["data=chestxray14", f"data.root={real_data / 'chestxray14'}", "data.missing=skip", "data.fraction=0.25"]
    assert main(["train", *options, "evaluation.replicates=10", f"run={run}"]) == 0
    predictions = pd.read_parquet(run / "predictions.parquet")
    assert (predictions["split"] == "test").sum() == 126  # the official test films among the 429
