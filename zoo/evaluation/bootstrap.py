"""Intervals by the percentile bootstrap over groups (Efron and Tibshirani 1993, chapter 13; whole groups are redrawn).

Samples of one patient are not independent; redrawing patients instead of images keeps intervals honest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ConfigError
from medzoo.data.labels import LabelSpace
from medzoo.data.seeding import generator
from medzoo.evaluation.metrics import WITH_UNIT, Floats, Scored, all_metrics, macro_mean

CHUNK_VALUES = 4_000_000
"""Weights held at once (32 MB a copy), whatever the number of samples and replicates."""
FEWEST_GROUPS = 5
"""Groups with a class, and groups without it, from which on an interval is made: redrawing fewer says next to nothing of the
patients nobody has seen (the bootstrap's intervals are too short in small samples: Efron and Tibshirani 1993, section 13.3)."""


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

    Raises:
        ConfigError: If one is out of range.
    """

    replicates: int = 1000
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.replicates < 0:
            raise ConfigError(f"replicates={self.replicates} must be at least 0 (0: no intervals)")
        if not 0 < self.level < 1:
            raise ConfigError(f"level={self.level:g} is not between 0 and 1, both left out; 0.95 is usual")

    @classmethod
    def of(cls, settings: Asked) -> Interval:
        """Return what a verb's settings ask for."""
        return cls(settings.replicates, settings.level, settings.seed)

    def bounds(self, values: Floats | None) -> tuple[float, float] | tuple[None, None]:
        """Return the percentile interval of (B,) replicate values, undefined ones left out.

        Both ends are None without replicates, or if fewer than half of them are defined.
        """
        defined = np.empty(0) if values is None else values[~np.isnan(values)]
        if values is None or len(defined) < max(2, len(values) / 2):
            return None, None
        low, high = np.quantile(defined, [(1 - self.level) / 2, (1 + self.level) / 2])
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


@dataclass(frozen=True)
class Lack:
    """Groups that are too few to be redrawn.

    Attributes:
        found: How many there are.
        of: What they are groups of, and which they are: `patient groups with it`.
    """

    found: int
    of: str

    def __str__(self) -> str:
        return f"{self.found} {self.of}, at least {FEWEST_GROUPS} are needed"


@dataclass(frozen=True)
class Scarcity:
    """Why no interval is made of a metric: fewer than `FEWEST_GROUPS` groups to redraw.

    Attributes:
        whole: Of metrics over all samples.
        positive: Of each class, groups with it; of a quantity, groups where it was measured.
        negative: Of each class, groups without it.
        names: The classes.
    """

    whole: Lack | None
    positive: tuple[Lack | None, ...]
    negative: tuple[Lack | None, ...]
    names: tuple[str, ...]

    @classmethod
    def of(cls, data: Scored, groups: Sequence[str], unit: str = "") -> Scarcity:
        """Count the groups with each class and without it; of quantities those where it was measured."""
        codes = np.asarray(groups, dtype=str)

        def lack(rows: NDArray[np.bool_], what: str) -> Lack | None:
            found = len(np.unique(codes[rows]))
            return Lack(found, f"{unit} groups {what}".strip()) if found < FEWEST_GROUPS else None

        quantity = data.labels.kind == "regression"
        known = [data.observed[:, k] for k in range(data.labels.width)]
        measured, present = "measured" if quantity else "with it", data.truth == 1
        return cls(
            lack(np.asarray(data.observed.any(axis=1)), "labelled"),
            tuple(lack(seen if quantity else seen & present[:, k], measured) for k, seen in enumerate(known)),
            tuple(None if quantity else lack(seen & ~present[:, k], "without it") for k, seen in enumerate(known)),
            data.labels.names,
        )

    def of_class(self, k: int) -> str:
        """Return why there is none of a class's own metrics; empty where there is one."""
        return str(self.positive[k] or self.negative[k] or "")

    def of_mean(self, defined: NDArray[np.bool_]) -> str:
        """Return why there is none of a mean over the classes that are defined (K,): the rarest, and how many more are scarce."""
        for lacks in (self.positive, self.negative):  # of two classes the rare one, not the other that as few samples are without
            scarce = [(lack.found, k) for k in np.flatnonzero(defined) if (lack := lacks[k]) is not None]
            if scarce:
                more = f", and {len(scarce) - 1} more classes have too few" if len(scarce) > 1 else ""
                rarest = min(scarce)[1]
                return f"{self.names[rarest]}: {lacks[rarest]}{more}"
        return str(self.whole or "")


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


def replicate_weights(codes: NDArray[np.int64], replicates: int, seed: int) -> Iterator[Floats]:
    """Yield weights (b, N) in chunks: how often each sample's group was drawn, with replacement, in each replicate."""
    groups = int(codes.max()) + 1
    rng = generator(seed, "bootstrap", groups)
    chunk = max(1, CHUNK_VALUES // max(len(codes), 1))
    for start in range(0, replicates, chunk):
        draws = rng.integers(groups, size=(min(chunk, replicates - start), groups))
        counts = np.stack([np.bincount(row, minlength=groups) for row in draws])
        yield counts[:, codes].astype(np.float64)


def bootstrap(
    data: Scored, groups: Sequence[str], interval: Interval, bins: int = 15
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Compute every metric on every replicate; see `all_metrics` for what comes back, with B = replicates.

    Returns empty dicts with fewer than two groups, for which there is no interval.
    """
    codes = group_codes(groups)
    if not len(codes) or codes.max() < 1 or interval.replicates < 1:
        return {}, {}
    parts = [all_metrics(data, weights, bins) for weights in replicate_weights(codes, interval.replicates, interval.seed)]
    classes = {name: np.concatenate([part[0][name] for part in parts]) for name in parts[0][0]}
    overall = {name: np.concatenate([part[1][name] for part in parts]) for name in parts[0][1]}
    return classes, overall


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
    def of(cls, data: Scored, groups: Sequence[str], interval: Interval, *, bins: int = 15, unit: str = "") -> Measured:
        """Compute all metrics and, over the groups of a `unit`, their replicates."""
        classes, overall = all_metrics(data, np.ones((1, len(groups))), bins)
        drawn_classes, drawn_overall = bootstrap(data, groups, interval, bins)
        return cls(classes, overall, {**drawn_classes, **drawn_overall}, interval, Scarcity.of(data, groups, unit), data.labels)

    def described(self, metric: str) -> dict[str, Any]:
        """Return a metric with its interval, of classes the mean over those that are defined; see `Interval.described`.

        A replicate that lost one of those classes is undefined: the mean over the ones left is another quantity.
        """
        drawn = self.drawn.get(metric)
        if metric in self.overall:
            present = ~np.isnan(self.classes["recall"][0]) if metric == "balanced_accuracy" else None
            why = str(self.scarcity.whole or "") if present is None else self.scarcity.of_mean(present)
            why = "" if metric == "soft_cross_entropy" else why  # ties count there, and in no other
            return self._described(metric, self.overall[metric][0], drawn, why)
        if metric not in self.classes:  # top-k of few classes, soft labels where all are hard
            return self.interval.described(None, None)
        if metric in self.with_unit and not self.labels.one_unit and self.labels.kind == "regression":
            return {**self.interval.described(None, None), "no_mean": "the quantities have different units"}
        defined = ~np.isnan(self.classes[metric][0])
        means = None if drawn is None or not defined.any() else drawn[:, defined].mean(axis=1)
        return self._described(metric, macro_mean(self.classes[metric][0]), means, self.scarcity.of_mean(defined))

    def of_class(self, metric: str, k: int) -> dict[str, Any]:
        """Return a class's own value of a metric with its interval."""
        drawn = self.drawn.get(metric)
        return self._described(
            metric, self.classes[metric][0, k], None if drawn is None else drawn[:, k], self.scarcity.of_class(k)
        )

    def _described(self, metric: str, value: float | None, drawn: Floats | None, why: str) -> dict[str, Any]:
        if metric in self.biased and drawn is not None and value is not None and not np.isnan(drawn).all():
            # Redrawing adds noise to every bin and so to each gap's absolute value: what it adds on average is taken off again.
            drawn = np.maximum(drawn - (np.nanmean(drawn) - value), 0.0)
        return self.interval.described(value, drawn, why)
