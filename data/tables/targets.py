"""What a user's target columns mean: class names, grades, findings or quantities."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd

from medzoo.data.dataset import target_columns
from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.labels import LabelSpace
from medzoo.data.options import choice
from medzoo.data.tables.cells import EMPTY, ask_about_empty_words, is_missing, read_yes_no
from medzoo.data.tables.numbered import KEEP_ONE, equal_remedy, number_of, places_of_names, refuse_equal_grades, unquoted
from medzoo.data.tables.text_table import TextTable
from medzoo.data.tables.words import clean, is_empty_word, is_no_label, plain_number

Kind = Literal["auto", "multiclass", "ordinal", "multilabel", "regression"]
LIST = "[]"
"""The separator of cells that are lists, as Python and JSON write them."""
ALL = "*"
"""In `left_out`: all findings that are not named."""
MOST_CLASSES = 1000
"""Above which a single column without given names is taken for a mistake (an identifier, a quantity)."""
MOST_SHOWN = 30
"""Grades that a message lists."""


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
    values: Mapping[str, str] | None = None,
    left_out: Sequence[str] = (),
) -> tuple[LabelSpace, pd.DataFrame, tuple[str, ...]]:
    """Read target columns.

    Args:
        rows: As `read_table` returns them.
        target: One column, or several.
        kind: See `medzoo.data.datasets.table.load.load`.
        names: Class names in index order, or None.
        units: Units of quantities, or None.
        separator: What stands between findings in one cell, or None; `[]`: cells are lists, ['a', 'b'].
        empty_words: Words that mean missing.
        ask: Whether to ask about words that usually mean missing, or to take them for classes.
        values: With a separator, finding → the findings it means, written as a cell; the empty text: what else the cell does
            not name is missing.
        left_out: Findings in one cell that are no labels; `*`: all that are not among `names`.

    Returns:
        The label space; a column `target` of codes, or columns `target.<name>`, NaN where missing; and notes.

    Raises:
        ConfigError: If the options contradict each other, grades without names have a gap, two grades are one number, or numbers
            that are places in `names` have no 0.
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
    if left_out and separator is None:
        raise ConfigError(
            "data.left_out is of findings in one column, with data.separator; of several, name fewer in data.target"
        )
    if kind == "regression":
        space = LabelSpace("regression", tuple(names or columns), None if units is None else tuple(units))
        _as_many(names, columns)
        cells = [(column, is_missing(rows[column], empty_words), _number_remedy(rows[column])) for column in columns]
        numbers = [rows.numbers(*cell).astype(np.float32) for cell in cells]
        return space, pd.DataFrame(dict(zip(target_columns(space), numbers, strict=True))), ()
    if kind == "multilabel" and several:
        _as_many(names, columns)
        space = LabelSpace("multilabel", tuple(names or columns))
        answers = [read_yes_no(rows, column, empty_words) for column in columns]
        return space, pd.DataFrame(dict(zip(target_columns(space), answers, strict=True))), ()
    if several:
        _as_many(names, columns)
        space = LabelSpace("ordinal" if kind == "ordinal" else "multiclass", tuple(names or columns))
        return space, _one_of(rows, columns, empty_words), ()
    words = (rows.lists(columns[0]) if separator == LIST else rows[columns[0]]).str.strip()
    missing = is_missing(words, empty_words)
    if kind == "multilabel":
        return _findings(rows, words, missing, names, separator, values or {}, left_out)
    if ask:
        remedy = ", or list all classes, it among them, in data.names"
        ask_about_empty_words(rows, columns[0], missing, names or (), remedy, is_no_label)
    classes = tuple(names) if names is not None else _classes(words[~missing], kind, columns[0], rows.file)
    if kind == "ordinal" and ask:
        where, remedy = f"{columns[0]!r} of {rows.file}", equal_remedy(rows, columns[0])
        refuse_equal_grades(classes, *((where, remedy) if names is None else ("data.names", KEEP_ONE)))
    if kind == "ordinal" and names is None and ask:
        refuse_gap(classes, f"in no row of {rows.file}")
    space = LabelSpace("ordinal" if kind == "ordinal" else "multiclass", classes)
    codes = words.map({name: float(code) for code, name in enumerate(space.names)})
    if ask:
        codes = codes.where(codes.notna(), words.map({clean(name): float(code) for code, name in enumerate(space.names)}))
    # A cell that is no name as it stands may be one in another writing of the same number (1.0 for 1).
    rewritten = words.map(plain_number).map({plain_number(name): float(code) for code, name in enumerate(space.names)})
    codes = codes.where(codes.notna(), rewritten)
    notes: tuple[str, ...] = ()
    if names is not None and codes[~missing].isna().all():  # integers, and names for them
        codes, notes = places_of_names(rows, columns[0], words, missing, space.names, ask)
    unknown = codes.isna() & ~missing
    if unknown.any():
        first, word = next(iter(words[unknown].items()))
        raise rows.error(first, f"{UnknownNameError('class', word, space.names)}{unquoted(word, names or ())}", columns[0])
    return space, pd.DataFrame({"target": codes.where(~missing).astype(np.float64)}), notes


