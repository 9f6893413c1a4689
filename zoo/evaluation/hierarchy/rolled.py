"""Predictions and labels rolled up a tree.

Exclusive classes: a node's probability is the sum of its classes'; its logit is their log Σ eˣ, whose softmax is just that sum.
Findings: a node's probability is at least that of what lies below it, so the largest of theirs and its own; a node holds where
any of them does, and is missing where none holds and one is missing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medzoo.data.labels import LabelSpace, log_sum_exp
from medzoo.evaluation.hierarchy.nodes import Tree
from medzoo.evaluation.metrics import Floats, Scored, scored

Rows = NDArray[np.float32]


def rolled_classes(tree: Tree, depth: int, targets: Rows, logits: Rows) -> Scored | None:
    """Return (N, K) exclusive targets and logits as those of a level's nodes; None where there is one node."""
    parts = tree.cut(depth)
    if len(parts) < 2:
        return None
    wide = logits.astype(np.float64)
    summed = np.stack([log_sum_exp(wide[:, places]) for places in parts.values()], axis=1)
    truth = np.stack([targets[:, places].sum(axis=1) for places in parts.values()], axis=1)
    return scored(LabelSpace("multiclass", tuple(parts)), truth, summed)  # type: ignore[arg-type]  # float64: the sums are exact


def rolled_findings(tree: Tree, targets: Rows, logits: Rows) -> tuple[Floats, Floats]:
    """Return (N, M) targets, NaN where missing, and logits of every node."""
    truth = np.empty((len(targets), len(tree.nodes)))
    raised = np.empty_like(truth)
    for place in range(len(tree.nodes)):
        below = np.flatnonzero(tree.within[:, place])
        own = targets[:, below].astype(np.float64)
        largest = np.where(np.isnan(own), -np.inf, own).max(axis=1)
        truth[:, place] = np.where(np.isnan(own).any(axis=1) & (largest < 1), np.nan, largest)
        raised[:, place] = logits[:, below].max(axis=1)
    return truth, raised


def level_of_findings(tree: Tree, depth: int, truth: Floats, raised: Floats) -> Scored:
    """Return the nodes of a level as findings of their own."""
    places = tree.level(depth)
    names = tuple(tree.nodes[place] for place in places)
    return scored(LabelSpace("multilabel", names), truth[:, places], raised[:, places])  # type: ignore[arg-type]
