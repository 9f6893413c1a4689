"""Intervals by the percentile bootstrap over groups (Efron and Tibshirani 1993, chapter 13; whole groups are redrawn).

Samples of one patient are not independent; redrawing patients instead of images keeps intervals honest. Of few patients they are
a little too short all the same: replicates spread by sqrt((n - 1) / n) less than the estimate does, and a normal deviate is taken
where Student's is due. Expanded intervals make up for both (Hesterberg 2015, What teachers should know about the bootstrap, The
American Statistician 69, section 5.3).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ConfigError
from medzoo.data.labels import LabelSpace
from medzoo.data.seeding import generator
from medzoo.evaluation.metrics import WITH_UNIT, Scored, all_metrics, macro_mean
from medzoo.evaluation.scarcity import FEWEST_GROUPS as FEWEST_GROUPS
from medzoo.evaluation.scarcity import Lack as Lack
from medzoo.evaluation.scarcity import Scarcity as Scarcity
from medzoo.evaluation.weighting import Floats

CHUNK_VALUES = 4_000_000
"""Weights held at once (32 MB a copy), whatever the number of samples and replicates."""


class Asked(Protocol):
    """Settings of a verb that makes intervals."""

    replicates: int
    level: float
    seed: int


@dataclass(frozen=True)
class Interval:
    """How intervals are made.

    Attributes:
        replicates: Bootstrap replicates over groups; 0: no intervals.
        level: Coverage, above 0 and below 1.
        seed: Of the bootstrap.
        expanded: Wider by what few groups make percentile intervals too short.
        groups: How many groups are redrawn, which an expanded interval depends on; see `among`.

    Raises:
        ConfigError: If one is out of range.
    """

    replicates: int = 1000
    level: float = 0.95
    seed: int = 0
    expanded: bool = False
    groups: int | None = None

    def __post_init__(self) -> None:
        if self.replicates < 0:
            raise ConfigError(f"replicates={self.replicates} must be at least 0 (0: no intervals)")
        if not 0 < self.level < 1:
            raise ConfigError(f"level={self.level:g} is not between 0 and 1, both left out; 0.95 is usual")

    @classmethod
    def of(cls, settings: Asked) -> Interval:
        """Return what a verb's settings ask for."""
        return cls(settings.replicates, settings.level, settings.seed)

    def among(self, groups: int) -> Interval:
        """Return it as it is made of so many groups."""
        return replace(self, groups=groups) if self.expanded else self

    @property
    def told(self) -> dict[str, Any]:
        """What a report says of it, JSON-ready."""
        return {"replicates": self.replicates, "level": self.level, "seed": self.seed}

    @property
    def method(self) -> str:
        """What it is, in words."""
        return "expanded percentile bootstrap" if self.expanded else "percentile bootstrap"

    @property
    def tails(self) -> tuple[float, float]:
        """The shares of replicates that lie below its lower and its upper end; ValueError if it is expanded by unknown groups.

        Of n groups the lower is the normal distribution's below -sqrt(n / (n - 1)) t, t Student's quantile of n - 1 degrees.
        """
        tail = (1 - self.level) / 2
        if self.expanded:
            from scipy.special import stdtrit

            if self.groups is None:
                raise ValueError("an expanded interval is of a number of groups: Interval.among")
            n = max(2, self.groups)
            tail = NormalDist().cdf(float(np.sqrt(n / (n - 1)) * stdtrit(n - 1, tail)))
        return tail, 1 - tail

    def bounds(self, values: Floats | None) -> tuple[float, float] | tuple[None, None]:
        """Return the percentile interval of (B,) replicate values, undefined ones left out.

        Both ends are None without replicates, or if fewer than half of them are defined.
        """
        defined = np.empty(0) if values is None else values[~np.isnan(values)]
        if values is None or len(defined) < max(2, len(values) / 2):
            return None, None
        low, high = np.quantile(defined, self.tails)
        return float(low), float(high)

    def described(self, value: float | None, drawn: Floats | None, why_none: str = "") -> dict[str, Any]:
        """Return `value`, `low` and `high` of a metric, the percentile interval of its replicates, JSON-ready.

        Args:
            value: The metric; None or NaN where it is undefined.
            drawn: (B,) its replicates, NaN where undefined; None: none were drawn.
            why_none: Why there is no interval, where that is known before; see `Scarcity`.

        Returns:
            Both ends are None where there is no interval, and `no_interval` says why: the reason given, more than half of the
            replicates undefined, or all of them equal, which is no width but a sample too small or too uniform to show any.
        """
        if value is None or np.isnan(value):
            return {"value": None, "low": None, "high": None}
        none = {"value": float(value), "low": None, "high": None}
        if not self.replicates:
            return none
        if drawn is None or why_none:
            return {**none, "no_interval": why_none or "there is one group alone"}
        low, high = self.bounds(drawn)
        if low is None or high is None:
            undefined = int(np.isnan(drawn).sum())
            lost = f"undefined in {undefined} of {len(drawn)} replicates"
            return {**none, "no_interval": lost if undefined else f"{len(drawn)} replicates are too few"}
        if high - low <= 1e-12 * max(1.0, abs(low)):  # equal but for rounding
            return {**none, "no_interval": "every replicate gives the same value"}
        return {"value": float(value), "low": low, "high": high}


