"""Operating points and curves in the report of an evaluation."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.labels import LabelSpace
from medzoo.data.operating_points import OperatingPoints
from medzoo.evaluation.bootstrap import Interval
from medzoo.evaluation.decisions.report import Decisions
from medzoo.evaluation.report import evaluate, format_report, write_metrics
from medzoo.settings.evaluation import EvaluationConfig
from tests.zoo.evaluation.decisions.cases import case

RULES = ["youden", {"sensitivity": 0.9}, {"specificity": 0.95}]
ASKED = Decisions.of(EvaluationConfig(operating_points=RULES, prevalence={"mass": 0.1}, decision_curve=[0.1, 0.2]))


def test_every_split_is_judged_at_the_points_of_val(tmp_path: Path) -> None:
    predictions = case("multilabel", 0)
    report = evaluate(predictions, interval=Interval(40), decisions=ASKED)
    write_metrics(tmp_path / "metrics.json", report)  # NaN would raise
    chosen = OperatingPoints.from_dict(report["operating_points"], predictions.labels)
    assert chosen.rules == ("youden", "sensitivity=0.9", "specificity=0.95")
    for split in ("val", "test"):
        part = report["splits"][split]["operating_points"]
        calls, rows = chosen.calls(predictions.of_split(split).logits), predictions.of_split(split)
        for p, rule in enumerate(chosen.rules):
            for k, name in enumerate(predictions.labels.names):
                found = part[rule]["classes"][name]
                assert found["score"] == chosen.points[p].scores[k]
                assert found["true_positive"] == int(((calls[:, p, k] == 1) & (rows.targets[:, k] == 1)).sum())
                assert found["true_negative"] == int(((calls[:, p, k] == 0) & (rows.targets[:, k] == 0)).sum())
    val = report["splits"]["val"]["operating_points"]
    assert all(val["sensitivity=0.9"]["classes"][name]["sensitivity"]["value"] >= 0.9 for name in predictions.labels.names)
    assert all(val["specificity=0.95"]["classes"][name]["specificity"]["value"] >= 0.95 for name in predictions.labels.names)
    assert val["youden"]["classes"]["fluid"]["true_positive"] == chosen.points[0].counts[0]["true_positive"]
    assert set(report["splits"]["test"]["decision_curve"]["classes"]) == set(predictions.labels.names)
    assert "operating points were chosen on val: their figures there are too good" in report["notes"]
    lines = format_report(report, "test")
    assert "operating point sensitivity=0.9:" in lines
    assert lines.count("ppv_at_prevalence") == 3


def test_permuting_test_labels_changes_no_threshold() -> None:
    predictions = case("multiclass", 1)
    targets, test = predictions.targets.copy(), predictions.split == "test"
    targets[test] = np.random.default_rng(0).permutation(targets[test])
    asked = Decisions.of(EvaluationConfig(operating_points=RULES))
    ours, theirs = (evaluate(given, interval=Interval(10), decisions=asked)
                    for given in (predictions, replace(predictions, targets=targets)))  # fmt: skip
    assert ours["operating_points"] == theirs["operating_points"]
    assert ours["splits"]["val"] == theirs["splits"]["val"]
    assert ours["splits"]["test"]["operating_points"] != theirs["splits"]["test"]["operating_points"]


def test_points_of_elsewhere_are_applied_as_they_are() -> None:
    predictions = case("multilabel", 0)
    points = OperatingPoints.from_dict(evaluate(predictions, decisions=ASKED, interval=Interval(0))["operating_points"],
                                       predictions.labels)  # fmt: skip
    other = case("multilabel", 9).take(np.arange(270) >= 180)  # a test set alone, of another hospital
    report = evaluate(other, splits=["test"], interval=Interval(10), decisions=Decisions(points=points))
    assert report["operating_points"] == points.to_dict()
    assert report["splits"]["test"]["operating_points"]["youden"]["classes"]["fluid"]["score"] == points.points[0].scores[0]
    assert not any("too good" in note for note in report["notes"])


def test_a_finding_without_threshold_is_a_line() -> None:
    predictions = case("multilabel", 0)
    targets = predictions.targets.copy()
    targets[predictions.split == "val", 2] = 0
    report = evaluate(replace(predictions, targets=targets), interval=Interval(0), decisions=ASKED)
    json.dumps(report, allow_nan=False)
    assert "node                     none: no positive val sample" in format_report(report, "test")


def test_nothing_asked_for_changes_nothing() -> None:
    predictions = case("multilabel", 0)
    report = evaluate(predictions, interval=Interval(10))
    assert "operating_points" not in report
    assert report == evaluate(predictions, interval=Interval(10), decisions=Decisions.of(EvaluationConfig()))
    stated = evaluate(predictions, interval=Interval(10), decisions=Decisions.of(EvaluationConfig(prevalence=0.1)))
    assert any("none was asked for" in note for note in stated["notes"])


@pytest.mark.parametrize(
    "config",
    [EvaluationConfig(operating_points=["youden"]), EvaluationConfig(decision_curve=True), EvaluationConfig(prevalence=0.1)],
)
def test_quantities_have_no_decisions(config: Any) -> None:
    labels = LabelSpace("regression", ("size",))
    with pytest.raises(ConfigError, match="these labels are quantities; leave it out"):
        Decisions.of(config).check(labels)
    Decisions.of(config).check(None)  # a model of images and texts: seen with the dataset
    with pytest.raises(UnknownNameError, match="mass"):
        Decisions(prevalence={"mas": 0.1}).check(case("multilabel", 0).labels)
