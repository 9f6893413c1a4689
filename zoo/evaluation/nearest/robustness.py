"""The robustness index: whether an image's neighbours share its class or where it was taken.

Of the k nearest images of other patients, SO have the same class and another centre, OS another class and the same centre; over
all queries the index is Σ SO / (Σ SO + Σ OS): 1 where the class alone decides who is near, 0 where the centre alone does (Kömen,
de Jong et al. 2025, arXiv 2507.17845, PathoROB). It follows de Jong, Marcus and Teuwen 2025, arXiv 2501.18055, whose index is a
ratio, above 1 where the class counts for more; this one is then above ½. Ties count against the index. What it would be of
neighbours drawn at random stands beside it: ½ where every class is as frequent in every centre.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.evaluation.bootstrap import Interval
from medzoo.evaluation.metrics import Floats
from medzoo.evaluation.nearest.gallery import FAR, Gallery
from medzoo.evaluation.nearest.shares import described_shares

KS = (5, 10, 50)
_SO, _SS, _OO, _OS = range(4)
"""Kinds of neighbours; among equally near ones a larger number comes first."""


def robustness_index(
    gallery: Gallery, classes: NDArray[np.int64], centres: NDArray[np.int64], interval: Interval, unit: str = "",
    ks: Sequence[int] = KS
) -> dict[str, Any]:  # fmt: skip
    """Return the index at several k; JSON-ready.

    Args:
        gallery: N images, each with a class and a centre.
        classes: (N,) codes.
        centres: (N,) codes.
        interval: How intervals are made.
        unit: What a group is.
        ks: How many neighbours; undefined where a query has fewer.

    Returns:
        The number of `images`, `at_random`, and `k` → the index; with one class or one centre alone `undefined` says so.
    """
    told: dict[str, Any] = {"images": len(gallery), "classes": len(np.unique(classes)), "levels": len(np.unique(centres))}
    if told["classes"] < 2 or told["levels"] < 2:
        lacking = "class" if told["classes"] < 2 else "level"
        return {**told, "undefined": f"there is {told['classes' if lacking == 'class' else 'levels']} {lacking}; two are needed"}
    rows, near, there = [], [], np.zeros(2)
    fewest = len(gallery)
    for asking, levels in gallery.levels(np.arange(len(gallery))):
        same_class, same_centre = classes[asking][:, None] == classes, centres[asking][:, None] == centres
        kind = np.where(same_class, np.where(same_centre, _SS, _SO), np.where(same_centre, _OS, _OO)).astype(np.int32)
        others = levels != FAR
        there += (np.count_nonzero((kind == _SO) & others), np.count_nonzero((kind == _OS) & others))
        fewest = min(fewest, int(others.sum(axis=1).min()))
        key, most = levels * 4 + kind, min(max(ks), len(gallery))
        key.partition(key.shape[1] - most, axis=1)
        rows.append(asking)
        near.append(np.sort(key[:, -most:], axis=1)[:, ::-1] % 4)
    kinds, asked = np.concatenate(near), np.concatenate(rows)
    parts: dict[str, tuple[Floats, Floats]] = {}
    for k in ks:
        counted = [np.count_nonzero(kinds[:, :k] == kind, axis=1).astype(np.float64) for kind in (_SO, _OS)]
        parts[str(k)] = (counted[0], counted[0] + counted[1])
    measured = described_shares(parts, gallery.groups[asked], interval, unit)
    for k in ks:
        if k > fewest:
            measured[str(k)] = {**interval.described(None, None), "undefined": f"a query has {fewest} neighbours"}
        elif measured[str(k)]["value"] is None:
            measured[str(k)]["undefined"] = "no neighbour has the class or the level alone"
    return {**told, "at_random": float(there[0] / there.sum()) if there.any() else None, "k": measured}
