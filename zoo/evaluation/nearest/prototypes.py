"""Class prototypes: the mean training image of a class as a classifier, without any head.

Nearest mean of unit feature vectors by Euclidean distance (Wang et al. 2019, SimpleShot, arXiv 1911.04623, without centring).
Minus the squared distances are the logits, as in prototypical networks (Snell, Swersky and Zemel 2017), so that every metric
follows. A finding has two prototypes, of the images with it and of those without.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.labels import LabelSpace
from medzoo.evaluation.bootstrap import Interval, Measured
from medzoo.evaluation.embeddings import TILE, Embeddings, unit_rows
from medzoo.evaluation.metrics import Floats, scored

SHOWN = ("accuracy", "balanced_accuracy", "auroc")


def prototype_metrics(train: Embeddings, tested: Embeddings, interval: Interval) -> dict[str, Any]:
    """Return accuracy, balanced accuracy and AUROC of the nearest prototype; JSON-ready.

    Args:
        train: Where the prototypes are from.
        tested: What is classified.
        interval: How intervals are made, of patients of `tested`; the prototypes stay.

    Returns:
        With `train` images behind the prototypes; `without` names findings that the train split shows in one state alone, which
        are left out. Of classes of which it has no image, and of quantities, `undefined` says why there is nothing.
    """
    labels = tested.labels
    assert labels is not None
    assert train.targets is not None
    assert tested.targets is not None
    if labels.kind == "regression":
        return {"undefined": "quantities have no classes"}
    data = scored(labels, train.targets, np.zeros_like(train.targets))
    counts = (data.observed & (data.truth == 1)).sum(axis=0)
    targets = tested.targets
    told: dict[str, Any] = {"train": int(data.observed.any(axis=1).sum())}
    if labels.exclusive:
        if not counts.all():
            lacking = [name for name, found in zip(labels.names, counts, strict=True) if not found]
            return {"undefined": f"the train split shows no {', '.join(lacking)}"}
        logits = -distances(tested.image, centroids(train.image, data.truth * data.observed))
    else:
        absent = (data.observed & (data.truth == 0)).sum(axis=0)
        known = (counts > 0) & (absent > 0)
        states = [centroids(train.image, data.observed & (data.truth == state)) for state in (0, 1)]
        without, with_it = (distances(tested.image, means) for means in states)
        logits = np.where(known, without - with_it, 0.0)
        targets = np.where(known, targets, np.nan).astype(np.float32)
        if not known.all():
            told["without"] = [name for name, there in zip(labels.names, known, strict=True) if not there]
    unit = str(tested.details.get("split_unit", ""))
    measured = Measured.of(_scored(labels, targets, logits), list(map(str, tested.group)), interval, unit=unit)
    found = {}
    for name in SHOWN:
        found[name] = measured.described(name)
        if name in measured.classes:
            found[name]["classes"] = {label: measured.of_class(name, k) for k, label in enumerate(labels.names)}
    return {**told, **found}


def centroids(vectors: NDArray[np.float32], member: NDArray[Any]) -> Floats:
    """Return (K, E) means of the unit vectors (N, E) that belong to each class (N, K); 0 where none does."""
    total, counts = np.zeros((member.shape[1], vectors.shape[1])), member.sum(axis=0)
    for start in range(0, len(vectors), TILE):
        total += member[start : start + TILE].T.astype(np.float64) @ unit_rows(vectors[start : start + TILE])
    mean: Floats = total / np.maximum(counts, 1)[:, None]
    return mean


def distances(vectors: NDArray[np.float32], prototypes: Floats) -> Floats:
    """Return (N, K) squared Euclidean distances of vectors, taken as unit ones, to prototypes (K, E)."""
    found = np.empty((len(vectors), len(prototypes)))
    for start in range(0, len(vectors), TILE):
        block = unit_rows(vectors[start : start + TILE])
        found[start : start + TILE] = 1 - 2 * block @ prototypes.T + (prototypes**2).sum(axis=1)
    return found


def _scored(labels: LabelSpace, targets: NDArray[np.float32], logits: Floats) -> Any:
    return scored(labels, targets, logits)  # type: ignore[arg-type]  # in float64, so that near distances do not tie
