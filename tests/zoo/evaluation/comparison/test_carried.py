"""What is carried forward, beside the model: figures as of scikit-learn, on the samples that are known at both visits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, mean_absolute_error, r2_score, roc_auc_score

from medzoo.data.labels import LabelSpace, probabilities
from medzoo.evaluation.bootstrap import Interval
from medzoo.evaluation.comparison.carried import carried_lines, carried_report
from medzoo.evaluation.grouped.groups import group_predictions
from medzoo.evaluation.predictions import Predictions
from medzoo.report.visit_sections import carried as section

INTERVAL = Interval(replicates=200)
KINDS = {
    "regression": LabelSpace("regression", ("BCVA", "CST"), ("letters", "um")),
    "multiclass": LabelSpace("multiclass", ("none", "mild", "severe")),
    "multilabel": LabelSpace("multilabel", ("fluid", "traction")),
}


def made(kind: str, seed: int = 0, count: int = 160) -> Predictions:
    """Return predictions of a target that often is as it was, some of it missing at either visit."""
    rng, labels = np.random.default_rng(seed), KINDS[kind]
    stays = rng.random(count) < 0.7
    if kind == "regression":
        carried = rng.normal([70, 300], [8, 60], (count, 2)).astype(np.float32)
        targets = np.where(stays[:, None], carried, carried + np.array([5, -40])).astype(np.float32)
        logits = targets + rng.normal(0, 3, targets.shape)
    else:
        now, later = (rng.integers(0, labels.width, count) for _ in range(2))
        if kind == "multiclass":
            carried, targets = labels.one_hot(now), labels.one_hot(np.where(stays, now, later))
        else:
            carried = rng.integers(0, 2, (count, 2)).astype(np.float32)
            targets = np.where(stays[:, None], carried, 1 - carried)
        logits = 3 * targets + rng.normal(0, 1, targets.shape)
    for values in (carried, targets):
        gone = rng.random(values.shape) < 0.1
        values[gone.any(axis=1) if labels.exclusive else gone] = np.nan
    logits = np.nan_to_num(logits).astype(np.float32)
    return Predictions(
        labels, *(np.array([f"{name}{n // per}" for n in range(count)], dtype=object) for name, per in (("s", 1),)),
        split=np.array(["val", "test"] * (count // 2), dtype=object),
        group=np.array([f"p{n // 4}" for n in range(count)], dtype=object), targets=targets, logits=logits,
        probabilities=probabilities(logits, labels), subgroups=pd.DataFrame(index=range(count)), carried=carried,
        kept=pd.DataFrame({"eye": [f"e{n // 2}" for n in range(count)]}), split_unit="patient",
    )  # fmt: skip


def _found(report: dict[str, Any], metric: str, name: str = "") -> dict[str, Any]:
    (one,) = (one for one in report["test"]["metrics"] if (one["metric"], one["name"]) == (metric, name))
    return one


def test_quantities_have_a_figure_each_on_the_samples_known_at_both_visits() -> None:
    predictions = made("regression")
    report, part = carried_report(predictions, ["test"], INTERVAL), predictions.of_split("test")
    assert part.carried is not None
    for k, name in enumerate(("BCVA", "CST")):
        both = ~np.isnan(part.targets[:, k]) & ~np.isnan(part.carried[:, k])
        truth = part.targets[both, k]
        for metric, score in (("mae", mean_absolute_error), ("r2", r2_score)):
            one = _found(report, metric, name)
            assert one["carried"]["value"] == pytest.approx(score(truth, part.carried[both, k]), rel=1e-5)
            assert one["model"]["value"] == pytest.approx(score(truth, part.logits[both, k]), rel=1e-5)
            assert one["difference"]["value"] == pytest.approx(one["model"]["value"] - one["carried"]["value"])
    assert {one["metric"] for one in report["test"]["metrics"]} == {"mae", "rmse", "r2", "spearman"}  # no mean over units
    worse = _found(report, "mae", "CST")["difference"]
    assert worse["low"] < worse["value"] < worse["high"] < 0
    assert worse["verdict"] == "superior"
    assert worse["p"] <= worse["p_holm"]


def test_classes_are_scored_as_answers() -> None:
    predictions = made("multiclass")
    report, part = carried_report(predictions, ["test"], INTERVAL), predictions.of_split("test")
    assert part.carried is not None
    both = ~np.isnan(part.targets[:, 0]) & ~np.isnan(part.carried[:, 0])
    truth, was = part.targets[both].argmax(axis=1), part.carried[both].argmax(axis=1)
    assert report["test"]["samples"] == both.sum() < len(part)
    assert _found(report, "accuracy")["carried"]["value"] == pytest.approx((truth == was).mean())
    assert _found(report, "balanced_accuracy")["carried"]["value"] == pytest.approx(balanced_accuracy_score(truth, was))
    assert _found(report, "f1")["carried"]["value"] == pytest.approx(f1_score(truth, was, average="macro"))
    assert _found(report, "auroc")["carried"]["value"] == pytest.approx(
        np.mean([roc_auc_score(truth == k, was == k) for k in range(3)])
    )
    assert not {"ece", "brier", "nll", "ap"} & {one["metric"] for one in report["test"]["metrics"]}


def test_findings_are_left_out_where_one_visit_does_not_say() -> None:
    predictions = made("multilabel")
    report, part = carried_report(predictions, ["test"], INTERVAL), predictions.of_split("test")
    assert part.carried is not None
    both = ~np.isnan(part.targets) & ~np.isnan(part.carried)
    wanted = [(part.targets[both[:, k], k] == part.carried[both[:, k], k]).mean() for k in range(2)]
    assert _found(report, "accuracy")["carried"]["value"] == pytest.approx(np.mean(wanted))
    assert report["test"]["samples"] == both.any(axis=1).sum()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_it_stands_in_the_file_on_the_terminal_and_on_the_page(kind: str, tmp_path: Path) -> None:
    given = made(kind)
    given.write(tmp_path / "p.parquet")
    back = Predictions.read(tmp_path / "p.parquet")
    np.testing.assert_array_equal(back.carried, given.carried)
    report = carried_report(back, ["val", "test"], Interval(replicates=20))
    lines = carried_lines(report)
    assert lines[0].startswith("carried forward on val (this visit's own as the answer, on ")
    assert len(lines) == 2 + len(report["val"]["metrics"]) + len(report["test"]["metrics"])
    page = section({"carried": report}, "test")
    assert len(page.blocks[0].rows) == len(report["test"]["metrics"])
    assert page.blocks[0].rows[0][2].source == "metrics.json#/carried/test/metrics/0/model"
    assert section({}, "test").blocks == []


def test_where_the_target_is_of_this_visit_there_is_nothing(tmp_path: Path) -> None:
    grouped = group_predictions(made("multilabel"), ["eye"], "any")  # of a group no visit is this one
    assert grouped.carried is None
    assert carried_report(grouped, ["test"], INTERVAL) == {}
    grouped.write(tmp_path / "p.parquet")
    assert Predictions.read(tmp_path / "p.parquet").carried is None
