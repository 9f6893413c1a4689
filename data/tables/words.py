"""One reading of words and identifiers, wherever people write them: cells, folders, file names, options.

What is certainly one word is read as one (`clean`, `identifier`); what only looks alike stays apart and is said (`look_alike`).
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from medzoo.data.dataset import SPLIT_WORDS
from medzoo.data.errors import DatasetError
from medzoo.data.inputs import plain_number as plain_number  # what a deployment reads alike

EMPTY_WORDS = frozenset({
    "", "nan", "-nan", "<nan>", "na", "n/a", "n.a.", "n.a", "#n/a", "#na", "#n/a n/a", "<na>", "nat", "none", "null", "nil", "-",
    "--", "---", "–", "—", ".", "..", "...", "?", "??", "???", "unknown", "unk", "unkn", "missing", "undefined", "unspecified",
    "not available", "not applicable", "not known", "not recorded", "not specified", "no data", "empty", "blank", "tbd", "tba",
    "#value!", "#ref!", "#div/0!", "#name?", "#null!", "#num!", "1.#ind", "1.#qnan", "-1.#ind", "-1.#qnan",
})  # fmt: skip
"""Words, in lower case, by which programs and people say that a cell is empty; some of them may be meant."""
_NO_LABEL = frozenset({
    "unlabelled", "unlabeled", "not labelled", "not labeled", "no label", "no labels", "without label", "unannotated",
    "not annotated", "to label", "to be labelled", "to be labeled",
})  # fmt: skip
"""Words, in lower case and with blanks, by which people say that nobody has labelled a sample yet."""

_ASCII_BLANKS = "".join(map(chr, (*range(33), 127)))
"""Spaces and control characters: fixed-width exports and DICOM UIDs are padded with NUL."""
_FILLERS = "\u2800\u3164"
"""Letters by their category that show nothing: a Braille pattern without dots, the Hangul filler."""
_WHOLE = re.compile(r"([+-]?[0-9]+)\.0*")
_SHORTENED = re.compile(r"[+-]?[0-9](?:[.,][0-9]+)?[eE]\+[0-9]{2,3}")
_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
_REAL = re.compile(r"\+?(-?\d+\.?\d*(?:e[+-]?\d{1,3})?)")
_BESIDE = re.compile(r"[ _-]*(?:set|split|images?|imgs?|data|dataset|folder|dir)$", re.IGNORECASE)
_DASHES = dict.fromkeys(map(ord, "‐‑‒–—―−_"), "-")
_LETTERS = str.maketrans(
    "аеорсухіѕјԁһӏАВЕКМНОРСТУХІЅЈαικνορτυχΑΒΕΖΗΙΚΜΝΟΡΤΥΧıℓ", "aeopcyxisjdhlABEKMHOPCTYXISJaiknoptuxABEZHIKMNOPTYXil"
)
"""Letters of other scripts that look like Latin ones."""


def clean(word: str) -> str:
    """Return a word in one Unicode form (NFC), without blanks around it, visible or not (no-break, zero-width, controls).

    Args:
        word: As it stands in a file.
    """
    if word.isascii():
        return word.strip(_ASCII_BLANKS)
    start, end = 0, len(word)
    while start < end and _is_blank(word[start]):
        start += 1
    while start < end and _is_blank(word[end - 1]):
        end -= 1
    return unicodedata.normalize("NFC", word[start:end])


def identifier(word: str) -> str:
    """Return a name of a patient, sample or class: `clean`, and a whole number without a fraction, as 3.0 is 3.

    `007` stays as it is, and so does 1.10, which may be the tenth of site 1.
    """
    word = clean(word)
    whole = _WHOLE.fullmatch(word)
    return word if whole is None else whole[1]


def with_point(word: str, decimal: str) -> str:
    """Return a word of a table whose numbers have `decimal` before their fraction: a number with a comma gets a point.

    Args:
        word: Of a cell, or of an option that says what cells mean.
        decimal: `.` or `,`.
    """
    return word.replace(",", ".") if decimal == "," and _COMMA.fullmatch(word) else word


def real_text(value: float, exponent: bool = True, stored: type[np.floating[Any]] = np.float64) -> str:
    """Return a real number as a table's text: whole numbers without a point, longer ones than a real number holds with exponent.

    From 2⁵³ on (of float32 from 2²⁴), neighbouring whole numbers share a real one: what they stood for is lost, and `shortened`
    finds them.

    Args:
        value: Finite or not.
        exponent: Write those with all their digits; else as Python does, as tables were read at first.
        stored: The type that a file keeps it in: 0.1 as a float32 is 0.1, not the float64 next to it.
    """
    whole = 2 ** (np.finfo(stored).nmant + 1)
    if value.is_integer() and (exponent or abs(value) < whole):
        return str(int(value)) if abs(value) < whole else f"{value:.16E}"
    return repr(float(str(stored(value))))


class KeptReal(str):
    """Text of a number that a file keeps as one: its point is no mark of its writer's."""

    __slots__ = ()


