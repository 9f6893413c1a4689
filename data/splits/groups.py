"""Splits that never cut a group: official where they exist, else a salted hash of the group.

A group's place depends on its own name, the salt and the seed alone: it is the same on every machine, and adding samples
moves no other group.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medzoo.data.errors import DatasetError
from medzoo.data.seeding import stable_hash


def group_fractions(groups: pd.Series, salt: str) -> NDArray[np.float64]:
    """Return one number in [0, 1) for each row, equal within a group.

    Args:
        groups: (N,) group names.
        salt: Text that separates independent draws (dataset, purpose, seed).

    Returns:
        (N,) float64: the first 53 bits of SHA-256 of salt and group, as a fraction.
    """
    codes, names = pd.factorize(groups.astype(str))
    first_bits = np.array([stable_hash(f"{salt}\x1f{name}") >> 11 for name in names], dtype=np.float64)
    fractions: NDArray[np.float64] = first_bits / float(1 << 53)
    return fractions[codes]


def hash_split(groups: pd.Series, salt: str, fractions: Sequence[float]) -> pd.Series:
    """Assign train, val and test by group.

    Args:
        groups: (N,) group names.
        salt: Text that separates independent draws.
        fractions: Shares of val and test, such as `(0.1, 0.2)`; the rest is train.

    Returns:
        (N,) `train`, `val` or `test`, indexed as `groups`.

    Raises:
        DatasetError: If the shares are not positive fractions with a rest.
    """
    val, test = fractions
    if not (0 <= val < 1 and 0 <= test < 1 and val + test < 1):
        raise DatasetError(f"split shares val={val:g}, test={test:g} leave nothing to train on")
    place = group_fractions(groups, salt)
    names = np.where(place < test, "test", np.where(place < test + val, "val", "train"))
    return pd.Series(names, index=groups.index, name="split")


def carve_val(table: pd.DataFrame, fraction: float, salt: str) -> pd.DataFrame:
    """Move whole groups of the training split to val, the same ones on every machine.

    Args:
        table: A table without val rows.
        fraction: Share of the training groups to move, in (0, 1).
        salt: Text that separates independent draws.

    Returns:
        A copy of the table with `split` changed.

    Raises:
        DatasetError: If the fraction is not within (0, 1), or fewer than two groups are there to divide.
    """
    if not 0 < fraction < 1:
        raise DatasetError(f"val fraction {fraction:g} is not between 0 and 1")
    table = table.copy()
    train = table["split"] == "train"
    groups = table.loc[train, "group"]
    order = pd.Series(group_fractions(groups, salt), index=groups.index).groupby(groups).first().sort_values(kind="stable")
    if len(order) < 2:
        raise DatasetError(f"cannot carve a val split: the training split has {len(order)} group")
    count = min(max(1, round(fraction * len(order))), len(order) - 1)
    chosen = set(order.index[:count])
    table.loc[train & table["group"].isin(chosen), "split"] = "val"
    return table


def merge_groups(groups: Sequence[str], shared: Iterable[Sequence[int]]) -> list[str]:
    """Join groups that share something (a file, say), so that a split by group cannot part them.

    Args:
        groups: (N,) group names.
        shared: Collections of row positions that must stay together.

    Returns:
        (N,) group names; joined groups carry the name that sorts first.
    """
    parent = {g: g for g in groups}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for rows in shared:
        first = root(groups[rows[0]])
        for row in rows[1:]:
            other = root(groups[row])
            low, high = sorted((first, other))
            parent[high] = low
            first = low
    return [root(g) for g in groups]


def fold_of(groups: pd.Series, folds: int, salt: str, strata: pd.Series | None = None) -> NDArray[np.int64]:
    """Return each row's fold, 0..folds-1, equal within a group; fold sizes in groups differ by at most one.

    Args:
        groups: (N,) group names.
        folds: How many.
        salt: Text that separates independent draws.
        strata: Stratum by group name; the groups of each are dealt out in turn.

    Raises:
        DatasetError: If there are fewer than two folds, or fewer groups than folds.
    """
    fractions = pd.Series(group_fractions(groups, salt), index=groups.index)
    order = fractions.groupby(groups).first().sort_values(kind="stable")
    if strata is not None:
        order = order.loc[strata.loc[order.index].sort_values(kind="stable").index]
    if folds < 2 or len(order) < folds:
        raise DatasetError(f"cannot make {folds} folds of {len(order)} groups")
    place = pd.Series(np.arange(len(order)) % folds, index=order.index)
    return groups.map(place).to_numpy(dtype=np.int64)


def shared_groups(table: pd.DataFrame) -> dict[str, list[str]]:
    """Return group name → its splits, of the groups that stand in more than one; empty when no split cuts a group."""
    pairs = table[["group", "split"]].drop_duplicates()
    several = pairs[pairs["group"].duplicated(keep=False)]
    splits = several.groupby("group", sort=False)["split"].unique()
    return {str(g): sorted(map(str, s)) for g, s in splits.items()}
