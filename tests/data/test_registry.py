"""Datasets by name: built in, from third-party packages, and configured in YAML."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from PIL import Image

from medzoo.data import dataset_infos, list_datasets, load_dataset
from medzoo.data.dataset import target_matrix
from medzoo.data.errors import ConfigError, DatasetError, UnknownNameError
from medzoo.settings.compose import compose_config

DOCS = Path(__file__).parents[2] / "docs"
TOY = """
import pandas as pd
from medzoo.data.dataset import ArrayReader, Dataset
from medzoo.data.info import DatasetInfo
from medzoo.data.labels import LabelSpace
import numpy as np

LABELS = LabelSpace("multiclass", ("a", "b"))
INFO = DatasetInfo("toy", "Toy", "synthetic", "CC0-1.0", "", "", LABELS, split_unit="patient")

def infos():
    return [INFO]

def load(splits="train", cut=False):
    split = [splits.split(",")[i % len(splits.split(","))] for i in range(20)]
    group = ["one patient"] * 20 if cut else [f"p{i}" for i in range(20)]
    table = pd.DataFrame({"sample_id": [f"s{i}" for i in range(20)], "split": split, "group": group,
                          "array_index": range(20), "target": [0, 1] * 10})
    return Dataset(INFO, table, ArrayReader(np.zeros((20, 1, 8, 8), np.uint8)), LABELS)
"""


def _install(folder, monkeypatch, name, source):
    """Lay a package down as pip would, with its entry point."""
    (folder / f"their_{name}.py").write_text(source)
    metadata = folder / f"their_{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: their-{name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[medzoo.datasets]\n{name} = their_{name}\n")
    monkeypatch.syspath_prepend(folder)


@pytest.fixture
def toy(tmp_path, monkeypatch):
    _install(tmp_path, monkeypatch, "toy", TOY)


def test_names_and_patterns(toy):
    assert {"medmnist", "phantom", "toy"} <= set(list_datasets())
    assert list_datasets() == sorted(list_datasets())
    assert list_datasets("med*") == ["medmnist"]


def test_third_party_datasets_join_by_entry_point(toy):
    assert [info.name for info in dataset_infos("toy")] == ["toy"]
    assert len(load_dataset("toy")) == 20


def test_a_val_split_is_carved_out_where_there_is_none(toy):
    dataset = load_dataset("toy", val_fraction=0.25)
    assert dataset.table["split"].value_counts().to_dict() == {"train": 15, "val": 5}
    again = load_dataset("toy", val_fraction=0.25)
    assert again.table.equals(dataset.table)
    other = load_dataset("toy", val_fraction=0.25, split_seed=1)
    assert not other.table["split"].equals(dataset.table["split"])
    official = load_dataset("toy", splits="train,val", val_fraction=0.25)
    assert official.table["split"].value_counts().to_dict() == {"train": 10, "val": 10}


def test_a_split_that_cuts_a_group_must_be_allowed_by_name(toy):
    with pytest.raises(DatasetError, match=r"1 patient groups .*'one patient' in .*data\.allow_shared_groups=true"):
        load_dataset("toy", splits="train,val,test", cut=True)
    dataset = load_dataset("toy", splits="train,val,test", cut=True, allow_shared_groups=True)
    assert dataset.options["allow_shared_groups"] is True


def test_a_dataset_can_be_loaded_again_from_its_options(toy):
    dataset = load_dataset("toy", val_fraction=0.3, split_seed=4)
    assert load_dataset(**dataset.options).table.equals(dataset.table)


def test_unknown_names_come_with_the_nearest(toy):
    with pytest.raises(UnknownNameError, match="unknown dataset 'phantm'; did you mean 'phantom'"):
        load_dataset("phantm")
    with pytest.raises(UnknownNameError, match="unknown option 'split' of dataset 'toy'; did you mean 'splits'"):
        load_dataset("toy", split="train")


def test_the_datasets_of_the_yaml_load(tmp_path, monkeypatch):
    config = OmegaConf.to_container(compose_config("train", ["data=phantom"]).data, resolve=True)
    assert len(load_dataset(**config)) > 500
    monkeypatch.setenv("MEDZOO_MEDMNIST", str(tmp_path))
    config = OmegaConf.to_container(compose_config("train", ["data=medmnist"]).data, resolve=True)
    with pytest.raises(DatasetError, match=re.escape(str(tmp_path / "retinamnist.npz"))):
        load_dataset(**config)


def _knee_films(folder):
    (folder / "images").mkdir(parents=True)
    lines = ["file,patient,sex,grade"]
    for number in range(40):
        name, grade = f"{number:03d}.png", "" if number % 10 == 9 else str(number % 5)
        lines.append(f"{name},{number // 2:03d},{'fm'[number // 2 % 2]},{grade}")
        Image.new("L", (20 + number, 30), number).save(folder / "images" / name)
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")


def test_the_worked_example_of_the_docs_works_as_it_stands(tmp_path, monkeypatch):
    source = re.search(r"```python\n(.*?)```", (DOCS / "adding-a-dataset.md").read_text(), re.DOTALL).group(1)
    _install(tmp_path, monkeypatch, "kneefilms", source)
    with pytest.raises(DatasetError, match=r"labels\.csv is not there"):
        load_dataset("kneefilms", root=str(tmp_path / "films"))
    _knee_films(tmp_path / "films")
    dataset = load_dataset("kneefilms", root=str(tmp_path / "films"))
    targets = target_matrix(dataset.table, dataset.labels)
    assert targets[7].tolist() == [0, 0, 1, 0, 0]
    assert targets[:, 0].tolist() == pytest.approx(
        [float("nan") if n % 10 == 9 else float(n % 5 == 0) for n in range(40)], nan_ok=True
    )
    assert dataset.table["group"].iloc[3] == "001"
    assert set(dataset.table["split"]) == {"train", "val", "test"}
    image = dataset.reader.read(dataset.table["path"].iloc[7])
    assert image.shape == (1, 30, 27)
    assert (image == 7).all()
    with pytest.raises(ConfigError, match="root"):
        load_dataset("kneefilms")
    listing = tmp_path / "films" / "labels.csv"
    listing.write_text(listing.read_text().replace("007.png,003,m,2", "007.png,003,m,two"))
    with pytest.raises(
        DatasetError, match=r"^kneefilms: labels\.csv line 9: 'grade' is 'two', not one of 0, 1, 2, 3, 4, nothing; set"
    ):
        load_dataset("kneefilms", root=str(tmp_path / "films"))
