"""OLIVES in time: the last visit's truth from the first one's images and values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from medzoo.data.datasets.olives.labels import BIOMARKERS
from medzoo.data.errors import ConfigError, DatasetError
from medzoo.data.registry import load_dataset
from tests.data.datasets.olives_files import PATH, disk_path, label_rows, write_clinical, write_shards, write_tree

LATER = ("W104", "V12")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Return files whose later visits have other values than the earlier ones."""
    root = tmp_path_factory.mktemp("olives")
    rows = label_rows()
    for row in rows:
        if row[PATH].split("/")[-3] in LATER:
            row |= {"CST": str(int(row["CST"]) - 70), "BCVA": str(int(row["BCVA"]) + 9)}
            row |= {marker: str(1 - int(row[marker])) for marker in BIOMARKERS}
    write_tree(root, rows)
    write_shards(root)
    write_clinical(root, rows)
    return root


@pytest.mark.parametrize("images", ["fundus", "volume", "bscan"])
def test_the_next_visit_of_an_eye(images, tree):
    dataset = load_dataset("olives", root=tree, images=images, target="clinical", horizon="next", visit_inputs=["now", "until"])
    table = dataset.table
    first = table["visit"] == 0
    assert (table.loc[first, "target.CST"] == table.loc[first, "input.CST_now"] - 70).all()
    assert (table.loc[first, "target.BCVA"] == table.loc[first, "input.BCVA_now"] + 9).all()
    assert table.loc[~first, ["target.CST", "target.BCVA"]].isna().all(axis=None)
    prime = table["trial"] == "PRIME"
    assert (table.loc[first & prime, "input.until"] == 104).all()
    assert table.loc[first & ~prime, "input.until"].isna().all()
    assert dataset.info.name == f"olives/{images}/clinical/next"


def test_biomarkers_of_the_same_slice_with_values_beside_it(tree):
    options = {"horizon": "next", "inputs": ["bcva", "cst"], "history": 1}
    table = load_dataset("olives", root=tree, **options).table
    first = (table["visit"] == 0).to_numpy()
    now = table[[f"carried.{name}" for name in BIOMARKERS]].to_numpy()
    later = table[[f"target.{name}" for name in BIOMARKERS]].to_numpy()
    np.testing.assert_array_equal(later[first], 1 - now[first])
    assert np.isnan(later[~first]).all()
    np.testing.assert_array_equal(table.loc[~first, "input.cst_prev1"], table.loc[~first, "input.cst"] + 70)
    assert table.loc[first, "input.cst_prev1"].isna().all()


def test_a_span_is_of_the_trial_that_tells_weeks(tree):
    table = load_dataset("olives", root=tree, images="fundus", target="clinical", horizon="2y", tolerance="4w").table
    known = table["target.CST"].notna()
    assert known.sum() == 6
    assert set(table.loc[known, "trial"]) == {"PRIME"}


def test_what_cannot_be_asked_is_one_line(tree):
    with pytest.raises(ConfigError, match=r"leave them out, or with data.horizon=next, say data.visit_inputs=\[now\]"):
        load_dataset("olives", root=tree, target="clinical", inputs=["cst"], horizon="next")
    with pytest.raises(ConfigError, match=r"does not say when a sample was"):
        load_dataset("olives", root=tree, source="parquet", horizon="next")


