"""A tree of six nodes, worked by hand; and what holds for every tree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from medzoo.data.labels import LabelSpace, sigmoid, softmax
from medzoo.evaluation.bootstrap import Interval
from medzoo.evaluation.hierarchy.nodes import Tree
from medzoo.evaluation.predictions import Predictions
from medzoo.evaluation.report import evaluate, format_report

CLASSES = LabelSpace(
    "multiclass", ("nevus", "melanoma", "bcc", "other"),
    parents=(("nevus", "benign"), ("melanoma", "malignant"), ("bcc", "malignant")),
)  # fmt: skip
FINDINGS = LabelSpace(
    "multilabel", ("opacity", "pneumonia", "edema", "fracture"),
    parents=(("pneumonia", "opacity"), ("edema", "opacity"), ("opacity", "lung")),
)  # fmt: skip


def predictions(labels: LabelSpace, targets: Any, logits: Any) -> Predictions:
    size = len(targets)
    return Predictions(
        labels=labels,
        sample_id=np.array([f"s{i}" for i in range(size)], dtype=object),
        split=np.array(["test"] * size, dtype=object),
        group=np.array([f"p{i // 2}" for i in range(size)], dtype=object),
        targets=np.asarray(targets, np.float32),
        logits=np.asarray(logits, np.float32),
        probabilities=np.zeros((size, labels.width), np.float32),
        subgroups=pd.DataFrame(index=range(size)),
        split_unit="patient",
    )


def found(given: Predictions, replicates: int = 0) -> dict[str, Any]:
    part: dict[str, Any] = evaluate(given, splits=["test"], interval=Interval(replicates))["splits"]["test"]["hierarchy"]
    return part


def test_six_nodes_by_hand() -> None:
    """True → said, and the sets P and T: nevus→nevus 2, 2, 2 in common; twice nevus→other 1, 2, 0; melanoma→bcc 2, 2, 1;
    other→melanoma 2, 1, 0; bcc→bcc 2, 2, 2; other→other 1, 1, 1. Steps: 0, 3, 3, 2, 3, 0, 0."""
    true, said = [0, 0, 0, 1, 3, 2, 3], [0, 3, 3, 2, 1, 2, 3]
    part = found(predictions(CLASSES, np.eye(4)[true], 3 * np.eye(4)[said]))
    assert part["precision"]["value"] == pytest.approx(6 / 11, abs=1e-12)
    assert part["recall"]["value"] == pytest.approx(6 / 12, abs=1e-12)
    assert part["f1"]["value"] == pytest.approx(12 / 23, abs=1e-12)
    assert part["mean_distance"]["value"] == pytest.approx(11 / 7, abs=1e-12)
    assert part["mean_distance_of_errors"]["value"] == pytest.approx(11 / 4, abs=1e-12)
    assert part["levels"]["1"]["nodes"] == {"benign": ["nevus"], "malignant": ["melanoma", "bcc"], "other": ["other"]}
    assert part["levels"]["1"]["metrics"]["accuracy"]["value"] == pytest.approx(4 / 7, abs=1e-12)
    assert part["levels"]["2"]["metrics"]["accuracy"]["value"] == pytest.approx(3 / 7, abs=1e-12)
    assert set(part["levels"]) == {"1", "2"}


def test_distances_are_steps_by_way_of_the_lowest_node_above_both() -> None:
    np.testing.assert_array_equal(Tree(CLASSES).distances, [[0, 4, 4, 3], [4, 0, 2, 3], [4, 2, 0, 3], [3, 3, 3, 0]])


def test_a_root_above_everything_changes_nothing() -> None:
    rooted = LabelSpace(
        "multiclass", CLASSES.names, parents=(*CLASSES.parents, ("benign", "skin"), ("malignant", "skin"), ("other", "skin"))
    )
    rng = np.random.default_rng(0)
    targets, logits = np.eye(4)[rng.integers(4, size=60)], rng.normal(size=(60, 4))
    assert found(predictions(rooted, targets, logits), 50) == found(predictions(CLASSES, targets, logits), 50)


def test_probabilities_of_classes_are_summed() -> None:
    rng = np.random.default_rng(1)
    codes = rng.integers(4, size=300)
    logits = (rng.normal(size=(300, 4)) + np.eye(4)[codes]).astype(np.float32)
    part = found(predictions(CLASSES, np.eye(4)[codes], logits), 100)
    p = softmax(logits.astype(np.float64))
    summed = np.stack([p[:, 0], p[:, 1] + p[:, 2], p[:, 3]], axis=1)
    truth = np.array([0, 1, 1, 2])[codes]
    metrics = part["levels"]["1"]["metrics"]
    assert metrics["accuracy"]["value"] == pytest.approx(accuracy_score(truth, summed.argmax(axis=1)), abs=1e-12)
    for k, node in enumerate(("benign", "malignant", "other")):
        assert metrics["auroc"]["classes"][node]["value"] == pytest.approx(roc_auc_score(truth == k, summed[:, k]), abs=1e-12)
    for metric in (metrics["accuracy"], metrics["auroc"], part["precision"], part["mean_distance"]):
        assert metric["low"] < metric["value"] < metric["high"]


def test_the_interval_redraws_patients() -> None:
    """Every patient doubled is the same cohort, with the same interval; were images redrawn, it would be narrower."""
    rng = np.random.default_rng(2)
    targets, logits = np.eye(4)[rng.integers(4, size=80)], rng.normal(size=(80, 4))
    once = predictions(CLASSES, targets, logits)
    twice = np.repeat(np.arange(80), 2)
    many = predictions(CLASSES, targets[twice], logits[twice])
    many.group[:] = once.group[twice]
    for name in ("precision", "mean_distance_of_errors"):
        assert found(many, 200)[name] == pytest.approx(found(once, 200)[name], abs=1e-12)


def test_findings_count_for_what_they_are_a_kind_of() -> None:
    rng = np.random.default_rng(3)
    targets = rng.integers(2, size=(200, 4)).astype(float)
    targets[:, 0] = np.maximum(targets[:, 0], targets[:, 1:3].max(axis=1))
    logits = rng.normal(size=(200, 4)) + targets
    part = found(predictions(FINDINGS, targets, logits))
    p = sigmoid(np.float32(logits).astype(np.float64))
    raised = p[:, :3].max(axis=1)
    top = part["levels"]["1"]
    assert top["nodes"] == {"lung": ["opacity", "pneumonia", "edema"], "fracture": ["fracture"]}
    for level, node in (("1", "lung"), ("2", "opacity")):
        area = part["levels"][level]["metrics"]["auroc"]["classes"][node]["value"]
        assert area == pytest.approx(roc_auc_score(targets[:, 0], raised), abs=1e-12)
    above = (p[:, 1:3] > p[:, [0]]).mean()
    assert part["consistency"] == {"steps": 2, "above_parent": {"value": pytest.approx(above), "low": None, "high": None}}
    assert "mean_distance" not in part


def test_sets_of_findings_by_hand() -> None:
    """Said pneumonia, true edema: P = lung, opacity, pneumonia; T = lung, opacity, edema. Fracture missing does not count."""
    targets = [[1, 0, 1, np.nan], [0, 0, 0, 1]]
    logits = [[-9, 9, -9, 9], [-9, -9, -9, 9]]
    part = found(predictions(FINDINGS, targets, logits))
    assert part["precision"]["value"] == pytest.approx(3 / 4)
    assert part["recall"]["value"] == pytest.approx(3 / 4)


def test_a_missing_finding_leaves_its_parent_missing_unless_another_holds() -> None:
    no_opacity = LabelSpace("multilabel", ("pneumonia", "edema", "fracture"), parents=(("pneumonia", "lung"), ("edema", "lung")))
    targets = [[np.nan, 0, 0], [np.nan, 1, 1], [0, 0, 1]] * 4
    part = found(predictions(no_opacity, targets, np.tile([-1, -1, 1], (12, 1))))
    accuracy = part["levels"]["1"]["metrics"]["accuracy"]["classes"]["lung"]["value"]
    assert accuracy == pytest.approx(4 / 8)  # of the second (wrong) and third (right) kinds of row; the first is missing
    assert "consistency" not in part


def test_it_is_said_on_the_terminal_and_absent_without_a_tree() -> None:
    given = predictions(CLASSES, np.eye(4), np.eye(4))
    report = evaluate(given, splits=["test"], interval=Interval(0))
    assert "level 1 of the tree, 3 nodes: accuracy 1.000" in format_report(report, "test")
    flat = predictions(LabelSpace("multiclass", CLASSES.names), np.eye(4), np.eye(4))
    assert "hierarchy" not in evaluate(flat, splits=["test"], interval=Interval(0))["splits"]["test"]
