"""Predictions of several models brought to the same rows in the same order, or refused with what parts them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import EvaluationError
from medzoo.data.labels import LabelSpace
from medzoo.evaluation.predictions import Predictions

SHOWN = 3
"""Names that a message gives."""


def align(sets: Mapping[str, Predictions]) -> dict[str, Predictions]:
    """Bring predictions to the order of the first.

    Args:
        sets: Name → rows of one split, of each model.

    Raises:
        EvaluationError: If a sample stands twice, or datasets, labels, samples, groups or targets differ; it says which.
    """
    names = list(sets)
    first = sets[names[0]]
    order = _index(names[0], first)
    aligned = {names[0]: first}
    for name in names[1:]:
        other = sets[name]
        where = f"{names[0]} and {name}"
        _same_dataset(where, names[0], name, first, other)
        same_labels(names[0], name, first.labels, other.labels)
        index = _index(name, other)
        if set(order) != set(index):
            told = [
                *([f"{_some(set(order) - set(index))} in {names[0]} alone"] if set(order) - set(index) else []),
                *([f"{_some(set(index) - set(order))} in {name} alone"] if set(index) - set(order) else []),
            ]
            raise EvaluationError(f"{where} were not tested on the same samples: {', '.join(told)}")
        aligned[name] = _reordered(other, np.array([index[sample] for sample in order], dtype=np.int64))
        _same_rows(where, names[0], name, first, aligned[name])
    return aligned


def tested_on(predictions: Predictions) -> str:
    """Return the name of the dataset that predictions are of; empty in files of an earlier medzoo."""
    data: Any = predictions.details.get("data", {})
    return str(data.get("name", "")) if isinstance(data, Mapping) else ""


def same_labels(a: str, b: str, first: LabelSpace, other: LabelSpace) -> None:
    """Refuse two runs by name whose labels are not the same, in the same order; EvaluationError with what differs."""
    if first == other:
        return
    where = f"{a} and {b}"
    if first.kind != other.kind:
        raise EvaluationError(f"{where} have labels of other kinds: {first.kind} and {other.kind}")
    here, there = set(first.names) - set(other.names), set(other.names) - set(first.names)
    if here or there:
        told = [*([f"{_some(here)} of {a} alone"] if here else []), *([f"{_some(there)} of {b} alone"] if there else [])]
        raise EvaluationError(f"{where} predict other labels: {', '.join(told)}")
    differs = "their order differs" if first.names != other.names else "their units or groups differ"
    raise EvaluationError(f"{where} predict other labels: {differs}")


def _index(name: str, predictions: Predictions) -> dict[str, int]:
    index = {str(sample): place for place, sample in enumerate(predictions.sample_id)}
    if len(index) < len(predictions):
        texts = [str(sample) for sample in predictions.sample_id]
        twice = next(text for text in texts if texts.count(text) > 1)
        raise EvaluationError(f"sample {twice} stands twice in the predictions of {name}; evaluate the run again")
    return index


def _reordered(predictions: Predictions, places: NDArray[np.int64]) -> Predictions:
    parts = ("sample_id", "split", "group", "targets", "logits", "probabilities")
    further = (
        "concept_targets", "concept_logits", "residual_logits", "absent_logits", "concept_effects",
        "prototype_scores", "kept", "attention", "carried",
    )  # fmt: skip
    chosen: dict[str, Any] = {part: getattr(predictions, part)[places] for part in parts}
    chosen |= dict.fromkeys(further)  # not compared
    return replace(predictions, **chosen, concepts=None, subgroups=predictions.subgroups.iloc[places].reset_index(drop=True))


def _same_dataset(where: str, a: str, b: str, first: Predictions, other: Predictions) -> None:
    one, two = tested_on(first), tested_on(other)
    if one and two and one != two:
        raise EvaluationError(f"{where} were tested on other datasets: {a} on {one}, {b} on {two}; compare what has one test set")
    if first.split_unit != other.split_unit:
        raise EvaluationError(f"{where} have other groups: {first.split_unit} in {a}, {other.split_unit} in {b}")


def _same_rows(where: str, a: str, b: str, first: Predictions, other: Predictions) -> None:
    groups = np.flatnonzero(first.group.astype(str) != other.group.astype(str))
    if len(groups):
        at = groups[0]
        raise EvaluationError(
            f"{where} have other groups: sample {first.sample_id[at]} is of {first.group[at]} in {a} and of {other.group[at]} in "
            f"{b} ({len(groups)} samples differ)"
        )
    equal = (first.targets == other.targets) | (np.isnan(first.targets) & np.isnan(other.targets))
    rows = np.flatnonzero(~equal.all(axis=1))
    if len(rows):
        at, k = rows[0], int(np.flatnonzero(~equal[rows[0]])[0])
        what = f"{first.labels.names[k]} of sample {first.sample_id[at]}"
        raise EvaluationError(
            f"{where} have other targets: {what} is {first.targets[at, k]:g} in {a} and {other.targets[at, k]:g} in {b} "
            f"({len(rows)} samples differ)"
        )


def _some(names: set[str]) -> str:
    shown = ", ".join(sorted(names)[:SHOWN])
    return f"{len(names)} ({shown}{', ...' if len(names) > SHOWN else ''})"
