"""The table's contract: what is checked when a dataset is made, and how its columns become vectors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from medzoo.data.dataset import ArrayReader, Dataset, concept_matrix, input_columns, target_matrix
from medzoo.data.errors import DatasetError, MedzooError, UnknownNameError
from medzoo.data.info import DatasetInfo
from medzoo.data.labels import ConceptSpace, LabelSpace

CLASSES = LabelSpace("multiclass", ("cat", "dog", "owl"))
FINDINGS = LabelSpace("multilabel", ("edema", "mass"))
NAN = np.nan


def _dataset(labels=CLASSES, concepts=None, subgroups=(), drop=(), **columns):
    base = {
        "sample_id": ["a", "b", "c"],
        "split": ["train", "val", "test"],
        "group": ["p", "q", "r"],
        "array_index": [0, 1, 2],
    }
    if labels is CLASSES and "target.cat" not in columns:
        base["target"] = [0, 1, NAN]
    table = pd.DataFrame(base | columns).drop(columns=list(drop))
    info = DatasetInfo("toy", "Toy", "synthetic", "CC0-1.0", "", "", labels, concepts)
    reader = ArrayReader(np.zeros((3, 1, 4, 4), dtype=np.uint8))
    return Dataset(info, table, reader, labels, concepts, subgroups)


def test_codes_become_one_hot_and_missing_becomes_nan():
    dataset = _dataset()
    np.testing.assert_array_equal(target_matrix(dataset.table, CLASSES), [[1, 0, 0], [0, 1, 0], [NAN, NAN, NAN]])


def test_nullable_integer_codes_are_understood():
    dataset = _dataset(target=pd.array([2, None, 0], dtype="Int64"))
    np.testing.assert_array_equal(target_matrix(dataset.table, CLASSES), [[0, 0, 1], [NAN, NAN, NAN], [1, 0, 0]])


def test_vectors_come_in_index_order_whatever_the_columns_order():
    dataset = _dataset(FINDINGS, **{"target.mass": [1.0, 0.0, NAN], "target.edema": [0.0, NAN, 1.0]})
    found = target_matrix(dataset.table, FINDINGS)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[0, 1], [NAN, 0], [1, NAN]])


def test_soft_targets_must_sum_to_one():
    soft = {"target.cat": [0.25, 1.0, NAN], "target.dog": [0.25, 0.0, NAN], "target.owl": [0.5, 0.0, NAN]}
    np.testing.assert_allclose(target_matrix(_dataset(**soft).table, CLASSES)[0], [0.25, 0.25, 0.5])
    with pytest.raises(DatasetError, match=r"soft targets of 'a' sum to 0\.9000, not 1"):
        _dataset(**(soft | {"target.owl": [0.4, 0.0, NAN]}))


def test_concepts_and_inputs():
    concepts = ConceptSpace(("round", "dark"))
    dataset = _dataset(concepts=concepts, **{"concept.dark": [1, 0, NAN], "concept.round": [0, 0, 1], "input.age": [1, 2, 3]})
    np.testing.assert_array_equal(concept_matrix(dataset.table, concepts), [[0, 1], [0, 0], [1, NAN]])
    assert input_columns(dataset.table) == ["input.age"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"drop": ["group"]}, "no column 'group'"),
        ({"drop": ["array_index"]}, "no column 'array_index'"),
        ({"subgroups": ("sex",)}, "no column 'sex'"),
        ({"sample_id": ["a", "a", "c"]}, "sample_id 'a' is repeated"),
        ({"split": ["train", "valid", "test"]}, "split 'valid' is not one of"),
        ({"group": ["p", None, "r"]}, "'group' has 1 empty"),
        ({"target": [0, 1, 3]}, r"class code 3 is not one of 0\.\.2"),
        ({"target": [0, 1, 2], "target.cat": [0, 0, 0]}, "keep one form"),
        ({"labels": FINDINGS, "target": [0, 1, 1]}, "not one 'target' column"),
        ({"labels": FINDINGS, "target.edema": [0, 0, 0], "target.mas": [0, 0, 0]}, "the nearest is 'target.mas'"),
        ({"labels": FINDINGS, "target.edema": [0, 0, 0], "target.mass": [0, 2, 0]}, "'target.mass' of 'b' is 2"),
        (
            {"labels": LabelSpace("regression", ("acuity",)), "target.acuity": [0.0, np.inf, NAN]},
            "a regression target is infinite",
        ),
        ({"concepts": ConceptSpace(("dark",)), "concept.dark": [0, 0, -1]}, "'concept.dark' of 'c' is -1"),
    ],
)
def test_a_table_that_breaks_the_contract_is_refused_in_one_line(arguments, message):
    with pytest.raises(MedzooError, match=message) as caught:
        _dataset(**arguments)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("toy: ")


def test_an_empty_table_is_refused():
    dataset = _dataset()
    with pytest.raises(DatasetError, match="no rows"):
        dataset.with_table(dataset.table.iloc[:0])


def test_regression_targets_may_be_any_number():
    labels = LabelSpace("regression", ("acuity",), ("letters",))
    dataset = _dataset(labels, **{"target.acuity": [-85.5, 1e6, NAN]})
    np.testing.assert_array_equal(target_matrix(dataset.table, labels), np.float32([[-85.5], [1e6], [NAN]]))


def test_rows_of_a_split_keep_the_tables_order():
    dataset = _dataset(split=["train", "test", "train"])
    assert dataset.rows("train")["sample_id"].tolist() == ["a", "c"]
    assert len(dataset.rows("val")) == 0
    with pytest.raises(UnknownNameError, match="did you mean 'val'"):
        dataset.rows("vall")
