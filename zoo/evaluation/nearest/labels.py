"""Label retrieval: whether the images most like one, of other patients, have its label.

Recall@k, precision@k and mean average precision as content-based retrieval reports them (Manning, Raghavan and Schütze 2008,
chapter 8). What is right: of classes and grades the same one; of findings an image that shares any finding with the query. A
query without a finding has none to share and is not asked; an image of which it is unknown whether it shares one is left out of
that query's gallery. Ties are pessimistic, as in `medzoo.evaluation.retrieval`: a wrong image as similar as a right one is ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.labels import LabelSpace
from medzoo.evaluation.bootstrap import Interval
from medzoo.evaluation.metrics import Floats, scored
from medzoo.evaluation.nearest.gallery import FAR, Gallery
from medzoo.evaluation.nearest.shares import described_shares

KS = (1, 5, 10)

Bools = NDArray[np.bool_]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Likeness:
    """Which images have the label of which.

    Attributes:
        asked: (N,) whether an image can be a query.
        right: (b,) rows → (b, N) whether each image is surely right for them, and whether that is unknown.
    """

    asked: Bools
    right: Callable[[Rows], tuple[Bools, Bools]]

    @classmethod
    def of(cls, labels: LabelSpace, targets: NDArray[np.float32]) -> Likeness:
        """Return it for (N, K) targets of classes or findings."""
        data = scored(labels, targets, np.zeros_like(targets))
        if labels.exclusive:
            code = np.where(data.observed[:, 0], data.truth.argmax(axis=1), -1)
            return cls(code >= 0, lambda rows: (code[rows][:, None] == code, np.broadcast_to(code < 0, (len(rows), len(code)))))
        present = (data.observed & (data.truth == 1)).astype(np.float32)
        possible = np.maximum(present, ~data.observed)

        def right(rows: Rows) -> tuple[Bools, Bools]:
            shared = present[rows] @ present.T > 0
            return shared, (possible[rows] @ possible.T > 0) & ~shared

        return cls(present.any(axis=1), right)


@dataclass(frozen=True)
class Found:
    """What each query found.

    Attributes:
        rows: (Q,) the queries.
        gallery: (Q,) images in the gallery of each.
        right: (Q,) how many of them are right.
        hits: (Q, len(ks)) right ones among the k most like.
        precision: (Q,) average precision, Σ over right images of the precision at their rank / `right`; 0 without any.
    """

    rows: Rows
    gallery: NDArray[np.int64]
    right: NDArray[np.int64]
    hits: NDArray[np.int64]
    precision: Floats


def find_labels(gallery: Gallery, likeness: Likeness, ks: Sequence[int] = KS) -> Found:
    """Rank every image of other patients for every query."""
    asked = np.flatnonzero(likeness.asked)
    parts = []
    for rows, levels in gallery.levels(asked):
        right, unknown = likeness.right(rows)
        levels[unknown] = FAR
        there = levels != FAR
        # One number to sort by: a larger one is more like, or as like and wrong; whether it is right is read off again.
        key = levels * 2 + ~(right & there)
        key.sort(axis=1)
        ranked = key[:, ::-1] & 1 == 0
        hits = ranked.cumsum(axis=1, dtype=np.int32)
        total = hits[:, -1].astype(np.int64)
        summed = (hits / np.arange(1, hits.shape[1] + 1)).sum(axis=1, where=ranked)
        at = np.stack([hits[:, min(k, hits.shape[1]) - 1] for k in ks], axis=1).astype(np.int64)
        parts.append(Found(rows, there.sum(axis=1), total, at, summed / np.maximum(total, 1)))
    if not parts:
        none = np.empty(0, dtype=np.int64)
        return Found(none, none, none, np.empty((0, len(ks)), dtype=np.int64), np.empty(0))
    names = ("rows", "gallery", "right", "hits", "precision")
    return Found(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def label_retrieval(
    gallery: Gallery, labels: LabelSpace, targets: NDArray[np.float32], interval: Interval, unit: str = "", ks: Sequence[int] = KS
) -> dict[str, Any]:
    """Score label retrieval; JSON-ready.

    Args:
        gallery: N images.
        labels: Classes, grades or findings.
        targets: (N, K) of the images.
        interval: How intervals are made.
        unit: What a group is.
        ks: The k of recall@k and precision@k; undefined where a query's gallery has not more than k images.

    Returns:
        The number of `queries`, of images without a label to ask for (`not_asked`), of queries whose label no other patient has
        (`nothing_right`, left out), the smallest `gallery`, and `recall@<k>`, `precision@<k>` and `map`.
    """
    likeness = Likeness.of(labels, targets)
    found = find_labels(gallery, likeness, ks)
    scored_rows = found.right > 0
    ones = np.ones(int(scored_rows.sum()))
    parts: dict[str, tuple[Floats, Floats]] = {}
    for place, k in enumerate(ks):
        hits = found.hits[scored_rows, place].astype(np.float64)
        parts[f"recall@{k}"], parts[f"precision@{k}"] = ((hits > 0).astype(np.float64), ones), (hits, k * ones)
    parts["map"] = (found.precision[scored_rows], ones)
    measured = described_shares(parts, gallery.groups[found.rows[scored_rows]], interval, unit)
    smallest = int(found.gallery[scored_rows].min()) if scored_rows.any() else 0
    for k in ks:
        if k >= smallest:
            none = {**interval.described(None, None), "undefined": f"the gallery of a query holds {smallest}"}
            measured |= {f"recall@{k}": none, f"precision@{k}": none}
    return {
        "right": "the same class" if labels.exclusive else "any finding of the query's",
        "queries": len(ones), "gallery": smallest, "not_asked": int((~likeness.asked).sum()),
        "nothing_right": int((~scored_rows).sum()), **measured,
    }  # fmt: skip