def is_empty_word(word: str) -> bool:
    """Return whether a word is one of those that mean an empty cell, in any case."""
    return word.lower() in EMPTY_WORDS


def is_no_label(word: str) -> bool:
    """Return whether a word in the place of a label usually says that there is none: empty, or not labelled yet."""
    return is_empty_word(word) or re.sub(r"[\s_-]+", " ", word.strip(" _-")).lower() in _NO_LABEL


def alike_key(word: str) -> str:
    """Return what words have in common that look alike: without case, accents, leading zeros, blanks, scripts and widths.

    One number in two writings is alike: `+1`, `1e0` and `1`, `-0` and `0`.
    """
    text = unicodedata.normalize("NFKC", word.translate(_LETTERS)).casefold().translate(_DASHES)
    text = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) not in ("Mn", "Cf", "Cc"))
    text = re.sub(r"[\s-]+", "-", text.strip())
    number = _REAL.fullmatch(text)
    text = plain_number(text if number is None else f"{Decimal(number[1]):f}")
    sign = "-" if re.match(r"-\d", text) and re.search(r"[1-9]", text) else ""
    text = text.strip("-")
    text = re.sub(r"(?<!\d)-|-(?!\d)", "", text)  # between digits it may part two numbers
    return sign + re.sub(r"(?<![\d.])0+(?=\d)", "", text)


def look_alike(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the names that differ only in what `alike_key` leaves out, each set of them sorted, the sets in order."""
    keys: dict[str, set[str]] = defaultdict(set)
    for name in names:
        keys[alike_key(name) or name].add(name)
    return sorted(tuple(sorted(found)) for found in keys.values() if len(found) > 1)


def shortened(names: Iterable[str]) -> list[str]:
    """Return the names that are numbers as a spreadsheet shortens long ones: several may have become one.

    Those are 1.23457E+12, as it shows them, and numbers of 16 digits and more that all end in 0, since it keeps 15.
    """
    names = list(names)
    long = [name for name in names if len(name) > 15 and name.isascii() and name.isdigit()]
    cut = long if len(long) > 1 and all(name.endswith("0") for name in long) else []
    return sorted({*cut, *(name for name in names if _SHORTENED.fullmatch(name))})


@dataclass(frozen=True)
class Merged:
    """Writings that were read as one word.

    Attributes:
        cells: How many cells were written otherwise than they were read.
        written: The first of them.
        read: What it was read as.
    """

    cells: int
    written: str
    read: str

    def note(self, what: str) -> str:
        """Return the line that says so."""
        return f"{what}: {self.cells} cells are another writing of a word and count as it ({self.written!r} as {self.read!r})"


def unify(column: pd.Series, read: Callable[[str], str]) -> tuple[pd.Series, Merged | None]:
    """Read each cell of a column of text.

    Args:
        column: Text.
        read: Word → the word it is.

    Returns:
        The column; and what was merged, None where no two writings became one word.
    """
    places, words = pd.factorize(column.to_numpy(dtype=object))
    now = [read(str(word)) for word in words]
    writings: Mapping[str, list[int]] = _by_word(now)
    merged = None
    changed = [place for word, found in writings.items() if word and len(found) > 1 for place in found if words[place] != word]
    if changed:
        counts = np.bincount(places, minlength=len(words))
        first = min(changed)
        merged = Merged(int(counts[changed].sum()), str(words[first]), now[first])
    return pd.Series(np.array([*now, ""], dtype=object)[places], index=column.index, name=column.name, dtype=str), merged


def refuse_nobodies(groups: Sequence[str], pattern: str) -> None:
    """Raise DatasetError if a pattern of an option finds a word that names nobody: all of its rows would be one patient."""
    nobody = [word for word in groups if is_empty_word(word)]
    if nobody:
        raise DatasetError(
            f"data.group_pattern={pattern!r} finds {nobody[0]!r} in {len(nobody)} names, which is no patient; take these files "
            "out, or let the pattern find what parts them"
        )


def _by_word(words: list[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for place, word in enumerate(words):
        found[word].append(place)
    return found


def _is_blank(character: str) -> bool:
    return character.isspace() or character in _FILLERS or unicodedata.category(character) in ("Cf", "Cc")


def split_of(folder: str) -> str | None:
    """Return the split that a folder's name means: one of `SPLIT_WORDS`, also as `train_set`, `Test Images`; None: none."""
    word = identifier(folder).lower()
    return SPLIT_WORDS.get(word) or SPLIT_WORDS.get(_BESIDE.sub("", word))
