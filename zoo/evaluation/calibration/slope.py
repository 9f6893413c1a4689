"""Calibration slope and intercept: the logistic regression of what happened on the log-odds that were forecast (Cox 1958).

A slope below 1 says that forecasts are too extreme, above 1 too timid. `in_the_large` is the intercept with the slope held at 1:
above 0 the event is more frequent than forecast (Van Calster et al. 2019, BMC Medicine 17:230).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medzoo.evaluation.metrics import Floats

STEPS = 50
"""Most Newton steps; a regression that has a solution needs about six."""
CELLS = 500
"""Of each outcome, in replicates of a large set."""
SMALL = 1e-6
"""A Newton step below this is the last: what is left is about its square."""


def logistic_recalibration(log_odds: Floats, positive: NDArray[np.bool_], weights: Floats) -> dict[str, Floats]:
    """Fit outcome ~ intercept + slope · log-odds by maximum likelihood, and the intercept alone at slope 1.

    Log-odds and flags (N,), weights (B, N) → `slope`, `intercept`, `in_the_large`, (B,) each. They are undefined (NaN) without
    both outcomes; slope and intercept also where the forecasts do not vary, or where all events lie above (or below) all others,
    for which the likelihood has no maximum.
    """
    outcome = positive.astype(np.float64)
    both = (weights @ outcome > 0) & (weights @ (1 - outcome) > 0)
    middle, spread = (float(log_odds.mean()), float(log_odds.std())) if len(log_odds) else (0.0, 0.0)
    defined = both & ~_separated(log_odds, positive, weights) & (spread > 0)
    intercept, slope = np.full((2, len(weights)), np.nan)
    if defined.any():
        z = (log_odds - middle) / spread
        whole = _line(z, outcome, np.ones((1, len(z))), np.zeros(2))
        inner, outer = _line(z, outcome, weights[defined], np.array(whole)[:, 0])
        slope[defined] = outer / spread
        intercept[defined] = inner - outer * middle / spread
    shift = np.full(len(weights), np.nan)
    if both.any():
        shift[both] = _shift(log_odds, outcome, weights[both], _shift(log_odds, outcome, np.ones((1, len(outcome))))[0])
    return {"slope": slope, "intercept": intercept, "in_the_large": shift}


def in_cells(log_odds: Floats, positive: NDArray[np.bool_], weights: Floats) -> tuple[Floats, NDArray[np.bool_], Floats]:
    """Return fewer samples that stand for many: of each outcome `CELLS` of equal mass, each at the mean of its log-odds.

    Replicates of a large set are fitted to these: of 20,000 samples a replicate moves by less than a tenth of the replicates'
    standard deviation, and their mean by less than a hundredth.

    Args:
        log_odds: (N,).
        positive: (N,).
        weights: (B, N).

    Returns:
        The same for at most 2 · `CELLS` samples; unchanged where there are no more than that.
    """
    if len(log_odds) <= 2 * CELLS:
        return log_odds, positive, weights
    from scipy import sparse  # not above: a runtime that only shows numbers has no scipy

    place = np.zeros(len(log_odds), np.int64)
    outcome: list[bool] = []
    for flag in (True, False):
        rows = np.flatnonzero(positive == flag)
        rows = rows[np.argsort(log_odds[rows], kind="stable")]
        cells = min(CELLS, len(rows))
        place[rows] = len(outcome) + (np.arange(len(rows)) * cells) // max(len(rows), 1)
        outcome += [flag] * cells
    cells_of = sparse.csr_array((np.ones(len(place)), (place, np.arange(len(place)))), shape=(len(outcome), len(place)))
    means = (cells_of @ log_odds) / np.bincount(place, minlength=len(outcome))
    return means, np.array(outcome), np.ascontiguousarray((cells_of @ weights.T).T)


def _separated(log_odds: Floats, positive: NDArray[np.bool_], weights: Floats) -> NDArray[np.bool_]:
    """Whether a threshold parts events from the others in each replicate, (B,); forecasts on it may be of either."""
    lows, highs = [], []
    for flag in (True, False):
        rows = np.flatnonzero(positive == flag)
        rows = rows[np.argsort(log_odds[rows], kind="stable")]
        drawn = weights[:, rows] > 0
        if not len(rows):
            return np.ones(len(weights), bool)
        lows.append(log_odds[rows[drawn.argmax(axis=1)]])
        highs.append(log_odds[rows[len(rows) - 1 - drawn[:, ::-1].argmax(axis=1)]])
    return np.asarray((lows[0] >= highs[1]) | (highs[0] <= lows[1]))


def _line(values: Floats, outcome: Floats, weights: Floats, start: Floats) -> tuple[Floats, Floats]:
    """Return intercept and slope (B,) of standardised values by Newton's method; NaN where it did not settle.

    `start` (2,) is a guess at both, the solution of all samples for those of replicates: two steps or three are enough then.
    """
    inner, outer = np.repeat(np.nan_to_num(start)[:, None], len(weights), axis=1)
    settled = np.zeros(len(weights), bool)
    for _ in range(STEPS):
        left = ~settled
        w = weights[left]
        p = _sigmoid(inner[left, None] + outer[left, None] * values)
        rest, curve = w * (outcome - p), w * p * (1 - p)
        g0, g1 = rest.sum(axis=1), rest @ values
        h00, h01, h11 = curve.sum(axis=1), curve @ values, curve @ values**2
        with np.errstate(divide="ignore", invalid="ignore"):
            steps = np.stack([h11 * g0 - h01 * g1, h00 * g1 - h01 * g0]) / (h00 * h11 - h01**2)
        steps = np.clip(steps, -2.0, 2.0)  # from far away a full step may leap past the solution for good
        inner[left] += steps[0]
        outer[left] += steps[1]
        settled[left] = np.abs(steps).max(axis=0) < SMALL
        if settled.all() or np.isnan(steps).all():
            break
    inner, outer = (np.where(settled, part, np.nan) for part in (inner, outer))
    return inner, outer


def _shift(offset: Floats, outcome: Floats, weights: Floats, start: float = 0.0) -> Floats:
    """Return (B,) what must be added to all log-odds that as many events are forecast as there were.

    By Newton's method inside a bracket that shrinks: where probabilities are saturated a bare step leaps to and fro.
    """
    far = float(np.abs(offset).max()) + 50.0
    low, high, at = np.full(len(weights), -far), np.full(len(weights), far), np.full(len(weights), float(start))
    for _ in range(2 * STEPS):
        p = _sigmoid(offset + at[:, None])
        lacking = (weights * (outcome - p)).sum(axis=1)
        low, high = np.where(lacking > 0, at, low), np.where(lacking < 0, at, high)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = at + lacking / (weights * p * (1 - p)).sum(axis=1)
        new = np.where((step > low) & (step < high), step, np.where(lacking == 0, at, (low + high) / 2))
        moved, at = np.abs(new - at).max(), new
        if moved < SMALL:
            break
    return at


def _sigmoid(values: Floats) -> Floats:
    return 1 / (1 + np.exp(-np.clip(values, -700, 700)))
