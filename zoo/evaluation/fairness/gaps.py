"""What a metric's values in the levels of a column say of their disparity, each with what a band around them leaves possible.

With m the metric of the whole split and mₗ of its levels:

- gap: max mₗ − min mₗ; ratio: min mₗ / max mₗ (as `fairlearn.metrics.MetricFrame` has them, between groups).
- performance-scaled disparity, PSD (Luo et al., FairVision: Equitable Deep Learning for Eye Disease Screening via Fair Identity
  Scaling, arXiv 2310.02492; `compute_between_group_disparity` of the authors' code, commit 59eb3f1): mean PSD is the standard
  deviation of the mₗ (over L, not L − 1) divided by m, max PSD their gap divided by m.
- equity-scaled: m / (1 + Σ |m − mₗ|) (Luo et al., Harvard Glaucoma Fairness, IEEE TMI 2024; `equity_scaled_AUC` and
  `equity_scaled_accuracy` of the same code, α = 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from medzoo.evaluation.bootstrap import Interval
from medzoo.evaluation.fairness.bands import (
    Bounds,
    equity_bounds,
    half_widths,
    range_bounds,
    spread_bounds,
    unseen_error,
    whole_replicates,
)
from medzoo.evaluation.fairness.measured import Compared
from medzoo.evaluation.metrics import Floats

FEW = "fewer than two levels can be compared"


@dataclass(frozen=True)
class Levels:
    """A metric in the levels that count.

    Attributes:
        values: (L,).
        whole: Of the split.
        drawn: (B, L) replicates that are whole; None where there are too few.
        drawn_whole: (B,).
        added: (L,) standard errors beside theirs.
        level: Coverage.
        samples: (L,) labelled ones of each level.
        most: The largest that a gap can be: 1 of shares.
        no_interval: Why there is none.
    """

    values: Floats
    whole: float
    drawn: Floats | None
    drawn_whole: Floats | None
    added: Floats
    level: float
    samples: Floats
    most: float
    no_interval: str = ""

    @classmethod
    def of(
        cls, compared: Compared, found: tuple[Floats, float], redrawn: tuple[Floats, Floats], interval: Interval, *, share: bool
    ) -> Levels:
        """Keep the replicates that have all levels; fewer than half of them make no band.

        Args:
            compared: Which levels.
            found: (L,) values of the levels, and the whole's.
            redrawn: (B, L) and (B,) the same of each replicate; B may be 0.
            interval: How intervals are made.
            share: Whether the metric is a share of groups, 0 to 1.
        """
        (values, whole), (drawn, drawn_whole) = found, redrawn
        samples, most, none = compared.samples.astype(np.float64), 1.0 if share else np.inf, np.zeros_like(values)
        if len(values) < 2 or not len(drawn):
            return cls(values, whole, None, None, none, interval.level, samples, most)
        kept = whole_replicates(drawn, drawn_whole)
        if kept.sum() < max(2, len(drawn) / 2):
            why = f"undefined in {int((~kept).sum())} of {len(drawn)} replicates"
            return cls(values, whole, None, None, none, interval.level, samples, most, why)
        added = unseen_error(drawn[kept], compared.groups) if share else none
        return cls(values, whole, drawn[kept], drawn_whole[kept], added, interval.level, samples, most)

    def described(self, value: float | None, bounds: Bounds | None, why: str = "") -> dict[str, Any]:
        """Return a number with its bounds, JSON-ready; `why` it has none."""
        if value is None or not np.isfinite(value):
            return {"value": None, "low": None, "high": None, "undefined": why or "undefined"}
        if bounds is None:
            why = why or self.no_interval
            return {"value": float(value), "low": None, "high": None, **({"no_interval": why} if why else {})}
        return {"value": float(value), "low": bounds[0], "high": bounds[1]}

    def gap(self) -> dict[str, Any]:
        """Return max − min; the interval is what the differences of all pairs leave possible."""
        if len(self.values) < 2:
            return self.described(None, None, FEW)
        return self.described(float(np.ptp(self.values)), self._range())

    def ratio(self) -> dict[str, Any]:
        """Return min / max; its interval is that of the range of logarithms."""
        if len(self.values) < 2:
            return self.described(None, None, FEW)
        if self.values.min() < 0 or self.values.max() <= 0:
            return self.described(None, None, "no value is above 0, or one is below it")
        value = float(self.values.min() / self.values.max())
        if self.drawn is None:
            return self.described(value, None)
        if self.values.min() <= 0 or self.drawn.min() <= 0:
            return self.described(value, None, "a level's value is 0 in some replicates")
        low, high = range_bounds(np.log(self.values), np.log(self.drawn), self.level, self.added / self.values)
        return self.described(value, (float(np.exp(-high)), float(np.exp(-low))))

    def psd(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return mean and max PSD; of the whole's own error, small beside theirs, their intervals say nothing."""
        if len(self.values) < 2 or not self.whole > 0:
            none = self.described(None, None, FEW if len(self.values) < 2 else "the whole is not above 0")
            return none, none
        spread = None if self.drawn is None else spread_bounds(self.values, self.drawn, self.level, self.added)
        pairs = ((float(self.values.std()), spread), (float(np.ptp(self.values)), self._range()))
        mean, largest = (
            self.described(value / self.whole, None if bounds is None else (bounds[0] / self.whole, bounds[1] / self.whole))
            for value, bounds in pairs
        )
        return mean, largest

    def equity_scaled(self) -> dict[str, Any]:
        """Return the metric of the whole, the less the more the levels differ from it."""
        if len(self.values) < 2:
            return self.described(None, None, FEW)
        value = self.whole / (1 + float(np.abs(self.whole - self.values).sum()))
        if self.drawn is None or self.drawn_whole is None:
            return self.described(value, None)
        return self.described(value, equity_bounds(self.values, self.whole, self.drawn, self.drawn_whole, self.level, self.added))

    def differences(self, columns: int) -> list[dict[str, Any]]:
        """Return each level less the others, in one band for all levels of all of so many columns.

        The others are the mean of their values, by samples. A ranking of the whole split will not do: it compares patients of
        several levels, and falls for all of them where one level's scores are shifted.
        """
        if len(self.values) < 2:
            return [self.described(None, None, FEW) for _ in self.values]
        contrast = np.eye(len(self.values)) - (1 - np.eye(len(self.values))) * self.samples / (
            self.samples.sum() - self.samples[:, None]
        )
        away = contrast @ self.values
        if self.drawn is None:
            return [self.described(float(value), None) for value in away]
        level = 1 - (1 - self.level) / max(columns, 1)  # Bonferroni over columns, max-t within each
        width = half_widths(self.drawn @ contrast.T, level, np.sqrt(contrast**2 @ self.added**2))
        return [self.described(float(a), (float(a - w), float(a + w))) for a, w in zip(away, width, strict=True)]

    def _range(self) -> Bounds | None:
        if self.drawn is None:
            return None
        low, high = range_bounds(self.values, self.drawn, self.level, self.added)
        return low, min(high, self.most)
