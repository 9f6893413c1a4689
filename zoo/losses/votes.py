"""How much each of several models counts in their mean: the weights of the least loss on the validation split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from medzoo.data.errors import EvaluationError
from medzoo.data.labels import LabelSpace, log_sum_exp

Floats = NDArray[np.float64]


def fit_votes(labels: LabelSpace, targets: NDArray[np.float32], logits: Sequence[NDArray[np.float32]], how: str) -> Floats:
    """Return (M,) weights, at least 0 and of sum 1, of the smallest mean loss; missing labels are left out.

    The loss is convex in them: negative log likelihood of the mean, of quantities the squared error in spreads of the targets.

    Args:
        labels: What the columns mean.
        targets: (N, K) of the validation split, NaN where missing.
        logits: (N, K) of each of M models.
        how: What the mean is taken of, `probabilities` or `logits`; of quantities their values either way.

    Raises:
        EvaluationError: If nothing is labelled.
    """
    if np.isnan(targets).all():
        raise EvaluationError("votes are fitted on the val split, which has no label; leave --votes out")
    said, truth = np.stack([np.asarray(one, np.float64) for one in logits]), np.asarray(targets, np.float64)
    equal = np.full(len(said), 1 / len(said))
    fitted = minimize(
        lambda votes: mean_loss(labels, truth, said, votes, how), equal, method="SLSQP", bounds=[(0.0, 1.0)] * len(said),
        constraints={"type": "eq", "fun": lambda votes: votes.sum() - 1}, options={"ftol": 1e-10, "maxiter": 500},
    ).x  # fmt: skip
    votes = np.clip(fitted, 0.0, None) / np.clip(fitted, 0.0, None).sum()
    better = mean_loss(labels, truth, said, votes, how) <= mean_loss(labels, truth, said, equal, how)
    return votes if better else equal


def mean_loss(labels: LabelSpace, targets: Floats, logits: Floats, votes: Floats, how: str) -> float:
    """Return the mean loss, over what is labelled, of the weighted mean of (M, N, K) logits."""
    seen = ~np.isnan(targets)
    if labels.kind == "regression":
        spread = np.nanstd(targets, axis=0)
        error = (np.tensordot(votes, logits, 1) - targets) / np.where(spread > 0, spread, 1.0)
        return float((error[seen] ** 2).mean())
    if labels.exclusive:
        rows = seen.all(axis=1)
        shown, truth = logits[:, rows], targets[rows]
        if how == "logits":
            mean = np.tensordot(votes, shown, 1)
            return float((log_sum_exp(mean) - (truth * mean).sum(axis=1)).mean())
        shares = np.stack([one - log_sum_exp(one)[:, None] for one in shown])
        return float(-(truth * _log_mean(shares, votes)).sum(axis=1).mean())
    if how == "logits":
        mean = np.tensordot(votes, logits, 1)
        return float((np.logaddexp(0.0, mean) - np.nan_to_num(targets) * mean)[seen].mean())
    yes, no = (_log_mean(-np.logaddexp(0.0, sign * logits), votes) for sign in (-1.0, 1.0))
    filled = np.nan_to_num(targets)
    return float(-(filled * yes + (1 - filled) * no)[seen].mean())


def _log_mean(log_probabilities: Floats, votes: Floats) -> Floats:
    """Return (N, K) ln Σ wᵢ pᵢ of (M, N, K) ln pᵢ."""
    top = log_probabilities.max(axis=0)
    mean = np.tensordot(votes, np.exp(log_probabilities - top), 1)
    found: Floats = np.log(np.maximum(mean, 1e-300)) + top
    return found
