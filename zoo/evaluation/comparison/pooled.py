"""Folds of one dataset joined to one set of predictions, in which every patient stands once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medzoo.data.errors import EvaluationError
from medzoo.evaluation.comparison.aligned import same_labels
from medzoo.evaluation.predictions import Predictions, joined

RANKED = ("auroc", "ap", "spearman")
"""Metrics that compare the scores of one sample with those of another: across folds those are of different models."""


def pool(parts: Mapping[str, Predictions]) -> tuple[Predictions, NDArray[np.int64]]:
    """Join the predictions of folds.

    Args:
        parts: Name of a run → what it predicted of its own fold.

    Returns:
        All rows, with what beside its answers every part says of them, and (N,) which part each is of, from 0.

    Raises:
        EvaluationError: If labels or units differ, or a group is in two folds.
    """
    names, found = list(parts), list(parts.values())
    first = found[0]
    seen: dict[str, str] = {}
    for name, part in parts.items():
        same_labels(names[0], name, first.labels, part.labels)
        if part.split_unit != first.split_unit:
            raise EvaluationError(f"{names[0]} and {name} have other groups: {first.split_unit} and {part.split_unit}")
        groups = sorted(set(map(str, part.group)))
        twice = [group for group in groups if group in seen]
        if twice:
            raise EvaluationError(
                f"{len(twice)} {first.split_unit} groups of {name} are in {seen[twice[0]]}, too ({twice[0]}): these are no folds "
                "and would count twice; folds that data.folds makes have patients of their own in --split val"
            )
        seen |= dict.fromkeys(groups, name)
    columns: dict[str, Any] = {
        field: np.concatenate([getattr(part, field) for part in found])
        for field in ("sample_id", "split", "group", "targets", "logits", "probabilities")
    }
    shared = [name for name in first.subgroups.columns if all(name in part.subgroups.columns for part in found)]
    columns |= dict.fromkeys(
        (
            "concepts",
            "concept_targets",
            "concept_logits",
            "residual_logits",
            "absent_logits",
            "concept_effects",
            "prototype_scores",
        )
    )
    for field in ("attention", "carried"):
        rows = [getattr(part, field) for part in found]
        columns[field] = None if any(one is None for one in rows) else joined(rows)
    subgroups = pd.concat([part.subgroups[shared] for part in found], ignore_index=True)
    fold = np.repeat(np.arange(len(found)), [len(part) for part in found])
    return replace(first, **columns, subgroups=subgroups, kept=_kept(found)), fold.astype(np.int64)


def _kept(found: Sequence[Predictions]) -> pd.DataFrame | None:
    """Return the further columns that all parts have, with the rows of all; None where they share none."""
    frames = [pd.DataFrame(index=range(len(part))) if part.kept is None else part.kept for part in found]
    shared = [name for name in frames[0].columns if all(name in frame.columns for frame in frames)]
    return pd.concat([frame[shared] for frame in frames], ignore_index=True) if shared else None
