"""A concept bottleneck's run as `medzoo intervene` and `medzoo explain` read it: predictions, and the checkpoint they are of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ConfigError, EvaluationError
from medzoo.data.labels import ConceptSpace
from medzoo.evaluation.predictions import Predictions
from medzoo.store.checkpoint import find_checkpoint
from medzoo.store.directory import RunDirectory
from medzoo.store.spec import ModelSpec
from medzoo.tasks.bottleneck import Bottleneck
from medzoo.tasks.load import load_checkpoint

Floats = NDArray[np.float32]
CHECKPOINTS = ("best", "last")
"""What `medzoo evaluate` predicts with."""


def open_bottleneck(path: str | Path) -> tuple[RunDirectory, Bottleneck, Predictions]:
    """Open the evaluated run directory of a concept bottleneck.

    Returns:
        The run; the bottleneck with the weights its predictions were made with, best or last; those predictions, of every split.

    Raises:
        CheckpointError: If it is no run directory, or the checkpoint is missing or damaged.
        ConfigError: If the run is no concept bottleneck.
        EvaluationError: If its predictions are missing, damaged, of another model or of no known checkpoint.
    """
    run = RunDirectory.open(Path(path))
    spec = ModelSpec.read(run.spec)
    if spec.concepts is None:
        raise ConfigError(f"{run.path} is no concept bottleneck ({spec.family}); train one with model=cbm")
    predictions = Predictions.read(run.predictions)
    which = predictions.details.get("checkpoint")
    if which not in CHECKPOINTS:
        raise EvaluationError(
            f"{run.predictions} does not say which checkpoint it is of; make it again with medzoo evaluate run={run.path}"
        )
    task = load_checkpoint(find_checkpoint(run.path, which)).bottleneck
    assert task is not None
    concept_outputs(task, predictions)
    return run, task, predictions


def concept_outputs(task: Bottleneck, predictions: Predictions) -> tuple[ConceptSpace, Floats, Floats]:
    """Return concepts, their logits and their truth (N, M; NaN where missing) from a bottleneck's own predictions.

    Raises:
        EvaluationError: If they have no concepts, or are of a model with another spec.
    """
    concepts, logits, truth = predictions.concepts, predictions.concept_logits, predictions.concept_targets
    if concepts is None or logits is None or truth is None or predictions.spec_hash != task.spec.hash:
        raise EvaluationError("the predictions are not of this concept bottleneck; make them with medzoo evaluate run=...")
    if task.model.kind == "embedding" and (predictions.absent_logits is None or predictions.concept_effects is None):
        raise EvaluationError("the predictions lack what each concept does to its sample; make them with medzoo evaluate run=...")
    if task.model.kind == "prototype" and predictions.prototype_scores is None:
        raise EvaluationError("the predictions lack the scores of the prototypes; make them with medzoo evaluate run=...")
    return concepts, logits, truth


def read_by_classes(predictions: Predictions) -> Floats:
    """Return what the class layer reads of predictions that `concept_outputs` took: (N, M) logits, or (N, M · P) scores."""
    read = predictions.concept_logits if predictions.prototype_scores is None else predictions.prototype_scores
    assert read is not None
    return read
