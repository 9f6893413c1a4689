"""Label and concept spaces: what they accept, and that missing stays missing."""

from __future__ import annotations

import numpy as np
import pytest

from medzoo.data.errors import DatasetError, UnknownNameError
from medzoo.data.labels import ConceptSpace, LabelSpace, log_sum_exp, probabilities, sigmoid, softmax

GRADES = LabelSpace("ordinal", ("none", "mild", "severe"))
FINDINGS = LabelSpace("multilabel", ("fluid", "mass"))


def test_one_hot_of_codes_and_of_missing_ones():
    found = GRADES.one_hot([2, np.nan, 0, -1, 1.0])
    nan = np.nan
    expected = np.array([[0, 0, 1], [nan, nan, nan], [1, 0, 0], [nan, nan, nan], [0, 1, 0]], dtype=np.float32)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("codes", [[0, 3], [0.5], [np.inf]])
def test_codes_that_are_no_class_are_refused(codes):
    with pytest.raises(DatasetError, match=r"is not one of 0\.\.2"):
        GRADES.one_hot(codes)


def test_only_exclusive_labels_have_codes():
    with pytest.raises(DatasetError, match="not multilabel"):
        LabelSpace("multilabel", ("a", "b")).one_hot([0])


def test_class_names_are_found_or_the_nearest_offered():
    assert GRADES.index("mild") == 1
    with pytest.raises(UnknownNameError, match="did you mean 'severe'"):
        GRADES.index("sevare")


@pytest.mark.parametrize(
    ("kind", "names", "units", "message"),
    [
        ("multiclas", ("a", "b"), None, "did you mean 'multiclass'"),
        ("multiclass", ("a",), None, "at least two"),
        ("ordinal", ("a", "a"), None, "given twice"),
        ("multilabel", (), None, "no label names"),
        ("multilabel", ("a", " "), None, "empty"),
        ("multilabel", ("a", 1), None, "not text"),
        ("multiclass", ("a", "b"), ("mm", "mm"), "units are for regression"),
        ("regression", ("a", "b"), ("mm",), "units are for regression"),
    ],
)
def test_spaces_that_mean_nothing_are_refused(kind, names, units, message):
    with pytest.raises((DatasetError, UnknownNameError), match=message):
        LabelSpace(kind, names, units)


@pytest.mark.parametrize(
    "space",
    [GRADES, LabelSpace("regression", ("acuity", "thickness"), ("letters", "um")), LabelSpace("multilabel", ("only",))],
)
def test_label_spaces_survive_json(space):
    assert LabelSpace.from_dict(space.to_dict()) == space
    assert space.width == len(space.names)


def test_concepts_stand_in_one_group_at_most():
    space = ConceptSpace(("round", "oval", "bright"), {"shape": ("round", "oval")})
    assert ConceptSpace.from_dict(space.to_dict()) == space
    with pytest.raises(DatasetError, match="two groups"):
        ConceptSpace(("round", "oval"), {"shape": ("round",), "other": ("round",)})
    with pytest.raises(UnknownNameError, match="did you mean 'oval'"):
        ConceptSpace(("round", "oval"), {"shape": ("ovel",)})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_probabilities_are_softmax_and_sigmoid_in_the_logits_own_precision(dtype):
    logits = np.log(np.array([[3, 1], [9, 1]], dtype=dtype))
    shares, odds = probabilities(logits, LabelSpace("multiclass", ("a", "b"))), probabilities(logits, FINDINGS)
    np.testing.assert_allclose(shares, [[0.75, 0.25], [0.9, 0.1]], rtol=1e-6)
    np.testing.assert_allclose(odds, [[0.75, 0.5], [0.9, 0.5]], rtol=1e-6)
    np.testing.assert_allclose(log_sum_exp(logits), np.log([4, 10]), rtol=1e-6)
    assert shares.dtype == odds.dtype == log_sum_exp(logits).dtype == dtype
    assert probabilities(logits, LabelSpace("regression", ("a", "b"))) is logits


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.filterwarnings("error")
def test_logits_of_any_size_have_probabilities_without_a_warning(dtype):
    logits = np.array([[-100, 100], [-1000, 1000], [1000, 1000]], dtype=dtype)
    np.testing.assert_allclose(sigmoid(logits), [[0, 1], [0, 1], [1, 1]], atol=1e-43)
    np.testing.assert_allclose(softmax(logits), [[0, 1], [0, 1], [0.5, 0.5]], atol=1e-43)
    np.testing.assert_allclose(log_sum_exp(logits), [100, 1000, 1000 + np.log(2)], rtol=1e-6)


def test_sigmoid_keeps_the_digits_of_the_plain_formula():
    logits = np.linspace(-80, 80, 100_001, dtype=np.float32)
    np.testing.assert_array_equal(sigmoid(logits), 1 / (1 + np.exp(-logits)))
