"""How right answers are, of a reader or of a model at a threshold: accuracy, sensitivity, specificity, kappa, with replicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ConfigError
from medzoo.evaluation.bootstrap import CHUNK_VALUES, Estimate, Interval, Scarcity, replicate_counts
from medzoo.evaluation.metrics import Scored
from medzoo.evaluation.weighting import Floats, Weighting, ratio

METRICS = ("accuracy", "sensitivity", "specificity", "kappa")


def model_answers(data: Scored, threshold: float | None) -> NDArray[np.bool_]:
    """Return (N, K) what a model says: its most probable class, or each finding that is more probable than the threshold.

    Args:
        data: What it predicted.
        threshold: None: the most probable class, 0.5 for findings. Of two classes the second is said above it.

    Raises:
        ConfigError: If it is no probability, or classes are more than two.
    """
    if threshold is not None and not 0 < threshold < 1:
        raise ConfigError(f"--threshold {threshold:g} is not between 0 and 1, both left out")
    if data.labels.kind == "multilabel":
        return np.asarray(data.probabilities > (0.5 if threshold is None else threshold))
    if threshold is None:
        return np.asarray(data.probabilities.argmax(axis=1)[:, None] == np.arange(data.labels.width))
    if data.labels.width > 2:
        raise ConfigError(f"--threshold is for findings and for two classes; of {data.labels.width} the most probable is taken")
    second = data.probabilities[:, 1] > threshold
    return np.stack([~second, second], axis=1)


def answer_estimates(
    said: NDArray[np.bool_], read: NDArray[np.bool_], data: Scored, groups: Sequence[str], interval: Interval, unit: str
) -> dict[str, Estimate]:
    """Score answers where they were given and the truth is known.

    Args:
        said: (N, K) answers.
        read: (N, K) where there is one.
        data: What was true.
        groups: (N,) the group of each sample.
        interval: How intervals are made.
        unit: What a group is.

    Returns:
        Metric → estimate. Of two classes sensitivity and specificity are the second's, of more the means of each against the
        rest; of findings all are means over those that are defined. Kappa (Cohen 1960) is agreement with the truth beyond
        chance, of ordered grades with quadratic weights (Cohen 1968).
    """
    data = replace(data, observed=data.observed & read)
    names = np.unique(np.asarray(groups, dtype=str))
    codes = np.searchsorted(names, np.asarray(groups, dtype=str)).astype(np.int64)
    scarcity = Scarcity.of(data, groups, unit)
    plain = _metrics(said, data, Weighting(np.ones((1, len(groups)))))
    drawn: list[dict[str, Floats]] = []
    if len(names) > 1 and interval.replicates:
        chunk = max(1, CHUNK_VALUES // len(names))
        counts = replicate_counts(len(names), interval.replicates, interval.seed, chunk)
        drawn = [_metrics(said, data, Weighting(part, codes)) for part in counts]
    found = {}
    for name, values in plain.items():
        defined = ~np.isnan(values[0])
        if not defined.any():
            found[name] = Estimate(None, None)
            continue
        replicates = np.concatenate([part[name] for part in drawn])[:, defined].mean(axis=1) if drawn else None
        by_class = not data.labels.exclusive or name in ("sensitivity", "specificity")
        why = scarcity.of_mean(defined if len(defined) == data.labels.width else np.ones(data.labels.width, bool))
        found[name] = Estimate(float(values[0][defined].mean()), replicates, why if by_class else str(scarcity.whole or ""))
    return found


def _metrics(said: NDArray[np.bool_], data: Scored, weighting: Weighting) -> dict[str, Floats]:
    """Return (B, K) metrics of findings or classes, (B, 1) of the whole."""
    if data.labels.exclusive:
        return _exclusive(said, data, weighting)
    parts = []
    for k in range(data.labels.width):
        counts = _confusion(said[:, k].astype(int), data.truth[:, k].astype(int), 2, data.observed[:, k], weighting)
        parts.append([_accuracy(counts), *_rates(counts, 1), _kappa(counts, quadratic=False)])
    return {name: np.stack([part[place] for part in parts], axis=1) for place, name in enumerate(METRICS)}


def _exclusive(said: NDArray[np.bool_], data: Scored, weighting: Weighting) -> dict[str, Floats]:
    width = data.labels.width
    counts = _confusion(said.argmax(axis=1), data.truth.argmax(axis=1), width, data.observed[:, 0], weighting)
    rates = [_rates(counts, k) for k in ([1] if width == 2 else range(width))]
    return {
        "accuracy": _accuracy(counts)[:, None],
        "sensitivity": np.stack([rate[0] for rate in rates], axis=1),
        "specificity": np.stack([rate[1] for rate in rates], axis=1),
        "kappa": _kappa(counts, quadratic=data.labels.kind == "ordinal")[:, None],
    }


def _confusion(
    said: NDArray[np.int64], true: NDArray[np.int64], width: int, known: NDArray[np.bool_], weighting: Weighting
) -> Floats:
    """Return (B, true, said) weighted counts."""
    cells = np.zeros((len(said), width * width))
    cells[np.arange(len(said)), true * width + said] = known
    return weighting.sums(cells).reshape(-1, width, width)


def _accuracy(counts: Floats) -> Floats:
    return ratio(np.trace(counts, axis1=1, axis2=2), counts.sum(axis=(1, 2)))


def _rates(counts: Floats, k: int) -> tuple[Floats, Floats]:
    """Return sensitivity and specificity of class k against the rest."""
    total, positive, called, hit = counts.sum(axis=(1, 2)), counts[:, k].sum(axis=1), counts[:, :, k].sum(axis=1), counts[:, k, k]
    return ratio(hit, positive), ratio(total - positive - called + hit, total - positive)


def _kappa(counts: Floats, *, quadratic: bool) -> Floats:
    """Return 1 − observed disagreement / that expected by chance; NaN where one answer alone is both given and true."""
    grades = np.arange(counts.shape[1])
    apart = (grades[:, None] - grades) ** 2 if quadratic else grades[:, None] != grades
    expected = np.einsum("bi,bj,ij->b", counts.sum(axis=2), counts.sum(axis=1), apart.astype(np.float64))
    return 1 - ratio((counts * apart).sum(axis=(1, 2)) * counts.sum(axis=(1, 2)), expected)
