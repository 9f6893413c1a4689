"""Calling torchmetrics so that a value means what it says: what is missing masked, and undefined where it would say 0."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medzoo.data.labels import LabelSpace
from medzoo.evaluation.extra import CORRELATIONS, NEED_SPREAD, REFUSALS, WITH_UNIT, Extra, find_extra
from medzoo.evaluation.metrics import Floats, Scored, macro_mean, scored

MEANINGLESS = re.compile(
    r"meaningless|undefined|\bnan\b|no (positive|negative)|returns 0|close to zero|division by zero|falls back", re.I
)
"""What torchmetrics warns of where it then returns a number nobody should read."""


@dataclass(frozen=True)
class Feed:
    """What torchmetrics is given of one set of predictions.

    Attributes:
        labels: What the columns mean.
        probabilities: (N, K) float64; values of quantities.
        ranks: (N, K) float64 in (0, 1): the place of each log-odds among all, equal where they are.
        truth: (N, K) float64.
        observed: (N, K) bool.
    """

    labels: LabelSpace
    probabilities: Tensor
    ranks: Tensor
    truth: Tensor
    observed: Tensor

    @classmethod
    def of(cls, data: Scored) -> Feed:
        """Make it of scored predictions."""
        distinct, place = np.unique(data.scores, return_inverse=True)
        ranks = (place.reshape(data.scores.shape) + 0.5) / max(len(distinct), 1)
        parts: tuple[NDArray[Any], ...] = (data.probabilities, ranks, data.truth, data.observed)
        return cls(data.labels, *(torch.from_numpy(np.ascontiguousarray(part)) for part in parts))

    def take(self, rows: Tensor) -> Feed:
        """Return some rows, in that order, as often as they are named."""
        return Feed(self.labels, *(part[rows] for part in (self.probabilities, self.ranks, self.truth, self.observed)))


@dataclass
class Outcome:
    """What a metric is.

    Attributes:
        values: (K,) of the classes or (1,) of the whole; NaN where undefined.
        reasons: Why, by place among the values.
    """

    values: Floats
    reasons: dict[int, str] = field(default_factory=dict)


def whole_rows(extra: Extra, data: Scored) -> NDArray[np.bool_]:
    """Return (N,) which samples a metric is of: the labelled ones, for one value of all findings those without a gap."""
    return np.asarray(data.observed.all(axis=1) if extra.form == "whole" else data.observed.any(axis=1))


def measure(extra: Extra, feed: Feed) -> Outcome:
    """Compute a metric; of `feed` rows without a label may be among the others."""
    outcome = Outcome(np.full(feed.labels.width if extra.per_class else 1, np.nan))
    if extra.form == "each":
        for k in range(feed.labels.width):
            rows = feed.observed[:, k]
            reason = _lacks(extra, feed.truth[rows, k], feed.probabilities[rows, k], feed.labels)
            if not reason:
                found, reason = _call(extra, _scores(extra, feed)[rows, k], _coded(feed.truth[rows, k], feed.labels))
                outcome.values[k] = np.nan if reason else float(found[0])
            if reason:
                outcome.reasons[k] = reason
        return outcome
    rows = feed.observed.any(dim=1) if extra.form == "pooled" else feed.observed.all(dim=1)
    scores, targets = _scores(extra, feed)[rows], _coded(feed.truth[rows], feed.labels)
    if extra.form == "together":
        _together(extra, feed, scores, targets, outcome)
        return outcome
    reason = _lacks_whole(extra, feed, rows)
    if not reason:
        if extra.form == "pooled":
            targets = torch.where(feed.observed[rows], targets, -1)
        found, reason = _call(extra, scores, targets.argmax(dim=1) if feed.labels.exclusive else targets)
        outcome.values[0] = np.nan if reason else float(found[0])
    if reason:
        outcome.reasons[0] = reason
    return outcome


def extra_value(text: str, labels: LabelSpace, targets: NDArray[np.float32], logits: NDArray[np.float32]) -> Outcome:
    """Return one number of a metric by name, the mean over classes that are defined, or why there is none.

    Args:
        text: The metric, as `find_extra` takes it.
        labels: The label space.
        targets: (N, K), NaN where missing.
        logits: (N, K).
    """
    extra = find_extra(text, labels)
    if extra.name in WITH_UNIT and not labels.one_unit:
        return Outcome(np.array([np.nan]), {0: "the quantities have different units"})
    found = measure(extra, Feed.of(scored(labels, targets, logits)))
    value = macro_mean(found.values)
    if value is None:
        return Outcome(np.array([np.nan]), {0: next(iter(found.reasons.values()), "no class is defined")})
    return Outcome(np.array([value]))


def _together(extra: Extra, feed: Feed, scores: Tensor, targets: Tensor, outcome: Outcome) -> None:
    """Fill in the classes' values from one call; a class that lacks what the metric needs has none, whatever it returns."""
    for k in range(feed.labels.width):
        if reason := _lacks(extra, targets[:, k], scores[:, k], feed.labels):
            outcome.reasons[k] = reason
    if len(outcome.reasons) == feed.labels.width:
        return
    found, reason = _call(extra, scores, targets.argmax(dim=1))
    for k in range(feed.labels.width):
        if k not in outcome.reasons and reason:
            outcome.reasons[k] = reason
        elif k not in outcome.reasons:
            outcome.values[k] = found[k]


