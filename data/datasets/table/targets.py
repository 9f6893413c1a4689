"""What a user's target columns mean: class names, grades, findings or quantities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from medzoo.data.dataset import target_columns
from medzoo.data.datasets.table.cells import EMPTY, ask_about_empty_words, is_missing, read_yes_no
from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.labels import LabelSpace
from medzoo.data.options import choice
from medzoo.data.tables import TextTable
from medzoo.data.tables.words import clean, is_empty_word, plain_number

Kind = Literal["auto", "multiclass", "ordinal", "multilabel", "regression"]
MOST_CLASSES = 1000
"""Above which a single column without given names is taken for a mistake (an identifier, a quantity)."""


def make_targets(
    rows: TextTable,
    target: str | Sequence[str],
    *,
    kind: Kind,
    names: Sequence[str] | None,
    units: Sequence[str] | None,
    separator: str | None,
    empty_words: Sequence[str],
    ask: bool = True,
) -> tuple[LabelSpace, pd.DataFrame]:
    """Read target columns.

    Args:
        rows: As `read_table` returns them.
        target: One column, or several.
        kind: See `medzoo.data.datasets.table.load.load`.
        names: Class names in index order, or None.
        units: Units of quantities, or None.
        separator: What stands between findings in one cell, or None.
        empty_words: Words that mean missing.
        ask: Whether to ask about words that usually mean missing, or to take them for classes.

    Returns:
        The label space; and a column `target` of codes, or columns `target.<name>`; NaN where missing.

    Raises:
        ConfigError: If the options contradict each other.
        DatasetError: If a cell is not of the kind; names its line.
    """
    choice("kind", kind, Kind)
    several = not isinstance(target, str)
    columns = [target] if isinstance(target, str) else list(target)
    if not columns:
        raise ConfigError("data.target is an empty list; leave it null for a table without labels")
    if kind == "auto":
        kind = "multilabel" if several or separator is not None else "multiclass"
    if units is not None and kind != "regression":
        raise ConfigError(f"data.units are for kind=regression, not {kind}")
    if separator is not None and (kind != "multilabel" or several):
        raise ConfigError("data.separator is for findings in one column (kind=multilabel)")
    if kind == "regression":
        space = LabelSpace("regression", tuple(names or columns), None if units is None else tuple(units))
        _as_many(names, columns)
        cells = [(column, is_missing(rows[column], empty_words), _number_remedy(rows[column])) for column in columns]
        values = [rows.numbers(*cell).astype(np.float32) for cell in cells]
        return space, pd.DataFrame(dict(zip(target_columns(space), values, strict=True)))
    if kind == "multilabel" and several:
        _as_many(names, columns)
        space = LabelSpace("multilabel", tuple(names or columns))
        values = [read_yes_no(rows, column, empty_words) for column in columns]
        return space, pd.DataFrame(dict(zip(target_columns(space), values, strict=True)))
    if several:
        raise ConfigError(f"{kind} labels stand in one column; got {len(columns)} in data.target")
    words = rows[columns[0]].str.strip()
    missing = is_missing(words, empty_words)
    if kind == "multilabel":
        return _findings(rows, words, missing, names, separator)
    if ask:
        remedy = ", or list all classes, it among them, in data.names"
        ask_about_empty_words(rows, columns[0], missing, names or (), remedy)
    classes = tuple(names) if names is not None else _classes(words[~missing], kind, columns[0], rows.file)
    space = LabelSpace("ordinal" if kind == "ordinal" else "multiclass", classes)
    codes = words.map({name: float(code) for code, name in enumerate(space.names)})
    if ask:
        codes = codes.where(codes.notna(), words.map({clean(name): float(code) for code, name in enumerate(space.names)}))
    # A cell that is no name as it stands may be one in another writing of the same number (1.0 for 1).
    rewritten = words.map(plain_number).map({plain_number(name): float(code) for code, name in enumerate(space.names)})
    codes = codes.where(codes.notna(), rewritten)
    if names is not None and codes[~missing].isna().all():  # integers, and names for them
        codes = pd.to_numeric(words, errors="coerce")
        codes = codes.where((codes >= 0) & (codes < space.width) & (codes == np.floor(codes)))
    unknown = codes.isna() & ~missing
    if unknown.any():
        first, word = next(iter(words[unknown].items()))
        raise rows.error(first, UnknownNameError("class", word, space.names))
    return space, pd.DataFrame({"target": codes.where(~missing).astype(np.float64)})


def _classes(words: pd.Series, kind: str, column: str, file: str) -> tuple[str, ...]:
    found = sorted(set(words.map(plain_number)), key=lambda word: (0, float(word), word) if _is_number(word) else (1, 0.0, word))
    if kind == "ordinal" and not all(_is_number(word) for word in found):
        raise ConfigError(f"the grades of {column!r} are words: give their order, from low to high, as data.names=[...]")
    fractions = [word for word in found if _is_number(word) and "." in word]
    if fractions:
        raise ConfigError(f"{column!r} holds fractions such as {fractions[0]}: say data.kind=regression, or give data.names")
    if len(found) > MOST_CLASSES:
        raise ConfigError(
            f"{column!r} of {file} has {len(found)} different values: is it a label? Give data.names, or data.kind=regression"
        )
    return tuple(found)


def _findings(
    rows: TextTable, words: pd.Series, missing: pd.Series, names: Sequence[str] | None, separator: str | None
) -> tuple[LabelSpace, pd.DataFrame]:
    if separator is None or names is None:
        raise ConfigError(
            "findings in one column need data.separator and data.names (a finding nobody has cannot be seen in the file)"
        )
    space = LabelSpace("multilabel", tuple(names))
    parts = words.str.split(separator, regex=False)
    values = np.full((len(words), space.width), np.nan, dtype=np.float32)
    for place, (found, absent) in enumerate(zip(parts, missing, strict=True)):
        if absent:
            continue
        values[place] = 0
        for name in map(clean, found):
            if name and name not in space.names:
                where = f"; {EMPTY}" if is_empty_word(name) else ""
                raise rows.error(words.index[place], f"{UnknownNameError('finding', name, space.names)}{where}")
            if name:
                values[place, space.index(name)] = 1
    return space, pd.DataFrame(values, index=words.index, columns=target_columns(space))


def _number_remedy(column: pd.Series) -> str:
    commas = column.str.fullmatch(r"[+-]?\d+,\d+").any()
    return "say data.decimal=',' if a comma stands before the fraction" if commas else EMPTY


def _as_many(names: Sequence[str] | None, columns: Sequence[str]) -> None:
    if names is not None and len(names) != len(columns):
        raise ConfigError(f"data.names has {len(names)} names for {len(columns)} target columns")


def _is_number(word: str) -> bool:
    try:
        return bool(np.isfinite(float(word)))
    except ValueError:
        return False