def refuse_gap(grades: Sequence[str], where: str) -> None:
    """Refuse grades that are whole numbers with others between them: what is in no file may be a grade all the same.

    Args:
        grades: As they were found, from low to high.
        where: In what none of the others is, for the message.

    Raises:
        ConfigError: If there is a gap.
    """
    numbers = {float(grade) for grade in grades if number_of(grade) is not None}
    if len(numbers) < 2 or len(numbers) < len(grades) or not all(number.is_integer() for number in numbers):
        return
    low, high = int(min(numbers)), int(max(numbers))
    if high - low + 1 == len(numbers):
        return
    first = next(number for number in range(low, high) if number not in numbers)
    if high - low >= MOST_SHOWN:
        these = f" ([{','.join(map(_as_option, grades))}] if these are all)" if len(grades) <= MOST_SHOWN else ""
        raise ConfigError(
            f"grade {first} between {low} and {high} is {where}: give the grades there are, from low to high, as "
            f"data.names=[...]{these}"
        )
    written = {int(float(grade)): grade for grade in grades}
    width = min(map(len, grades))  # 02 between 01 and 03
    every = ",".join(_as_option(written.get(number, str(number).zfill(width))) for number in range(low, high + 1))
    raise ConfigError(
        f"grade {first} is {where}: give data.names=[{every}] if it exists, "
        f"data.names=[{','.join(map(_as_option, grades))}] if these are all"
    )


def _one_of(rows: TextTable, columns: Sequence[str], empty_words: Sequence[str]) -> pd.DataFrame:
    """Return the class of each row, where a column stands for each: the one that is 1; NaN where all are empty."""
    held = pd.concat([read_yes_no(rows, column, empty_words) for column in columns], axis=1).to_numpy()
    ones, missing = (held == 1).sum(axis=1), np.isnan(held).all(axis=1)
    remedy = "exactly one column is 1; name a column for what is none of these too, or say data.kind=multilabel"
    rows.refuse((ones != 1) & ~missing, columns, f"so that {len(columns)} columns name no class, or several", remedy)
    codes = np.where(missing, np.nan, (held == 1).argmax(axis=1))
    return pd.DataFrame({"target": codes}, index=rows.rows.index)


def _classes(words: pd.Series, kind: str, column: str, file: str) -> tuple[str, ...]:
    found = sorted(
        set(words.map(plain_number)), key=lambda word: (0, float(word), word) if number_of(word) is not None else (1, 0.0, word)
    )
    if kind == "ordinal" and any(number_of(word) is None for word in found):
        raise ConfigError(f"the grades of {column!r} are words: give their order, from low to high, as data.names=[...]")
    fractions = [word for word in found if number_of(word) is not None and "." in word]
    if fractions:
        raise ConfigError(f"{column!r} holds fractions such as {fractions[0]}: say data.kind=regression, or give data.names")
    if len(found) > MOST_CLASSES:
        raise ConfigError(
            f"{column!r} of {file} has {len(found)} different values: is it a label? Give data.names, or data.kind=regression"
        )
    if len(found) == 1:
        raise ConfigError(
            f"{column!r} of {file} holds one class alone, {found[0]!r}: give all classes of the task, it among them, as "
            "data.names=[...]"
        )
    return tuple(found)


