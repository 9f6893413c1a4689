"""An evaluated run without a network: predictions that are drawn, scored as any run's are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from medzoo.data.labels import LabelSpace
from medzoo.data.samples.preprocess import Preprocess
from medzoo.evaluation.bootstrap import Interval
from medzoo.evaluation.decisions.report import NO_DECISIONS, Decisions
from medzoo.evaluation.predictions import Predictions
from medzoo.evaluation.report import evaluate, write_metrics
from medzoo.settings.evaluation import EvaluationConfig
from medzoo.store.directory import RunDirectory
from medzoo.store.spec import ModelSpec

CARD = {
    "name": "drawn",
    "title": "Drawn <figures>",
    "licence": "CC0-1.0",
    "split_unit": "patient",
    "samples": {"train": 10, "val": 60, "test": 180},
}


def drawn(labels: LabelSpace, samples: int = 240, *, missing: float = 0.0, subgroups: bool = True, seed: int = 0) -> Predictions:
    """Return predictions that know something: a quarter of the samples for val, the rest for test, three a patient."""
    rng = np.random.default_rng(seed)
    if labels.kind == "regression":
        targets = rng.normal(size=(samples, labels.width)).astype(np.float32)
        logits = (targets + rng.normal(scale=0.5, size=targets.shape)).astype(np.float32)
        probabilities = logits
    elif labels.kind == "multilabel":
        targets = (rng.random((samples, labels.width)) < 0.4).astype(np.float32)
        logits = (2 * targets - 1 + rng.normal(size=targets.shape)).astype(np.float32)
        probabilities = (1 / (1 + np.exp(-logits))).astype(np.float32)
    else:
        targets = labels.one_hot(rng.integers(labels.width, size=samples))
        logits = (rng.normal(size=targets.shape) + 1.5 * targets).astype(np.float32)
        probabilities = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)
    gone = rng.random(targets.shape) < missing
    if labels.exclusive:
        gone = np.repeat(gone[:, :1], labels.width, axis=1)
    split = np.array(["val" if i < samples // 4 else "test" for i in range(samples)], dtype=object)
    known = np.where(gone, np.nan, targets).astype(np.float32)
    columns = {"sex": rng.choice(["F", "M"], samples), "site <x>": rng.choice(["north", "south/east", "a~b"], samples)}
    return Predictions(
        labels=labels, sample_id=np.array([f"s{i:04d}" for i in range(samples)], dtype=object), split=split,
        group=np.array([f"p{i // 3}" for i in range(samples)], dtype=object), targets=known,
        logits=logits, probabilities=probabilities, subgroups=pd.DataFrame(columns if subgroups else {}, index=range(samples)),
        spec_hash="", split_unit="patient", notes=("drawn by a program",),
    )  # fmt: skip


def evaluated(path: Path, predictions: Predictions, replicates: int = 50) -> RunDirectory:
    """Write a run directory of such predictions, with everything that a page reads."""
    preprocess = Preprocess(size=(8, 8), channels=1, mean=(0.5,), std=(0.5,))
    spec = ModelSpec("cnn", "classify", "test_resnet", preprocess, predictions.labels, data=CARD, versions={"torch": "2.9"})
    run = RunDirectory.create(path, "data:\n  name: phantom\nmodel: {}\ntrainer: {}\n", spec)
    predictions = replace(predictions, spec_hash=spec.hash)
    asked = predictions.labels.kind != "regression" and predictions.labels.width < 50
    decided = Decisions.of(EvaluationConfig(operating_points=["youden"], decision_curve=[0.1, 0.5])) if asked else NO_DECISIONS
    predictions.write(run.predictions)
    write_metrics(run.metrics, evaluate(predictions, interval=Interval(replicates=replicates), decisions=decided))
    return run
