"""Correcting concepts: what a person's corrections do to the classes (Koh et al. 2020, section 5).

Everything is computed from the predictions file and the checkpoint's class layer; no image is read. A concept whose truth is
not known cannot be corrected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medzoo.data.errors import ConfigError, EvaluationError, UnknownNameError
from medzoo.data.labels import ConceptSpace
from medzoo.data.seeding import generator
from medzoo.evaluation.bootstrap import Interval, Measured
from medzoo.evaluation.metrics import scored
from medzoo.evaluation.monitor import METRICS
from medzoo.evaluation.predictions import Predictions
from medzoo.inference.bottleneck_run import concept_outputs
from medzoo.models.heads.prototypes import PrototypeNetwork
from medzoo.tasks.bottleneck import Bottleneck
from medzoo.tasks.classify import in_units

POLICIES = ("random", "uncertainty", "effect")

Floats = NDArray[np.float64]


def class_logits(
    task: Bottleneck, predictions: Predictions, values: NDArray[Any] | None = None, mask: NDArray[Any] | None = None
) -> NDArray[np.float32]:
    """Return (N, K) class logits with corrected concepts.

    Args:
        task: The bottleneck the predictions are of.
        predictions: With `concept_logits`.
        values: (N, M) or (1, M) corrected concepts in 0..1; entries outside the mask do not matter.
        mask: Like `values`, true where a concept is corrected.

    Raises:
        EvaluationError: If the predictions are of another model, or values and mask have the wrong width.
    """
    concepts, concept_logits, _ = concept_outputs(task, predictions)
    for name, given in (("concept_values", values), ("concept_mask", mask)):
        if given is not None and (given.ndim != 2 or given.shape[1] != concepts.width):
            raise EvaluationError(f"{name} has shape {list(given.shape)}, the model has {concepts.width} concepts")
    with torch.no_grad():
        corrected = None if values is None else torch.from_numpy(np.nan_to_num(values).astype(np.float32))
        chosen = None if mask is None else torch.from_numpy(np.asarray(mask, dtype=np.float32))
        if predictions.absent_logits is not None and predictions.concept_effects is not None:
            shown = task.model.eval().corrected(torch.tensor(concept_logits), corrected, chosen).numpy()
            found: NDArray[np.float32] = predictions.absent_logits + np.einsum("nm,nmk->nk", shown, predictions.concept_effects)
            return found
        scores = None if predictions.prototype_scores is None else torch.tensor(predictions.prototype_scores)
        outputs = task.model.eval().classes(torch.tensor(concept_logits), scores, corrected, chosen)
        logits: NDArray[np.float32] = in_units(outputs, task.objective).numpy()
    return logits if predictions.residual_logits is None else logits + predictions.residual_logits


def correction_order(
    task: Bottleneck, predictions: Predictions, policy: str, seed: int = 0, *, groups: bool = False
) -> NDArray[np.int64]:
    """Return (N, M): when each concept of each sample is corrected, 0 first; those whose truth is not known come last.

    Args:
        task: For its class layer.
        predictions: With `concept_logits` and `concept_targets`.
        policy: `random`; `uncertainty` (concept nearest 0.5 first); `effect` (the largest expected change of a class
            output first: |weight|, or of embeddings the sample's own effect, times the distance the correction moves the
            concept, of prototypes the distance their scores move the class, expected under the model's own probability).
        seed: Of `random`.
        groups: Correct the concepts of a group together, ordered by the best place of those that are known; a group of which
            none is known comes last.

    Raises:
        UnknownNameError: If there is no such policy.
        EvaluationError: If the predictions are of another model.
    """
    concepts, logits, truth = concept_outputs(task, predictions)
    if policy == "random":
        score = generator(seed, "interventions").random(logits.shape)
    elif policy == "uncertainty":
        with torch.no_grad():
            score = -np.abs(task.model.values(torch.tensor(logits)).double().numpy() - 0.5)
    elif policy == "effect":
        score = _expected_effect(task, predictions, logits)
    else:
        raise UnknownNameError("policy", policy, POLICIES)
    # What cannot be corrected must not use up a step.
    place = np.where(~np.isnan(truth), -score, np.inf).argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    if groups:
        place = _grouped(place, concepts)
    return np.asarray(place, np.int64)


def intervention_curve(
    task: Bottleneck, predictions: Predictions, *, policy: str = "random", seed: int = 0, groups: bool = False,
    metric: str | None = None, replicates: int = 1000, level: float = 0.95
) -> list[dict[str, Any]]:  # fmt: skip
    """Return the class metric after 0, 1, ... corrected concepts a sample, up to the most that are known of any sample.

    After k steps min(k, number known) concepts (or groups) of each sample are corrected.

    Args:
        task: The bottleneck.
        predictions: Of one split.
        policy: See `correction_order`.
        seed: Of the random policy and the bootstrap.
        groups: Correct concept groups together; a step is then a group.
        metric: Of the classes; None: the label kind's first.
        replicates: Bootstrap replicates over groups of samples; 0: no intervals.
        level: Coverage of the intervals, between 0 and 1.

    Returns:
        JSON-ready rows `corrected, share, value, low, high`; `share` is the share of all concept entries that were corrected
        (fewer than asked where truth is missing); the value is None where the metric is undefined.

    Raises:
        ConfigError: If replicates or level are out of range.
        UnknownNameError: If there is no such policy or metric.
        EvaluationError: If the predictions are of another model, or no truth is known.
    """
    interval = Interval(replicates, level, seed)
    _, _, truth = concept_outputs(task, predictions)
    labels = predictions.labels
    name = metric or METRICS[labels.kind][0]
    if name not in METRICS[labels.kind]:
        raise UnknownNameError("metric", name, METRICS[labels.kind], where=f" for {labels.kind} labels")
    known = ~np.isnan(truth)
    if not known.any():
        split = " and ".join(sorted(set(map(str, predictions.split))))
        raise EvaluationError(
            f"the truth of no concept is known in the {split} split: nothing can be corrected; set.<concept>=... works"
        )
    place = correction_order(task, predictions, policy, seed, groups=groups)
    rows = []
    for step in range(int(place[known].max()) + 2):
        mask = (place < step) & known
        logits = class_logits(task, predictions, truth, mask)
        data = scored(labels, predictions.targets, logits)
        measured = Measured.of(data, list(predictions.group), interval, unit=predictions.split_unit)
        rows.append({"corrected": step, "share": float(mask.mean()), **measured.described(name)})
    return rows


def parse_concepts(concepts: ConceptSpace, given: Mapping[str, Any] | Sequence[str]) -> dict[int, float]:
    """Return concept position → value of concepts that the user names with a value in 0..1, or by names alone (NaN then).

    UnknownNameError if there is no such concept, ConfigError if a value is not within 0..1.
    """
    pairs = given.items() if isinstance(given, Mapping) else ((name, np.nan) for name in given)
    found: dict[int, float] = {}
    for name, value in pairs:
        if name not in concepts.names:
            raise UnknownNameError("concept", name, concepts.names)
        if isinstance(given, Mapping) and not (isinstance(value, int | float) and 0 <= value <= 1):
            raise ConfigError(f"concept {name!r} is set to {value!r}, not to a number in 0..1")
        found[concepts.names.index(name)] = float(value)
    return found


def _expected_effect(task: Bottleneck, predictions: Predictions, logits: NDArray[np.float32]) -> Floats:
    model = task.model.eval()
    with torch.no_grad():
        given = torch.tensor(logits)
        if isinstance(model, PrototypeNetwork) and predictions.prototype_scores is not None:
            return _effect_of_scores(model, given, torch.tensor(predictions.prototype_scores))
        shown = model.shown(given)
        absent, present = (model.on_scale(torch.full_like(given, value)) for value in (0.0, 1.0))
        p = model.values(given)
        moved = p * (present - shown).abs() + (1 - p) * (absent - shown).abs()
        own = predictions.concept_effects
        weights = model.head.weight.abs().amax(dim=0) if own is None else torch.tensor(own).abs().amax(dim=2)
        effect: Floats = (moved * weights).double().numpy()
    return effect


def _effect_of_scores(model: PrototypeNetwork, concept_logits: Tensor, scores: Tensor) -> Floats:
    """Return (N, M) how far correcting a concept, and so the scores of its prototypes, is expected to move a class."""
    own, p = model.parts(scores), model.values(concept_logits)[:, :, None]
    absent, present = (model.parts(model.on_scale(torch.full_like(concept_logits, value))) for value in (0.0, 1.0))
    moved = p * (present - own).abs() + (1 - p) * (absent - own).abs()
    effect: Floats = moved.amax(dim=2).double().numpy()
    return effect


def _grouped(place: NDArray[np.int64], concepts: ConceptSpace) -> NDArray[np.int64]:
    members = [[concepts.names.index(name) for name in group] for group in (concepts.groups or {}).values()]
    alone = [[m] for m in range(concepts.width) if not any(m in group for group in members)]
    units = members + alone
    best = np.stack([place[:, unit].min(axis=1) for unit in units], axis=1)
    order = best.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    result = np.zeros_like(place)
    for number, unit in enumerate(units):
        result[:, unit] = order[:, [number]]
    return result
