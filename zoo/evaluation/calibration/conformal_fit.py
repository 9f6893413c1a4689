"""Fitting prediction sets to the validation split: conformal prediction, on crepes, and conformal risk control.

What is exchangeable are patients, not images: of each patient one image, drawn at random, enters the fit.
"""

from __future__ import annotations

import warnings

import numpy as np
from crepes import ConformalClassifier, ConformalRegressor
from numpy.typing import NDArray

from medzoo.data.errors import EvaluationError
from medzoo.data.seeding import generator
from medzoo.evaluation.calibration.conformal import Conformal
from medzoo.evaluation.metrics import Floats, Scored, scored
from medzoo.evaluation.predictions import Predictions

SLACK = 1e-3
"""How much a threshold is lowered, in log-odds: the sample that sets it would else be in or out by its last digit."""


def fit_conformal(
    predictions: Predictions, coverage: float, by: str, seed: int = 0
) -> tuple[Conformal, dict[str, int], list[str]]:
    """Fit prediction sets to the val split of predictions; no other split is looked at.

    Exclusive classes: split conformal sets of a class's probability (Sadinle et al. 2019), `by="class"` of each true class by
    itself (Mondrian: Vovk 2012). Findings: the highest threshold at which the expected share of a patient's findings that is
    missed stays within 1 − coverage, over patients who have any (conformal risk control: Angelopoulos et al. 2024, ICLR).
    Quantities: the interval of absolute residuals, each quantity by itself.

    Args:
        predictions: With their val split; already calibrated where they are to be.
        coverage: Above 0 and below 1.
        by: `split` or, for exclusive classes, `class`.
        seed: Of the draw of one image a patient.

    Returns:
        The thresholds; how many `samples` and `images` (before the draw) they are of; and what is to be said.

    Raises:
        EvaluationError: If there is no val split or no label in it.
    """
    if "val" not in set(predictions.split):
        raise EvaluationError("evaluation.conformal is fitted on the val split; predict it too: evaluation.splits=[val,...]")
    val = predictions.of_split("val")
    data, labels = scored(val.labels, val.targets, val.logits), val.labels
    usable: NDArray[np.bool_] = np.asarray(data.observed.any(axis=1))
    if labels.kind == "multilabel":
        usable &= (data.observed & (data.truth == 1)).any(axis=1)
    if not usable.any():
        what = "finding" if labels.kind == "multilabel" else "label"
        raise EvaluationError(f"evaluation.conformal is fitted on the val split, which has no {what}; leave it out")
    rows = one_a_group(val.group, usable, seed)
    told = {"samples": len(rows), "images": int(usable.sum())}
    notes = []
    if len(rows) < usable.sum():
        notes.append(f"prediction sets: of {int(usable.sum())} val images one a {val.split_unit} was drawn, {len(rows)}")
    if labels.kind == "regression":
        widths = tuple(_half_width(data, rows, k, coverage) for k in range(labels.width))
        notes += [_few(name, coverage) for name, width in zip(labels.names, widths, strict=True) if width is None]
        return Conformal(labels, coverage, by, widths=widths), told, notes
    if labels.kind == "multilabel":
        level = risk_threshold(data.probabilities[rows], (data.observed & (data.truth == 1))[rows], 1 - coverage)
        thresholds = (_lowered(level),) * labels.width
        notes += [_few("any finding", coverage)] if level == 0 else []
    else:
        levels = class_thresholds(data.probabilities[rows], data.truth[rows].argmax(axis=1), coverage, by)
        thresholds = tuple(map(_lowered, levels))
        named = labels.names if by == "class" else ("any class",)
        notes += [_few(name, coverage) for name, level in zip(named, thresholds, strict=False) if level == 0]
    return Conformal(labels, coverage, by, thresholds), told, notes


def one_a_group(groups: NDArray[np.object_], usable: NDArray[np.bool_], seed: int) -> NDArray[np.int64]:
    """Return rows, ascending: of each group one of those that are usable, drawn at random."""
    places = np.flatnonzero(usable)
    shuffled = generator(seed, "conformal").permutation(places)
    _, first = np.unique(groups[shuffled].astype(str), return_index=True)
    return np.sort(shuffled[first])


def class_thresholds(probabilities: Floats, truth: NDArray[np.int64], coverage: float, by: str) -> list[float]:
    """Return the lowest probability of each class that crepes' p-value accepts at 1 − coverage; 0 where it accepts any.

    (n, K) probabilities and (n,) true classes of the calibration set; the score of a class is its probability, negative.
    """
    own = probabilities[np.arange(len(truth)), truth]
    kinds = truth if by == "class" else np.zeros(len(truth), np.int64)
    fitted = ConformalClassifier().fit(-own, bins=kinds)
    found = []
    for kind in range(probabilities.shape[1] if by == "class" else 1):
        tried = np.concatenate([[-1.0], np.unique(own[kinds == kind])])  # below all that is seen, and each that is
        accepted = fitted.predict_p(-tried, bins=np.full(len(tried), kind), smoothing=False) > 1 - coverage + 1e-12
        found.append(max(0.0, float(tried[accepted].min())))
    return found if by == "class" else found * probabilities.shape[1]


def risk_threshold(probabilities: Floats, positive: NDArray[np.bool_], rate: float) -> float:
    """Return the highest threshold λ with (Σ loss(λ) + 1) / (n + 1) ≤ rate; 0 if there is none.

    (n, K) probabilities and true findings, at least one a row; a row's loss is the share of its findings below λ. (Theorem 1 of
    Angelopoulos et al. 2024, for losses of at most 1.)
    """
    share = positive / positive.sum(axis=1, keepdims=True)
    values, weights = probabilities[positive], share[positive]
    order = np.argsort(values)
    levels, starts = np.unique(values[order], return_index=True)
    missed = np.concatenate([[0.0], np.cumsum(weights[order])])[starts]  # what lies below each level
    held = (missed + 1) / (len(probabilities) + 1) <= rate + 1e-12
    return float(levels[held].max()) if held.any() else 0.0


def _half_width(data: Scored, rows: NDArray[np.int64], k: int, coverage: float) -> float | None:
    known = rows[data.observed[rows, k]]
    residuals = data.truth[known, k] - data.scores[known, k]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of too few samples, which are told by name
        # Less by a hair: crepes' own arithmetic takes nine samples at 0.9 for too few, by a rounding of 1 - 0.9.
        width = float(ConformalRegressor().fit(residuals).predict_int(np.zeros(1), confidence=coverage - 1e-9)[0, 1])
    return width if np.isfinite(width) else None


def _lowered(level: float) -> float:
    return level if level <= 0 else float(level / (level + (1 - level) * np.exp(SLACK)))


def _few(name: str, coverage: float) -> str:
    return f"prediction sets: few val samples of {name} for a coverage of {coverage:g}: it is in every set or has no interval"
