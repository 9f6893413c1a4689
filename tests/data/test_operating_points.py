"""Thresholds that travel: what they call, and that nothing of a file is trusted."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, logit

from medzoo.data.labels import LabelSpace, log_odds, softmax
from medzoo.data.operating_points import MOST_POINTS, OperatingPoint, OperatingPoints, probability_of, with_calls

FINDINGS = LabelSpace("multilabel", ("fluid", "mass"))
CLASSES = LabelSpace("multiclass", ("a", "b", "c"))
NONE: tuple[dict[str, int], ...] = ({}, {}, {})


def points(labels: LabelSpace = FINDINGS) -> OperatingPoints:
    scores = (0.5, None, -1.0)[: labels.width]
    reasons = ("", "no positive val sample", "")[: labels.width]
    made = {"spec": "s", "weights": "w", "checkpoint": "best"}
    two = (OperatingPoint("youden", scores, reasons, NONE[: labels.width]),
           OperatingPoint("sensitivity=0.9", (-2.0,) * labels.width, ("",) * labels.width, NONE[: labels.width]))  # fmt: skip
    return OperatingPoints(labels, two, made)


def test_findings_are_called_at_the_threshold_and_above() -> None:
    logits = np.array([[0.5, 9.0], [np.nextafter(np.float32(0.5), np.float32(0)), -2.0]], np.float32)
    nan = np.nan
    expected = np.array([[[1, nan], [1, 1]], [[0, nan], [1, 1]]])
    np.testing.assert_array_equal(points().calls(logits), expected)
    assert points().by_name(expected[0]) == {
        "youden": {"fluid": True, "mass": None}, "sensitivity=0.9": {"fluid": True, "mass": True}
    }  # fmt: skip


def test_exclusive_classes_are_called_by_their_own_odds() -> None:
    """Several may be called, or none: each against all others together."""
    logits = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    shares = softmax(logits.astype(np.float64))
    found = points(CLASSES).calls(logits)
    np.testing.assert_array_equal(found[:, 0, 0], shares[:, 0] >= expit(0.5))
    np.testing.assert_array_equal(found[:, 0, 2], shares[:, 2] >= expit(-1.0))
    np.testing.assert_allclose(log_odds(logits, CLASSES), logit(shares), rtol=1e-9)


def test_saturated_logits_do_not_tie() -> None:
    high = OperatingPoints(CLASSES, (OperatingPoint("youden", (70.0, None, None), ("", "x", "x"), NONE),))
    assert softmax(np.array([[60.0, 0, 0]]))[0, 0] == 1.0
    np.testing.assert_array_equal(high.calls(np.array([[60.0, 0, 0], [80.0, 0, 0]], np.float32))[:, 0, 0], [0, 1])
    assert probability_of(800.0) == 1.0
    assert probability_of(-800.0) == 0.0
    assert probability_of(1.5) == pytest.approx(expit(1.5), abs=1e-15)
    assert probability_of(-1.5) == pytest.approx(expit(-1.5), abs=1e-15)


def test_no_image_has_no_calls_and_no_points_change_nothing() -> None:
    assert points().calls(np.zeros((0, 2), np.float32)).shape == (0, 2, 2)
    outputs = {"logits": np.zeros((1, 2), np.float32)}
    assert with_calls(outputs, None) == outputs
    assert set(with_calls(outputs, points())) == {"logits", "calls"}


def test_what_is_written_comes_back() -> None:
    described = json.loads(json.dumps(points().to_dict(), allow_nan=False))
    assert OperatingPoints.from_dict(described, FINDINGS) == points()
    assert described["points"][0]["classes"]["fluid"]["threshold"] == pytest.approx(expit(0.5))
    assert described["points"][0]["classes"]["mass"] == {"threshold": None, "score": None, "reason": "no positive val sample"}


def set_name(name: Any) -> Callable[[dict[str, Any]], None]:
    return lambda told: told["points"][0].update(rule=name)


def set_score(score: Any) -> Callable[[dict[str, Any]], None]:
    return lambda told: told["points"][0]["classes"]["fluid"].update(score=score)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda told: told.update(format=2), lambda told: told.update(labels=CLASSES.to_dict()), lambda told: told.pop("labels"),
        lambda told: told.update(points=[]), lambda told: told.update(points={}), lambda told: told.update(points=["youden"]),
        lambda told: told.update(points=told["points"] * (MOST_POINTS // 2 + 1)),
        lambda told: told["points"].append(told["points"][0]),
        set_name("\x1b[31mred"), set_name(""), set_name(None), set_name("x" * 301), set_name(["youden"]),
        set_score(True), set_score("0.5"), set_score(float("nan")), set_score(float("inf")), set_score([0.5]),
        lambda told: told["points"][0].update(classes=[]), lambda told: told["points"][0]["classes"].pop("mass"),
        lambda told: told["points"][0]["classes"].update(extra={"score": 1}),
        lambda told: told["points"][0]["classes"].update(fluid=0.5),
        lambda told: told["points"][0]["classes"]["mass"].update(reason="\x1b[2J"),
        lambda told: told["points"][0]["classes"]["fluid"].update(counts={"true_positive": "1"}),
        lambda told: told["points"][0]["classes"]["fluid"].update(counts={"\x07": 1}),
    ],
)  # fmt: skip
def test_anything_else_is_refused(spoil: Callable[[dict[str, Any]], None]) -> None:
    told = points().to_dict()
    spoil(told)
    with pytest.raises(ValueError, match="operating point"):
        OperatingPoints.from_dict(told, FINDINGS)


@pytest.mark.parametrize("told", [None, [], "youden", 1])
def test_what_is_no_object_is_refused(told: Any) -> None:
    with pytest.raises(ValueError, match="operating points"):
        OperatingPoints.from_dict(told, FINDINGS)


def test_points_are_of_one_model_and_one_way_of_answering() -> None:
    assert points().not_of("s", "w") == ""
    assert "other weights" in points().not_of("s", "v")
    assert "other weights" in points().not_of("t", "w")
    assert "evaluation.tta=0" in points().not_of("s", "w", tta=4)
    assert "calibrated otherwise" in points().not_of("s", "w", calibration="temperature")
