"""Few-shot, fractions and folds: nested, by class and by group, the same everywhere; properties over made-up tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medzoo.data.dataset import target_matrix
from medzoo.data.errors import ConfigError
from medzoo.data.labels import LabelSpace
from medzoo.data.registry import load_dataset
from medzoo.data.splits.draws import balanced_weights, draw_fold, draw_fraction, draw_shots, even_weights, group_strata
from medzoo.data.splits.groups import shared_groups

LABELS = LabelSpace("multiclass", ("a", "b", "c"))


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    groups = draw(st.integers(6, 30))
    splits = [draw(st.sampled_from(["train", "train", "val", "test"])) for _ in range(groups)]
    rows = [
        (f"s{g}-{i}", splits[g], f"g{g}", draw(st.sampled_from([0, 1, 2, np.nan])))
        for g in range(groups)
        for i in range(draw(st.integers(1, 4)))
    ]
    table = pd.DataFrame(rows, columns=["sample_id", "split", "group", "target"])
    table.loc[table["group"] == "g0", "split"] = "train"
    table.loc[table["group"] == "g1", "split"] = "train"
    return table


def ids(table: pd.DataFrame, split: str = "train") -> set[str]:
    return set(table.loc[table["split"] == split, "sample_id"])


@settings(max_examples=60, deadline=None)
@given(tables(), st.integers(1, 4), st.integers(1, 6))
def test_shots_are_nested_and_count_by_class(table: pd.DataFrame, few: int, more: int) -> None:
    few, more = min(few, more), max(few, more)
    small, _ = draw_shots(table, LABELS, few, "salt")
    large, notes = draw_shots(table, LABELS, more, "salt")
    assert ids(small) <= ids(large) <= ids(table)
    for split in ("val", "test"):
        assert ids(large, split) == ids(table, split)
    for k, name in enumerate(LABELS.names):
        there = int((table.loc[table["split"] == "train", "target"] == k).sum())
        drawn = large[(large["split"] == "train") & (large["target"] == k)]
        assert len(drawn) == min(more, there)
        assert any(name in note.split()[0] for note in notes) == (there < more)
        # By group: no group gives a second sample while another has given none.
        of_class = table[(table["split"] == "train") & (table["target"] == k)]
        assert drawn["group"].nunique() == min(len(drawn), of_class["group"].nunique())


@settings(max_examples=60, deadline=None)
@given(tables(), st.floats(0.01, 1), st.floats(0.01, 1), st.randoms())
def test_fractions_are_nested_whole_groups_and_know_no_order(table: pd.DataFrame, a: float, b: float, random) -> None:
    small, large = (draw_fraction(table, LABELS, share, "salt") for share in sorted((a, b)))
    assert ids(small) <= ids(large)
    train = table[table["split"] == "train"]
    for _, rows in train.groupby("group"):
        assert set(rows["sample_id"]) <= ids(small) or not set(rows["sample_id"]) & ids(small)
    strata = group_strata(train, LABELS)
    kept = small.loc[small["split"] == "train", "group"].unique()
    for _, members in strata.groupby(strata):
        chosen = len(set(members.index) & set(kept))
        assert chosen == max(1, round(min(a, b) * len(members)))
    order = list(range(len(table)))
    random.shuffle(order)
    assert ids(draw_fraction(table.iloc[order].reset_index(drop=True), LABELS, min(a, b), "salt")) == ids(small)


@settings(max_examples=60, deadline=None)
@given(tables(), st.integers(2, 5), st.integers(0, 3))
def test_folds_part_all_that_is_not_test_by_group(table: pd.DataFrame, folds: int, seed: int) -> None:
    pooled = table[table["split"] != "test"]
    if pooled["group"].nunique() < folds:
        return
    parts = [draw_fold(table, LABELS, folds, fold, f"salt{seed}") for fold in range(folds)]
    assert set().union(*(ids(part, "val") for part in parts)) == set(pooled["sample_id"])
    assert sum(len(ids(part, "val")) for part in parts) == len(pooled)
    sizes = [part.loc[part["split"] == "val", "group"].nunique() for part in parts]
    assert max(sizes) - min(sizes) <= 1
    for part in parts:
        assert not shared_groups(part)
        assert ids(part, "test") == ids(table, "test")


def test_outer_folds_test_each_patient_of_train_and_val_once_and_leave_the_own_test_split_out() -> None:
    whole, tested = load_dataset("phantom", patients=40), list[str]()
    pooled = ids(whole.table, "train") | ids(whole.table, "val")
    for fold in range(4):
        dataset = load_dataset("phantom", patients=40, outer_folds=4, outer_fold=fold)
        assert not shared_groups(dataset.table)
        assert set(dataset.table["sample_id"]) == pooled
        assert {"train", "val", "test"} == set(dataset.table["split"])
        assert dataset.info.notes[-1].startswith(f"tested on fold {fold} of 4 of train and val")
        assert load_dataset(**dataset.options).table.equals(dataset.table)
        tested += dataset.rows("test")["sample_id"].tolist()
        inner = [load_dataset(**{**dataset.options, "folds": 2, "fold": part}) for part in (0, 1)] if fold == 1 else []
        for one in inner:  # parted anew within
            assert ids(one.table, "test") == ids(dataset.table, "test")
        if inner:
            assert ids(inner[0].table, "val") | ids(inner[1].table, "val") == pooled - ids(dataset.table, "test")
    assert sorted(tested) == sorted(pooled)
    assert "outer_folds" not in whole.options  # cards of before keep their hash


def test_folds_deal_out_a_rare_class() -> None:
    rows = [(f"s{i}", "train", f"g{i}", 1 if i < 5 else 0) for i in range(50)]
    table = pd.DataFrame(rows, columns=["sample_id", "split", "group", "target"])
    for fold in range(5):
        val = draw_fold(table, LABELS, 5, fold, "x").query("split == 'val'")
        assert (val["target"] == 1).sum() == 1


def test_draws_are_the_same_on_every_machine() -> None:
    """Frozen: a change here moves every published few-shot split."""
    table = pd.DataFrame(
        [(f"s{i}", "train", f"g{i // 2}", i % 3) for i in range(24)], columns=["sample_id", "split", "group", "target"]
    )
    assert sorted(ids(draw_shots(table, LABELS, 2, "frozen")[0])) == SHOTS
    assert sorted(ids(draw_fraction(table, LABELS, 0.25, "frozen"))) == FRACTION


SHOTS = ["s16", "s17", "s2", "s3", "s6", "s7"]
FRACTION = ["s16", "s17", "s2", "s3", "s6", "s7"]


def test_balanced_draws_give_classes_alike() -> None:
    targets = LABELS.one_hot([0] * 90 + [1] * 9 + [2])
    targets = np.concatenate([targets, np.full((5, 3), np.nan, dtype=np.float32)])
    weights = balanced_weights(targets, LABELS)
    assert [weights[:90].sum(), weights[90:99].sum(), weights[99]] == pytest.approx([1 / 3] * 3)
    assert not weights[100:].any()
    multilabel = LabelSpace("multilabel", ("x", "y"))
    weights = balanced_weights(np.array([[1, 0], [1, 1], [0, 0], [np.nan, np.nan]], dtype=np.float32), multilabel)
    assert weights.tolist() == pytest.approx([0.5 / 2.5, 1 / 2.5, 1 / 2.5, 0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shots": 0}, "data.shots=0"),
        ({"shots": 3, "fraction": 0.5}, "exclude each other"),
        ({"fraction": 1.5}, r"data.fraction=1.5 is not in \(0, 1\]"),
        ({"folds": 5}, "belong together"),
        ({"folds": 5, "fold": 5}, r"data.fold=5 is not one of 0..4"),
        ({"outer_folds": 5}, "data.outer_folds and data.outer_fold belong together"),
        ({"outer_folds": 3, "outer_fold": 3}, r"data.outer_fold=3 is not one of 0..2 \(data.outer_folds=3\)"),
        ({"outer_folds": 3, "outer_fold": "a"}, "data.outer_fold=a is no whole number"),
        ({"outer_folds": 3, "outer_fold": 0, "domain": "site"}, "both choose the test split"),
        ({"shots": 3, "labels": "regression"}, "use data.fraction"),
    ],
)
def test_impossible_draws_are_one_line(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_dataset("phantom", patients=20, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "ordinal", "multilabel", "regression"])
def test_every_kind_of_label_draws_from_the_registry(kind: str) -> None:
    whole = load_dataset("phantom", labels=kind, patients=40)
    part = load_dataset("phantom", labels=kind, patients=40, fraction=0.3)
    assert 0 < len(part.rows("train")) < len(whole.rows("train"))
    assert load_dataset(**part.options).table.equals(part.table)
    fold = load_dataset("phantom", labels=kind, patients=40, folds=4, fold=1)
    assert not shared_groups(fold.table)
    assert target_matrix(fold.rows("val"), fold.labels).shape[0] == len(fold.rows("val"))


def test_even_weights_draw_every_group_as_often() -> None:
    codes = np.array([0] * 90 + [2] * 9 + [1])
    weights = even_weights(codes, np.ones(100, bool))
    assert weights.sum() == pytest.approx(1)
    assert [weights[codes == code].sum() for code in range(3)] == pytest.approx([1 / 3] * 3)


def test_even_weights_never_draw_what_has_no_label() -> None:
    codes, labelled = np.array([0] * 90 + [2] * 9 + [1, 3]), np.array([False] * 80 + [True] * 20 + [False])
    weights = even_weights(codes, labelled)
    assert not weights[~labelled].any()
    assert [weights[codes == code].sum() for code in range(4)] == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])
    with pytest.raises(ConfigError, match="no labelled sample"):
        even_weights(codes, np.zeros(101, bool))


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_a_sample_of_weight_two_is_drawn_as_two_of_it(kind: str) -> None:
    labels = LabelSpace(kind, ("a", "b", "c"))
    targets = np.eye(3, dtype=np.float32)[[0, 0, 0, 0, 1, 1, 2, 2]]
    targets[7] = np.nan
    counts = np.array([1, 2, 3, 1, 5, 1, 2, 4], np.float32)
    twice, codes = np.repeat(np.arange(8), counts.astype(int)), np.array([0, 0, 1, 1, 0, 1, 1, 0])
    known = ~np.isnan(targets).any(axis=1)
    for found, repeated in (
        (balanced_weights(targets, labels, counts), balanced_weights(targets[twice], labels)),
        (even_weights(codes, known, counts), even_weights(codes[twice], known[twice])),
    ):
        np.testing.assert_allclose(found, np.bincount(twice, repeated), rtol=1e-12)
