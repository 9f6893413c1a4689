"""Forecasts in bins: how far off each is (ECE, MCE), and the Brier score by its parts (Murphy 1973; Stephenson et al. 2008).

As in `medzoo.evaluation.metrics`, `weights` (B, N) hold a bootstrap replicate a row; what comes back is (B,), NaN without weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medzoo.evaluation.metrics import Floats

Places = NDArray[np.int64]


def equal_width(forecasts: Floats, bins: int) -> Places:
    """Return the bin of each forecast (N,) in 0..1; each holds (low, high], the first also 0."""
    return np.clip(np.ceil(forecasts * bins).astype(np.int64) - 1, 0, bins - 1)


def equal_mass(forecasts: Floats, bins: int) -> Places:
    """Return the bin of each forecast, cut at quantiles; equal forecasts share one, so that there may be fewer."""
    if not len(forecasts):
        return np.zeros(0, np.int64)
    edges = np.quantile(forecasts, np.linspace(0, 1, bins + 1)[1:-1])
    return np.searchsorted(edges, forecasts, side="left").astype(np.int64)


@dataclass(frozen=True)
class Binned:
    """Weighted sums of a binary forecast over bins, (B, bins) each.

    Attributes:
        count: Of the weights.
        forecast: Of the forecasts.
        outcome: Of the outcomes.
        squares: Of the squared forecasts.
        products: Of forecast times outcome.
    """

    count: Floats
    forecast: Floats
    outcome: Floats
    squares: Floats
    products: Floats

    @classmethod
    def of(cls, forecasts: Floats, outcomes: Floats, weights: Floats, places: Places) -> Binned:
        """Sum forecasts (N,) in 0..1 and outcomes (N,), 0 or 1, over the bins that `places` (N,) names."""
        member = np.zeros((len(forecasts), int(places.max(initial=0)) + 1))
        member[np.arange(len(forecasts)), places] = 1.0
        columns = (np.ones(len(forecasts)), forecasts, outcomes, forecasts**2, forecasts * outcomes)
        return cls(*(weights @ (member * column[:, None]) for column in columns))

    @property
    def total(self) -> Floats:
        """Return (B,) the weight of each replicate."""
        return np.asarray(self.count.sum(axis=1))

    def gaps(self) -> Floats:
        """Return (B, bins) how far the mean forecast of each bin is from what happened; 0 of an empty one."""
        return np.abs(_divided(self.forecast - self.outcome, self.count, 0.0))

    def expected_error(self) -> Floats:
        """Return the mean gap, each bin by its weight (Naeini et al. 2015)."""
        return _divided((self.count * self.gaps()).sum(axis=1), self.total)

    def largest_error(self) -> Floats:
        """Return the largest gap of any bin (Naeini et al. 2015)."""
        return np.where(self.total > 0, self.gaps().max(axis=1), np.nan)

    def decomposition(self) -> dict[str, Floats]:
        """Split the Brier score, the mean of (forecast − outcome)².

        `reliability` − `resolution` + `uncertainty` + `within_bin_variance` − `within_bin_covariance` is the Brier score of the
        forecasts themselves. Murphy's three terms alone are that of forecasts which all equal their bin's mean; the last two,
        of Stephenson et al. 2008 (equation 7), are 0 where each bin holds one forecast.
        """
        total = self.total
        rate = _divided(self.outcome.sum(axis=1), total)
        mean_forecast, mean_outcome = (_divided(part, self.count, 0.0) for part in (self.forecast, self.outcome))
        spread = self.squares - self.count * mean_forecast**2
        common = self.products - self.count * mean_forecast * mean_outcome
        return {
            "reliability": _divided((self.count * (mean_forecast - mean_outcome) ** 2).sum(axis=1), total),
            "resolution": _divided((self.count * (mean_outcome - rate[:, None]) ** 2).sum(axis=1), total),
            "uncertainty": rate * (1 - rate),
            "within_bin_variance": _divided(spread.sum(axis=1), total),
            "within_bin_covariance": _divided(2 * common.sum(axis=1), total),
        }


def _divided(above: Floats, below: Floats, empty: float = np.nan) -> Floats:
    return np.asarray(np.divide(above, below, out=np.full(np.broadcast(above, below).shape, empty), where=below > 0))
