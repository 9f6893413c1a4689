"""Several targets a sample in one table: each by itself a plain dataset again, and what a table of them must not be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from medzoo.data.columns import columns_of, places_of, target_names, targets_matrix
from medzoo.data.dataset import Dataset, table_checksum, target_matrix
from medzoo.data.errors import ConfigError, DatasetError, MedzooError, UnknownNameError
from medzoo.data.registry import load_dataset
from tests.data.datasets.trees import TREES

SMALL = {"patients": 10, "size": 16}


@pytest.fixture(scope="module")
def several() -> Dataset:
    return load_dataset("phantom", targets=["ordinal", "regression", "multilabel"], **SMALL)


def test_each_target_alone_is_the_dataset_of_that_target(several: Dataset) -> None:
    assert list(several.targets) == ["ordinal", "regression", "multilabel"]
    for kind in several.targets:
        own, alone = several.of_target(kind), load_dataset("phantom", labels=kind, missing=0.0, **SMALL)
        assert own.labels == alone.labels == several.targets[kind]
        assert own.targets == {}
        known = ~np.isnan(target_matrix(own.table, own.labels))
        assert (target_matrix(own.table, own.labels)[known] == target_matrix(alone.table, alone.labels)[known]).all()
        assert own.table["split"].tolist() == several.table["split"].tolist()
    first = load_dataset("phantom", labels="ordinal", **SMALL)
    assert several.of_target("ordinal").table.equals(first.table)
    assert table_checksum(several.of_target("ordinal")) == table_checksum(first) != table_checksum(several)


def test_all_targets_stand_side_by_side(several: Dataset) -> None:
    values, places = targets_matrix(several.table, several.targets), places_of(several.targets)
    assert values.shape == (len(several), 5 + 2 + 4)
    for name, place in places.items():
        own = several.of_target(name)
        np.testing.assert_array_equal(values[:, place], target_matrix(own.table, several.targets[name]))
    assert np.isnan(values[:, places["multilabel"]]).any()  # the share that such findings lack, of its own
    assert not np.isnan(values[:, places["regression"]]).any()


def test_another_label_of_any_target_is_another_table(several: Dataset) -> None:
    table = several.table.copy()
    table.loc[0, "targets.regression.risk"] += 1
    assert table_checksum(several.with_table(table)) != table_checksum(several)


def test_samples_kept_without_labels_have_none_of_any_target() -> None:
    found = load_dataset("phantom", targets=["multiclass", "regression"], fraction=0.3, unlabelled=True, **SMALL)
    rows = found.rows("train")
    missing = np.isnan(targets_matrix(rows, found.targets))
    assert (missing.all(axis=1) | ~missing.any(axis=1)).all()
    assert 0 < missing.all(axis=1).sum() < len(rows)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("targets.multilabel.mass", 2.0, "target multilabel: 'targets.multilabel.mass' of"),
        ("targets.regression.risk", np.inf, "target regression: a regression target is infinite"),
    ],
)
def test_a_label_that_is_none_names_its_target(several: Dataset, column: str, value: float, said: str) -> None:
    table = several.table.copy()
    table.loc[0, column] = value
    with pytest.raises(DatasetError, match=said):
        several.with_table(table)


def test_what_several_targets_must_not_be(several: Dataset) -> None:
    with pytest.raises(UnknownNameError, match=r"'regresion'.*did you mean 'regression'"):
        several.of_target("regresion")
    with pytest.raises(DatasetError, match=r"no column 'targets\.regression\.diameter'"):
        several.with_table(several.table.drop(columns="targets.regression.diameter"))
    with pytest.raises(DatasetError, match="the first of several targets"):
        replace(several, labels=several.targets["multilabel"], table=several.of_target("multilabel").table)
    with pytest.raises(ConfigError, match="names 1 target"):
        target_names(["tone"])
    with pytest.raises(ConfigError, match="'a b' is no name of a target"):
        target_names(["tone", "a b"])
    assert columns_of(several.targets)["regression"] == "targets.regression"


@pytest.mark.parametrize(
    ("name", "options", "kinds"),
    [
        ("scin", {"targets": ["diagnosis", "tone", "monk"]}, ["multiclass", "ordinal", "ordinal"]),
        ("scin", {"targets": ["tone", "diagnosis"], "labels": "top1", "views": "case"}, ["ordinal", "multiclass"]),
        ("olives", {"targets": ["disease", "biomarkers", "clinical"]}, ["multiclass", "multilabel", "regression"]),
        (
            "chestxray14",
            {"targets": ["findings", "view", "sex", "age"]},
            ["multilabel", "multiclass", "multiclass", "regression"],
        ),
    ],
)
def test_public_datasets_name_their_targets(tmp_path, name, options, kinds) -> None:
    tree = TREES[name](tmp_path)
    found = load_dataset(name, **tree, **options)
    assert [labels.kind for labels in found.targets.values()] == kinds
    alone = {"scin": "diagnosis", "olives": "biomarkers", "chestxray14": "findings"}[name]
    plain = load_dataset(name, **tree, **{key: value for key, value in options.items() if key != "targets"})
    own = found.of_target(alone)
    assert own.labels == plain.labels
    both = own.table["sample_id"].isin(plain.table["sample_id"])
    np.testing.assert_array_equal(target_matrix(own.table[both], own.labels), target_matrix(plain.table, plain.labels))


def test_the_skin_tone_is_the_subgroup_in_grades(tmp_path) -> None:
    found = load_dataset("scin", **TREES["scin"](tmp_path), targets=["diagnosis", "tone"])
    codes, words = found.table["targets.tone"], found.table["fitzpatrick"]
    assert codes.notna().any()
    assert [f"FST{int(code) + 1}" if code == code else None for code in codes] == [None if pd.isna(w) else w for w in words]


TABLE = "image,dx,tone,a,b,size\n" + "".join(
    f"{n}.png,{('nevus', 'melanoma')[n % 2]},{n % 3 + 1 if n % 4 else ''},{n % 2},{'' if n == 3 else 1 - n % 2},{n}.5\n"
    for n in range(12)
)
ASKED = {
    "diagnosis": "dx",
    "tone": {"target": "tone", "kind": "ordinal", "names": [1, 2, 3]},
    "signs": ["a", "b"],
    "size": {"target": "size", "kind": "regression", "units": ["mm"]},
}


def table(tmp_path, targets, **options) -> Dataset:
    (tmp_path / "t.csv").write_text(TABLE)
    return load_dataset("table", file=str(tmp_path / "t.csv"), targets=targets, missing="ignore", **options)


def test_a_table_of_one_s_own_names_columns(tmp_path) -> None:
    found = table(tmp_path, ASKED)
    assert [(n, labels.kind, labels.width) for n, labels in found.targets.items()] == [
        ("diagnosis", "multiclass", 2), ("tone", "ordinal", 3), ("signs", "multilabel", 2), ("size", "regression", 1),
    ]  # fmt: skip
    assert found.targets["size"].units == ("mm",)
    rows = found.table.set_index(found.table["path"].str.removesuffix(".png").astype(int)).sort_index()
    assert rows["target"].tolist() == [1.0, 0.0] * 6
    assert rows["targets.tone"].isna().sum() == 3
    assert rows["targets.signs.b"].isna().sum() == 1
    assert rows["targets.size.size"].tolist() == [n + 0.5 for n in range(12)]


@pytest.mark.parametrize(
    ("targets", "options", "said"),
    [
        ({"tone": "tone"}, {}, "names 1 target"),
        ({"tone": "tone", "a-b": "a"}, {}, "'a-b' is no name of a target"),
        (["tone", "dx"], {}, "data.targets is no mapping"),
        ({"tone": "tone", "dx": {"column": "dx"}}, {}, "unknown key 'column' of data.targets.dx"),
        ({"tone": "tone", "dx": {"kind": "ordinal"}}, {}, "data.targets.dx names no column"),
        ({"tone": "ton", "dx": "dx"}, {}, "no column 'ton'; the nearest is 'tone'"),
        ({"tone": {"target": "tone", "kind": "grade"}, "dx": "dx"}, {}, "unknown choice of data.kind"),
        ({"tone": "tone", "dx": {"target": "dx", "units": ["mm"]}}, {}, "data.targets.dx: data.units are for kind=regression"),
        (ASKED, {"target": "dx"}, "data.target is of one target"),
        (ASKED, {"kind": "ordinal"}, "data.kind is of one target"),
        (ASKED, {"readers": "majority"}, "data.readers, boxes, bag and features are of one"),
        (ASKED, {"parents": {"nevus": "mole"}}, "data.parents is a tree over the labels of one target"),
    ],
)
def test_mistakes_about_targets_are_one_line(tmp_path, targets, options, said) -> None:
    with pytest.raises(MedzooError, match=said) as caught:
        table(tmp_path, targets, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("phantom", {"targets": ["multiclas", "regression"]}, "did you mean 'multiclass'"),
        ("phantom", {"targets": ["multiclass"]}, "names one target"),
        ("phantom", {"targets": ["binary", "ordinal"], "labels": "multilabel"}, "leave labels and rule out"),
        ("olives", {"targets": ["disease", "clinical"], "inputs": ["cst"]}, "BCVA and CST"),
        ("olives", {"targets": ["disease", "clinical"], "target": "clinical"}, "give one of the two"),
        ("chestxray14", {"targets": ["findings", "view"], "inputs": ["view"]}, "is no input"),
        ("scin", {"targets": ["diagnosis", "colour"]}, "unknown choice of data.targets 'colour'"),
    ],
)
def test_mistakes_about_named_targets_are_one_line(name, options, said) -> None:
    with pytest.raises(MedzooError, match=said):
        load_dataset(name, **options)
