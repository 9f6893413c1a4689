"""Spans of time as people write them."""

from __future__ import annotations

import pytest

from medzoo.data.errors import MedzooError
from medzoo.data.timing import TimeUnit, Visits, span


@pytest.mark.parametrize(
    ("text", "unit", "wanted"),
    [
        ("12w", "weeks", 12), ("12w", "days", 84), ("84d", "weeks", 12), ("1.5y", "months", 18), ("12 Weeks", "days", 84),
        ("1 month", "days", 30.4375), ("1y", "days", 365.25), ("2v", "visits", 2), ("3 visits", "visits", 3),
        (" 7 day ", "weeks", 1),
    ],
)  # fmt: skip
def test_a_span_is_in_the_unit_of_the_times(text: str, unit: TimeUnit, wanted: float) -> None:
    assert span(text, "horizon", unit) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "unit", "said"),
    [
        ("12", "weeks", "no span of time: give a number and its unit, 12w"), ("w12", "weeks", "no span of time"),
        ("0w", "weeks", "no span of time"), ("-3w", "weeks", "no span of time"), (12, "weeks", "data.horizon=12 is no span"),
        ("nanw", "weeks", "no span of time"), ("12 weaks", "weeks", "unknown unit of time 'weaks' in data.horizon=12 weaks"),
        ("12w", "visits", "data.horizon=12w is a number of weeks, and visits are counted here, not time: 2v"),
        ("2v", "days", "data.horizon=2v is a number of visits, and time is counted in days here: 12d"),
    ],
)  # fmt: skip
def test_what_is_no_span_is_one_line(text: object, unit: TimeUnit, said: str) -> None:
    with pytest.raises(MedzooError, match=said) as caught:
        span(text, "horizon", unit)
    assert "\n" not in str(caught.value)


def test_what_was_seen_again_is_named_as_the_user_named_it() -> None:
    visits = Visits(("visit.of.patient", "visit.of.eye"), "visit.time", "days", order="visit")
    assert visits.whose == "patient and eye"
    assert visits.columns == ("visit.of.patient", "visit.of.eye", "visit.time", "visit")