@pytest.mark.parametrize("images", ["fundus", "volume", "bscan"])
def test_all_visits_are_in_order_between_the_labelled_ones(images, tree):
    options = {"images": images, "target": "clinical", "visits": "all", "horizon": "next", "visit_inputs": ["now", "until"]}
    dataset = load_dataset("olives", root=tree, **options, history=1)
    table = dataset.table
    change = (table["target.CST"] - table["input.CST_now"]).groupby(table["visit"]).agg(["min", "max"])
    assert change.loc[[0, 1]].to_numpy().tolist() == [[20, 20], [-90, -90]]
    assert table.loc[table["visit"] == 2, "target.CST"].isna().all()
    prime = table[table["trial"] == "PRIME"]
    assert sorted(set(prime["week"])) == [0, 52, 104]
    assert (prime["input.until"].dropna() == 52).all()
    np.testing.assert_array_equal(
        table.loc[table["visit"] == 2, "input.CST_prev1"], table.loc[table["visit"] == 2, "input.CST_now"] + 90
    )
    assert "14 visits of 14 eyes are of Clinical_Data_Images.xlsx and have no biomarkers" in dataset.info.notes
    if images == "volume":
        (middle,) = table.loc[table["sample_id"] == "Prime_FULL/01-001/W52/OS", "paths"]
        assert middle.split("|") == [disk_path(f"/Prime_FULL/01-001/W52/OS/{n}.tif") for n in range(3)]


def _with_clinical(tree, tmp_path, change):
    """Link the tree's files beside a workbook that was changed."""
    for file in tree.iterdir():
        if file.suffix != ".xlsx":
            (tmp_path / file.name).symlink_to(file)
    frame = pd.read_excel(tree / "Clinical_Data_Images.xlsx")
    change(frame).to_excel(tmp_path / "Clinical_Data_Images.xlsx", index=False)
    return tmp_path


def _at(column, value, place=-1):
    def change(frame):
        frame = frame.astype({column: object})
        frame.iloc[place, frame.columns.get_loc(column)] = value
        return frame

    return change


WRONG = [
    (_at("File_Path", "/Prime_FULL/01-001/W52/OS"), "row 127: 'File_Path' is '/Prime_FULL/01-001/W52/OS', no path of OLIVES"),
    (
        _at("File_Path", "/TREX DME/TREX/0206TOS/V6/OS/scan.tif"),
        "row 127: .* whose name has no number, by which slices are in order",
    ),
    (_at("CST", "thick"), "row 127: 'CST' is 'thick', not a number"),
    (_at("Eye_ID", 77), r"the visits of trex/trex/0206tos/os have several Eye_ID \(14, 77\)"),
    (_at("Patient_ID", ""), "row 127: 'Patient_ID' is empty, which names nobody"),
    (lambda frame: pd.concat([frame, _at("CST", 1)(frame.tail(1))]), "scan .* stands on rows 127 and 128; keep one row a scan"),
    (lambda frame: frame.drop(columns="CST"), "Clinical_Data_Images.xlsx: the table has no column 'CST'"),
    (lambda frame: frame.rename(columns={"File_Path": "where"}), "the table has no column 'File_Path'"),
]


@pytest.mark.parametrize(("change", "said"), WRONG)
def test_a_wrong_workbook_is_one_line(change, said, tree, tmp_path):
    root = _with_clinical(tree, tmp_path, change)
    with pytest.raises(DatasetError, match=said) as caught:
        load_dataset("olives", root=root, missing="ignore", target="clinical", visits="all")
    assert "\n" not in str(caught.value)


def test_repeated_rows_and_other_values_of_a_labelled_visit_are_told(tree, tmp_path):
    root = _with_clinical(tree, tmp_path, lambda frame: pd.concat([_at("CST", 1, 0)(frame), frame.tail(1)]))
    dataset = load_dataset("olives", root=root, missing="ignore", target="clinical", visits="all")
    assert len(dataset) == 126
    assert (
        "1 visits have other values in Clinical_Data_Images.xlsx than in the label file, whose values are taken"
        in dataset.info.notes
    )
    (root / "Clinical_Data_Images.xlsx").unlink()
    with pytest.raises(DatasetError, match=r"olives: no Clinical_Data_Images.xlsx below .*, or set data.visits=labelled"):
        load_dataset("olives", root=root, missing="ignore", visits="all")
    with pytest.raises(ConfigError, match=r"data.visits=all needs data.source=csv"):
        load_dataset("olives", root=tree, source="parquet", visits="all")
