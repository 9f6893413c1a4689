"""A record of JSON is an object of fields; anything else is named in one line."""

from __future__ import annotations

import pytest

from medzoo.data.errors import DatasetError
from medzoo.data.tables.json_record import json_fields


def test_fields_are_as_written_and_nobody_asks_where_they_stand() -> None:
    def where() -> str:
        raise AssertionError("asked for nothing")

    assert json_fields('{"id": "007", "age": 41, "views": ["PA"], "sex": null}', where) == {
        "id": "007", "age": 41, "views": ["PA"], "sex": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "is not JSON"), ('{"a": 1} {"b": 2}', "is not JSON"), ("[" * 200_000, "is not JSON"),
        ("[1]", "is not a JSON object"), ("null", "is not a JSON object"),
    ],
)  # fmt: skip
def test_what_is_no_record_is_refused_by_its_place(text: str, problem: str) -> None:
    with pytest.raises(DatasetError, match=rf"^t\.jsonl line 3: {problem}"):
        json_fields(text, lambda: "t.jsonl line 3:")


def test_half_of_a_character_is_one_line_and_a_whole_one_is_read() -> None:
    with pytest.raises(DatasetError, match=r"^t\.jsonl line 3: .*\\ud83d is half of a character"):
        json_fields('{"id": "a", "note": ["\\ud83d"]}', lambda: "t.jsonl line 3")
    assert json_fields('{"note": "\\ud83d\\ude00"}', lambda: "x") == {"note": "\U0001f600"}
