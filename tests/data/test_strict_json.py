"""JSON in which nothing is dropped or replaced."""

from __future__ import annotations

import json
import math

import pytest

from medzoo.data.strict_json import strict_json


@pytest.mark.parametrize(
    "text", ['{"a": [1, 2.5, true, null, "x"], "b": {"c": {}}}', b'{"a": 1e308}', '"\\u00e9"', "[]", "-0.0", '{"a": {"a": 1}}']
)
def test_json_is_read_as_the_library_reads_it(text: str | bytes) -> None:
    assert strict_json(text) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1, "a": 1}', "'a' is given twice"),
        ('[{"x": {"a": 1, "b": 2, "a": 3}}]', "'a' is given twice"),
        ('{"a": 1, "\\u0061": 2}', "'a' is given twice"),
        ("[NaN]", "NaN is no number"),
        ('{"a": -Infinity}', "-Infinity is no number"),
        ("1e400", "1e400 is too large a number"),
        ("[" * 200_000, "in one another without end"),
        ("{'a': 1}", "Expecting property name"),
        ("", "Expecting value"),
        (b"\xff\xfe\x00", "utf"),
    ],
)
def test_what_would_be_dropped_or_replaced_is_refused_in_one_line(text: str | bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        strict_json(text)
    assert "\n" not in str(caught.value)


def test_tables_may_hold_what_is_no_number() -> None:
    found = strict_json('{"a": NaN, "b": -Infinity, "c": 1e400}', nan=True)
    assert math.isnan(found["a"])
    assert (found["b"], found["c"]) == (-math.inf, math.inf)
    with pytest.raises(ValueError, match="'a' is given twice"):
        strict_json('{"a": NaN, "a": 1}', nan=True)


def test_a_name_given_twice_is_found_among_very_many() -> None:
    """In a time that grows with the names and not with their square, which would be an hour here."""
    names = ",".join(f'"{number}":0' for number in range(400_000))
    assert len(strict_json(f"{{{names}}}")) == 400_000
    with pytest.raises(ValueError, match="'z' is given twice"):
        strict_json(f'{{{names},"z":0,"z":0}}')
