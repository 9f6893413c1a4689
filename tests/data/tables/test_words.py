"""One reading of words: what is one word, what only looks alike, what usually means nothing."""

from __future__ import annotations

import unicodedata

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medzoo.data.tables.words import EMPTY_WORDS, alike_key, clean, identifier, is_empty_word, look_alike, shortened, unify


@pytest.mark.parametrize(
    "blank",
    [
        "",
        " ",
        "\t",
        "\u00a0",
        "\u200b",
        "\ufeff",
        "\u2003",
        "\u200e",
        "\u3000",
        " \u00a0\u200b",
        "\0",
        "\x08 \x7f",
        "\u0085",
        "\u2800\u3164",
    ],
)
def test_blanks_around_a_word_are_no_part_of_it(blank: str) -> None:
    assert clean(f"{blank}bösartig{blank}") == "bösartig"
    assert identifier(f"{blank}P 1{blank}") == "P 1"
    assert identifier(f"P1{blank}") == "P1"


def test_one_unicode_form() -> None:
    assert clean(unicodedata.normalize("NFD", "bösartig")) == unicodedata.normalize("NFC", "bösartig")


@pytest.mark.parametrize(
    ("written", "read"),
    [("3", "3"), ("3.0", "3"), ("3.00", "3"), ("3.", "3"), ("-1.0", "-1"), ("007", "007"), ("007.0", "007"), ("1.10", "1.10"),
     ("1.5", "1.5"), ("3.0.0", "3.0.0"), ("v3.0", "v3.0"), ("1e3", "1e3"), ("３", "３"), ("", "")],
)  # fmt: skip
def test_a_whole_number_has_one_writing_and_no_other_word_changes(written: str, read: str) -> None:
    assert identifier(written) == read


@pytest.mark.parametrize(
    "names",
    [("P1", "p1"), ("P1", "P01"), ("P1", "P 1"), ("P_1", "P-1"), ("7", "007"), ("P1", "Ｐ1"), ("P1", "Р1"), ("café", "cafe"),
     ("stage I", "stage_i"), ("1.10", "1.1"), ("a\u00a0b", "a b"), ("P\u200b1", "P1"), ("Ⅱ", "II"), ("basal cell", "Basal-Cell")],
)  # fmt: skip
def test_words_that_look_alike(names: tuple[str, str]) -> None:
    assert look_alike([*names, "other"]) == [tuple(sorted(names))]


@pytest.mark.parametrize(
    "names", [("1-11", "11-1"), ("P1", "P10"), ("-1", "1"), ("1.5", "15"), ("a", "b"), ("0", "00x"), ("", "-")]
)
def test_words_that_do_not_look_alike(names: tuple[str, str]) -> None:
    assert look_alike(names) == []


def test_words_that_mean_nothing() -> None:
    assert all(is_empty_word(word) for word in ("nan", "NaN", "NA", "N/A", "None", "null", "<NA>", "-", "?", "Unknown", ""))
    assert not any(is_empty_word(word) for word in ("0", "no", "normal", "negative", "other", "-1", "none seen"))
    assert {word.lower() for word in EMPTY_WORDS} == EMPTY_WORDS


def test_numbers_that_a_spreadsheet_shortened() -> None:
    assert shortened(["1.23457E+12", "1,23457E+12", "123", "1e5"]) == ["1,23457E+12", "1.23457E+12"]
    long = ["1234567890123450", "12345678901234500"]
    assert shortened([*long, "12"]) == long
    assert shortened([*long, "1234567890123456"]) == shortened(long[:1]) == []


def test_what_became_one_word_is_counted() -> None:
    column, merged = unify(pd.Series(["3", "3.0", "x", " 3", "4.0"]), identifier)
    assert column.tolist() == ["3", "3", "x", "3", "4"]
    assert merged is not None
    assert (merged.cells, merged.written, merged.read) == (2, "3.0", "3")
    assert unify(pd.Series(["3.0", "4.0", ""]), identifier)[1] is None  # nothing became one


@given(st.text(max_size=12))
def test_reading_twice_is_reading_once(word: str) -> None:
    assert clean(clean(word)) == clean(word)
    assert identifier(identifier(word)) == identifier(word)
    assert isinstance(alike_key(word), str)
