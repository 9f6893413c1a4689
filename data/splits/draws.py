"""Smaller training splits for studies of few labels, folds, and how often a sample is drawn.

Draws are nested and the same on every machine: each takes a prefix of an order fixed by a salted hash, so that 10 shots are
among 50, and 1% of the labels among 10%. No draw cuts a group, and none touches the test split.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medzoo.data.columns import is_label_column
from medzoo.data.dataset import target_matrix
from medzoo.data.errors import ConfigError
from medzoo.data.labels import LabelSpace
from medzoo.data.splits.groups import fold_of, group_fractions

UNLABELLED = -1
QUANTILES = 5
"""Strata of a regression target."""


def draw_shots(table: pd.DataFrame, labels: LabelSpace, shots: int, salt: str) -> tuple[pd.DataFrame, list[str]]:
    """Keep `shots` training samples a class; val and test stay whole.

    A class's samples come in an order of rounds: the first sample of each of its groups, then the second ones, so that few
    samples are of many patients. For multilabel labels, `shots` positives of each finding and as many samples without any.

    Args:
        table: A checked table.
        labels: Its label space.
        shots: Samples a class, at least 1.
        salt: Text that separates independent draws.

    Returns:
        The table without the other training samples, and a note for each class that has fewer.

    Raises:
        ConfigError: If `shots` is below 1 or the labels are quantities.
    """
    if shots < 1:
        raise ConfigError(f"data.shots={shots} must be at least 1")
    if labels.kind == "regression":
        raise ConfigError("data.shots counts samples a class, and regression has none; use data.fraction")
    train = table[table["split"] == "train"]
    rounds = group_fractions(train["sample_id"], f"{salt}/sample")  # by which the samples of one group are ordered
    chosen: set[int] = set()
    notes = []
    for name, member in _classes(target_matrix(train, labels), labels):
        of_class = np.flatnonzero(member)
        rank = pd.Series(rounds[of_class]).groupby(train["group"].to_numpy()[of_class]).rank(method="first").to_numpy()
        place = group_fractions(train["group"].iloc[of_class], salt)
        order = of_class[np.lexsort((rounds[of_class], place, rank))]
        chosen.update(order[:shots].tolist())
        if len(order) < shots:
            notes.append(f"{name} has {len(order)} training samples, fewer than data.shots={shots}: all are taken")
    return _keep(table, train.index[sorted(chosen)]), notes


def with_unlabelled(drawn: pd.DataFrame, whole: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the rows that a draw has left out, in their place, without targets and concepts.

    Args:
        drawn: What `draw_shots` or `draw_fraction` has kept.
        whole: The table that it was drawn from.
    """
    blank = ~whole["sample_id"].isin(drawn["sample_id"])
    columns = [c for c in whole.columns if is_label_column(c) or c.startswith("concept.")]
    kept = {c: whole[c].astype(np.float64 if c == "target" else np.float32).mask(blank) for c in columns}
    return whole.assign(**kept)


def draw_fraction(table: pd.DataFrame, labels: LabelSpace | None, fraction: float, salt: str) -> pd.DataFrame:
    """Keep a share of the training groups, of each stratum alike and at least one; val and test stay whole.

    Args:
        table: A checked table.
        labels: Its label space; None: one stratum.
        fraction: Share in (0, 1].
        salt: Text that separates independent draws.

    Raises:
        ConfigError: If the share is out of range.
    """
    if not 0 < fraction <= 1:
        raise ConfigError(f"data.fraction={fraction:g} is not in (0, 1]")
    train = table[table["split"] == "train"]
    strata = group_strata(train, labels)
    places = pd.Series(group_fractions(train["group"], salt), index=train["group"]).groupby(level=0).first()
    kept: set[str] = set()
    for _, members in strata.groupby(strata):
        order = places.loc[members.index].sort_values(kind="stable").index
        kept.update(order[: max(1, round(fraction * len(order)))])
    return _keep(table, train.index[train["group"].isin(kept)])


def draw_fold(
    table: pd.DataFrame, labels: LabelSpace | None, folds: int, fold: int, salt: str, option: str = "fold"
) -> pd.DataFrame:
    """Pool train and val, part their groups into folds, stratum by stratum, and make one of them val.

    Args:
        table: A checked table.
        labels: Its label space; None: one stratum.
        folds: How many, at least 2.
        fold: Which is val, 0..folds − 1.
        salt: Text that separates independent draws.
        option: What the option is called, for messages.

    Raises:
        ConfigError: If `fold` is not one of them.
        DatasetError: If there are fewer groups than folds.
    """
    if not 0 <= fold < folds:
        raise ConfigError(f"data.{option}={fold} is not one of 0..{folds - 1} (data.{option}s={folds})")
    table = table.copy()
    pooled = table["split"] != "test"
    rows = table[pooled]
    place = fold_of(rows["group"], folds, salt, group_strata(rows, labels))
    table.loc[pooled, "split"] = np.where(place == fold, "val", "train")
    return table


