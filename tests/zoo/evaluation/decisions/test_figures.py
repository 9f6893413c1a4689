"""Figures of a fixed threshold: published tables by hand, scikit-learn, and intervals that redraw patients."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from medzoo.data.labels import LabelSpace
from medzoo.data.operating_points import CELLS, OperatingPoint, OperatingPoints
from medzoo.evaluation.bootstrap import NO_INTERVAL, Interval, group_codes, replicate_weights
from medzoo.evaluation.decisions.choose import choose_points
from medzoo.evaluation.decisions.figures import at_points, figures, replicates_of
from medzoo.evaluation.metrics import Scored, scored
from medzoo.settings.decision_rules import Rule
from tests.zoo.evaluation.decisions.cases import case

ONE = LabelSpace("multilabel", ("x",))


def point(score: float | None = 0.0, labels: LabelSpace = ONE) -> OperatingPoints:
    width = labels.width
    return OperatingPoints(labels, (OperatingPoint("youden", (score,) * width, ("",) * width, ({},) * width),))


def table(hit: int, alarm: int, missed: int, passed: int) -> Scored:
    """One finding whose threshold at 0 gives these cells."""
    truth = np.repeat([1, 0, 1, 0], [hit, alarm, missed, passed]).astype(np.float32)
    logits = np.repeat([1, 1, -1, -1], [hit, alarm, missed, passed]).astype(np.float32)
    return scored(ONE, truth[:, None], logits[:, None])


def of_table(*cells: int, interval: Interval = NO_INTERVAL, prevalence: float | None = None) -> dict[str, Any]:
    data = table(*cells)
    stated = {} if prevalence is None else {"x": prevalence}
    groups = [f"p{i}" for i in range(len(data.truth))]
    found: dict[str, Any] = at_points(point(), data, groups, interval, stated, "patient")["youden"]["classes"]["x"]
    return json.loads(json.dumps(found, allow_nan=False))  # type: ignore[no-any-return]


def test_a_table_by_hand() -> None:
    """Altman and Bland 1994 (BMJ 308:1552, 309:102), liver scans: 231 of 258 abnormal and 54 of 86 normal are right."""
    found = of_table(231, 32, 27, 54, prevalence=0.25)
    assert [found[cell] for cell in CELLS] == [231, 32, 27, 54]
    expected = {
        "sensitivity": 0.895, "specificity": 0.628, "ppv": 0.878, "npv": 0.667, "accuracy": 285 / 344,
        "lr_positive": (231 / 258) / (32 / 86), "lr_negative": (27 / 258) / (54 / 86),
        "ppv_at_prevalence": 0.45, "npv_at_prevalence": 0.95,  # as the second note has them
    }  # fmt: skip
    for name, value in expected.items():
        assert found[name]["value"] == pytest.approx(value, abs=0.005), name
    assert found["threshold"] == 0.5
    assert found["prevalence"] == 0.25


def test_at_the_samples_own_prevalence_bayes_says_what_was_counted() -> None:
    found = of_table(20, 30, 5, 145, prevalence=25 / 200)
    assert found["ppv_at_prevalence"]["value"] == pytest.approx(found["ppv"]["value"])
    assert found["npv_at_prevalence"]["value"] == pytest.approx(found["npv"]["value"])


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[st.integers(1, 40)] * 4))
def test_equals_scikit_learn(cells: tuple[int, ...]) -> None:
    found, data = figures(np.array(cells)), table(*cells)
    truth, called = data.truth[:, 0], data.scores[:, 0] >= 0
    positive, negative = sk.class_likelihood_ratios(truth, called)
    expected = {
        "sensitivity": sk.recall_score(truth, called), "specificity": sk.recall_score(truth, called, pos_label=0),
        "ppv": sk.precision_score(truth, called), "npv": sk.precision_score(truth, called, pos_label=0),
        "accuracy": sk.accuracy_score(truth, called), "lr_positive": positive, "lr_negative": negative,
    }  # fmt: skip
    assert {name: float(value) for name, value in found.items()} == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("cells", "undefined"),
    [
        ((5, 0, 5, 10), {"lr_positive": "infinite: no false positive"}),
        ((5, 10, 5, 0), {"lr_negative": "infinite: no true negative"}),
        ((0, 0, 5, 5), {"ppv": "no sample is called", "lr_positive": "no sample is called",
                        "ppv_at_prevalence": "no sample is called"}),
        ((5, 5, 0, 0), {"npv": "every sample is called", "lr_negative": "every sample is called",
                        "npv_at_prevalence": "every sample is called"}),
        ((0, 3, 0, 3), dict.fromkeys(
            ("sensitivity", "lr_positive", "lr_negative", "ppv_at_prevalence", "npv_at_prevalence"), "no positive sample")),
        ((3, 0, 3, 0), dict.fromkeys(
            ("specificity", "lr_positive", "lr_negative", "ppv_at_prevalence", "npv_at_prevalence"), "no negative sample")),
    ],
)  # fmt: skip
def test_what_is_undefined_is_null_with_the_reason(cells: tuple[int, ...], undefined: dict[str, str]) -> None:
    found = of_table(*cells, prevalence=0.1, interval=Interval(50))
    said = {name: figure["undefined"] for name, figure in found.items() if isinstance(figure, dict) and "undefined" in figure}
    assert said == undefined
    assert all(found[name]["value"] is None for name in undefined)


def test_missing_labels_are_in_no_cell() -> None:
    truth, logits = np.array([1, 0, np.nan, np.nan], np.float32)[:, None], np.array([1, -1, 1, -1], np.float32)[:, None]
    found = at_points(point(), scored(ONE, truth, logits), list("abcd"), NO_INTERVAL, {}, "patient")["youden"]["classes"]["x"]
    assert [found[cell] for cell in CELLS] == [1, 0, 0, 1]
    nothing = at_points(point(), scored(ONE, truth * np.nan, logits), list("abcd"), NO_INTERVAL, {}, "")["youden"]["classes"]["x"]
    assert nothing["accuracy"] == {"value": None, "low": None, "high": None, "undefined": "every label is missing"}


def test_a_class_without_threshold_says_why() -> None:
    none = OperatingPoints(ONE, (OperatingPoint("youden", (None,), ("no positive val sample",), ({},)),))
    found = at_points(none, table(1, 1, 1, 1), list("abcd"), Interval(20), {}, "")["youden"]["classes"]["x"]
    assert found == {"threshold": None, "score": None, "reason": "no positive val sample"}


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_intervals_redraw_patients_at_the_fixed_threshold(kind: Any) -> None:
    """Each replicate by hand: the samples of the patients drawn, as often as they were, through scikit-learn."""
    rows = case(kind, 3).of_split("test")
    rng = np.random.default_rng(0)
    rows = replace(rows, group=np.array([f"p{rng.integers(30)}" for _ in range(len(rows))], object))
    points = choose_points(case(kind, 3), [Rule("sensitivity", 0.7)])
    data, interval = scored(rows.labels, rows.targets, rows.logits), Interval(80, 0.9, seed=5)
    found = at_points(points, data, list(rows.group), interval, {"mass": 0.2}, "patient")["sensitivity=0.7"]["classes"]
    weights = np.concatenate(list(replicate_weights(group_codes(rows.group), 80, 5)))
    for k, name in enumerate(rows.labels.names):
        score = points.points[0].scores[k]
        assert score is not None
        called, truth = data.scores[:, k] >= score, data.truth[:, k] == 1
        drawn = [sk.recall_score(truth, called, sample_weight=row) for row in weights]
        low, high = np.quantile(drawn, [0.05, 0.95])
        assert (found[name]["sensitivity"]["low"], found[name]["sensitivity"]["high"]) == pytest.approx((low, high))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            drawn = [sk.class_likelihood_ratios(truth, called, sample_weight=row)[0] for row in weights]
        assert found[name]["lr_positive"]["value"] == pytest.approx(sk.class_likelihood_ratios(truth, called)[0])
        if np.isfinite(drawn).all():
            low, high = np.quantile(drawn, [0.05, 0.95])
            assert (found[name]["lr_positive"]["low"], found[name]["lr_positive"]["high"]) == pytest.approx((low, high))
    low, high = found["mass"]["ppv_at_prevalence"]["low"], found["mass"]["ppv_at_prevalence"]["high"]
    assert low < found["mass"]["ppv_at_prevalence"]["value"] < high
    assert "ppv_at_prevalence" not in found["node"]


def test_one_false_positive_gives_no_finite_upper_end() -> None:
    """Redrawing loses it in (1 - 1/200)^200 = 37% of the replicates: an interval without those would end too low."""
    found = of_table(50, 1, 50, 99, interval=Interval(300))
    assert found["lr_positive"]["value"] == pytest.approx(50)
    assert found["lr_positive"]["high"] is None
    assert "infinite in" in found["lr_positive"]["no_interval"]
    assert found["specificity"]["low"] < 0.99
    assert of_table(50, 20, 50, 80, interval=Interval(300))["lr_positive"]["high"] is not None


def test_few_patients_have_no_interval() -> None:
    data = table(4, 10, 0, 30)
    groups = ["a"] * 4 + [f"p{i}" for i in range(40)]
    found = at_points(point(), data, groups, Interval(50), {}, "patient")["youden"]["classes"]["x"]
    assert "1 patient groups with it" in found["sensitivity"]["no_interval"]
    assert found["specificity"]["low"] is not None  # of 40 patients without it
    assert "1 patient groups with it" in found["ppv"]["no_interval"]


def test_groups_are_redrawn_as_they_are_for_every_other_metric() -> None:
    codes = np.array([0, 0, 1, 2, 2, 2])
    cells = np.arange(6.0)[:, None]
    sums = np.array([[1.0], [2.0], [12.0]])
    weights = np.concatenate(list(replicate_weights(codes, 40, 7)))
    np.testing.assert_allclose(replicates_of(sums, Interval(40, seed=7)), weights @ cells)
    assert replicates_of(sums[:1], Interval(40)) is None
    assert replicates_of(sums, NO_INTERVAL) is None
