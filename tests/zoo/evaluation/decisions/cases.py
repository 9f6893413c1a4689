"""Predictions of every kind of labels, on three splits, three samples a patient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from medzoo.data.labels import LabelSpace, probabilities
from medzoo.evaluation.predictions import Predictions

FINDINGS = ("fluid", "mass", "node")


def case(kind: Any, seed: int, samples: int = 270) -> Predictions:
    """Return predictions of which the first third is train, then val, then test."""
    rng, labels = np.random.default_rng(seed), LabelSpace(kind, FINDINGS)
    if kind == "multilabel":
        targets = (rng.random((samples, 3)) < [0.5, 0.3, 0.2]).astype(np.float32)
    else:
        targets = labels.one_hot(rng.integers(3, size=samples))
    logits = (rng.normal(size=(samples, 3)) + 1.5 * targets - 0.5).astype(np.float32)
    return Predictions(
        labels, np.array([f"s{i}" for i in range(samples)], object),
        np.repeat(np.array(["train", "val", "test"], object), samples // 3),
        np.array([f"p{i // 3}" for i in range(samples)], object), targets, logits, probabilities(logits, labels),
        pd.DataFrame(index=range(samples)), split_unit="patient",
    )  # fmt: skip