def _scores(extra: Extra, feed: Feed) -> Tensor:
    return feed.ranks if extra.ranked and feed.labels.kind != "regression" else feed.probabilities


def _coded(truth: Tensor, labels: LabelSpace) -> Tensor:
    return truth if labels.kind == "regression" else truth.long()


def _lacks(extra: Extra, truth: Tensor, said: Tensor, labels: LabelSpace) -> str:
    """Return what a class or quantity lacks; empty where its metric means something."""
    if not len(truth):
        return "every label is missing"
    if labels.kind == "regression":
        if extra.name in NEED_SPREAD and bool((truth == truth[0]).all()):
            return "targets do not vary"
        by_mean = extra.name == "normalized_root_mean_squared_error" and extra.arguments.get("normalization", "mean") == "mean"
        if by_mean and not float(truth.mean()) > 0:  # it is divided by it, signs and all
            return "the mean of the targets is not above 0"
        if extra.name == "mean_absolute_percentage_error" and bool((truth == 0).any()):
            return "a target is 0"
        if extra.name == "critical_success_index" and not bool((truth >= extra.arguments["threshold"]).any()):
            return "no target reaches the threshold"
        return "predictions do not vary" if extra.name in CORRELATIONS and bool((said == said[0]).all()) else ""
    if "+" in extra.needs and not truth.any():
        return "no positive sample"
    return "no negative sample" if "-" in extra.needs and bool(truth.all()) else ""


def _lacks_whole(extra: Extra, feed: Feed, rows: Tensor) -> str:
    if not rows.any():
        complete = extra.form == "whole" and bool(feed.observed.any())
        return "no sample has all its labels" if complete else "every label is missing"
    truth, known, needs = feed.truth[rows], feed.observed[rows], extra.needs
    if "average" not in extra.arguments:
        alone = feed.labels.exclusive and needs == "+-" and int(truth.any(dim=0).sum()) < 2
        return "no class has both positive and negative samples" if alone else ""
    columns = [truth[known]] if extra.arguments["average"] == "micro" else [truth[known[:, k], k] for k in range(truth.shape[1])]
    if extra.arguments["average"] == "weighted" and needs != "+-":  # an absent class has the weight 0
        columns = [truth[known]]
    for column in columns:
        if reason := _lacks(extra, column, column, feed.labels):
            return reason
    return ""


def _call(extra: Extra, scores: Tensor, targets: Tensor) -> tuple[Floats, str]:
    """Call torchmetrics; returns (K,) or (1,) values, and why they are undefined, by its own warning or error."""
    try:
        with _warnings_of_every_rank() as caught:
            found = extra.function(scores, targets, **extra.arguments)
    except REFUSALS as error:
        return np.empty(0), f"torchmetrics: {_sentence(str(error))}"
    values = np.atleast_1d((found[0] if isinstance(found, tuple) else found).double().numpy())
    said = next((str(w.message) for w in caught if MEANINGLESS.search(str(w.message))), "")
    if not said and not np.isfinite(values).all():
        said = f"gives {values[~np.isfinite(values)][0]}"
    return values, f"torchmetrics: {_sentence(said)}" if said else ""


@contextmanager
def _warnings_of_every_rank() -> Iterator[list[warnings.WarningMessage]]:
    """Collect warnings on every process alike: torchmetrics gives them on rank 0 alone, and all must find the same value."""
    from torchmetrics.utilities.prints import rank_zero_only

    rank = getattr(rank_zero_only, "rank", 0)
    rank_zero_only.rank = 0  # type: ignore[attr-defined]
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield caught
    finally:
        rank_zero_only.rank = rank  # type: ignore[attr-defined]


def _sentence(text: str) -> str:
    return re.split(r"\.\s", " ".join(text.split()))[0].rstrip(".")
