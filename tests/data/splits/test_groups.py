"""No split, fold or carving ever cuts a group; a group's place depends on nothing but itself."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medzoo.data.errors import DatasetError
from medzoo.data.splits.groups import carve_val, fold_of, group_fractions, hash_split, merge_groups, shared_groups

GROUPS = st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=60)
SALT = st.text(max_size=8)
PROPERTY = settings(max_examples=60, deadline=None)


def _table(groups, split="train"):
    return pd.DataFrame({"sample_id": range(len(groups)), "group": groups, "split": split})


@PROPERTY
@given(GROUPS, SALT)
def test_a_split_cuts_no_group_and_does_not_depend_on_order(groups, salt):
    series = pd.Series(groups, dtype=object)
    split = hash_split(series, salt, (0.2, 0.3))
    assert shared_groups(_table(groups, split)) == {}
    backwards = hash_split(series[::-1], salt, (0.2, 0.3))
    assert backwards.sort_index().tolist() == split.tolist()


@PROPERTY
@given(GROUPS, GROUPS, SALT)
def test_adding_samples_moves_no_group(groups, more, salt):
    before = hash_split(pd.Series(groups, dtype=object), salt, (0.2, 0.3))
    after = hash_split(pd.Series(groups + more, dtype=object), salt, (0.2, 0.3))
    assert after.iloc[: len(groups)].tolist() == before.tolist()


@PROPERTY
@given(GROUPS, st.floats(0.01, 0.99), SALT)
def test_carving_moves_whole_groups_of_train_alone(groups, fraction, salt):
    table = pd.concat([_table(groups), _table(["the test patient"] * 2, "test")], ignore_index=True)
    table.loc[table["group"] == "the test patient", "split"] = "test"
    in_train = sorted(set(groups) - {"the test patient"})
    if len(in_train) < 2:
        with pytest.raises(DatasetError, match="cannot carve"):
            carve_val(table, fraction, salt)
        return
    original = table.copy()
    carved = carve_val(table, fraction, salt)
    pd.testing.assert_frame_equal(table, original)  # a copy is changed
    assert shared_groups(carved) == {}
    assert (carved.loc[table["split"] == "test", "split"] == "test").all()
    val = carved.loc[carved["split"] == "val", "group"].nunique()
    assert 1 <= val < len(in_train)
    assert abs(val - fraction * len(in_train)) <= 1
    # The same groups whatever the order of the rows.
    shuffled = carve_val(table.sample(frac=1, random_state=0), fraction, salt)
    assert shuffled.sort_index()["split"].tolist() == carved["split"].tolist()


@PROPERTY
@given(GROUPS, st.integers(2, 6), SALT)
def test_folds_cut_no_group_and_are_even(groups, folds, salt):
    series = pd.Series(groups, dtype=object)
    if len(set(groups)) < folds:
        with pytest.raises(DatasetError, match="cannot make"):
            fold_of(series, folds, salt)
        return
    fold = fold_of(series, folds, salt)
    by_group = pd.DataFrame({"group": groups, "fold": fold}).groupby("group")["fold"]
    assert by_group.nunique().max() == 1
    sizes = np.bincount(by_group.first(), minlength=folds)
    assert len(sizes) == folds
    assert sizes.max() - sizes.min() <= 1


@PROPERTY
@given(st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=12), st.data())
def test_merging_joins_exactly_what_is_connected(groups, data):
    rows = st.lists(st.integers(0, len(groups) - 1), min_size=1, max_size=3)
    shared = data.draw(st.lists(rows, max_size=5))
    merged = merge_groups(groups, shared)
    # An independent oracle: grow sets until nothing changes.
    sets = [{g} for g in set(groups)] + [{groups[r] for r in joined} for joined in shared]
    changed = True
    while changed:
        changed = False
        for i, one in enumerate(sets):
            for other in sets[i + 1 :]:
                if one & other and one != other:
                    one |= other
                    other |= one
                    changed = True
    expected = [min(next(s for s in sets if g in s)) for g in groups]
    assert merged == expected


def test_a_fraction_is_53_bits_of_sha256():
    digest = hashlib.sha256(b"salt\x1fpatient-7").hexdigest()
    assert group_fractions(pd.Series(["patient-7", "patient-7"]), "salt").tolist() == [(int(digest[:16], 16) >> 11) / 2**53] * 2


def test_shares_are_met_on_average_and_salts_are_independent():
    groups = pd.Series([f"patient {i}" for i in range(20_000)])
    one, other = (hash_split(groups, salt, (0.1, 0.2)) for salt in ("a", "b"))
    # Four standard errors of a share of 20,000 draws.
    assert abs((one == "test").mean() - 0.2) < 0.012
    assert abs((one == "val").mean() - 0.1) < 0.009
    assert abs(((one == "test") & (other == "test")).mean() - 0.04) < 0.006


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (-0.1, 0.2), (1.0, 0.0)])
def test_shares_that_leave_nothing_are_refused(fractions):
    with pytest.raises(DatasetError, match="leave nothing to train on"):
        hash_split(pd.Series(["a"]), "", fractions)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5])
def test_a_val_fraction_outside_0_to_1_is_refused(fraction):
    with pytest.raises(DatasetError, match="not between 0 and 1"):
        carve_val(_table(["a", "b"]), fraction, "")


def test_shared_groups_are_named_with_their_splits():
    table = _table(["a", "b", "a", "c"], ["train", "train", "test", "val"])
    assert shared_groups(table) == {"a": ["test", "train"]}
