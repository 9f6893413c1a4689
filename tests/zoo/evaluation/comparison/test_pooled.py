"""Folds: each patient once, and what ranks mean across models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from medzoo.data.errors import EvaluationError
from medzoo.evaluation.bootstrap import Interval, group_codes, replicate_weights
from medzoo.evaluation.comparison.pooled import pool
from medzoo.evaluation.comparison.setting import Setting
from medzoo.evaluation.predictions import Predictions
from tests.zoo.evaluation.comparison.samples import predictions

INTERVAL = Interval(60)


def folds() -> dict[str, Predictions]:
    """Return three folds, whose models put their scores on scales far apart."""
    parts = {f"fold-{k}": predictions(patients=20, first=20 * k, model=k) for k in range(3)}
    for k, part in enumerate(parts.values()):
        part.logits[:] += 5 * k
    return parts


def setting() -> Setting:
    joined, fold = pool(folds())
    return Setting("folds", "", ("folds",), (joined,), (fold,), INTERVAL)


def test_every_patient_is_there_once() -> None:
    parts = folds()
    joined, fold = pool(parts)
    assert joined.sample_id.tolist() == [sample for part in parts.values() for sample in part.sample_id]
    assert fold.tolist() == [0] * 60 + [1] * 60 + [2] * 60
    np.testing.assert_array_equal(joined.logits[fold == 1], parts["fold-1"].logits)


def test_what_every_fold_says_of_its_rows_is_pooled_and_what_some_lack_is_left_out() -> None:
    parts = {
        name: replace(
            part, kept=pd.DataFrame({"video": [f"{name} {i}" for i in range(len(part))], name: "x"}), carried=part.targets + k,
            attention=np.full((len(part), 2 + k), 0.5, np.float32),
        )
        for k, (name, part) in enumerate(folds().items())
    }  # fmt: skip
    pooled, fold = pool(parts)
    assert pooled.kept is not None
    assert pooled.carried is not None
    assert pooled.attention is not None
    assert list(pooled.kept.columns) == ["video"]
    assert pooled.kept["video"].tolist() == [text for part in parts.values() for text in part.kept["video"]]  # type: ignore[index]
    np.testing.assert_array_equal(pooled.carried[fold == 2], parts["fold-2"].targets + 2)
    assert (~np.isnan(pooled.attention)).sum(axis=1).tolist() == [2] * 60 + [3] * 60 + [4] * 60
    assert pooled.take(fold == 1).kept.equals(parts["fold-1"].kept[["video"]])  # type: ignore[union-attr,index]
    lacking, _ = pool({**parts, "fold-1": replace(parts["fold-1"], kept=None, carried=None, attention=None)})
    assert lacking.kept is lacking.carried is lacking.attention is None
    assert len(lacking.take(fold == 1)) == 60


def test_a_patient_in_two_folds_is_refused() -> None:
    with pytest.raises(EvaluationError, match=r"2 patient groups of second are in first, too \(p3\): these are no folds"):
        pool({"first": predictions(patients=5), "second": predictions(patients=4, first=3)})


def test_other_labels_are_refused() -> None:
    with pytest.raises(EvaluationError, match="labels of other kinds"):
        pool({"first": predictions(patients=5), "second": predictions("binary", patients=5, first=5)})


def test_ranks_are_also_told_within_folds() -> None:
    """On the pool the folds' scales make the area worthless; within folds it is the models'."""
    made = setting()
    assert made.metrics(["auroc", "f1", "ap"]) == ["auroc", "auroc within folds", "f1", "ap", "ap within folds"]
    parts = folds().values()
    expected = []
    for part in parts:
        known = [~np.isnan(part.targets[:, k]) for k in range(2)]
        expected.append(np.mean([roc_auc_score(part.targets[rows, k], part.logits[rows, k]) for k, rows in enumerate(known)]))
    assert made.estimate("auroc within folds").value == pytest.approx(np.mean(expected), abs=1e-12)
    pooled = made.estimate("auroc").value
    assert pooled is not None
    assert pooled < np.mean(expected) - 0.1


def test_a_replicate_draws_from_the_whole_pool_and_is_then_taken_apart() -> None:
    made = setting()
    drawn = made.estimate("auroc within folds", k=0).drawn
    assert drawn is not None
    joined, fold = made.predictions[0], made.folds[0]
    weights = np.concatenate(list(replicate_weights(group_codes(joined.group), INTERVAL.replicates, 0)))
    for row, value in zip(weights, drawn, strict=True):
        areas = []
        for k in range(3):
            rows = np.repeat(np.arange(len(fold)), row.astype(int))
            rows = rows[(fold[rows] == k) & ~np.isnan(joined.targets[rows, 0])]
            areas.append(roc_auc_score(joined.targets[rows, 0], joined.logits[rows, 0]))
        assert value == pytest.approx(np.mean(areas), abs=1e-12)
