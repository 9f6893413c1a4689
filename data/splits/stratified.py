"""Splits of a user's own data: by group, and where there are few groups by class as well.

A hash alone leaves small tables with a split that lacks a class. Below `FEW` groups each class's groups are ordered by the hash
and dealt out; from there on a group's place depends on its own name and the seed alone, and adding samples moves no other.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from medzoo.data.columns import TARGET, columns_of, label_matrix
from medzoo.data.errors import DatasetError
from medzoo.data.labels import LabelSpace
from medzoo.data.splits.draws import group_strata
from medzoo.data.splits.groups import carve_val, group_fractions, hash_split

FEW = 500
"""Groups, below which the classes are dealt out."""
FEW_SAMPLES = 10
"""Of a val split, below which reports say so."""
RULES = (1, 2)
"""1: the name of the file or folder is part of the hash, and classes do not count, as medzoo split at first. 2: see above."""


def split_by_group(table: pd.DataFrame, labels: LabelSpace | None, test_fraction: float, seed: int) -> pd.Series:
    """Return train or test for each row, the same one within a group.

    Args:
        table: With `group`, and the targets of `labels`.
        labels: The label space; None: no classes.
        test_fraction: Share of the groups held out for testing.
        seed: Of the hash.

    Raises:
        DatasetError: If the share leaves nothing to train on.
    """
    salt = f"group/{seed}"
    if table["group"].nunique() >= FEW or not 0 < test_fraction < 1:
        return hash_split(table["group"], salt, (0.0, test_fraction))
    chosen = _dealt(table, labels, test_fraction, salt)
    return pd.Series(np.where(table["group"].isin(chosen), "test", "train"), index=table.index, name="split")


def carve_val_by_class(table: pd.DataFrame, labels: LabelSpace | None, fraction: float, seed: int) -> pd.DataFrame:
    """Move whole groups of the training split to val: as `carve_val` does, of few groups some of every class.

    Args:
        table: A table without val rows.
        labels: The label space; None: no classes.
        fraction: Share of the training groups to move, in (0, 1).
        seed: Of the hash.

    Raises:
        DatasetError: If the fraction is not within (0, 1), or fewer than two groups are there to divide.
    """
    train = table[table["split"] == "train"]
    count, salt = train["group"].nunique(), f"group/val/{seed}"
    if count >= FEW or count < 2 or not 0 < fraction < 1:
        return carve_val(table, fraction, salt)
    chosen = _dealt(train, labels, fraction, salt, at_least=1)
    table = table.copy()
    table.loc[(table["split"] == "train") & table["group"].isin(chosen), "split"] = "val"
    return table


def val_notes(table: pd.DataFrame, labels: LabelSpace | None, targets: Mapping[str, LabelSpace] | None = None) -> list[str]:
    """Return what a val split is too small for: an epoch chosen by it is chosen by chance.

    Args:
        table: A table.
        labels: The label space; None: no classes.
        targets: Of several targets each one's.
    """
    rows = table[table["split"] == "val"]
    if not len(rows):
        return []
    notes = []
    if len(rows) < FEW_SAMPLES:
        notes.append(f"the val split has {len(rows)} samples: what is chosen by it is chosen by chance")
    columns = columns_of(targets or {})
    spaces: dict[str, LabelSpace | None] = {**targets} if targets else {"": labels}
    for target, space in spaces.items():
        if space is None or not space.exclusive:
            continue
        held, of = np.nan_to_num(label_matrix(rows, space, columns.get(target, TARGET))), f" of {target}" * bool(target)
        present = [name for name, column in zip(space.names, held.T, strict=True) if column.any()]
        if len(present) < 2:
            notes.append("the val split has no " + (f"class{of} but {present[0]}" if present else f"labelled sample{of}"))
    return notes


def check_rule(rule: object) -> int:
    """Return `split_rule`; raises DatasetError if it is none of `RULES`."""
    if rule not in RULES:
        raise DatasetError(f"data.split_rule={rule!r} is neither 1 (as medzoo split at first) nor 2")
    return 1 if rule == 1 else 2


def _dealt(rows: pd.DataFrame, labels: LabelSpace | None, fraction: float, salt: str, at_least: int = 0) -> set[str]:
    """Return the share of the groups, of each stratum as many as its size asks for, one at least where there is room."""
    strata = group_strata(rows, labels)
    fractions = pd.Series(group_fractions(rows["group"], salt), index=rows["group"]).groupby(level=0).first()
    order = fractions.sort_values(kind="stable").index
    members = {int(stratum): [group for group in order if strata[group] == stratum] for stratum in sorted(set(strata))}
    total, sizes = len(strata), {stratum: len(found) for stratum, found in members.items()}
    worth = sum(size >= 3 for stratum, size in sizes.items() if stratum >= 0)
    wanted = max(round(fraction * total), min(worth, total // 4), at_least, 1 if total >= 3 else 0)
    wanted = min(wanted, total - 1)
    taken = {stratum: min(int(fraction * size), size - 1) for stratum, size in sizes.items()}
    # A stratum that has none comes first, then whose share is cut most; one keeps a group to train on while others have any.
    while sum(taken.values()) < wanted:
        stratum = max(
            (stratum for stratum in sizes if taken[stratum] < sizes[stratum]),
            key=lambda s: (
                taken[s] + 1 < sizes[s], taken[s] == 0 and sizes[s] >= 3 and s >= 0, fraction * sizes[s] - taken[s], -s,
            ),
        )  # fmt: skip
        taken[stratum] += 1
    return {str(group) for stratum, found in members.items() for group in found[: taken[stratum]]}
