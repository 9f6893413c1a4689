"""Every rule by hand, by scikit-learn's curves, and by trying all thresholds; and that nothing but val is looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, roc_curve

from medzoo.data.errors import EvaluationError
from medzoo.data.labels import LabelSpace
from medzoo.evaluation.decisions.choose import ROOM, Chosen, choose, choose_points
from medzoo.evaluation.predictions import Predictions
from medzoo.settings.decision_rules import Rule
from tests.zoo.evaluation.decisions.cases import FINDINGS, case

# Ten samples, two ties: positives at 5, 4, 3, 3, 1 and negatives at 4, 3, 2, 1, 0.
SCORE = np.array([5, 4, 3, 3, 1, 4, 3, 2, 1, 0], np.float64)
TRUE = np.array([1, 1, 1, 1, 1, 0, 0, 0, 0, 0], bool)


def at(chosen: Chosen) -> float:
    """The sample's score that a threshold was set by."""
    assert chosen.score is not None
    return float(SCORE[chosen.score <= SCORE].min())


@pytest.mark.parametrize(
    ("rule", "expected", "cells"),
    [
        # sensitivity at 5, 4, 3, 2, 1, 0: .2 .4 .8 .8 1 1; specificity: 1 .8 .6 .4 .2 0
        (Rule("sensitivity", 0.2), 5, (1, 0, 4, 5)),
        (Rule("sensitivity", 0.21), 4, (2, 1, 3, 4)),
        (Rule("sensitivity", 0.8), 3, (4, 2, 1, 3)),
        (Rule("sensitivity", 0.81), 1, (5, 4, 0, 1)),
        (Rule("sensitivity", 1.0), 1, (5, 4, 0, 1)),
        (Rule("specificity", 1.0), 5, (1, 0, 4, 5)),
        (Rule("specificity", 0.8), 4, (2, 1, 3, 4)),
        (Rule("specificity", 0.5), 3, (4, 2, 1, 3)),
        (Rule("specificity", 0.2), 1, (5, 4, 0, 1)),
        (Rule("youden"), 3, (4, 2, 1, 3)),  # .8 + .6 - 1
        # Costs ten times: at 1 it is .5 x 10 x 0 + .5 x .8 = .4, at 3 it is 1 + .2.
        (Rule("cost", None, 10, 1), 1, (5, 4, 0, 1)),
        (Rule("cost", None, 1, 1), 3, (4, 2, 1, 3)),
        # At a prevalence of 10%: at 5 it is .1 x .8 = .08, at 4 .06 + .18, and nobody .1.
        (Rule("cost", None, 1, 1, 0.1), 5, (1, 0, 4, 5)),
    ],
)  # fmt: skip
def test_by_hand(rule: Rule, expected: float, cells: tuple[int, ...]) -> None:
    found = choose(rule, SCORE, TRUE)
    assert at(found) == expected
    assert found.counts == dict(zip(("true_positive", "false_positive", "false_negative", "true_negative"), cells, strict=True))


def test_what_no_threshold_does_is_said() -> None:
    top_negative = np.array([0.0, 1.0, 2.0]), np.array([True, True, False])
    found = choose(Rule("specificity", 1.0), *top_negative)
    assert found == Chosen(None, "unattainable on val: at most 0, then no sample is called")
    assert "no threshold does better than chance" in choose(Rule("youden"), *top_negative).reason
    assert choose(Rule("specificity", 1.0), np.array([0.0, 1.0, 1.0]), np.array([False, True, False])).score is None
    rare = choose(Rule("cost", None, 1, 1, 0.01), np.array([0.0, 1.0, 2.0, 2.0]), np.array([False, True, False, True]))
    assert "calling nobody costs least" in rare.reason
    everyone = choose(Rule("cost", None, 1000, 1), *top_negative)
    assert "calling everyone costs least" in everyone.reason


@pytest.mark.parametrize("rule", [Rule("youden"), Rule("sensitivity", 0.5), Rule("specificity", 0.5), Rule("cost")])
def test_one_class_alone_has_no_point(rule: Rule) -> None:
    assert choose(rule, SCORE, np.ones(10, bool)) == Chosen(None, "no negative val sample")
    assert choose(rule, SCORE, np.zeros(10, bool)) == Chosen(None, "no positive val sample")
    assert choose(rule, np.empty(0), np.empty(0, bool)).score is None


