"""Columns beside the labels: inputs, captions, subgroups."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from medzoo.data.datasets.table.cells import EMPTY, ask_about_empty_words, is_missing
from medzoo.data.tables import TextTable
from medzoo.data.tables.words import is_empty_word


def quantities(rows: TextTable, column: str, empty_words: Sequence[str]) -> pd.Series:
    """Return numbers as float32, NaN where missing; raises DatasetError on any other word, which names its line."""
    return rows.numbers(column, is_missing(rows[column], empty_words), EMPTY).astype(np.float32)


def captions(rows: TextTable, column: str, empty_words: Sequence[str], rule: int) -> pd.Series:
    """Return texts, None where missing; raises DatasetError on one that usually means missing, unless it was said so."""
    missing = is_missing(rows[column], empty_words)
    if rule != 1:
        ask_about_empty_words(rows, column, missing)
    return rows[column].where(~missing, None)


def subgroup(rows: TextTable, column: str, empty_words: Sequence[str], rule: int) -> tuple[pd.Series, tuple[str, ...]]:
    """Return levels, None where missing, and a note on words that count as missing.

    Numbers are numbers where every filled cell is one, so that many values are banded; else they are text.
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
    return (numbers if numbers.notna().sum() == filled.notna().sum() else filled), notes
