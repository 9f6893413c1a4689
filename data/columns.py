"""Columns of a dataset's table: those that must be there, and the labels of one target or of several.

The labels of one target stand in `target`, class codes, or in `target.<name>`. Of several targets a sample those of the first
stand there too, and of each other in `targets.<target>` or `targets.<target>.<name>`: a reader of one target sees the first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medzoo.data.errors import ConfigError, DatasetError, UnknownColumnError, UnknownNameError
from medzoo.data.labels import LabelSpace

TARGET = "target"
TARGET_NAME = re.compile(r"[A-Za-z]\w{0,39}", re.ASCII)
"""Of a target: it names a folder, outputs of a graph and what chooses an epoch."""


def target_columns(labels: LabelSpace, column: str = TARGET) -> list[str]:
    """Return the names of the vector target columns of a label space, in index order."""
    return [f"{column}.{name}" for name in labels.names]


def label_matrix(table: pd.DataFrame, labels: LabelSpace, column: str = TARGET) -> NDArray[np.float32]:
    """Return (N, K) float32 one-hot, soft, multi-hot labels or values, NaN where missing.

    Args:
        table: With `column` of class codes, or all `<column>.<name>`.
        labels: The label space.
        column: `target`, or that of another of several targets.
    """
    if column in table.columns:
        return labels.one_hot(table[column].to_numpy(dtype=np.float64, na_value=np.nan))
    return np.ascontiguousarray(table[target_columns(labels, column)].to_numpy(dtype=np.float32, na_value=np.nan))


def target_names(names: Sequence[str], option: str = "data.targets") -> None:
    """Refuse names of targets that are fewer than two, or no plain words; ConfigError."""
    if len(names) < 2:
        raise ConfigError(f"{option} names {len(names)} target; several are two or more, and one is an option of its own")
    for name in names:
        if not isinstance(name, str) or not TARGET_NAME.fullmatch(name):
            raise ConfigError(f"{option}: {name!r} is no name of a target: a letter, then letters, digits and '_', at most 40")


def columns_of(targets: Mapping[str, LabelSpace]) -> dict[str, str]:
    """Return target → the column, or the beginning of the columns, that its labels stand in."""
    return {name: f"targets.{name}" if place else TARGET for place, name in enumerate(targets)}


def targets_matrix(table: pd.DataFrame, targets: Mapping[str, LabelSpace]) -> NDArray[np.float32]:
    """Return (N, K of all) the labels of several targets side by side, in their order."""
    columns = columns_of(targets)
    return np.concatenate([label_matrix(table, labels, columns[name]) for name, labels in targets.items()], axis=1)


def places_of(targets: Mapping[str, LabelSpace]) -> dict[str, slice]:
    """Return target → where its columns stand among those of all, side by side."""
    ends = np.cumsum([labels.width for labels in targets.values()]).tolist()
    return {name: slice(end - labels.width, end) for (name, labels), end in zip(targets.items(), ends, strict=True)}


def as_further(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the label columns of one target under the names that another of several has."""
    return frame.rename(columns=lambda column: f"targets.{name}{str(column).removeprefix(TARGET)}")


def of_target(table: pd.DataFrame, targets: Mapping[str, LabelSpace], name: str) -> pd.DataFrame:
    """Return a table with the labels of one of several targets as its only ones; UnknownNameError if there is no such target."""
    if name not in targets:
        raise UnknownNameError("target", name, targets)
    column = columns_of(targets)[name]
    own = [c for c in table.columns if c == column or str(c).startswith(f"{column}.")]
    others = [c for c in table.columns if is_label_column(c) and c not in own]
    return table.drop(columns=others).rename(columns={c: f"{TARGET}{str(c).removeprefix(column)}" for c in own})


def is_label_column(column: object) -> bool:
    """Whether a column of a table holds labels, of whatever target."""
    return column == TARGET or str(column).startswith((f"{TARGET}.", "targets."))


def check_targets(name: str, table: pd.DataFrame, targets: Mapping[str, LabelSpace], labels: LabelSpace | None) -> None:
    """Check the several targets of a dataset: DatasetError, or ConfigError, names the target."""
    if not targets:
        return
    target_names(list(targets), f"{name}: targets")
    if next(iter(targets.values())) != labels:
        raise DatasetError(f"{name}: the first of several targets is not the dataset's own labels")
    for target, column in list(columns_of(targets).items())[1:]:
        check_labels(f"{name}, target {target}", table, targets[target], column)


def check_labels(name: str, table: pd.DataFrame, labels: LabelSpace, column: str = TARGET) -> None:
    """Check the label columns of one target: DatasetError names the dataset, the column and the sample."""
    columns = target_columns(labels, column)
    if column in table.columns:
        if any(c in table.columns for c in columns):
            raise DatasetError(f"{name}: the table has both '{column}' and '{column}.<name>' columns; keep one form")
        if not labels.exclusive:
            raise DatasetError(f"{name}: {labels.kind} labels need '{column}.<name>' columns, not one '{column}' column")
        try:
            label_matrix(table, labels, column)
        except DatasetError as error:
            raise DatasetError(f"{name}: {error}") from None
        return
    require(name, table, columns)
    if labels.kind == "regression":
        values = table[columns].to_numpy(dtype=np.float64, na_value=np.nan)
        if np.isinf(values).any():
            raise DatasetError(f"{name}: a regression target is infinite")
        return
    within_zero_one(name, table, columns)
    if labels.exclusive:
        sums = label_matrix(table, labels, column).sum(axis=1, dtype=np.float64)
        off = ~np.isnan(sums) & (np.abs(sums - 1) > 1e-3)
        if off.any():
            raise DatasetError(
                f"{name}: soft targets of {table.loc[off, 'sample_id'].iloc[0]!r} sum to {sums[off][0]:.4f}, not 1 "
                f"({int(off.sum())} such rows)"
            )


def require(name: str, table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Refuse a table that lacks a column: UnknownColumnError names the first and offers the nearest."""
    for column in columns:
        if column not in table.columns:
            raise UnknownColumnError(name, column, [str(c) for c in table.columns])


def within_zero_one(name: str, table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Refuse numbers outside 0..1: DatasetError names the column and the sample."""
    values = table[list(columns)].to_numpy(dtype=np.float64, na_value=np.nan)
    bad = ~np.isnan(values) & ((values < 0) | (values > 1))
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise DatasetError(
            f"{name}: {columns[column]!r} of {table['sample_id'].iloc[row]!r} is {values[row, column]:g}, not within 0..1"
        )