DEFAULT_INTERVAL = Interval()
NO_INTERVAL = Interval(replicates=0)
"""For a value alone."""


def value_text(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """Return a metric as text: `0.912 [0.870, 0.951]`, `0.912` without an interval, or `undefined`."""
    if value is None:
        return "undefined"
    return f"{value:.3f}" if low is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def group_codes(groups: Sequence[str]) -> NDArray[np.int64]:
    """Return each sample's group as 0..G-1, by sorted name."""
    return np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1].astype(np.int64)


def replicate_counts(groups: int, replicates: int, seed: int, chunk: int) -> Iterator[Floats]:
    """Yield (b, groups) with b up to `chunk`: how often each group was drawn, with replacement, in each replicate."""
    rng = generator(seed, "bootstrap", groups)
    for start in range(0, replicates, chunk):
        rows = min(chunk, replicates - start)
        draws = rng.integers(groups, size=(rows, groups)) + groups * np.arange(rows)[:, None]
        yield np.bincount(draws.ravel(), minlength=rows * groups).reshape(rows, groups).astype(np.float64)


def replicate_weights(codes: NDArray[np.int64], replicates: int, seed: int) -> Iterator[Floats]:
    """Yield weights (b, N) in chunks: how often each sample's group was drawn in each replicate; see `replicate_counts`."""
    chunk = max(1, CHUNK_VALUES // max(len(codes), 1))
    for counts in replicate_counts(int(codes.max()) + 1, replicates, seed, chunk):
        yield counts[:, codes]


def bootstrap(
    data: Scored, groups: Sequence[str], interval: Interval, bins: int = 15, among: Sequence[str] | None = None
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Compute every metric on every replicate; see `all_metrics` for what comes back, with B = replicates.

    Args:
        data: What was predicted.
        groups: (N,) the group of each sample.
        interval: How intervals are made.
        bins: Of the calibration error.
        among: All groups that are redrawn, of which `groups` are some; None: these alone.

    Returns:
        Empty dicts with fewer than two groups, for which there is no interval.
    """
    names = np.unique(np.asarray(groups if among is None else among, dtype=str))
    codes = np.searchsorted(names, np.asarray(groups, dtype=str)).astype(np.int64)
    if len(names) < 2 or not len(codes) or interval.replicates < 1:
        return {}, {}
    chunk = max(1, CHUNK_VALUES // len(names))
    chunks = replicate_counts(len(names), interval.replicates, interval.seed, chunk)
    parts = [all_metrics(data, counts, bins, codes) for counts in chunks]
    classes = {name: np.concatenate([part[0][name] for part in parts]) for name in parts[0][0]}
    overall = {name: np.concatenate([part[1][name] for part in parts]) for name in parts[0][1]}
    return classes, overall


@dataclass(frozen=True)
class Estimate:
    """One number of one set of predictions.

    Attributes:
        value: The number; None or NaN where it is undefined.
        drawn: (B,) its replicates, NaN where undefined; None: none were drawn.
        why_none: Why there is no interval, where that is known before.
    """

    value: float | None
    drawn: Floats | None
    why_none: str = ""

    def described(self, interval: Interval) -> dict[str, Any]:
        """Return it with its interval; see `Interval.described`."""
        return interval.described(self.value, self.drawn, self.why_none)


@dataclass(frozen=True)
class Measured:
    """Every metric of one set of predictions, with what its interval is made of.

    Attributes:
        classes: Metric → (1, K) values of the classes.
        overall: Metric → (1,) value of the whole.
        drawn: The same of B replicates; empty without any.
        interval: How intervals are made.
        scarcity: Where none is made.
        labels: What was measured.
        with_unit: Metrics of quantities that are in the quantity's unit.
        biased: Metrics that noise makes larger, whatever its sign.
    """

    classes: Mapping[str, Floats]
    overall: Mapping[str, Floats]
    drawn: Mapping[str, Floats]
    interval: Interval
    scarcity: Scarcity
    labels: LabelSpace
    with_unit: Collection[str] = WITH_UNIT
    biased: Collection[str] = ("ece",)

    @classmethod
    def of(
        cls, data: Scored, groups: Sequence[str], interval: Interval, *, bins: int = 15, unit: str = "",
        among: Sequence[str] | None = None
    ) -> Measured:  # fmt: skip
        """Compute all metrics and, over the groups of a `unit`, their replicates; see `bootstrap` for `among`."""
        classes, overall = all_metrics(data, np.ones((1, len(groups))), bins)
        drawn_classes, drawn_overall = bootstrap(data, groups, interval, bins, among)
        interval = interval.among(len(set(groups)))
        return cls(classes, overall, {**drawn_classes, **drawn_overall}, interval, Scarcity.of(data, groups, unit), data.labels)

    def described(self, metric: str) -> dict[str, Any]:
        """Return a metric with its interval, of classes the mean over those that are defined; see `Interval.described`."""
        if self._without_mean(metric):
            return {**self.interval.described(None, None), "no_mean": "the quantities have different units"}
        return self.estimate(metric).described(self.interval)

    def estimate(self, metric: str) -> Estimate:
        """Return a metric with its replicates, of classes the mean over those that are defined.

        A replicate that lost one of those classes is undefined: the mean over the ones left is another quantity.
        """
        drawn = self.drawn.get(metric)
        if metric in self.overall:
            present = ~np.isnan(self.classes["recall"][0]) if metric == "balanced_accuracy" else None
            why = str(self.scarcity.whole or "") if present is None else self.scarcity.of_mean(present)
            why = "" if metric == "soft_cross_entropy" else why  # ties count there, and in no other
            return self._estimate(metric, self.overall[metric][0], drawn, why)
        if metric not in self.classes or self._without_mean(metric):  # top-k of few classes, soft labels where all are hard
            return Estimate(None, None)
        defined = ~np.isnan(self.classes[metric][0])
        means = None if drawn is None or not defined.any() else drawn[:, defined].mean(axis=1)
        return self._estimate(metric, macro_mean(self.classes[metric][0]), means, self.scarcity.of_mean(defined))

    def of_class(self, metric: str, k: int) -> dict[str, Any]:
        """Return a class's own value of a metric with its interval."""
        return self.class_estimate(metric, k).described(self.interval)

    def class_estimate(self, metric: str, k: int) -> Estimate:
        """Return a class's own value of a metric with its replicates."""
        drawn = self.drawn.get(metric)
        own = None if drawn is None else drawn[:, k]
        return self._estimate(metric, self.classes[metric][0, k], own, self.scarcity.of_class(k))

    def _without_mean(self, metric: str) -> bool:
        several = metric in self.with_unit and not self.labels.one_unit and self.labels.kind == "regression"
        return several and metric in self.classes

    def _estimate(self, metric: str, value: float | None, drawn: Floats | None, why: str) -> Estimate:
        if metric in self.biased and drawn is not None and value is not None and not np.isnan(drawn).all():
            # Redrawing adds noise to every bin and so to each gap's absolute value: what it adds on average is taken off again.
            drawn = np.maximum(drawn - (np.nanmean(drawn) - value), 0.0)
        return Estimate(value, drawn, why)
