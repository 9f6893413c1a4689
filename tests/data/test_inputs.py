"""Values beside the images: by name and by word, missing as NaN, one clear line for what they cannot be."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from medzoo.data.errors import ConfigError, DatasetError, UnknownNameError
from medzoo.data.inputs import InputSpace

SPACE = InputSpace(("age", "sex", "smokes"), {"sex": ("female", "male")})


def test_values_by_name_are_a_row_in_the_order_of_the_names():
    row = SPACE.row({"sex": "male", "age": 61})
    assert row.dtype == np.float32
    np.testing.assert_array_equal(row, [61, 1, np.nan])
    np.testing.assert_array_equal(SPACE.row({}), [np.nan] * 3)
    np.testing.assert_array_equal(SPACE.row({"age": " 2.5 ", "smokes": True, "sex": None}), [2.5, np.nan, 1])


@pytest.mark.parametrize("missing", [None, float("nan"), "", "  ", np.float32("nan")])
def test_what_is_missing_is_nan(missing: Any):
    assert np.isnan(SPACE.row({"age": missing, "sex": missing})).all()


@pytest.mark.parametrize(
    ("values", "error", "said"),
    [
        ({"agee": 1}, UnknownNameError, r"unknown input 'agee'; did you mean 'age'\?"),
        ({"sex": "mail"}, UnknownNameError, "unknown category 'mail' of input 'sex'; did you mean 'male'"),
        ({"sex": "diverse"}, UnknownNameError, "known: female, male"),
        ({"age": "old"}, ConfigError, "input 'age' is 'old', which is no number"),
        ({"age": math.inf}, ConfigError, "no number"),
        ({"age": [3]}, ConfigError, "no number"),
        ({"age": "NA"}, ConfigError, "input 'age' is 'NA', which is no number; leave it empty where it is missing"),
        ({"age": "40,5"}, ConfigError, "input 'age' is '40,5', which is no number; write a point before its fraction"),
        (
            {"sex": "nan"},
            UnknownNameError,
            "unknown category 'nan' of input 'sex', which is left empty where it is missing; known",
        ),
        ({"age": "1_0"}, ConfigError, "input 'age' is '1_0', which is no number"),
        ({"age": "\u0661"}, ConfigError, "no number"),
        ({"age": 10**400}, ConfigError, "no number"),
        ({"age": 1e39}, ConfigError, "no number"),
        ([61], ConfigError, "inputs are a list; give values by name"),
    ],
)
def test_what_cannot_be_is_one_line(values: Any, error: type[Exception], said: str):
    with pytest.raises(error, match=said) as raised:
        SPACE.row(values)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("value", "code"),
    [("1.0", 0), (" 1 ", 0), (1, 0), (1.0, 0), (np.float32(2), 1), (True, 0), ("2.00", 1), ("J\u0075\u0308rgen", 2), ("0.50", 3)],
)
def test_a_category_is_read_as_in_the_tables_that_a_model_learns_from(value: Any, code: int):
    space = InputSpace(("g",), {"g": ("1", "2", "J\u00fcrgen", "0.5")})
    np.testing.assert_array_equal(space.row({"g": value}), [code])
    np.testing.assert_array_equal(space.codes("g", [value]), [code])


def test_words_are_first_what_they_are():
    space = InputSpace(("g",), {"g": ("1", "1.0", "True", "001")})
    np.testing.assert_array_equal(space.codes("g", ["1", "1.0", True, "001"]), [0, 1, 2, 3])
    with pytest.raises(UnknownNameError, match="unknown category '01'"):
        space.row({"g": "01"})


def test_values_of_another_space_are_found_by_name_and_word():
    theirs = InputSpace(("sex", "weight", "age"), {"sex": ("male", "diverse", "female")})
    given = np.array([[0, 70, 30], [1, 80, np.nan], [2, 90, 50], [np.nan, 60, 20]], np.float32)
    expected = [[30, 1, np.nan], [np.nan, np.nan, np.nan], [50, 0, np.nan], [20, np.nan, np.nan]]
    np.testing.assert_array_equal(SPACE.taken_from(theirs, given), np.array(expected, np.float32))
    np.testing.assert_array_equal(SPACE.taken_from(SPACE, np.array([[1, 0, 1]])), [[1, 0, 1]])
    with pytest.raises(ConfigError, match="'sex' is a quantity in the data and a category in the model"):
        SPACE.taken_from(InputSpace(("sex",)), np.zeros((1, 1), np.float32))


@pytest.mark.parametrize(
    ("names", "categories", "said"),
    [
        ((), {}, "no input given"),
        (("age", "age"), {}, "'age' is given twice"),
        (("age", " "), {}, "is empty"),
        (("age",), {"sex": ("f", "m")}, "unknown input 'sex'"),
        (("sex",), {"sex": ()}, "no category of 'sex' given"),
        (("sex",), {"sex": ("f", "f")}, "'f' is given twice"),
    ],
)
def test_a_space_names_each_once(names: Any, categories: Any, said: str):
    with pytest.raises((DatasetError, UnknownNameError), match=said):
        InputSpace(names, categories)


@pytest.mark.parametrize(
    ("value", "said"), [([math.inf, 0, 0], "'age' of 'b' is inf"), ([1, 2, 0], "'sex' of 'b' is 2, no code")]
)
def test_a_table_holds_codes_and_numbers(value: Any, said: str):
    values = np.array([[np.nan, np.nan, np.nan], value], np.float32)
    with pytest.raises(DatasetError, match=said):
        SPACE.check("set", ["a", "b"], values)
    SPACE.check("set", ["a"], values[:1])
