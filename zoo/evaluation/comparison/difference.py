"""A difference between two estimates that were redrawn together: its interval, its p-value, what it says against a margin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from medzoo.data.errors import ConfigError
from medzoo.evaluation.bootstrap import Estimate, Interval
from medzoo.evaluation.weighting import Floats

Verdict = Literal["superior", "non-inferior", "inconclusive", "inferior"]
TIE = 1e-12
"""Differences closer to 0 than this are 0: rounding parts what is equal."""


def difference(first: Estimate, second: Estimate) -> Estimate:
    """Return second less first, replicate by replicate: both have met the same patients in each."""
    if first.value is None or second.value is None:
        return Estimate(None, None)
    drawn = None if first.drawn is None or second.drawn is None else second.drawn - first.drawn
    return Estimate(second.value - first.value, drawn, first.why_none or second.why_none)


def bootstrap_p(differences: Floats) -> float:
    """Return the two-sided p-value of no difference, from replicates (B,) of it that are not NaN.

    It is the smallest level at which the percentile interval leaves 0 out (Efron and Tibshirani 1993, section 15.4): twice the
    share of replicates on the rarer side of 0, those at 0 on both. The observed data count as one replicate more, so that none is
    0 (Davison and Hinkley 1997, section 4.2): of B replicates each side is counted in steps of 1/(B + 1), and p in twice that.
    """
    beyond = min(int((differences <= TIE).sum()), int((differences >= -TIE).sum()))
    return min(1.0, 2 * (1 + beyond) / (len(differences) + 1))


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values corrected for that many tests by Holm's step-down (1979, Scandinavian Journal of Statistics 6)."""
    order = np.argsort(np.asarray(p, np.float64), kind="stable")
    stepped = np.maximum.accumulate(np.asarray(p, np.float64)[order] * (len(p) - np.arange(len(p))))
    found = np.empty(len(p))
    found[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in found]


def verdict(low: float, high: float, margin: float, *, higher_is_better: bool) -> Verdict:
    """Say where an interval of second less first lies (Piaggio et al. 2012, JAMA 308, figure 1).

    Args:
        low: Its lower end.
        high: Its upper end.
        margin: By how much the second may be worse and still pass, at least 0.
        higher_is_better: Whether a larger metric is better.

    Returns:
        `superior` if all of it is better than equal, `non-inferior` if all of it is better than the margin, `inferior` if all of
        it is worse than the margin, and else `inconclusive`.
    """
    worst, best = (low, high) if higher_is_better else (-high, -low)
    if worst > 0:
        return "superior"
    if worst > -margin:
        return "non-inferior"
    return "inferior" if best < -margin else "inconclusive"


def described_difference(
    first: Estimate, second: Estimate, interval: Interval, margin: float | None, *, higher_is_better: bool
) -> dict[str, Any]:
    """Return a difference JSON-ready: both values, `difference`, `low`, `high`, `p`, `replicates`, `margin` and `verdict`.

    `p` and `verdict` are None where there is no interval. Without a margin the verdict is against 0.
    """
    found = difference(first, second)
    told = found.described(interval)
    same = found.drawn is not None and bool((np.abs(found.drawn[~np.isnan(found.drawn)]) <= TIE).all())
    part: dict[str, Any] = {
        "first_value": _number(first), "second_value": _number(second), "difference": told["value"], "low": told["low"],
        "high": told["high"], "p": None, "margin": margin, "verdict": None,
    }  # fmt: skip
    if "no_interval" in told:
        part["no_interval"] = told["no_interval"]
    if same and not found.why_none and found.drawn is not None and len(found.drawn):  # two that answer alike: no width, no doubt
        part.pop("no_interval", None)
        part |= {"low": told["value"], "high": told["value"]}
    if part["low"] is None or found.drawn is None:
        return part
    defined = found.drawn[~np.isnan(found.drawn)]
    part["replicates"] = len(defined)
    part["p"] = bootstrap_p(defined)
    part["verdict"] = verdict(part["low"], part["high"], margin or 0.0, higher_is_better=higher_is_better)
    return part


def with_holm(parts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return differences with `p_holm` beside `p`: corrected over all of them that have one."""
    tested = [place for place, part in enumerate(parts) if part["p"] is not None]
    corrected: Mapping[int, float] = dict(zip(tested, holm([parts[place]["p"] for place in tested]), strict=True))
    return [{**part, "p_holm": corrected.get(place)} for place, part in enumerate(parts)]


def read_margins(words: Sequence[str] | None, metrics: Sequence[str]) -> dict[str, float]:
    """Return metric → margin, of `0.02`, which is for every metric, or `auroc=0.02`.

    Raises:
        ConfigError: If a word is neither, a margin is below 0, or a metric is not among those compared.
    """
    margins: dict[str, float] = {}
    for word in words or []:
        name, _, text = word.rpartition("=")
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value < float("inf"):
            raise ConfigError(f"--margin {word} is no number of at least 0, such as 0.02 or auroc=0.02")
        if name and name not in metrics:
            raise ConfigError(f"--margin {word}: {name} is not among the metrics compared ({', '.join(metrics)})")
        margins |= dict.fromkeys([name] if name else [m for m in metrics if m not in margins], value)
    return margins


def _number(estimate: Estimate) -> float | None:
    return None if estimate.value is None or np.isnan(estimate.value) else float(estimate.value)