def _findings(
    rows: TextTable, words: pd.Series, missing: pd.Series, names: Sequence[str] | None, separator: str | None,
    values: Mapping[str, str], left_out: Sequence[str],
) -> tuple[LabelSpace, pd.DataFrame, tuple[str, ...]]:  # fmt: skip
    if separator is None or names is None:
        raise ConfigError(
            "findings in one column need data.separator and data.names (a finding nobody has cannot be seen in the file)"
        )
    space = LabelSpace("multilabel", tuple(names))
    places = {name: place for place, name in enumerate(space.names)}
    meanings = {clean(word): _meant(meaning, separator) for word, meaning in values.items()}
    known, seen, met = set(map(clean, left_out)), dict[str, int](), set[str]()
    nothing, found = 0, np.full((len(words), space.width), np.nan, dtype=np.float32)
    for row, (label, cell, absent) in enumerate(zip(words.index, words, missing, strict=True)):
        if absent:
            continue
        parts = _parted(cell, separator)
        if parts is None:
            remedy = "write ['a', 'b'], or say what else parts them, data.separator='|'"
            raise rows.error(label, f"{cell[:60]!r} is no list of findings; {remedy}", str(words.name))
        if parts and not any(parts) and "" not in meanings:  # what joining empty columns leaves
            nothing += 1
            continue
        met |= meanings.keys() & set(parts)
        unsure = any(part in meanings and not meanings[part] for part in parts)
        found[row] = np.nan if unsure else 0
        for name in dict.fromkeys(one for part in parts for one in meanings.get(part, [part]) if one):
            if name in places:
                found[row, places[name]] = 1
            elif name in known or ALL in known:
                seen[name] = seen.get(name, 0) + 1
            else:
                where = f"; {EMPTY}" if is_empty_word(name) else f"{unquoted(name, names)}; or leave it out, data.left_out"
                raise rows.error(label, f"{UnknownNameError('finding', name, space.names)}{where}", str(words.name))
    notes = _of_findings(seen, [word for word in meanings if word not in met])
    if nothing:
        notes += (f"{nothing} cells hold separators of findings and no finding: missing there",)
    return space, pd.DataFrame(found, index=words.index, columns=target_columns(space)), notes


def _parted(cell: str, separator: str) -> list[str] | None:
    """Return the findings of a cell; None where it ought to be a list and is none."""
    if separator != LIST:
        return [clean(part) for part in cell.split(separator)]
    try:
        parts = ast.literal_eval(cell)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return [clean(part) for part in parts] if isinstance(parts, list) and all(isinstance(part, str) for part in parts) else None


def _meant(meaning: str, separator: str) -> list[str]:
    """Return the findings that a finding means: one, or several written as a cell; none: nobody knows."""
    parts = _parted(meaning, separator)
    return [part for part in ([clean(meaning)] if parts is None else parts) if part]


def _of_findings(seen: Mapping[str, int], unused: Sequence[str]) -> tuple[str, ...]:
    notes = []
    if seen:
        most = sorted(seen, key=lambda name: (-seen[name], name))
        shown = ", ".join(f"{name} ({seen[name]})" for name in most[:6]) + ", ..." * (len(seen) > 6)
        notes.append(f"no labels here, left out (data.left_out), {len(seen)} in all: {shown}")
    if unused:
        shown = ", ".join(map(repr, unused[:6])) + ", ..." * (len(unused) > 6)
        notes.append(f"data.values: no cell holds {shown}")
    return tuple(notes)


def _number_remedy(column: pd.Series) -> str:
    commas = column.str.fullmatch(r"[+-]?\d+,\d+").any()
    return "say data.decimal=',' if a comma stands before the fraction" if commas else EMPTY


def _as_many(names: Sequence[str] | None, columns: Sequence[str]) -> None:
    if names is not None and len(names) != len(columns):
        raise ConfigError(f"data.names has {len(names)} names for {len(columns)} target columns")


def _as_option(grade: str) -> str:
    """Return a grade as a list on the command line or in YAML keeps it: 01 without quotes would be the number 1."""
    return grade if str(int(float(grade))) == grade else f"'{grade}'"
