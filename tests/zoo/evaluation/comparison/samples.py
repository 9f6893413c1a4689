"""Predictions of made-up models on made-up patients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from medzoo.data.labels import LabelSpace
from medzoo.evaluation.predictions import Predictions

LABELS = {
    "multilabel": LabelSpace("multilabel", ("mass", "nodule")),
    "multiclass": LabelSpace("multiclass", ("a", "b", "c")),
    "binary": LabelSpace("multiclass", ("benign", "malignant")),
    "ordinal": LabelSpace("ordinal", ("none", "mild", "severe")),
    "regression": LabelSpace("regression", ("size",)),
}


def predictions(
    kind: str = "multilabel",
    *,
    patients: int = 40,
    images: int = 3,
    model: int = 0,
    skill: float = 1.0,
    first: int = 0,
    **changes: Any,
) -> Predictions:
    """Return what a model says of images of patients, whose truth follows from their numbers alone.

    Args:
        kind: One of `LABELS`.
        patients: How many.
        images: Of each.
        model: Seed of what it says.
        skill: How far its scores follow the truth.
        first: Number of the first patient.
        changes: Of the fields.
    """
    labels, number = LABELS[kind], np.repeat(np.arange(first, first + patients), images)
    truth = np.concatenate(
        [np.random.default_rng(patient).random((images, labels.width)) for patient in range(first, first + patients)]
    )
    if kind == "multilabel":
        targets = (truth < 0.4).astype(np.float32)
        targets[truth > 0.95] = np.nan
    elif kind == "regression":
        targets = truth.astype(np.float32)
    else:
        targets = labels.one_hot(truth.argmax(axis=1))
    noise = np.random.default_rng([model, 1]).normal(size=(10_000, labels.width))[
        number * images + np.tile(np.arange(images), patients)
    ]
    logits = (skill * np.nan_to_num(targets) + noise).astype(np.float32)
    sample = np.array([f"p{p}/i{i}" for p, i in zip(number, np.tile(np.arange(images), patients), strict=True)], dtype=object)
    fields: dict[str, Any] = {
        "labels": labels, "sample_id": sample, "split": np.full(len(sample), "test", dtype=object),
        "group": np.array([f"p{p}" for p in number], dtype=object), "targets": targets, "logits": logits, "probabilities": logits,
        "subgroups": pd.DataFrame(index=range(len(sample))), "split_unit": "patient", "details": {"data": {"name": "clinic"}},
    }  # fmt: skip
    return Predictions(**{**fields, **changes})
