"""Metrics by name in a report: intervals by patient, reasons, caps, and nothing else changed."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torchmetrics.functional import classification as tm

from medzoo.data.errors import UnknownNameError
from medzoo.data.labels import LabelSpace
from medzoo.evaluation import extra_report
from medzoo.evaluation.bootstrap import Interval
from medzoo.evaluation.extra import find_extra
from medzoo.evaluation.extra_report import affordable
from medzoo.evaluation.metrics import scored
from medzoo.evaluation.predictions import Predictions
from medzoo.evaluation.report import evaluate, format_report

NAMES = ["auroc", "average_precision", "f1_score", "cohen_kappa"]
OURS = {"auroc": "auroc", "average_precision": "ap", "f1_score": "f1"}


def predictions(labels: LabelSpace, targets: np.ndarray, logits: np.ndarray, groups: list[str]) -> Predictions:
    n = len(targets)
    column = np.array(["a", "b"] * n, dtype=object)[:n]
    return Predictions(
        labels, np.arange(n).astype(str).astype(object), np.full(n, "test", dtype=object), np.array(groups, dtype=object),
        targets, logits, logits, pd.DataFrame({"site": column}), split_unit="patient",
    )  # fmt: skip


def cohort(kind: str = "multiclass", width: int = 3, patients: int = 40) -> Predictions:
    rng = np.random.default_rng(3)
    labels = LabelSpace(kind, tuple(f"c{k}" for k in range(width)))  # type: ignore[arg-type]
    groups = [f"p{i // 3}" for i in range(patients * 3)]
    logits = rng.normal(size=(len(groups), width)).astype(np.float32)
    if kind == "multilabel":
        targets = (rng.random(logits.shape) < 0.4).astype(np.float32)
    elif kind == "regression":
        targets = (logits + rng.normal(size=logits.shape)).astype(np.float32)
    else:
        targets = labels.one_hot(rng.integers(width, size=len(groups)))
    return predictions(labels, targets, logits, groups)


def test_an_interval_by_patients_checked_by_hand() -> None:
    """Six patients of four images, three all right and three all wrong: a replicate is k sixths, k binomial of 6 and 1/2.

    P(k = 0) = 1/64 lies below 2.5% and P(k ≤ 1) = 7/64 above it, so the interval is [1/6, 5/6]. Redrawing the 24 images would
    give a binomial of 24, whose interval is [7/24, 17/24].
    """
    labels = LabelSpace("multiclass", ("no", "yes"))
    truth = np.tile([0, 1], 12)
    right = np.repeat([1, 1, 1, 0, 0, 0], 4) == 1
    logits = labels.one_hot(np.where(right, truth, 1 - truth)) * 3
    data = predictions(labels, labels.one_hot(truth), logits, [f"p{i // 4}" for i in range(24)])
    text = "accuracy(average=micro)"
    part = evaluate(data, splits=["test"], interval=Interval(4000), extra=[text])["splits"]["test"]
    assert part["extra"][text] == {"value": 0.5, "low": pytest.approx(1 / 6), "high": pytest.approx(5 / 6)}
    rows = replace(data, group=data.sample_id)
    by_row = evaluate(rows, splits=["test"], interval=Interval(4000), extra=[text])["splits"]["test"]["extra"][text]
    assert (by_row["low"], by_row["high"]) == (pytest.approx(7 / 24), pytest.approx(17 / 24))


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_what_both_know_has_the_interval_of_our_own(kind: str) -> None:
    data = cohort(kind)
    data.targets[:10] = np.nan
    part = evaluate(data, splits=["test"], interval=Interval(100), extra=list(OURS))["splits"]["test"]
    for levels in (part, *part["subgroups"]["site"].values()):
        for theirs, ours in OURS.items():
            found, own = levels["extra"][theirs], levels["metrics"][ours]
            for end in ("value", "low", "high"):
                assert found[end] == pytest.approx(own[end], abs=1e-6), (theirs, end)
    classes, own = part["extra"]["auroc"]["classes"], part["metrics"]["auroc"]["classes"]
    for name, described in classes.items():
        assert described["low"] == pytest.approx(own[name]["low"], abs=1e-6)


def test_grades_and_quantities_have_the_interval_of_our_own() -> None:
    text = "cohen_kappa(weights=quadratic)"
    part = evaluate(cohort("ordinal"), splits=["test"], interval=Interval(50), extra=[text])["splits"]["test"]
    for end in ("value", "low", "high"):
        assert part["extra"][text][end] == pytest.approx(part["metrics"]["kappa"][end], abs=1e-6)
    part = evaluate(cohort("regression"), splits=["test"], interval=Interval(50), extra=["r2_score", "mean_absolute_error"])
    part = part["splits"]["test"]
    assert part["extra"]["r2_score"]["low"] == pytest.approx(part["metrics"]["r2"]["low"], abs=1e-6)
    assert part["extra"]["mean_absolute_error"]["no_mean"] == "the quantities have different units"
    own = part["metrics"]["mae"]["classes"]["c1"]
    assert part["extra"]["mean_absolute_error"]["classes"]["c1"] == {k: pytest.approx(v, abs=1e-6) for k, v in own.items()}


def test_the_rules_of_scarcity_are_our_own() -> None:
    data = cohort()
    rare = data.labels.one_hot(np.where(np.arange(len(data)) < 6, 2, np.arange(len(data)) % 2))  # of two patients
    part = evaluate(replace(data, targets=rare), splits=["test"], interval=Interval(50), extra=["auroc"])["splits"]["test"]
    assert part["extra"]["auroc"]["no_interval"] == part["metrics"]["auroc"]["no_interval"]
    assert "2 patient groups with it, at least 5 are needed" in part["extra"]["auroc"]["classes"]["c2"]["no_interval"]
    absent = data.labels.one_hot(np.arange(len(data)) % 2)
    part = evaluate(replace(data, targets=absent), splits=["test"], interval=Interval(50), extra=["auroc"])["splits"]["test"]
    assert part["extra"]["auroc"]["undefined"] == {"c2": "no positive sample"}
    assert part["extra"]["auroc"]["classes"]["c2"] == {"value": None, "low": None, "high": None}
    assert part["extra"]["auroc"]["value"] == pytest.approx(part["metrics"]["auroc"]["value"], abs=1e-6)


def test_a_value_of_the_whole_that_is_undefined_has_its_reason() -> None:
    data = cohort()
    alone = replace(data, targets=data.labels.one_hot(np.zeros(len(data))))
    report = evaluate(alone, splits=["test"], interval=Interval(20), extra=["matthews_corrcoef"])
    reason = "no class has both positive and negative samples"
    found = report["splits"]["test"]["extra"]["matthews_corrcoef"]
    assert found == {"value": None, "low": None, "high": None, "undefined": reason}
    assert f"undefined  ({reason})" in format_report(report, "test")
    json.dumps(report, allow_nan=False)


def test_samples_with_a_gap_are_counted_out() -> None:
    data = cohort("multilabel")
    data.targets[:30, 1] = np.nan
    text = "exact_match"
    found = evaluate(data, splits=["test"], interval=Interval(20), extra=[text])["splits"]["test"]["extra"][text]
    p, y = torch.from_numpy(data.logits[30:]).sigmoid(), torch.from_numpy(data.targets[30:]).long()
    assert found["samples"] == 90
    assert found["value"] == pytest.approx(float(tm.multilabel_exact_match(p, y, num_labels=3)))
    assert found["low"] < found["value"] < found["high"]


def test_a_slow_metric_has_fewer_replicates_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    data = cohort()
    asked = Interval(1000)
    plain, slow = (find_extra(text, data.labels) for text in ("auroc", "precision_at_fixed_recall(min_recall=0.8)"))
    known = scored(data.labels, data.targets, data.logits)
    assert affordable(plain, known, asked) == asked
    monkeypatch.setattr(extra_report, "MOST_VALUES", 20 * known.truth.size * 300)
    assert affordable(slow, known, asked) == Interval(300)
    monkeypatch.setattr(extra_report, "LEAST_REPLICATES", 7)
    monkeypatch.setattr(extra_report, "MOST_VALUES", 0)
    report = evaluate(data, splits=["test"], interval=asked, extra=["recall"])
    assert report["splits"]["test"]["extra"]["recall"]["replicates"] == 7
    assert report["notes"] == ["recall: 7 (test) instead of 1000 bootstrap replicates, since each is a call of torchmetrics"]
    few = evaluate(data, splits=["test"], interval=Interval(5), extra=["recall"])
    assert few["notes"] == []
    assert "replicates" not in few["splits"]["test"]["extra"]["recall"]


def test_nothing_else_of_a_report_changes() -> None:
    data = cohort()
    plain = evaluate(data, splits=["test"], interval=Interval(20))
    more = evaluate(data, splits=["test"], interval=Interval(20), extra=NAMES)
    assert more["extra"]["metrics"] == NAMES
    assert more.pop("extra")["by"].startswith("torchmetrics ")
    part = more["splits"]["test"]
    assert list(part.pop("extra")) == NAMES
    for level in part["subgroups"]["site"].values():
        assert list(level.pop("extra")) == NAMES
    assert more == plain
    assert "extra" not in json.dumps(plain)


def test_a_wrong_name_stops_before_anything_is_computed() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'matthews_corrcoef'"):
        evaluate(cohort(), splits=["nowhere"], extra=["mathews_corrcoef"])
