"""Leaving one domain out: the test split is one site, scanner or year, and training has never seen it.

What is tested is whether a model holds elsewhere, not whether it remembers where it learnt. All samples of the domain are tested
on, whatever split they were in; all others are trained on, with a val split carved out of them, so that nothing of the domain
chooses an epoch either.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from medzoo.data.dataset import UnknownColumnError
from medzoo.data.errors import ConfigError, DatasetError, UnknownNameError


def domain_names(name: str, table: pd.DataFrame, domain: str) -> pd.Series:
    """Return each row's domain as text; whole numbers without a point.

    Args:
        name: Of the dataset, for messages.
        table: A table.
        domain: A column of it.

    Raises:
        UnknownColumnError: If there is no such column.
        DatasetError: If a row has no domain, or all rows have the same.
    """
    if domain not in table.columns:
        raise UnknownColumnError(
            name, domain, [str(c) for c in table.columns], remedy="data.domain names one (of your own table: in data.subgroups)"
        )
    column = table[domain]
    if column.isna().any():
        without = table.loc[column.isna(), "sample_id"]
        raise DatasetError(
            f"{name}: {len(without)} rows have no {domain}, such as {without.iloc[0]!r}: they can "
            "neither be left out nor learnt from; fill the column, or leave those rows out of the table"
        )
    whole = pd.api.types.is_float_dtype(column) and bool((column == np.floor(column)).all())
    names = (column.astype(np.int64) if whole else column).astype(str)
    if names.nunique() < 2:
        raise DatasetError(f"{name}: every row has {domain}={names.iloc[0]}; leaving it out leaves nothing to train on")
    return names


def held_out_level(levels: Sequence[str], domain: str, held_out: object, folds: int | None, fold: int | None) -> str:
    """Return which domain is left out: the one that is named, or the one whose place in their sorted order `fold` is.

    Raises:
        ConfigError: If both or neither is given, or there are not that many folds.
        UnknownNameError: If there is no such domain.
    """
    ordered = sorted(levels)
    if (held_out is None) == (fold is None):
        raise ConfigError(
            f"data.domain={domain} leaves one of {', '.join(ordered)} out: say which, by data.held_out=<name> or by its place in "
            f"this order, data.fold=0..{len(ordered) - 1}"
        )
    if folds is not None and folds != len(ordered):
        raise ConfigError(f"data.folds={folds}: {domain} has {len(ordered)} values, each a fold; leave data.folds out")
    if fold is not None:
        if not 0 <= fold < len(ordered):
            raise ConfigError(f"data.fold={fold} is not one of 0..{len(ordered) - 1}, the places of {', '.join(ordered)}")
        return ordered[fold]
    if str(held_out) not in ordered:
        raise UnknownNameError("domain", str(held_out), ordered, where=f" in {domain}")
    return str(held_out)


def leave_domain_out(name: str, table: pd.DataFrame, domain: str, names: pd.Series, level: str, unit: str) -> pd.DataFrame:
    """Return a table whose test split is one domain and whose other rows are all of the training split.

    Args:
        name: Of the dataset.
        table: A table.
        domain: The column.
        names: Of each row; see `domain_names`.
        level: Which one is left out.
        unit: What a group is.

    Raises:
        DatasetError: If a group is in it and in another one: it would be trained on and tested on.
    """
    away = (names == level).to_numpy()
    both = sorted(set(table.loc[away, "group"]) & set(table.loc[~away, "group"]))
    if both:
        raise DatasetError(
            f"{name}: {len(both)} {unit} groups are both in {domain}={level} and elsewhere, such as {both[0]!r}: leaving {level} "
            f"out would test on whom was trained on; give each {unit} one {domain} in the table, or leave out its rows of others"
        )
    table = table.copy()
    table["split"] = np.where(away, "test", "train")
    return table
