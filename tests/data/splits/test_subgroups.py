"""Levels of subgroup columns: ages in years of life, other numbers by their own quartiles."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from medzoo.data.splits.subgroups import joined_names, level_names

MANY = np.arange(40, dtype=float)


@pytest.mark.parametrize("name", ["age", "Patient Age", "patientAge", "age_years", "Years"])
def test_ages_are_banded_as_ages(name: str) -> None:
    names = level_names(pd.Series([*MANY, 85.0, np.nan], name=name))
    assert [names[0], names[17], names[18], names[40], names[41]] == [
        "[0.0, 18.0)", "[0.0, 18.0)", "[18.0, 40.0)", "[80.0, inf)", "missing"
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["cst", "image_width", "stage_value", "dosage"])
def test_other_numbers_are_banded_at_their_quartiles(name: str) -> None:
    """40 numbers, 0..39: ten in each band, whatever 18, 40, 60 and 80 mean to a patient."""
    names = pd.Series(level_names(pd.Series(MANY * 100, name=name)))
    assert names.value_counts().to_dict() == {"[0, 975)": 10, "[975, 1950)": 10, "[1950, 2925)": 10, "[2925, 3900]": 10}
    assert names.iloc[-1] == "[2925, 3900]"


def test_what_no_one_can_be_old_is_no_age() -> None:
    assert level_names(pd.Series([*MANY, 300.0], name="age"))[-1] == "[30, 300]"
    assert level_names(pd.Series([*MANY, -1.0], name="age"))[-1].startswith("[-1, ")


def test_few_numbers_and_text_are_levels_of_their_own() -> None:
    assert set(level_names(pd.Series([1.0, 2.0, np.nan], name="grade"))) == {"1.0", "2.0", "missing"}
    assert list(level_names(pd.Series(["f", None], dtype=object))) == ["f", "missing"]


def test_many_equal_numbers_make_fewer_bands() -> None:
    names = level_names(pd.Series([0.0] * 90 + list(np.arange(1.0, 21.0)), name="count"))
    assert set(names) == {"[0, 20]"} or len(set(names)) <= 3


def test_joined_names_are_shared_by_equal_cells_alone() -> None:
    cells = pd.DataFrame({"u": ["x", "x & y", "x", 1], "v": ["y & z", "z", "y & z", 2]})
    assert joined_names(cells, " & ").tolist() == ['"x" & "y & z"', '"x & y" & "z"', '"x" & "y & z"', '"1" & "2"']
    assert joined_names(cells.iloc[1:2], " & ").tolist() == ["x & y & z"]  # nothing is alike
    assert joined_names(cells.iloc[:0], " & ").tolist() == []
