"""Columns of words and numbers: inputs and the words of categories, captions, subgroups."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.images.given import no_text
from medzoo.data.inputs import InputSpace
from medzoo.data.options import text_list
from medzoo.data.tables.cells import EMPTY, ask_about_empty_words, is_missing
from medzoo.data.tables.numbered import unquoted
from medzoo.data.tables.text_table import TextTable
from medzoo.data.tables.words import clean, is_empty_word, plain_number


def quantities(rows: TextTable, column: str, empty_words: Sequence[str]) -> pd.Series:
    """Return numbers as float32, NaN where missing; raises DatasetError on any other word, which names its line."""
    remedy = f"{EMPTY}, or call it one of words: data.categories=[{column}]"
    return rows.numbers(column, is_missing(rows[column], empty_words), remedy).astype(np.float32)


def refuse_own_names(own: Collection[str], names: Sequence[str], file: str) -> None:
    """Refuse columns of the user's, kept under their names, that are called as medzoo's own; ConfigError."""
    for name in names:
        if name in own:
            raise ConfigError(f"{name!r} is a name of medzoo's own columns: rename that of {file} (subgroups, keep)")


def captions(rows: TextTable, column: str, empty_words: Sequence[str], rule: int) -> pd.Series:
    """Return texts, None where missing; raises DatasetError on one that usually means missing, unless it was said so.

    A text of HTML's blanks alone is missing: nothing of it is left when it is tokenized.
    """
    missing = is_missing(rows[column], empty_words)
    if rule != 1:
        missing |= rows[column].map(no_text)
        ask_about_empty_words(rows, column, missing)
    return rows[column].where(~missing, None)


def subgroup(rows: TextTable, column: str, empty_words: Sequence[str], rule: int) -> tuple[pd.Series, tuple[str, ...]]:
    """Return levels, None where missing, and a note on words that count as missing.

    Numbers are numbers where every filled cell is one, so that many values are banded; else they are text, in which 1.0 is 1.
    Codes are text too, which as numbers would become one: where a cell begins with a 0 that says nothing (`007`), or two of them
    are one number (`1e3`, `1000`).

    Raises:
        DatasetError: If they are numbers, and one is infinite or has a point where numbers have a comma.
    """
    missing = is_missing(rows[column], empty_words)
    notes: tuple[str, ...] = ()
    if rule != 1:
        empty = ~missing & rows[column].map(is_empty_word)
        if empty.any():
            words = ", ".join(map(repr, sorted(set(rows[column][empty]))[:6]))
            notes = (f"subgroup {column!r}: {int(empty.sum())} cells ({words}) count as missing",)
        missing |= empty
    filled = rows[column].where(~missing, None)
    numbers = pd.to_numeric(filled, errors="coerce")
    if numbers.notna().sum() != filled.notna().sum() or (rule != 1 and _are_codes(filled.dropna())):
        return filled if rule == 1 else filled.map(plain_number, na_action="ignore"), notes
    if rule != 1:
        remedy = f"leave the cell empty, or {EMPTY}"
        rows.refuse(np.isinf(numbers.astype(np.float64)), column, "no finite number, as the others are", remedy)
    rows.refuse_points(column, ~missing)
    return numbers, notes


def _are_codes(words: pd.Series) -> bool:
    """Return whether words that are numbers are none: with zeros before them, two that are one number, or infinite alone."""
    plain = words.drop_duplicates().map(plain_number)
    if plain.str.match(r"[+-]?0[0-9]").any():
        return True
    # A sign or a 0 before the point says nothing of a quantity: +0.5 is .5, and -0 is 0.
    forms = plain.str.replace(r"^\+", "", regex=True).str.replace(r"^(-?)\.", r"\g<1>0.", regex=True).replace("-0", "0")
    forms = forms.drop_duplicates()
    numbers = pd.to_numeric(forms).astype(np.float64)
    return bool(numbers.duplicated().any()) or (len(numbers) > 0 and bool(np.isinf(numbers).all()))


def categories_option(given: Any, inputs: Sequence[str]) -> dict[str, list[str] | None]:
    """Return the option `categories`: input → its words, or None for all that the column holds.

    Args:
        given: A list of inputs, a mapping of them to their words, or None.
        inputs: The option `inputs`.

    Raises:
        ConfigError: If it is neither, or has words of no list.
        UnknownNameError: If it names what is no input.
    """
    if given is None:
        return {}
    if isinstance(given, Mapping):
        asked = {
            clean(str(name)): None if words is None else text_list(words, f"categories.{name}") for name, words in given.items()
        }
    else:
        asked = {clean(name): None for name in text_list(given, "categories") or []}
    for name in asked:
        if name not in inputs:
            raise UnknownNameError("input", name, inputs, where=" in data.categories; data.inputs names them all")
    return asked


def category(
    rows: TextTable, column: str, words: Sequence[str] | None, empty_words: Sequence[str]
) -> tuple[pd.Series, list[str]]:
    """Return the codes of a column's words as float32, NaN where missing, and the words in the order of their codes.

    Args:
        rows: The table.
        column: Its name.
        words: Those there may be; None: all that are there, sorted.
        empty_words: Words that mean missing.

    Raises:
        DatasetError: If a cell holds another word, or one that usually means missing and nobody said so; names its line.
    """
    missing = is_missing(rows[column], empty_words)
    cells = rows[column].map(plain_number)
    known = None if words is None else [plain_number(clean(word)) for word in words]
    ask_about_empty_words(rows, column, missing, known or ())
    if known is None:
        known = sorted(set(cells[~missing]))
    others = ~missing & ~cells.isin(known)
    zeros = unquoted(str(cells[others].iloc[0]), known) if others.any() else ""
    remedy = f"name it in data.categories, or in data.empty_words{zeros}"
    rows.refuse(others, column, f"none of its categories ({', '.join(known[:6])})", remedy)
    codes = cells.map({word: code for code, word in enumerate(known)}).astype(np.float64).mask(missing)
    return codes.astype(np.float32), known


def input_space(names: Sequence[str], categories: Mapping[str, Sequence[str]]) -> InputSpace | None:
    """Return what a table's inputs mean; None where there are none."""
    return InputSpace(tuple(names), {name: tuple(words) for name, words in categories.items()}) if names else None
