"""What stands beside the images of a sample in columns: quantities, and categories by their words. Needs no torch.

In a table and in a model's input a category is the float32 place of its word among the known ones; missing is NaN, as everywhere.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ConfigError, DatasetError, UnknownNameError, nearest

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float32]
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_DECIMAL = re.compile(r"([+-]?\d+\.\d*?)0*")
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class InputSpace:
    """The names of a dataset's tabular inputs, in the order of their columns, and what the categories among them may be.

    Attributes:
        names: Of the inputs; unique and not empty.
        categories: Input → its words, in the order of their codes; inputs that are not among them are quantities.

    Raises:
        DatasetError: On an empty or repeated name or word, or words of what is no input.
    """

    names: tuple[str, ...]
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "categories", {name: tuple(words) for name, words in self.categories.items()})
        _check_words("input", self.names)
        for name, words in self.categories.items():
            if name not in self.names:
                raise UnknownNameError("input", name, self.names, where=" among the categories")
            _check_words(f"category of {name!r}", words)

    @property
    def width(self) -> int:
        """Number of inputs (V)."""
        return len(self.names)

    def row(self, values: Mapping[str, Any]) -> Floats:
        """Return (V,) float32 of values by name: quantities as numbers, categories by their words; what is left out is NaN.

        None, NaN and the empty text are missing.

        Raises:
            UnknownNameError: If a name is no input, or a word no category; names the nearest.
            ConfigError: If a quantity is no finite number of float32, or there is no mapping.
        """
        if not isinstance(values, Mapping):
            raise ConfigError(f"inputs are a {type(values).__name__}; give values by name, such as {{{self.names[0]!r}: ...}}")
        found = np.full(self.width, np.nan, np.float32)
        for name, value in values.items():
            if name not in self.names:
                raise UnknownNameError("input", str(name), self.names)
            if not _is_missing(value):
                found[self.names.index(name)] = self._code(name, value)
        return found

    def codes(self, name: str, words: Sequence[Any]) -> Floats:
        """Return (N,) float32 codes of a category's words, NaN where missing; UnknownNameError for a word that is none."""
        return np.array([np.nan if _is_missing(word) else self._code(name, word) for word in words], np.float32)

    def check(self, dataset: str, samples: Iterable[Any], values: Floats) -> None:
        """Raise DatasetError with the first of (N, V) values that no input can have: infinite, or no code of a category.

        Args:
            dataset: Name for messages.
            samples: (N,) names of the rows.
            values: In the order of the names; NaN where missing.
        """
        for place, name in enumerate(self.names):
            column, wrong, what = values[:, place], np.isinf(values[:, place]), "infinite"
            if name in self.categories:
                count = len(self.categories[name])
                wrong = ~np.isnan(column) & ((column != np.floor(column)) | (column < 0) | (column >= count))
                what = f"no code of a category (0 to {count - 1})"
            if wrong.any():
                row = int(np.flatnonzero(wrong)[0])
                raise DatasetError(f"{dataset}: input {name!r} of {list(samples)[row]!r} is {column[row]:g}, {what}")

    def taken_from(self, other: InputSpace, values: NDArray[Any]) -> Floats:
        """Return (N, V) values of these inputs from another space's (N, W): columns by name, categories by their words.

        What the other space lacks is NaN, and so is a category that this one does not know.
        """
        found = np.full((len(values), self.width), np.nan, np.float32)
        for place, name in enumerate(self.names):
            if name not in other.names:
                continue
            column = np.asarray(values[:, other.names.index(name)], np.float32)
            if (name in self.categories) != (name in other.categories):
                one, two = ("quantity", "category") if name in self.categories else ("category", "quantity")
                raise ConfigError(f"input {name!r} is a {one} in the data and a {two} in the model")
            if name in self.categories:
                words = self.categories[name]
                to = np.array([words.index(w) if w in words else np.nan for w in other.categories[name]] + [np.nan], np.float32)
                column = to[np.where(np.isnan(column), len(to) - 1, np.nan_to_num(column)).astype(np.int64)]
            found[:, place] = column
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description; `from_dict` reads it back."""
        return {"names": list(self.names), "categories": {name: list(words) for name, words in self.categories.items()}}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> InputSpace:
        """Rebuild an input space from `to_dict`."""
        return cls(described["names"], described["categories"])

    def _code(self, name: str, value: Any) -> float:
        words = self.categories.get(name)
        if words is not None:
            return _place(name, value, words)
        if isinstance(value, bool | np.bool_):
            return float(value)
        if isinstance(value, str) and not _NUMBER.fullmatch(value.strip()):  # Python takes 1_0 and digits of other scripts, too
            raise ConfigError(_no_number(name, value))
        try:
            number = float(value) if isinstance(value, Real | str) else math.inf
        except (ValueError, OverflowError):
            number = math.inf
        if not abs(number) <= LARGEST:  # what float32 has no number for would become infinite
            raise ConfigError(_no_number(name, value))
        return number


def plain_number(word: str) -> str:
    """Return a number without zeros at the end of its fraction (`-1.0` is `-1`, `0.50` is `0.5`); any other word as it is."""
    decimal = _DECIMAL.fullmatch(word)  # pandas writes a column of whole numbers as 0.0, 1.0 as soon as one cell is missing
    return word if decimal is None else decimal[1].removesuffix(".")


def inputs_of(
    table: pd.DataFrame, names: Sequence[str] | None, categories: Mapping[str, Sequence[str]]
) -> tuple[InputSpace | None, dict[str, Floats]]:
    """Return some plain columns of a dataset's table as inputs: what they mean, and the columns `input.<name>`.

    Args:
        table: With each column by its plain name, numbers or words, missing where nothing was said.
        names: Which become inputs; None: none.
        categories: Column → its words in the order of their codes, of those that are words.
    """
    if names is None:
        return None, {}
    space = InputSpace(tuple(names), {name: tuple(categories[name]) for name in names if name in categories})
    return space, {
        f"input.{name}": space.codes(name, table[name].tolist())
        if name in space.categories
        else table[name].to_numpy(dtype=np.float32, na_value=np.nan)
        for name in names
    }


def _place(name: str, value: Any, words: Sequence[str]) -> float:
    """Return the code of a category's word: as it is written, or as tables are read that a model learns from (1.0 is 1)."""
    word = str(int(value)) if isinstance(value, bool | np.bool_) and str(value) not in words else str(value)
    if word not in words:
        read = plain_number(unicodedata.normalize("NFC", word.strip()))
        known = [place for place, one in enumerate(words) if plain_number(one) == read]
        if not known:
            empty = "" if nearest(word, words) else ", which is left empty where it is missing"
            raise UnknownNameError("category", word, words, where=f" of input {name!r}{empty}")
        return float(known[0])
    return float(words.index(word))


def _no_number(name: str, value: Any) -> str:
    comma = isinstance(value, str) and _NUMBER.fullmatch(value.strip().replace(",", ".", 1))
    remedy = "write a point before its fraction" if comma else "leave it empty where it is missing"
    return f"input {name!r} is {value!r}, which is no number; {remedy}"


def _is_missing(value: Any) -> bool:
    # NaN is not itself; math.isnan cannot be asked of integers beyond float64.
    return value is None or (isinstance(value, str) and not value.strip()) or (isinstance(value, Real) and value != value)


def _check_words(what: str, words: Sequence[str]) -> None:
    if not words:
        raise DatasetError(f"no {what} given")
    for word in words:
        if not isinstance(word, str) or not word.strip():
            raise DatasetError(f"{what} {word!r} is empty or not text")
    if len(set(words)) < len(words):
        raise DatasetError(f"{what} {next(w for w in words if list(words).count(w) > 1)!r} is given twice")
