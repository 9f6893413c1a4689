"""OLIVES with several images a sample: which stand side by side, what a sample may lack, what does not go together."""

from __future__ import annotations

import pandas as pd
import pytest

from medzoo.data.errors import ConfigError, DatasetError
from medzoo.data.registry import load_dataset
from tests.data.datasets.olives_files import disk_path, write_tree

ONE = "Prime_FULL/01-001/W0/OS"  # patient 57
LEFT = "TREX DME/TREX/0201TOS/V12/OS"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("olives")
    write_tree(root)
    return root


def _load(root, **options):
    return load_dataset("olives", root=root, **options)


def _refused(message, root, kind=DatasetError, **options):
    with pytest.raises(kind, match=message) as caught:
        _load(root, **options)
    assert "\n" not in str(caught.value)


def test_fundus_and_volume_of_a_visit_are_one_sample(tree):
    dataset = _load(tree, modalities=["fundus", "volume"], inputs=["cst", "bcva"])
    fundus, volume = _load(tree, images="fundus"), _load(tree, images="volume")
    assert list(dataset.modalities) == ["fundus", "volume"]
    assert dataset.reader is dataset.modalities["fundus"]
    assert dataset.inputs.names == ("cst", "bcva")
    assert (dataset.info.name, dataset.info.modality) == ("olives/fundus+volume/biomarkers", "oct")  # B-scans have an upside
    table = dataset.table
    assert table["sample_id"].tolist() == fundus.table["sample_id"].tolist()
    assert table["path_fundus"].tolist() == fundus.table["path"].tolist()
    assert table["path_volume"].tolist() == volume.table.set_index("sample_id")["paths"].loc[table["sample_id"]].tolist()
    alike = [c for c in fundus.table if c != "path" and not c.startswith("input.")]
    pd.testing.assert_frame_equal(table[alike], fundus.table[alike])
    assert dataset.modalities["volume"].read(table["path_volume"].iloc[0]).shape == (1, 3, 16, 24)
    assert dataset.reader.read(table["path_fundus"].iloc[0]).shape == (1, 30, 30)


def test_every_scan_has_the_fundus_image_of_its_visit(tree):
    dataset = _load(tree, modalities=["bscan", "fundus"], target="disease")
    assert len(dataset) == 84
    assert dataset.inputs is None  # beside several images only those that are asked for
    alone = _load(tree, target="disease").table
    assert dataset.table["sample_id"].tolist() == alone["sample_id"].tolist()
    assert dataset.table["path_bscan"].tolist() == alone["path"].tolist()
    for fundus, scan in zip(dataset.table["path_fundus"], dataset.table["path_bscan"], strict=True):
        assert fundus.rpartition("/")[0].lower() == scan.rpartition("/")[0].lower()
        assert "fundus" in fundus


def test_a_sample_lacks_the_images_that_are_not_there(tmp_path):
    write_tree(tmp_path)
    folder = tmp_path / "OLIVES" / LEFT
    (folder / "fundus_OS_V12.tif").unlink()
    (tmp_path / disk_path(f"{ONE}/1.tif")).unlink()
    both = {"modalities": ["fundus", "volume"], "inputs": ["bcva"]}
    _refused(r"1 image files are not there \(TREX DME/TREX/0201TOS/V12/OS/fundus_OS_V12\.tif\)", tmp_path, **both)
    dataset = _load(tmp_path, missing="skip", **both)
    assert len(dataset) == 28
    assert dataset.table["sample_id"][dataset.table["path_fundus"].isna()].tolist() == [LEFT]
    assert dataset.table["sample_id"][dataset.table["path_volume"].isna()].tolist() == [ONE]
    assert {
        f"2 image files are missing ({ONE}/1.tif, ...): 0 of 28 samples left out",
        "1 of 28 samples lack the modality fundus: not all of its files are there",
    } <= set(dataset.info.notes)
    (folder / "TREXJ_000000.tif").unlink()
    dataset = _load(tmp_path, missing="skip", **both)
    assert LEFT not in set(dataset.table["sample_id"])
    assert any(note.endswith("1 of 28 samples left out") for note in dataset.info.notes)
    for path in (tmp_path / "OLIVES").rglob("*.*"):
        path.unlink()
    _refused("none of its 28 samples has all files of an image there", tmp_path, missing="skip", **both)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modalities": ["fundus", "volumes"]}, "'volumes'; did you mean 'volume'"),
        ({"modalities": ["bscan", "volume"]}, "a B-scan is a slice of its visit's volume; give one of the two"),
        ({"modalities": ["fundus", "volume"], "images": "volume"}, "data.images=volume names the one image of a sample"),
        ({"modalities": ["fundus", "volume"], "source": "parquet"}, "needs data.source=csv"),
        ({"inputs": ["bvca"]}, "unknown choice of data.inputs 'bvca'; did you mean 'bcva'"),
        ({"inputs": ["week"]}, "unknown choice of data.inputs 'week'"),  # its absence is the disease
        ({"inputs": ["cst"], "target": "clinical"}, "BCVA and CST are what data.target=clinical predicts; leave them out"),
    ],
)
def test_images_and_inputs_that_do_not_go_together_are_one_line(tree, options, message):
    _refused(message, tree, ConfigError, **options)
