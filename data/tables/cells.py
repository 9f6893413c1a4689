"""What the cells of a user's own table say: missing, yes or no, a word for another."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.options import text_mapping
from medzoo.data.tables.text_table import TextTable
from medzoo.data.tables.words import clean, is_empty_word, plain_number, with_point

YES = ("1", "1.0", "true", "yes", "y", "positive", "present")
NO = ("0", "0.0", "false", "no", "n", "negative", "absent")
EMPTY = "name words that mean missing in data.empty_words"
VALUES = "words for others in data.values={word: meaning}"


def is_missing(column: pd.Series, empty_words: Sequence[str]) -> pd.Series:
    """Return which cells are empty or hold a word that means missing; case does not count, nor whether -1 is written -1.0."""
    empty = {"", *(plain_number(clean(word).lower()) for word in empty_words)}
    return column.str.strip().str.lower().map(plain_number).isin(list(empty))


def read_yes_no(table: TextTable, column: str, empty_words: Sequence[str] = ()) -> pd.Series:
    """Return 1, 0 or NaN (empty) for each cell, as float32; raises DatasetError on any other word, which names its line.

    1 may be written 1.00, as decimals of a database are.
    """
    missing = is_missing(table[column], empty_words)
    known = {**dict.fromkeys(NO, 0.0), **dict.fromkeys(YES, 1.0)}
    values = table[column].str.strip().str.lower().map(plain_number).map(known).astype(np.float32)
    table.refuse(values.isna() & ~missing, column, "neither 0, 1 nor empty", f"{EMPTY}, {VALUES}")
    return values.mask(missing)


def read_share(table: TextTable, column: str, empty_words: Sequence[str] = ()) -> pd.Series:
    """Return a number from 0 to 1, or NaN (empty), for each cell, as float32; raises DatasetError on another, naming its line."""
    values = table.numbers(column, is_missing(table[column], empty_words), EMPTY).astype(np.float32)
    table.refuse((values < 0) | (values > 1), column, "not a number from 0 to 1", "data.graded=true takes shares alone")
    return values


def ask_about_empty_words(
    rows: TextTable, column: str, missing: pd.Series, known: Iterable[str] = (), remedy: str = "",
    means_empty: Callable[[str], bool] = is_empty_word,
) -> None:  # fmt: skip
    """Stop where a cell holds a word by which programs and people say that it is empty, and nobody said what it means.

    Args:
        rows: The table.
        column: Of words.
        missing: Which cells are known to be missing.
        known: Words that are said to be meant.
        remedy: What to do if the word is meant; with a leading comma.
        means_empty: Whether a word usually means missing in such a column.

    Raises:
        DatasetError: If there is one; names the first line, each such word and the option.
    """
    words = rows[column]
    meant = set(known)
    asked = ~missing & words.map(means_empty) & ~words.isin(list(meant)) & (words != "")
    if not asked.any():
        return
    counts = words[asked].value_counts(sort=False).sort_index()
    listed = ", ".join(f"{word!r} ({count})" for word, count in list(counts.items())[:6]) + ", ..." * (len(counts) > 6)
    option = f"data.empty_words=[{', '.join(in_quotes(str(word)) for word in list(counts.index)[:6])}]"
    raise rows.error(words.index[asked][0], f"{column!r} holds {listed}: missing? Say {option}{remedy}", column)


def replace_values(rows: TextTable, columns: Iterable[str], values: Mapping[str, str]) -> tuple[TextTable, tuple[str, ...]]:
    """Put other words for those of some columns.

    Args:
        rows: The table.
        columns: Those that are changed.
        values: Word → the word for it; the empty text for a word that means missing. 3 is 3.0.

    Returns:
        The table, and a note on words that no cell holds.
    """
    changed, found = rows.rows.copy(), set[str]()
    meant = {plain_number(clean(word)): new for word, new in values.items()}
    for column in columns:
        words = rows[column].map(plain_number)
        found |= set(words.unique()) & set(meant)
        changed[column] = words.map(meant).where(words.isin(list(meant)), rows[column]).astype(str)
    unused = [word for word in values if plain_number(clean(word)) not in found]
    notes = (f"data.values: no cell holds {', '.join(map(repr, unused))}",) if unused else ()
    return replace(rows, rows=changed), notes


def with_points(meanings: Mapping[str, str], decimal: str) -> dict[str, str]:
    """Return word → the word for it, the former as cells are read of a table whose numbers have `decimal` (see `with_point`)."""
    return {with_point(clean(word), decimal): meaning for word, meaning in meanings.items()}


def column_meanings(given: object, decimal: str = ".") -> dict[str, dict[str, str]]:
    """Return the option `map_values`: column → word → the word for it.

    Args:
        given: What the user gave, or None.
        decimal: What stands before the fraction of the table's numbers.

    Raises:
        ConfigError: If it is no mapping of columns to words for words.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ConfigError("data.map_values is no mapping; give words for words by column, {column: {word: meaning}}")
    return {
        clean(str(column)): with_points(text_mapping(words, f"map_values.{column}"), decimal) for column, words in given.items()
    }


def replace_by_column(
    rows: TextTable, columns: Iterable[str], meanings: Mapping[str, Mapping[str, str]]
) -> tuple[TextTable, tuple[str, ...]]:
    """Put other words for those of single columns; as `replace_values`.

    Raises:
        UnknownNameError: If a column is none of those that may be changed.
    """
    known, notes = list(columns), list[str]()
    for column, values in meanings.items():
        if column not in known:
            raise UnknownNameError("column", column, known, where=" in data.map_values, which changes targets and concepts")
        rows, unused = replace_values(rows, [column], values)
        notes += [note.replace("data.values:", f"data.map_values.{column}:") for note in unused]
    return rows, tuple(notes)


def require_columns(rows: TextTable, columns: Iterable[str | None], lists: Collection[str] = ()) -> None:
    """Raise UnknownColumnError for the first of some columns that the table lacks, DatasetError for one that holds no words.

    Args:
        rows: The table.
        columns: Their names; None stands for none.
        lists: Those whose cells may be lists.
    """
    for column in columns:
        if column is not None:
            _ = rows.lists(column) if column in lists else rows[column]


def refuse_nobody(rows: TextTable, column: str) -> None:
    """Refuse cells that name no group: empty, or a word that means so, which would make one group of many people.

    Raises:
        DatasetError: If there is one; names its line.
    """
    rows.refuse(rows[column] == "", column, remedy="every sample needs its group")
    nobody = rows[column].map(is_empty_word)
    rows.refuse(nobody, column, "which names nobody", "every sample needs its group; rename one that is truly called so")


def in_quotes(word: str) -> str:
    """Return a word as a list on the command line or in YAML keeps it: in quotes where it may be read as something else."""
    plain = word.isascii() and word.isalnum() and word.lower() not in ("null", "true", "false")
    return word if plain else f"'{word}'"