def brute(rule: Rule, score: np.ndarray, true: np.ndarray) -> float | None:
    """Return the score whose threshold a rule means, by trying each with scikit-learn's table."""
    tried: dict[float, tuple[float, float]] = {}
    for threshold in sorted(set(score.tolist())):
        tn, fp, fn, tp = confusion_matrix(true, score >= threshold, labels=[False, True]).ravel()
        tried[threshold] = (tp / (tp + fn), tn / (tn + fp))
    if rule.target is not None:
        column, pick = (0, max) if rule.name == "sensitivity" else (1, min)
        reached = [t for t, figures in tried.items() if figures[column] >= rule.target]
        return pick(reached) if reached else None  # type: ignore[no-any-return, operator]
    if rule.name == "youden":
        best = max(sum(figures) - 1 for figures in tried.values())
        return None if best <= 1e-12 else max(t for t, figures in tried.items() if sum(figures) - 1 >= best - 1e-12)
    share = true.mean() if rule.prevalence is None else rule.prevalence
    missed, alarm = rule.false_negative * share, rule.false_positive * (1 - share)
    costs = {t: missed * (1 - figures[0]) + alarm * (1 - figures[1]) for t, figures in tried.items()}
    least = min(costs.values())
    if missed <= least * (1 + 1e-12):
        return None
    threshold = max(t for t, cost in costs.items() if cost <= least * (1 + 1e-12))
    return None if threshold == min(tried) else threshold


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10_000), st.integers(4, 40), st.integers(2, 12), st.sampled_from([0.1, 0.5, 0.9, 0.95, 1.0]))
def test_equals_trying_every_threshold(seed: int, samples: int, levels: int, target: float) -> None:
    rng = np.random.default_rng(seed)
    score, true = rng.integers(levels, size=samples).astype(float), rng.random(samples) < 0.4
    if true.all() or not true.any():
        return
    for rule in (
        Rule("youden"), Rule("sensitivity", target), Rule("specificity", target), Rule("cost", None, 5, 1),
        Rule("cost", None, 1, 2, 0.2),
    ):  # fmt: skip
        expected, found = brute(rule, score, true), choose(rule, score, true)
        assert (found.score is None) == (expected is None), rule
        if expected is None:
            assert found.reason
            continue
        assert found.score is not None
        np.testing.assert_array_equal(score >= found.score, score >= expected)
        assert expected - 1.001 * ROOM <= found.score < expected


@pytest.mark.parametrize("seed", range(3))
def test_youden_is_the_top_of_scikit_learns_curve(seed: int) -> None:
    rng = np.random.default_rng(seed)
    true = rng.random(300) < 0.3
    score = rng.normal(size=300) + true
    alarms, hits, thresholds = roc_curve(true, score, drop_intermediate=False)
    found = choose(Rule("youden"), score, true)
    assert found.score == pytest.approx(thresholds[np.argmax(hits - alarms)], abs=1.001 * ROOM)


def test_neighbours_in_float64_are_told_apart() -> None:
    low = 1.0
    high = np.nextafter(low, 2)
    found = choose(Rule("youden"), np.array([low, high]), np.array([False, True]))
    assert found.score == high


def test_a_threshold_leaves_room_for_rounding_below_its_sample_and_above_the_next() -> None:
    near = choose(Rule("youden"), np.array([1.0, 1.0001, 3.0]), np.array([False, True, True]))
    assert near.score == pytest.approx(1.00005, abs=1e-12)
    far = choose(Rule("youden"), np.array([1.0, 2.0]), np.array([False, True]))
    assert far.score == 2.0 - ROOM


ALL = (Rule("youden"), Rule("sensitivity", 0.8), Rule("specificity", 0.8), Rule("cost", None, 3, 1))


@pytest.mark.parametrize("kind", ["multilabel", "multiclass", "ordinal"])
def test_points_are_of_val_alone(kind: Any) -> None:
    """Whatever test and train say, labels, logits or number of samples, no threshold moves; with val's it does."""
    predictions = case(kind, 0)
    points = choose_points(predictions, ALL)
    assert all(score is not None for point in points.points for score in point.scores)
    elsewhere, rng = predictions.split != "val", np.random.default_rng(1)

    def changed(change: Callable[[np.ndarray], np.ndarray], rows: np.ndarray) -> Predictions:
        targets, logits = predictions.targets.copy(), predictions.logits.copy()
        targets[rows], logits[rows] = change(targets[rows]), change(logits[rows])
        return replace(predictions, targets=targets, logits=logits)

    assert choose_points(changed(rng.permutation, elsewhere), ALL) == points
    assert choose_points(changed(lambda values: values * 0, elsewhere & (predictions.split == "train")), ALL) == points
    assert choose_points(predictions.take(~elsewhere), ALL) == points
    targets = predictions.targets.copy()
    targets[~elsewhere] = rng.permutation(targets[~elsewhere])
    assert choose_points(replace(predictions, targets=targets), ALL) != points


def test_missing_labels_are_left_out() -> None:
    predictions = case("multilabel", 0)
    targets = predictions.targets.copy()
    gone = np.random.default_rng(0).random(len(targets)) < 0.5
    targets[gone, 1] = np.nan
    whole, masked = choose_points(predictions, ALL), choose_points(replace(predictions, targets=targets), ALL)
    without = choose_points(predictions.take(~gone), ALL)
    for p in range(len(ALL)):
        assert masked.points[p].scores[0] == whole.points[p].scores[0]
        assert masked.points[p].scores[1] == without.points[p].scores[1]
        assert sum(masked.points[p].counts[1].values()) == int((~gone & (predictions.split == "val")).sum())


def test_the_points_say_what_they_are_for() -> None:
    details = {"weights": "w", "checkpoint": "best", "tta": 2, "chosen_by": "x",
               "data": {"name": "phantom", "options": {}, "splits": {"val": {"samples": 90, "table": "t"}}}}  # fmt: skip
    made = choose_points(replace(case("multilabel", 0), spec_hash="s", details=details), ALL).made_with
    assert made == {
        "spec": "s", "split": "val", "samples": 90, "weights": "w", "checkpoint": "best", "tta": 2,
        "data": {"name": "phantom", "samples": 90, "table": "t"},
    }  # fmt: skip


def test_without_val_or_classes_there_is_no_point() -> None:
    predictions = case("multilabel", 0)
    with pytest.raises(EvaluationError, match="chosen on the val split, and the predictions have none"):
        choose_points(predictions.take(predictions.split == "test"), ALL)
    with pytest.raises(EvaluationError, match="quantities"):
        choose_points(replace(predictions, labels=LabelSpace("regression", FINDINGS)), ALL)
