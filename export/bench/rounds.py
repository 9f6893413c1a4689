"""The timing core of `medzoo bench`: interleaved rounds, ratios of one round, and whether two engines say the same.

On a machine that others use too, two engines timed one after the other measure the neighbours. Here round 1 of every contestant
comes before round 2 of any, ratios are taken within a round, and the median over rounds is what is reported; every round is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

AGREEMENT = {"fp32": 1e-3, "fp16": 5e-2}
"""Largest difference of an output, in standard deviations of the reference's, by precision of floating point.

float32: the limit of `medzoo.export.graph.parity`. fp16 has 11 bits of mantissa, 5e-4 relative an operation: a graph of some
hundred operations that is not broken stays well inside."""
COSINE = 0.9
"""Least cosine to the reference of an int8 graph: it tells a broken one. What int8 loses, the gate of the export says."""


@dataclass(frozen=True)
class Agreement:
    """How far an engine's output is from the reference's.

    Attributes:
        relative: Largest difference in standard deviations of the reference.
        cosine: Of the two outputs as one vector each.
        limit: What `relative` must not exceed, or what `cosine` must reach.
        passed: Whether it keeps within.
    """

    relative: float
    cosine: float
    limit: float
    passed: bool

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready figures."""
        return asdict(self)


def interleave(
    contestants: Mapping[str, Callable[[], object]],
    rounds: int,
    min_seconds: float = 0.5,
    *,
    clock: Callable[[], float] = time.perf_counter,
    settle: int = 1,
) -> dict[str, list[float]]:
    """Time contestants in turns.

    In its turn a contestant is called untimed `settle` times, since the threads of the one before may still spin and the caches
    are its, then timed until the round has lasted `min_seconds`; a call is never cut short.

    Args:
        contestants: Name → one run; it must return only when the result is there (a GPU's too).
        rounds: Turns of each, at least 1.
        min_seconds: Least length of a turn, in seconds; 0: one call.
        clock: Seconds from anywhere; monotonic.
        settle: Untimed calls before each turn.

    Returns:
        Name → mean seconds a call, one value a round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            for _ in range(settle):
                run()
            calls, start = 1, clock()
            run()
            while (elapsed := clock() - start) < min_seconds:
                run()
                calls += 1
            seconds[name].append(elapsed / calls)
    return seconds


def speedups(seconds: Mapping[str, Sequence[float]], reference: str) -> dict[str, float]:
    """Return how many times faster than the reference each contestant is.

    Args:
        seconds: Name → seconds a call, one value a round, of one interleaved run.
        reference: One of the names.

    Returns:
        Name → median over rounds of the reference's seconds divided by the contestant's of the same round, so that a slow minute
        of the machine touches both sides; 1 for the reference.
    """
    return {
        name: median(theirs / ours for theirs, ours in zip(seconds[reference], rounds, strict=True))
        for name, rounds in seconds.items()
    }


def compare_outputs(reference: NDArray[Any], output: NDArray[Any], precision: str) -> Agreement:
    """Say whether an engine computes what the reference computes.

    Args:
        reference: (N, ...) of torch eager, in float32.
        output: The same of another engine, on the same images.
        precision: fp32 or fp16 are held to `AGREEMENT`, all else to `COSINE`.
    """
    limit = AGREEMENT.get(precision, COSINE)
    if reference.shape != output.shape or not np.isfinite(output).all():
        return Agreement(float("inf"), 0.0, limit, False)
    ours, theirs = reference.astype(np.float64).ravel(), output.astype(np.float64).ravel()
    spread = float(ours.std()) or 1.0
    relative = float(np.abs(theirs - ours).max()) / spread
    lengths = float(np.linalg.norm(ours) * np.linalg.norm(theirs))
    cosine = float(ours @ theirs) / lengths if lengths else float(np.array_equal(ours, theirs))
    return Agreement(relative, cosine, limit, relative <= limit if precision in AGREEMENT else cosine >= limit)
