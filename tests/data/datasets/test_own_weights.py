"""How much a row of one's own table counts, what single columns' words mean, and concepts that are there by degrees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from medzoo.data.dataset import concept_matrix, table_checksum, target_matrix
from medzoo.data.errors import MedzooError
from medzoo.data.registry import load_dataset
from medzoo.data.samples.preprocess import Preprocess
from medzoo.data.samples.sample_dataset import SampleDataset, collate
from medzoo.settings.schema import LossConfig, ModelConfig
from medzoo.tasks.setup.families import task_from_config
from tests.data.datasets.own_tables import frame, load_table, write_images

UNSURE = {"edema": ["1", "0", "-1"] * 4, "mass": ["-1", "0", "1"] * 4, "tier": [2.0, 0.5] * 6}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_images(tmp_path, list(frame()["image"]))
    table = frame(**UNSURE, border=[0.25, 1, ""] * 4)
    table.to_csv(tmp_path / "t.csv", index=False)
    return tmp_path / "t.csv"


def test_a_weight_travels_with_its_sample_and_into_the_loss(file: Path) -> None:
    dataset = load_table(file, weight="tier", channels=1)
    samples = SampleDataset(dataset, "train", Preprocess((8, 8), channels=1, mean=(0.5,), std=(0.5,)))
    tiers = dict(zip(frame()["image"], UNSURE["tier"], strict=True))
    weights = [tiers[name] for name in samples.rows["path"]]
    batch = collate([samples[index] for index in range(len(samples))])
    assert batch["weight"].tolist() == weights
    assert samples.fields([(0, 1), (0, 0)])["weight"].tolist() == [weights[1], weights[0]]
    assert table_checksum(dataset) != table_checksum(load_table(file, channels=1))
    task = task_from_config(ModelConfig(backbone="test_resnet"), LossConfig(), dataset, seed=0).eval()
    batch["weight"][0] = 3.5
    with torch.no_grad():
        weighed, plain = task.training_step(batch), task.training_step({k: v for k, v in batch.items() if k != "weight"})
    assert float(weighed["count"]) == pytest.approx(float(batch["weight"].sum()))
    assert float(weighed["loss"]) != pytest.approx(float(plain["loss"]), rel=1e-7)
    # What is validated is not weighed.
    assert float(task.validation_step(batch)["loss"]) == pytest.approx(float(plain["loss"]), rel=1e-6)


@pytest.mark.parametrize(("weights", "words"), [
    (["1"] * 11 + ["0"], "not a positive number"), (["1"] * 11 + [""], "not a positive number"),
    (["1"] * 11 + ["much"], "not a number"),
])  # fmt: skip
def test_a_weight_that_is_none_is_refused(weights: list[str], words: str, file: Path) -> None:
    table = frame(tier=weights)
    table.to_csv(file, index=False)
    with pytest.raises(MedzooError, match=words):
        load_table(file, weight="tier")


def test_what_would_ignore_a_weight_refuses_it(file: Path) -> None:
    dataset = load_table(file, weight="tier", channels=1)
    with pytest.raises(MedzooError, match="counts all samples alike"):
        task_from_config(ModelConfig(backbone="test_resnet", neighbours=3), LossConfig(), dataset, seed=0)


def test_an_uncertain_finding_is_0_1_or_missing_by_column(file: Path) -> None:
    options = {"target": ["edema", "mass"], "kind": "multilabel"}
    dataset = load_table(file, **options, map_values={"edema": {-1: 1}, "mass": {-1: None}})
    found = target_matrix(dataset.table, dataset.labels)  # type: ignore[arg-type]
    assert set(found[:, 0]) == {0, 1}
    assert int(np.isnan(found[:, 1]).sum()) == 4
    zeros = load_table(file, **options, map_values={"edema": {-1: 0}, "mass": {-1: 0}})
    assert not np.isnan(target_matrix(zeros.table, zeros.labels)).any()  # type: ignore[arg-type]
    noted = load_table(file, **options, map_values={"edema": {-1: 1, "x": 0}, "mass": {-1: 0}})
    assert any("data.map_values.edema: no cell holds 'x'" in note for note in noted.info.notes)
    for wrong, words in (({"odema": {-1: 1}}, "'edema'"), ("edema", "no mapping"), ({"edema": 1}, "map_values.edema")):
        with pytest.raises(MedzooError, match=words):
            load_table(file, **options, map_values=wrong)


def test_concepts_by_degrees(file: Path) -> None:
    dataset = load_table(file, concepts=["border"], graded=True)
    known = concept_matrix(dataset.table, dataset.concepts)  # type: ignore[arg-type]
    assert sorted(known[~np.isnan(known)]) == [0.25] * 4 + [1] * 4
    with pytest.raises(MedzooError, match="neither 0, 1 nor empty"):
        load_table(file, concepts=["border"])
    frame(border=[0.25, 1.5, 0] * 4).to_csv(file, index=False)
    with pytest.raises(MedzooError, match="not a number from 0 to 1"):
        load_table(file, concepts=["border"], graded=True)


def test_what_a_draw_leaves_out_may_stay_without_its_label() -> None:
    asked = ({}, {"fraction": 0.2}, {"fraction": 0.2, "unlabelled": True})
    whole, drawn, kept = (load_dataset("phantom", size=16, patients=40, **options) for options in asked)
    assert list(kept.table["sample_id"]) == list(whole.table["sample_id"])
    labelled = kept.rows("train").dropna(subset="target")
    assert list(labelled["sample_id"]) == list(drawn.rows("train")["sample_id"])
    blank = kept.rows("train")[kept.rows("train")["target"].isna()]
    assert len(blank)
    assert np.isnan(concept_matrix(blank, kept.concepts)).all()  # type: ignore[arg-type]
    for split in ("val", "test"):
        assert list(kept.rows(split)["target"]) == list(whole.rows(split)["target"])
