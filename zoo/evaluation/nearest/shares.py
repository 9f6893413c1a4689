"""Shares over queries with their intervals: the queries are redrawn by patient, the gallery stays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.evaluation.bootstrap import CHUNK_VALUES, FEWEST_GROUPS, Interval, Lack, replicate_counts
from medzoo.evaluation.weighting import Floats, ratio, rows_into

Parts = Mapping[str, tuple[Floats, Floats]]


def described_shares(parts: Parts, groups: NDArray[np.int64], interval: Interval, unit: str = "") -> dict[str, Any]:
    """Return Σ part / Σ whole of each measure with its interval; see `Interval.described`.

    Args:
        parts: Measure → (Q,) what each query adds to the part, and (Q,) to the whole.
        groups: (Q,) codes of the queries' patients.
        interval: How intervals are made.
        unit: What a group is.
    """
    names, own = list(parts), np.unique(groups, return_inverse=True)[1].astype(np.int64)
    if not len(own):
        return {name: interval.described(None, None) for name in names}
    found = int(own.max()) + 1
    sums = [rows_into(own, found) @ np.stack([parts[name][side] for name in names], axis=1) for side in (0, 1)]
    value = ratio(*(side.sum(axis=0) for side in sums))
    drawn = None
    if interval.replicates and found > 1:
        chunks = replicate_counts(found, interval.replicates, interval.seed, max(1, CHUNK_VALUES // found))
        drawn = np.concatenate([ratio(counts @ sums[0], counts @ sums[1]) for counts in chunks])
    scarce = str(Lack(found, f"{unit} groups".strip())) if found < FEWEST_GROUPS else ""
    return {
        name: interval.described(float(value[place]), None if drawn is None else drawn[:, place], scarce)
        for place, name in enumerate(names)
    }
