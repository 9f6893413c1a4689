"""Fitting a calibrator to the labelled samples of the validation split."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from sklearn.isotonic import IsotonicRegression

from medzoo.data.errors import EvaluationError
from medzoo.data.labels import LabelSpace, log_sum_exp
from medzoo.evaluation.calibration.calibrator import METHODS, Calibrator
from medzoo.evaluation.metrics import Floats, Scored, scored

TEMPERATURES = (0.05, 20.0)
"""Where a temperature is looked for: outside, the validation split is parted without error, or says nothing."""
NEAREST = 0.05
"""Least distance of an isotonic map's knots in log-odds: two nearer ones are taken together. A jump would make what a graph says
depend on the last digits of its arithmetic, which the proof of an exported file, fp16 and int8 do not keep."""
Map = tuple[tuple[float, ...], tuple[float, ...]]
_SAME: Map = ((), ())


def fit_calibrator(
    method: str, labels: LabelSpace, targets: NDArray[np.float32], logits: NDArray[np.float32]
) -> tuple[Calibrator, list[str]]:
    """Fit a calibrator; missing labels are left out.

    Args:
        method: One of `METHODS`.
        labels: Of classes or findings.
        targets: (N, K) of the validation split, NaN where missing.
        logits: (N, K) of the model.

    Returns:
        The calibrator, and what is to be said of it.

    Raises:
        EvaluationError: If labels are quantities, no label is there, or the method is unknown.
    """
    if method not in METHODS:
        raise EvaluationError(f"evaluation.calibration={method} is none of {', '.join(METHODS)}")
    if labels.kind == "regression":
        raise EvaluationError(f"evaluation.calibration={method} is for probabilities; quantities have none: leave it out")
    data = scored(labels, targets, logits)
    if not data.observed.any():
        raise EvaluationError(
            f"evaluation.calibration={method} is fitted on the val split, which has no label; use evaluation.calibration=none"
        )
    if method == "temperature":
        temperature, notes = _temperature(data, np.asarray(logits, np.float64))
        return Calibrator(method, labels, temperature), notes
    notes = []
    lines, maps = [(1.0, 0.0)] * labels.width, [_SAME] * labels.width
    for k, name in enumerate(labels.names):
        seen = data.observed[:, k]
        truth = data.truth[seen, k]
        if not len(truth) or truth.min() == truth.max():
            what = "positive" if not truth.any() else "negative"
            kept = "log-odds, and all are then brought to sum 1" if labels.exclusive else "probability"
            notes.append(f"{name} keeps the model's own {kept}: the val split has no {what} sample of it")
            continue
        if method == "platt":
            lines[k] = _platt(data.scores[seen, k], truth)
        else:
            maps[k] = _isotonic(data.scores[seen, k], truth)
        if lines[k][0] <= 0:
            notes.append(f"{name}: on the val split the model ranks it the wrong way round, and the calibrator turns it")
        elif method == "isotonic" and len(maps[k][0]) == 1:
            notes.append(
                f"{name}: on the val split it is no more frequent where the model says so: its probability is now constant"
            )
    if method == "platt":
        slopes, intercepts = zip(*lines, strict=True)
        return Calibrator(method, labels, slopes=slopes, intercepts=intercepts), notes
    return Calibrator(method, labels, knots=tuple(maps)), notes


def _temperature(data: Scored, logits: Floats) -> tuple[float, list[str]]:
    """Minimise the mean negative log likelihood over the logarithm of the temperature, in which it has one minimum."""
    if data.labels.exclusive:
        seen = data.observed[:, 0]
        shown, truth = logits[seen], data.truth[seen] == 1

        def loss(inverse: float) -> float:
            return float((log_sum_exp(inverse * shown) - inverse * shown[truth]).mean())
    else:
        # -log sigmoid(±z): one number for every finding that is known.
        signed = np.where(data.truth == 1, logits, -logits)[data.observed]

        def loss(inverse: float) -> float:
            return float(np.logaddexp(0.0, -inverse * signed).mean())

    def of_log(value: float) -> float:
        return loss(float(np.exp(-value)))

    low, high = np.log(TEMPERATURES)
    found = float(minimize_scalar(of_log, bounds=(low, high), method="bounded", options={"xatol": 1e-10}).x)
    notes = []
    for end, said in ((low, "the val split is parted without error"), (high, "the logits say nothing of the val split")):
        if abs(found - end) < 1e-3:
            notes.append(f"the temperature stands at its limit of {np.exp(end):g}: {said}")
    return float(np.exp(found)), notes


def _platt(odds: Floats, truth: Floats) -> tuple[float, float]:
    """Fit σ(a·z + b) to Platt's targets, (n₊ + 1) / (n₊ + 2) and 1 / (n₋ + 2), which keep it finite where classes part."""
    positives = float(truth.sum())
    targets = np.where(truth == 1, (positives + 1) / (positives + 2), 1 / (len(truth) - positives + 2))
    middle, spread = float(odds.mean()), float(odds.std()) or 1.0
    z = (odds - middle) / spread

    def loss(line: Floats) -> tuple[float, Floats]:
        shown = line[0] * z + line[1]
        rest = 1 / (1 + np.exp(-np.clip(shown, -700, 700))) - targets
        value = float((np.logaddexp(0.0, shown) - targets * shown).mean())
        return value, np.array([(rest * z).mean(), rest.mean()])

    a, b = minimize(loss, np.zeros(2), jac=True, method="BFGS", options={"gtol": 1e-9}).x
    return float(a / spread), float(b - a * middle / spread)


def _isotonic(odds: Floats, truth: Floats) -> Map:
    """Fit a rising map by pooling adjacent violators; a knot is the middle of a block (Oron and Flournoy 2017, Biometrika).

    Between the knots the log-odds rise in a straight line, so that what the model ranks stays ranked. The blocks at the ends, of
    n samples all negative or all positive, say half a sample of n + 1, which keeps the logits finite.
    """
    level = IsotonicRegression(y_min=0, y_max=1).fit(odds, truth).predict(odds)
    order = np.argsort(odds, kind="stable")
    odds, level = odds[order], level[order]
    block = np.concatenate([[0], np.cumsum(np.diff(level) > 1e-12)])
    size = np.bincount(block).astype(np.float64)
    # (samples, sum of places, sum of levels) of each knot, the nearer ones taken together
    knots: list[list[float]] = []
    for entry in zip(size, np.bincount(block, odds), np.bincount(block, level), strict=True):
        knots.append(list(entry))
        if len(knots) > 1 and knots[-1][1] / knots[-1][0] - knots[-2][1] / knots[-2][0] < NEAREST:
            last = knots.pop()
            knots[-1] = [a + b for a, b in zip(knots[-1], last, strict=True)]
    counts, totals, levels = (np.array(column) for column in zip(*knots, strict=True))
    shares, half = levels / counts, 0.5 / (counts + 1)
    if len(shares) > 1:  # a few samples of one kind at an end prove no certainty, nor that it falls behind the next
        shares[0] = max(shares[0], min(half[0], shares[1]))
        shares[-1] = min(shares[-1], max(1 - half[-1], shares[-2]))
    places = tuple(map(float, totals / counts))
    return places, tuple(map(float, np.log(shares / (1 - shares))))