def draw_outer_fold(table: pd.DataFrame, labels: LabelSpace | None, folds: int, fold: int, salt: str) -> pd.DataFrame:
    """Pool train and val, part them as `draw_fold` does, and make one fold the test split and the others train.

    The rows of the table's own test split are left out: what is chosen by these folds has not seen them.
    """
    parted = draw_fold(table[table["split"] != "test"].reset_index(drop=True), labels, folds, fold, salt, "outer_fold")
    return parted.assign(split=np.where(parted["split"] == "val", "test", "train"))


def group_strata(rows: pd.DataFrame, labels: LabelSpace | None) -> pd.Series:
    """Return group name → stratum (int64): its rarest class (fewest groups), a quantile of its mean value, −1 without labels."""
    groups = rows["group"]
    if labels is None:
        return pd.Series(UNLABELLED, index=pd.Index(groups.unique()))
    targets = target_matrix(rows, labels)
    if labels.kind == "regression":
        means = pd.Series(targets[:, 0].astype(np.float64), index=groups).groupby(level=0, sort=True).mean()
        ranks = np.asarray(means.rank(method="first"), dtype=np.float64)
        known = int(np.isfinite(ranks).sum())
        quantiles = np.ceil(ranks * QUANTILES / max(1, known))
        return pd.Series(np.nan_to_num(quantiles, nan=UNLABELLED).astype(np.int64), index=means.index)
    members = pd.DataFrame({k: member for k, (_, member) in enumerate(_classes(targets, labels))}, index=groups)
    has = members.groupby(level=0, sort=True).any()
    rarest_first = has.sum().sort_values(kind="stable").index
    strata = pd.Series(UNLABELLED, index=has.index)
    for k in reversed(rarest_first):
        strata[has[k]] = k
    return strata


def even_weights(
    codes: NDArray[np.int64], labelled: NDArray[np.bool_], counts: NDArray[np.float32] | None = None
) -> NDArray[np.float64]:
    """Return (N,) probabilities of drawing each sample, so that all groups are drawn equally often.

    Args:
        codes: (N,) whose each is.
        labelled: (N,) which have a label: the others are never drawn, as by `balanced_weights`.
        counts: (N,) how often each sample is there; None: once.

    Raises:
        ConfigError: If nothing is labelled.
    """
    if not labelled.any():
        raise ConfigError("trainer.sampling=groups: the training split has no labelled sample")
    own = None if counts is None else counts.astype(np.float64)
    sizes = np.bincount(codes[labelled], None if own is None else own[labelled], minlength=int(codes.max()) + 1)[codes]
    rarity = np.divide(1 if own is None else own, sizes, out=np.zeros(len(codes)), where=labelled & (sizes > 0))
    weights: NDArray[np.float64] = rarity / rarity.sum()
    return weights


def balanced_weights(
    targets: NDArray[np.float32], labels: LabelSpace, counts: NDArray[np.float32] | None = None
) -> NDArray[np.float64]:
    """Return how often to draw each sample so that every class comes equally often.

    A sample of a soft target weighs as its classes do; one of several findings as its rarest; one without any finding as its
    like. Unlabelled samples are never drawn.

    Args:
        targets: (N, K), NaN where missing.
        labels: The label space.
        counts: (N,) how often each sample is there; None: once.

    Returns:
        (N,) probabilities that sum to 1.

    Raises:
        ConfigError: If the labels are quantities, or nothing is labelled.
    """
    if labels.kind == "regression":
        raise ConfigError("trainer.sampling=balanced needs classes, and regression has none; use shuffle")
    own = np.ones(len(targets)) if counts is None else counts.astype(np.float64)
    values = np.nan_to_num(targets.astype(np.float64)) * own[:, None]
    if labels.exclusive:
        mass = values.sum(axis=0)
        weights = values @ np.divide(1, mass, out=np.zeros_like(mass), where=mass > 0)
    else:
        members = [member * own for _, member in _classes(targets, labels)]
        columns = [member / (member.sum() or 1) for member in members]
        weights = np.max(columns, axis=0)
    if not weights.sum():
        raise ConfigError("trainer.sampling=balanced: the training split has no labelled sample")
    balanced: NDArray[np.float64] = weights / weights.sum()
    return balanced


def _classes(targets: NDArray[np.float32], labels: LabelSpace) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield each class's name and members: the one largest share, or the findings that are present, last none of them."""
    if labels.exclusive:
        top = np.nanmax(np.where(np.isnan(targets), -1, targets), axis=1, keepdims=True)
        largest = (targets == top) & (top > 0)
        one = largest.sum(axis=1, keepdims=True) == 1
        yield from zip(labels.names, (largest & one).T, strict=True)
        return
    present = targets > 0.5
    yield from zip(labels.names, present.T, strict=True)
    yield "no finding", np.asarray(~present.any(axis=1) & ~np.isnan(targets).all(axis=1))


def _keep(table: pd.DataFrame, chosen: pd.Index) -> pd.DataFrame:
    keep = (table["split"] != "train").to_numpy() | table.index.isin(chosen)
    return table[keep].reset_index(drop=True)
