"""Splits of a user's own data: by group and seed alone, and of few groups by class as well."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from medzoo.data.dataset import table_checksum
from medzoo.data.errors import DatasetError
from medzoo.data.labels import LabelSpace
from medzoo.data.registry import earlier_options, load_dataset
from medzoo.data.splits.groups import shared_groups
from medzoo.data.splits.stratified import FEW, carve_val_by_class, split_by_group, val_notes

SPACE = LabelSpace("multiclass", ("a", "b", "c"))


def table(classes: list[int], per: int = 1) -> pd.DataFrame:
    """One group a class code, each of `per` rows."""
    groups = [f"g{n}" for n in range(len(classes)) for _ in range(per)]
    return pd.DataFrame({"sample_id": range(len(groups)), "group": groups, "target": np.repeat(np.float64(classes), per)})


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=3, max_size=60), st.integers(1, 3), st.floats(0.05, 0.5), st.integers(0, 9))
def test_no_group_is_cut_shares_hold_and_the_order_of_rows_does_not_count(classes, per, fraction, seed) -> None:
    rows = table(classes, per)
    rows["split"] = split_by_group(rows, SPACE, fraction, seed)
    assert shared_groups(rows) == {}
    held_out = rows.loc[rows["split"] == "test", "group"].nunique()
    assert abs(held_out - fraction * len(classes)) <= 3
    assert 1 <= held_out < len(classes)
    backwards = rows[::-1].reset_index(drop=True)
    again = split_by_group(backwards, SPACE, fraction, seed)
    assert again[::-1].tolist() == rows["split"].tolist()


@pytest.mark.parametrize("seed", range(20))
def test_every_class_of_a_small_table_is_in_every_split(seed: int) -> None:
    rows = table([0, 1] * 6 + [2] * 5)
    rows["split"] = split_by_group(rows, SPACE, 0.2, seed)
    rows = carve_val_by_class(rows, SPACE, 0.1, seed)
    for split in ("train", "val", "test"):
        assert set(rows.loc[rows["split"] == split, "target"]) == {0, 1, 2}, split


def test_of_many_groups_adding_one_moves_no_other() -> None:
    rows = table([n % 3 for n in range(FEW + 40)])
    before = split_by_group(rows, SPACE, 0.2, 0)
    assert 0.15 < (before == "test").mean() < 0.25
    more = split_by_group(table([n % 3 for n in range(FEW + 41)]), SPACE, 0.2, 0)
    assert more[:-1].tolist() == before.tolist()


def test_a_val_split_of_chance_is_said() -> None:
    rows = table([0, 0, 1, 1]).assign(split=["val", "val", "train", "train"])
    assert val_notes(rows, SPACE) == [
        "the val split has 2 samples: what is chosen by it is chosen by chance", "the val split has no class but a",
    ]  # fmt: skip
    assert val_notes(table([0, 1] * 10).assign(split="val"), SPACE) == []


def test_shares_that_leave_nothing_are_refused() -> None:
    with pytest.raises(DatasetError, match="leave nothing to train on"):
        split_by_group(table([0, 1]), SPACE, 1.0, 0)
    with pytest.raises(DatasetError, match="not between 0 and 1"):
        carve_val_by_class(table([0, 1]).assign(split="train"), SPACE, 0.0, 0)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    cells = ["3", "3.0", "nan", "P 1", "NA", "7"]
    lines = [f" a\\{n}.png,{cells[n % 6]},{['x', 'nan', '10', '2'][n % 4]},{n / 4}" for n in range(40)]
    (tmp_path / "labels.csv").write_text("image,patient,label,size\n" + "\n".join(lines) + "\n")
    for n in range(40):
        path = tmp_path / "photos" / ["no_dr", "mild", "10", "2"][n % 4] / f"{n // 3:02}_{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), n, np.uint8)).save(path)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "checksum"),
    [
        ({"target": "label", "group": "patient"}, "510e83e0cbba1eaa"), ({"target": "label"}, "f64625163b8eecb1"),
        ({"target": "size", "kind": "regression", "group": "patient"}, "aefc927aac231032"),
    ],
)  # fmt: skip
def test_a_table_of_an_earlier_run_is_read_and_split_as_it_was(given: dict, checksum: str, labels: Path) -> None:
    """Checksums of the code before split_rule: names of groups, classes and splits, all as they were."""
    options = earlier_options({"name": "table", "file": labels / "labels.csv", "missing": "ignore", **given})
    assert options["split_rule"] == 1
    assert table_checksum(load_dataset(**options)).startswith(checksum)


@pytest.mark.parametrize(
    ("given", "checksum"),
    [({}, "6f1433c928aff386"), ({"ordinal": True}, "1a722a825d419d36"), ({"group_pattern": r"^(\d+)_"}, "2b55890a4f02aa59")],
)
def test_a_folder_of_an_earlier_run_is_read_and_split_as_it_was(given: dict, checksum: str, labels: Path) -> None:
    options = earlier_options({"name": "folder", "root": labels / "photos", **given})
    assert table_checksum(load_dataset(**options)).startswith(checksum)


def test_other_datasets_have_no_rule() -> None:
    assert earlier_options({"name": "phantom"}) == {"name": "phantom"}
    assert earlier_options({"name": "table", "split_rule": 2})["split_rule"] == 2


def test_the_name_of_a_file_moves_no_sample(labels: Path) -> None:
    lines = "image,patient,y\n" + "".join(f"{n}.png,p{n // 2},{n % 2}\n" for n in range(90))
    found = []
    for name in ("labels.csv", "labels (1).csv", "final.tsv"):
        (labels / name).write_text(lines.replace(",", "\t") if name.endswith(".tsv") else lines)
        given = {"file": labels / name, "target": "y", "group": "patient", "missing": "ignore"}
        found.append(load_dataset("table", **given).table["split"].tolist())
    assert found[0] == found[1] == found[2]
    renamed = (labels / "photos").rename(labels / "pictures")
    one = load_dataset("folder", root=renamed, group_pattern=r"^(\d+)_").table["split"].tolist()
    again = load_dataset("folder", root=renamed.rename(labels / "photos"), group_pattern=r"^(\d+)_")
    assert again.table["split"].tolist() == one


def test_a_rule_that_there_is_not(labels: Path) -> None:
    with pytest.raises(DatasetError, match=r"data\.split_rule=3 is neither 1"):
        load_dataset("table", file=labels / "labels.csv", split_rule=3)
