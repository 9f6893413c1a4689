"""When something was, as tables write it: dates of one form, or numbers of a unit that was told. Nothing is guessed."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import get_args

import numpy as np
import pandas as pd

from medzoo.data.errors import ConfigError
from medzoo.data.tables.text_table import TextTable
from medzoo.data.timing import TimeUnit

_DAY = r"\d{4}-\d{2}-\d{2}"
_CLOCK = r"[ T]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?"
FORMS = {
    "YYYY-MM-DD": re.compile(_DAY),
    "YYYYMMDD": re.compile(r"\d{8}"),
    "YYYY-MM-DD hh:mm": re.compile(_DAY + _CLOCK),
    "YYYY-MM-DD hh:mm with a time zone": re.compile(_DAY + _CLOCK + r"(?:Z|[+-]\d{2}:?\d{2})"),
}
"""Dates that say which part is the day (ISO 8601, and DICOM's)."""
_REMEDY = "data.time_as=weeks says what numbers count, data.time_as='%d.%m.%Y' how dates are written"


def read_times(rows: TextTable, column: str, time_as: str | None) -> tuple[pd.Series, TimeUnit]:
    """Return a column of times as float64, and what they count: days since 1970 of dates, which stand in every cell.

    Args:
        rows: Text.
        column: Its name.
        time_as: What numbers count, a `TimeUnit`; or how dates are written, as strptime takes it; None: they are of `FORMS`.

    Raises:
        ConfigError: If `time_as` is neither, or a format that lacks a part of the date.
        DatasetError: If a cell is empty, cannot be read, or is of another form than the first; names its line.
    """
    cells = rows[column]
    rows.refuse(cells == "", column, remedy="every sample needs its time; data.where takes the rows that have one")
    if (unit := next((one for one in get_args(TimeUnit) if one == time_as), None)) is not None:
        return rows.numbers(column, remedy=_REMEDY), unit
    read: Callable[[str], float]
    if time_as is not None:
        if "%" not in time_as:
            known = ", ".join(get_args(TimeUnit))
            raise ConfigError(f"data.time_as={time_as} is neither one of {known} nor a format of dates such as %d.%m.%Y")
        _check_format(time_as)
        read, form = (lambda cell: _days(lambda: datetime.strptime(cell, time_as))), time_as
    else:
        first = str(cells.iloc[0])
        form = next((name for name, pattern in FORMS.items() if pattern.fullmatch(first)), "")
        rows.refuse(pd.Series([form == ""], index=cells.index[:1]), column, "no date as YYYY-MM-DD", _REMEDY)
        other = ~cells.map(lambda cell: FORMS[form].fullmatch(cell) is not None)
        rows.refuse(other, column, f"not written as the first, {first!r} ({form})", f"write all alike; {_REMEDY}")
        read = lambda cell: _days(lambda: datetime.fromisoformat(cell))  # noqa: E731
    days = cells.map({cell: read(cell) for cell in cells.unique()}).astype(np.float64)
    rows.refuse(days.isna(), column, f"no date as {form}", _REMEDY)
    return days, "days"


def _check_format(form: str) -> None:
    """Refuse a format of dates that strptime would complete by itself: each time would be of 1900, or of one day of a year."""
    try:
        datetime.strptime("", form)  # raises in any case, of a directive that it has not by other words
    except (ValueError, re.error) as error:
        if not str(error).startswith("time data"):
            raise ConfigError(f"data.time_as={form} is no format of dates ({error}); %d.%m.%Y is one") from None
    marks = set(re.findall("%(.)", form))
    by_week = bool(marks & set("GV"))
    day = bool(marks & set("cxj")) or ("d" in marks and bool(marks & set("mbB")))
    needed = [
        (by_week, "G", "the year of its weeks, %G"),
        (by_week, "V", "the week, %V"),
        (not by_week, "Yycx", "the year, %Y"),
        (by_week or (not day and bool(marks & set("UW"))), "uwaA", "the day of the week, %u or %a"),
        ("d" in marks, "mbBcx", "the month, %m"),
        (not by_week and bool(marks & set("HIX")), "djUWcx", "the day, %d"),
        ("M" in marks, "HI", "the hour, %H"),
        ("I" in marks, "p", "the half of the day, %p"),
    ]
    lacking = [said for asked, having, said in needed if asked and marks.isdisjoint(having)]
    if lacking:
        raise ConfigError(f"data.time_as={form} lacks {' and '.join(lacking)}; a format of dates has all of it, as %d.%m.%Y has")


def _days(parsed: Callable[[], datetime]) -> float:
    """Return days since 1970, of a time without a zone as if it were UTC; NaN for what is no date."""
    try:
        when = parsed()
    except ValueError:
        return float("nan")
    return (when if when.tzinfo is not None else when.replace(tzinfo=UTC)).timestamp() / 86_400
