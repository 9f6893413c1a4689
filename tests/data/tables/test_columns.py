"""Subgroups: codes stay apart, numbers are numbers, and what is neither is one line."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pytest

from medzoo.data.errors import DatasetError
from medzoo.data.splits.subgroups import MISSING, level_names
from medzoo.data.tables.columns import subgroup
from medzoo.data.tables.text_table import TextTable


def read(cells: Sequence[str], rule: int = 2) -> pd.Series:
    table = TextTable("t.csv", pd.DataFrame({"site": cells}, dtype=str))
    return subgroup(table, "site", [], rule)[0]


@pytest.mark.parametrize(
    ("cells", "levels"),
    [
        (["007", "7", ""], ["007", "7", MISSING]), (["01", "02"], ["01", "02"]), (["1e3", "1000"], ["1e3", "1000"]),
        (["1", "1.0", "M", "2"], ["1", "1", "M", "2"]), (["12345678901234567890", "12345678901234567891"], None),
        (["inf", "", "inf"], ["inf", MISSING, "inf"]), (["inf", "sup", "1"], ["inf", "sup", "1"]),
    ],
)  # fmt: skip
def test_codes_are_text_and_stay_apart(cells: list[str], levels: list[str] | None) -> None:
    column = read(cells)
    assert not pd.api.types.is_numeric_dtype(column)
    assert level_names(column).tolist() == (levels or cells)


@pytest.mark.parametrize(
    ("cells", "values"),
    [(["1", "1.0", "2"], [1, 1, 2]), (["+0.5", ".5", "-0", "0"], [0.5, 0.5, 0, 0]), (["1e-05", "2.5", "0"], [1e-05, 2.5, 0]),
     (["10", "", "0.25"], [10, None, 0.25])],
)  # fmt: skip
def test_numbers_are_numbers(cells: list[str], values: list[float | None]) -> None:
    column = read(cells)
    assert pd.api.types.is_numeric_dtype(column)
    pd.testing.assert_series_equal(column.astype(float), pd.Series(values, dtype=float), check_names=False)


def test_one_infinite_value_among_numbers_is_refused() -> None:
    cells = [*map(str, range(30)), "inf"]
    with pytest.raises(
        DatasetError, match=r"'site' is 'inf', no finite number, as the others are; leave the cell empty, or name"
    ):
        read(cells)


def test_an_earlier_medzoos_subgroups_stay_as_they_were() -> None:
    assert read(["007", "7"], rule=1).tolist() == [7, 7]
