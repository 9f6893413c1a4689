"""The hierarchy part of a report: each level of a tree over the labels, and how far wrong the errors are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.labels import sigmoid
from medzoo.evaluation.bootstrap import Interval, Measured, Scarcity, group_codes, replicate_weights, value_text
from medzoo.evaluation.hierarchy.nodes import Tree
from medzoo.evaluation.hierarchy.rolled import level_of_findings, rolled_classes, rolled_findings
from medzoo.evaluation.metrics import Floats, Scored, scored
from medzoo.evaluation.predictions import Predictions
from medzoo.evaluation.weighting import ratio

LEVEL_METRICS = ("accuracy", "balanced_accuracy", "auroc")

Shares = Mapping[str, tuple[Floats, Floats]]
"""Name → (N,) numerators and (N,) denominators, whose weighted sums' ratio it is."""


def hierarchy(predictions: Predictions, interval: Interval) -> dict[str, Any]:
    """Score a split on every level of its labels' tree.

    Hierarchical precision, recall and F1 (Kiritchenko, Matwin and Famili 2005; Kosmopoulos et al. 2015, section 3.2, set-based
    measures) compare sets of nodes: what is said with all above it, P, and what is true with all above it, T. Precision is
    Σ|P ∩ T| / Σ|P|, recall Σ|P ∩ T| / Σ|T|, over all samples.

    Args:
        predictions: Of one split, whose labels have parents.
        interval: How intervals are made.

    Returns:
        `levels.<depth>` with `nodes` (each with its labels) and `metrics`; `precision`, `recall` and `f1`; of exclusive classes
        `mean_distance` and `mean_distance_of_errors`, in steps of the tree; of findings `consistency`. JSON-ready.
    """
    tree = Tree(predictions.labels)
    data = scored(predictions.labels, predictions.targets, predictions.logits)
    if predictions.labels.exclusive:
        levels = {
            depth: rolled_classes(tree, depth, predictions.targets, predictions.logits) for depth in range(1, tree.depth + 1)
        }
        shares = _of_classes(tree, data)
    else:
        truth, raised = rolled_findings(tree, predictions.targets, predictions.logits)
        levels = {depth: level_of_findings(tree, depth, truth, raised) for depth in range(1, tree.depth + 1)}
        shares = {**_of_findings(truth, raised), **_consistency(tree, predictions)}
    measured = _ratios(shares, predictions, data, interval)
    consistency = measured.pop("above_parent", None)
    return {
        "levels": {
            str(depth): _level(tree, depth, level, predictions, interval) for depth, level in levels.items() if level is not None
        },
        **measured,
        **({"consistency": {"steps": len(tree.label_steps()), "above_parent": consistency}} if consistency else {}),
    }


def hierarchy_lines(part: Mapping[str, Any]) -> list[str]:
    """Return the hierarchy part of a split as lines for a terminal."""
    lines = []
    for depth, level in part["levels"].items():
        values = [f"{name} {_shown(level['metrics'][name])}" for name in ("accuracy", "auroc")]
        lines.append(f"  level {depth} of the tree, {len(level['nodes'])} nodes: {', '.join(values)}")
    lines.append(
        f"  hierarchical precision {_shown(part['precision'])}, recall {_shown(part['recall'])}, f1 {_shown(part['f1'])}"
    )
    if "mean_distance" in part:
        errors = _shown(part["mean_distance_of_errors"])
        lines.append(f"  steps of the tree from what is true: {_shown(part['mean_distance'])}, of errors {errors}")
    if "consistency" in part:
        lines.append(f"  findings above their parent's probability: {_shown(part['consistency']['above_parent'])}")
    return lines


def _shown(metric: Mapping[str, Any]) -> str:
    return value_text(metric["value"], metric["low"], metric["high"])


def _level(tree: Tree, depth: int, data: Scored, predictions: Predictions, interval: Interval) -> dict[str, Any]:
    measured = Measured.of(data, list(predictions.group), interval, unit=predictions.split_unit)
    names = data.labels.names
    below = {
        node: [name for place, name in enumerate(tree.labels.names) if tree.within[place, tree.nodes.index(node)]]
        for node in names
    }
    if tree.labels.exclusive:
        below = {node: [tree.labels.names[place] for place in places] for node, places in tree.cut(depth).items()}
    metrics = {metric: measured.described(metric) for metric in LEVEL_METRICS}
    for metric in (name for name in LEVEL_METRICS if name in measured.classes):
        metrics[metric]["classes"] = {name: measured.of_class(metric, k) for k, name in enumerate(names)}
    return {"nodes": below, "metrics": metrics}


def _of_classes(tree: Tree, data: Scored) -> Shares:
    """Return what the measures of exclusive classes are ratios of, a value a sample."""
    known = data.observed[:, 0].astype(np.float64)
    said, true = data.probabilities.argmax(axis=1), data.truth.argmax(axis=1)
    within, apart = tree.within.astype(np.float64), tree.distances[true, said]
    both, of_said, of_true = (within[said] * within[true]).sum(axis=1), within[said].sum(axis=1), within[true].sum(axis=1)
    return {
        "precision": (known * both, known * of_said),
        "recall": (known * both, known * of_true),
        "f1": (2 * known * both, known * (of_said + of_true)),
        "mean_distance": (known * apart, known),
        "mean_distance_of_errors": (known * apart, known * (said != true)),
    }


def _of_findings(truth: Floats, raised: Floats) -> Shares:
    """Return the same of findings: nodes are said where they are likelier than not; those whose truth is missing do not count."""
    known = ~np.isnan(truth)
    said, true = known & (raised > 0), known & (truth == 1)
    both, of_said, of_true = ((part).sum(axis=1).astype(np.float64) for part in (said & true, said, true))
    return {"precision": (both, of_said), "recall": (both, of_true), "f1": (2 * both, of_said + of_true)}


def _consistency(tree: Tree, predictions: Predictions) -> Shares:
    """Return how often a finding is likelier than the finding it is a kind of; nothing where none is a kind of another."""
    steps = tree.label_steps()
    if not steps:
        return {}
    p = sigmoid(predictions.logits.astype(np.float64))
    child, parent = np.array(steps).T
    above = (p[:, child] > p[:, parent]).sum(axis=1).astype(np.float64)
    return {"above_parent": (above, np.full(len(p), float(len(steps))))}


def _ratios(shares: Shares, predictions: Predictions, data: Scored, interval: Interval) -> dict[str, Any]:
    """Return each ratio with its interval, on the replicates of the split's own metrics."""
    groups = list(predictions.group)
    ones = np.ones((1, len(groups)))
    codes: NDArray[np.int64] = group_codes(groups)
    redraw = len(codes) > 0 and codes.max() >= 1 and interval.replicates > 0
    drawn: dict[str, list[Floats]] = {name: [] for name in shares}
    for weights in replicate_weights(codes, interval.replicates, interval.seed) if redraw else ():
        for name, share in shares.items():
            drawn[name].append(_ratio(share, weights))
    why = str(Scarcity.of(data, groups, predictions.split_unit).whole or "")
    return {
        name: interval.described(float(_ratio(share, ones)[0]), np.concatenate(drawn[name]) if drawn[name] else None, why)
        for name, share in shares.items()
    }


def _ratio(share: tuple[Floats, Floats], weights: Floats) -> Floats:
    return ratio(weights @ share[0], weights @ share[1])
