"""Labels that are numbers: which writings are one number, and which numbers are places in a list of names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from medzoo.data.errors import ConfigError
from medzoo.data.tables.cells import in_quotes
from medzoo.data.tables.text_table import TextTable
from medzoo.data.tables.words import plain_number

KEEP_ONE = "keep one; quote numbers that begin with 0, which YAML reads as others"
"""What to do about names of grades that are one number."""
_LISTED = 8
"""Numbers that a message says the meaning of."""


def number_of(word: str) -> float | None:
    """Return the finite number that a word is, None of any other."""
    try:
        number = float(word)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def equal_numbers(words: Sequence[str]) -> tuple[str, str] | None:
    """Return the first two of some words that are one number in two writings (`1`, `01`, `+1`, `1e0`), or None."""
    seen: dict[float, str] = {}
    for word in words:
        number = number_of(word)
        if number is not None and (other := seen.setdefault(number, word)) != word:
            return other, word
    return None


def refuse_equal_grades(grades: Sequence[str], where: str, remedy: str) -> None:
    """Refuse grades of equal value: one number in two writings would be two ranks, and a rank apart count as an error.

    Args:
        grades: As they were found or given.
        where: Whose they are, begins the message.
        remedy: What to do, {plain} and {other} for the two writings.

    Raises:
        ConfigError: If two are one number.
    """
    if (equal := equal_numbers(grades)) is not None:
        plain, other = sorted(equal, key=lambda word: (len(word), word))
        said = remedy.format(plain=plain, other=other)
        raise ConfigError(f"{where}: {equal[0]!r} and {equal[1]!r} are one number and would be two grades; {said}")


def equal_remedy(rows: TextTable, column: str) -> str:
    """Return what to do about a number of a table's that stands in two writings, for `refuse_equal_grades`."""
    # In YAML alone: a key on the command line can have no quotes, without which +1 and 01 are numbers.
    meant = "{{'{other}': '{plain}'}}"
    said = f"values: {meant}" if rows.unit == "sample" else f"map_values: {{{{{column}: {meant}}}}}"
    return f"write it in one way, or say so in YAML ({said}; data.values and data.map_values), with the quotes"


def places_of_names(
    rows: TextTable, column: str, words: pd.Series, missing: pd.Series, names: Sequence[str], ask: bool
) -> tuple[pd.Series, tuple[str, ...]]:
    """Return whole numbers as places in a list of names, from 0, NaN for any other word; and a note on how they were read.

    Args:
        rows: The table, all of its splits.
        column: Its name.
        words: Of the column, none of which is a name.
        missing: Which of them are missing.
        names: Of the classes.
        ask: Whether to ask about numbers without a 0, which may count from 1: each class would be read as the next one.

    Raises:
        ConfigError: If there is no 0, with what to say in either case.
    """
    codes = pd.to_numeric(words, errors="coerce").astype(np.float64)
    whole = np.isfinite(codes) & (codes >= 0) & (codes == np.floor(codes))
    taken = whole & ~missing
    held = dict(sorted(zip(codes[taken].astype(int).tolist(), words[taken].map(plain_number).tolist(), strict=True)))
    if ask and held and whole[~missing].all() and min(held) > 0 and max(held) <= len(names):
        by_one = {held.get(number, str(number)): name for number, name in enumerate(names, start=1)}
        by_zero = {held.get(number, str(number)): names[number] for number in range(1, len(names))}
        from_zero = f", {_option(rows, column, by_zero)} if from 0" if max(held) < len(names) else ""
        zeros = next(filter(None, (unquoted(word, names) for word in held.values())), "")
        raise ConfigError(
            f"{column!r} of {rows.file} holds numbers ({_shown(list(held.values()))}), none of them 0, and numbers are places in "
            f"data.names, from 0: say {_option(rows, column, by_one)} if they count from 1{from_zero}{zeros}"
        )
    codes = codes.where(whole & (codes < len(names)))
    read = _shown([f"{word} is read as {names[number]!r}" for number, word in held.items() if number < len(names)])
    if not read:
        return codes, ()
    return codes, (f"{column!r} holds places in data.names, from 0: {read}",)


def unquoted(word: str, names: Sequence[str]) -> str:
    """Return what to do, if a number that begins with 0 is none of some names because YAML read them as other numbers; or "".

    To YAML 010 is the number 8, and 09 a word.
    """
    zero = word.isascii() and word.isdigit() and word.startswith("0") and len(word) > 1
    number = any(name.isascii() and name.isdigit() and not name.startswith("0") for name in names)
    return f"; quote numbers that begin with 0 (in YAML, {word} is another number than '{word}')" if zero and number else ""


def _option(rows: TextTable, column: str, meanings: Mapping[str, str]) -> str:
    """Return the option that says what numbers of a column mean, as it is written on the command line."""
    said = "{" + _shown([f"{number}: {in_quotes(name)}" for number, name in meanings.items()]) + "}"
    return f"data.values={said}" if rows.unit == "sample" else f"data.map_values={{{column}: {said}}}"


def _shown(parts: Sequence[str]) -> str:
    return ", ".join(parts[:_LISTED]) + ", ..." * (len(parts) > _LISTED)
