"""Times as tables write them: one form in every cell, none of them guessed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medzoo.data.errors import ConfigError, MedzooError
from medzoo.data.tables import TextTable
from medzoo.data.tables.times import read_times


def rows(folder: Path, cells: list[str]) -> TextTable:
    (folder / "t.csv").write_text("image,when\n" + "".join(f"{n}.png,{cell}\n" for n, cell in enumerate(cells)))
    return TextTable.read(folder / "t.csv")


@pytest.mark.parametrize(
    ("cells", "time_as"),
    [
        (["2020-02-28", "2020-03-01", "1969-12-31"], None),
        (["20200228", "20200301", "19691231"], None),
        (["2020-02-28 00:00", "2020-03-01T12:30:15", "2020-03-01 12:30:15.250"], None),
        (["2020-02-28 00:00+01:00", "2020-03-01T12:30Z", "2020-03-01 12:30-0500"], None),
    ],
)
def test_dates_are_days_as_pandas_counts_them(cells: list[str], time_as: str | None, tmp_path: Path) -> None:
    found, unit = read_times(rows(tmp_path, cells), "when", time_as)
    wanted = pd.to_datetime(pd.Series(cells), utc=True, format="ISO8601")
    days = (wanted - pd.Timestamp("1970-01-01", tz="UTC")) / pd.Timedelta(days=1)
    np.testing.assert_allclose(found, days, rtol=0, atol=1e-9)
    assert unit == "days"


def test_other_forms_and_numbers_are_read_as_was_told(tmp_path: Path) -> None:
    found, unit = read_times(rows(tmp_path, ["03.04.2020", "13.04.2020"]), "when", "%d.%m.%Y")
    assert (found.diff().iloc[1], unit) == (10, "days")
    found, unit = read_times(rows(tmp_path, ["0", "4.5", "104", "-2"]), "when", "weeks")
    assert (found.tolist(), unit) == ([0, 4.5, 104, -2], "weeks")


@pytest.mark.parametrize(
    ("cells", "time_as", "said"),
    [
        (["2020-01-01", ""], None, "t.csv line 3: 'when' is empty; every sample needs its time"),
        (["2020-01-01", "01/02/2020"], None, "line 3: 'when' is '01/02/2020', not written as the first, '2020-01-01'"),
        (["2020-01-01", "2020-01-02 10:00"], None, "line 3: .* not written as the first"),
        (["2020-01-01", "20200102"], None, "line 3: .* not written as the first"),
        (["2020-01-01", "2020-02-30", "2020-13-01"], None, r"line 3: .* '2020-02-30', no date as YYYY-MM-DD \(2 such lines\)"),
        (["01/02/2020"], None, "line 2: 'when' is '01/02/2020', no date as YYYY-MM-DD; data.time_as=weeks says"),
        (["12", "14"], None, "line 2: 'when' is '12', no date"),
        (["12", "two"], "weeks", "line 3: 'when' is 'two', not a number"),
        (["12", "inf"], "weeks", "line 3: 'when' is 'inf', not a number"),
        (["03.04.2020", "2020-04-03"], "%d.%m.%Y", "line 3: 'when' is '2020-04-03', no date as %d.%m.%Y"),
        (["12"], "fortnights", "data.time_as=fortnights is neither one of days, weeks, .* nor a format of dates"),
    ],
)  # fmt: skip
def test_what_could_be_read_in_two_ways_is_one_line(cells: list[str], time_as: str | None, said: str, tmp_path: Path) -> None:
    with pytest.raises(MedzooError, match=said) as caught:
        read_times(rows(tmp_path, cells), "when", time_as)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("time_as", "said"),
    [
        ("%d.%m.", "lacks the year, %Y;"),
        ("%H:%M", "lacks the year, %Y and the day, %d;"),
        ("%j", "lacks the year, %Y;"),
        ("%d.%m. 100%%Y", "lacks the year, %Y;"),
        ("%Y-%W", "lacks the day of the week, %u or %a;"),
        ("%Y-%m week %U", "lacks the day of the week, %u or %a;"),
        ("%a of week %W", "lacks the year, %Y;"),
        ("%G-%V", "lacks the day of the week, %u or %a;"),
        ("%G %u", "lacks the week, %V;"),
        ("%Y-%V-%u", "lacks the year of its weeks, %G;"),
        ("%d. %Y", "lacks the month, %m;"),
        ("%Y-%m %H:%M", "lacks the day, %d;"),
        ("%Y-%m-%d %I:%M", "lacks the half of the day, %p;"),
        ("%Y-%m-%d :%M", "lacks the hour, %H;"),
        ("%s", r"is no format of dates \('s' is a bad directive in format '%s'\)"),
        ("%-d.%m.%Y", r"is no format of dates \('-' is a bad directive"),
        ("%d.%d.%Y", r"is no format of dates \(redefinition of group name 'd'"),
    ],
)
def test_a_format_without_a_part_of_the_date_is_refused(time_as: str, said: str, tmp_path: Path) -> None:
    cells = rows(tmp_path, [pd.Timestamp("2020-05-06 17:00").strftime(time_as)])
    with pytest.raises(ConfigError, match=f"data.time_as={time_as} {said}") as caught:
        read_times(cells, "when", time_as)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "time_as",
    [
        "%d.%m.%y", "%B %d; %Y", "%Y-%j", "%Y %W %a", "%U %w %Y", "%G-W%V-%u", "%c", "%x", "%Y-%m-%d (week %W)",
        "%d.%m.%Y %I:%M %p", "%x %H:%M", "%Y%m%dT%H%M%S",
    ],
)  # fmt: skip
def test_a_format_with_the_whole_date_is_read(time_as: str, tmp_path: Path) -> None:
    when = pd.date_range("2020-05-06", periods=3, freq="9D")
    found, _ = read_times(rows(tmp_path, [one.strftime(time_as) for one in when]), "when", time_as)
    assert found.tolist() == [18388, 18397, 18406]


def test_months_and_years_are_read_as_their_first_day(tmp_path: Path) -> None:
    assert read_times(rows(tmp_path, ["2020-05"]), "when", "%Y-%m")[0].tolist() == [18383]
    assert read_times(rows(tmp_path, ["2020"]), "when", "%Y")[0].tolist() == [18262]
