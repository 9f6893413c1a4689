"""What several rows say together: the majority, the mean, or any of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ConfigError
from medzoo.data.labels import LabelSpace
from medzoo.settings.evaluation import VOTES as VOTES

Floats = NDArray[np.float64]


def check_vote(vote: str, labels: LabelSpace) -> None:
    """Refuse a vote that these labels do not have: a majority of quantities, any of grades or of several classes."""
    if labels.kind == "regression" and vote != "mean":
        raise ConfigError(f"evaluation.vote={vote} is of classes and findings, and these labels are quantities; use mean")
    if vote == "any" and labels.kind != "multilabel" and (labels.kind == "ordinal" or labels.width != 2):
        raise ConfigError(
            f"evaluation.vote=any asks whether any row is positive, and {labels.width} {labels.kind} classes have no positive "
            "one; use majority or mean"
        )


def voted(probabilities: NDArray[Any], codes: NDArray[np.intp], labels: LabelSpace, vote: str) -> Floats:
    """Return what groups of rows say.

    `mean`: the mean probability, or quantity. `majority`: each row votes for its most probable class (of a finding: for or
    against it, at 0.5); a group's share of a class is (votes + mean probability) / (rows + 1), as if the rows' mean were one
    voter more: its largest is the majority's class, and of classes with as many votes the one that is more probable on average.
    `any`: a finding, or the second of two classes, is as probable as in the row where it is most so.

    Args:
        probabilities: (N, K) of rows.
        codes: (N,) the group of each, 0..G-1, none of them empty.
        labels: What the columns mean.
        vote: One of `VOTES`.

    Returns:
        (G, K).
    """
    given = np.asarray(probabilities, np.float64)
    rows = np.bincount(codes)[:, None]
    mean = _sums(given, codes) / rows
    if vote == "mean":
        return mean
    if vote == "majority":
        if labels.exclusive:
            ballots = np.zeros_like(given)
            ballots[np.arange(len(given)), given.argmax(axis=1)] = 1
        else:
            ballots = (given >= 0.5).astype(np.float64)
        return (_sums(ballots, codes) + mean) / (rows + 1)
    most = np.full((len(rows), given.shape[1]), -np.inf)
    np.maximum.at(most, codes, given)
    if labels.exclusive:
        most[:, 0] = 1 - most[:, 1]
    return most


def truths(
    targets: NDArray[np.float32], codes: NDArray[np.intp], labels: LabelSpace, vote: str
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the truth of groups of rows, NaN where none is known, and in which groups and labels known rows disagree.

    With `any` a positive row settles it, and no row needs to agree: the truth is then 1; it is 0 where all are known to be 0.

    Args:
        targets: (N, K) of rows, NaN where missing.
        codes: (N,) the group of each.
        labels: What the columns mean.
        vote: One of `VOTES`.

    Returns:
        (G, K) float32, and (G, K) bool.
    """
    known = ~np.isnan(targets)
    low = np.full((int(codes.max()) + 1, targets.shape[1]), np.inf, np.float32)
    high = -low
    np.minimum.at(low, codes, np.where(known, targets, np.inf))
    np.maximum.at(high, codes, np.where(known, targets, -np.inf))
    if vote == "any":
        silent = _sums((~known).astype(np.float64), codes) > 0
        column = slice(None) if not labels.exclusive else slice(1, 2)
        found = np.where(np.isinf(high) | (silent & (high < 1)), np.nan, high)
        if labels.exclusive:
            found = np.concatenate([1 - found[:, column], found[:, column]], axis=1)
        return found.astype(np.float32), np.zeros(found.shape, dtype=bool)
    return np.where(np.isinf(high), np.nan, high).astype(np.float32), ~np.isinf(high) & (low != high)


def _sums(values: Floats, codes: NDArray[np.intp]) -> Floats:
    total = np.zeros((int(codes.max()) + 1, values.shape[1]))
    np.add.at(total, codes, values)
    return total
