"""What several rows say together: the majority, the mean, or any of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ConfigError
from medzoo.data.labels import LabelSpace, log_sum_exp
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


def voted(logits: NDArray[Any], codes: NDArray[np.intp], labels: LabelSpace, vote: str) -> Floats:
    """Return the logits of what groups of rows say, of which a group of one row is that row.

    `mean`: of the mean probability, or the mean quantity. `majority`: each row votes for its most probable class (of a finding:
    for it where its probability is above 0.5, else against it); a group's share of a class is (votes + mean probability) /
    (rows + 1), as if the rows' mean were one voter more: its largest is the majority's class, and of classes with as many votes
    the one that is more probable on average. `any`: a finding, or the second of two classes, is as probable as in the row where
    it is most so.

    Probabilities are averaged in the logarithm, a finding's presence and absence each: those that round to 0 or 1 would tie.

    Args:
        logits: (N, K) of rows, or quantities.
        codes: (N,) the group of each, 0..G-1, none of them empty.
        labels: What the columns mean.
        vote: One of `VOTES`.

    Returns:
        (G, K).
    """
    given = np.asarray(logits, np.float64)
    rows = np.bincount(codes)[:, None]
    if labels.kind == "regression":
        return _sums(given, codes) / rows
    if vote == "any":
        if not labels.exclusive:
            return _largest(given, codes)
        by_odds = np.lexsort((given[:, 1] - given[:, 0], codes))
        last: Floats = given[by_odds[rows[:, 0].cumsum() - 1]]  # of each group
        return last
    if labels.exclusive:
        total = log_sum_exp(given)[:, None]
        mean = _log_means(given - total, codes)
        if vote == "mean":  # on the rows' own scale: one row, or equal ones, give their logits back
            return mean + _sums(total, codes) / rows
        ballots = np.zeros_like(given)
        ballots[np.arange(len(given)), given.argmax(axis=1)] = 1
        shares = _with_votes(_sums(ballots, codes), mean)
        below: Floats = shares - shares.max(axis=1, keepdims=True)  # near ties stay apart when they are rounded
        return below
    present, absent = (_log_means(-np.logaddexp(0.0, -sign * given), codes) for sign in (1, -1))
    if vote == "mean":
        return present - absent
    votes = _sums((given > 0).astype(np.float64), codes)
    return _with_votes(votes, present) - _with_votes(rows - votes, absent)


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


def _log_means(values: Floats, codes: NDArray[np.intp]) -> Floats:
    """Return (G, K) ln of the mean over each group's rows of e to the values."""
    top = _largest(values, codes)
    mean: Floats = top + np.log(_sums(np.exp(values - top[codes]), codes) / np.bincount(codes)[:, None])
    return mean


def _with_votes(votes: Floats, log_mean: Floats) -> Floats:
    """Return ln (votes + mean), up to the number of voters."""
    with np.errstate(divide="ignore"):  # no vote is minus infinity, beside which the mean stands alone
        return np.asarray(np.logaddexp(np.log(votes), log_mean), np.float64)


def _largest(values: Floats, codes: NDArray[np.intp]) -> Floats:
    top = np.full((int(codes.max()) + 1, values.shape[1]), -np.inf)
    np.maximum.at(top, codes, values)
    return top


def _sums(values: Floats, codes: NDArray[np.intp]) -> Floats:
    total = np.zeros((int(codes.max()) + 1, values.shape[1]))
    np.add.at(total, codes, values)
    return total
