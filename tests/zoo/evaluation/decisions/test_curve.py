"""Decision curves against the formula worked by hand, and sample by sample."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from medzoo.data.labels import LabelSpace
from medzoo.evaluation.bootstrap import NO_INTERVAL, Interval, group_codes, replicate_weights
from medzoo.evaluation.decisions.curve import decision_curve, net_benefit
from medzoo.evaluation.decisions.plot import plot_curve
from medzoo.evaluation.metrics import Scored, scored
from medzoo.settings.decision_rules import GRID
from tests.zoo.evaluation.decisions.cases import case

ONE = LabelSpace("multilabel", ("x",))


def of_probabilities(probability: list[float], truth: list[float]) -> Scored:
    p = np.array(probability)
    logits = np.log(p / (1 - p)).astype(np.float32)[:, None]
    return scored(ONE, np.array(truth, np.float32)[:, None], logits)


def test_by_hand() -> None:
    """Vickers and Elkin 2006: (true positives − false positives × pt / (1 − pt)) / n, of ten patients of whom four are ill."""
    data = of_probabilities([0.9, 0.7, 0.45, 0.15, 0.6, 0.35, 0.3, 0.1, 0.05, 0.02], [1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    found = decision_curve(data, [str(i) for i in range(10)], [0.2, 0.5, 0.8], NO_INTERVAL, {}, "patient")
    curve = json.loads(json.dumps(found, allow_nan=False))["classes"]["x"]
    # At 0.2 three hits and three alarms at 1/4; at 0.5 two hits, one alarm at 1; at 0.8 one hit.
    assert curve["model"] == pytest.approx([(3 - 3 / 4) / 10, (2 - 1) / 10, 1 / 10])
    assert curve["all"] == pytest.approx([0.4 - 0.6 / 4, 0.4 - 0.6, 0.4 - 0.6 * 4])
    assert curve["none"] == [0, 0, 0]
    assert curve["prevalence"] == 0.4
    assert curve["low"] == curve["high"] == [None] * 3


def test_at_a_stated_prevalence_by_hand() -> None:
    counts = np.array([[30.0, 20, 10, 80]])  # sensitivity 0.75, one alarm in five
    assert net_benefit(counts, np.array([0.25]), 0.1)[0] == pytest.approx(0.75 * 0.1 - 0.2 * 0.9 / 3)
    assert net_benefit(counts, np.array([0.25]))[0] == pytest.approx((30 - 20 / 3) / 140)
    assert net_benefit(counts, np.array([0.25]), 40 / 140)[0] == pytest.approx((30 - 20 / 3) / 140)


def test_a_probability_at_the_threshold_is_called() -> None:
    data = of_probabilities([0.5, 0.5, 0.1, 0.1], [1, 0, 1, 0])
    curve = decision_curve(data, list("abcd"), [0.4999, 0.5, 0.5001], NO_INTERVAL, {}, "")["classes"]["x"]
    assert curve["model"] == pytest.approx([(1 - 0.4999 / 0.5001) / 4, 0, 0])
    above = decision_curve(of_probabilities([0.5, 0.5, 0.1], [1, 1, 0]), list("abc"), [0.5], NO_INTERVAL, {}, "")
    assert above["classes"]["x"]["model"] == pytest.approx([2 / 3])


def benefit(row: np.ndarray, called: np.ndarray, true: np.ndarray, known: np.ndarray, pt: float, stated: float | None) -> float:
    """Net benefit of samples that count as often as `row` says, from its definition."""
    hits, alarms = (row * known * called * true).sum(), (row * known * called * ~true).sum()
    ill, well = (row * known * true).sum(), (row * known * ~true).sum()
    if stated is not None:
        return float(hits / ill * stated - alarms / well * (1 - stated) * pt / (1 - pt))
    return float((hits - alarms * pt / (1 - pt)) / (ill + well))


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_the_curve_and_its_interval_sample_by_sample(kind: Any) -> None:
    rows = case(kind, 2).of_split("test")
    targets = rows.targets.copy()
    targets[:10] = np.nan
    data, interval = scored(rows.labels, targets, rows.logits), Interval(60, 0.8, seed=1)
    found = decision_curve(data, list(rows.group), GRID, interval, {"node": 0.05}, "patient")
    assert found["thresholds"] == list(GRID)
    weights = np.concatenate(list(replicate_weights(group_codes(rows.group), 60, 1)))
    for k, name in enumerate(rows.labels.names):
        known, true = data.observed[:, k], data.truth[:, k] == 1
        curve = found["classes"][name]
        for t in (4, 29, 59):
            sample = (data.probabilities[:, k] >= GRID[t], true, known, GRID[t], 0.05 if name == "node" else None)
            assert curve["model"][t] == pytest.approx(benefit(np.ones(len(rows)), *sample))
            if curve["low"][t] is not None:
                ends = np.quantile([benefit(row, *sample) for row in weights], [0.1, 0.9])
                assert (curve["low"][t], curve["high"][t]) == pytest.approx(tuple(ends))
        assert any(low is not None for low in curve["low"])
    assert found["classes"]["node"]["prevalence"] == 0.05


def test_where_there_is_no_curve_it_says_why() -> None:
    labels = LabelSpace("multilabel", ("all", "none", "unknown"))
    targets = np.array([[1, 0, np.nan]] * 6, np.float32)
    data = scored(labels, targets, np.zeros((6, 3), np.float32))
    found = decision_curve(data, list("abcdef"), [0.1], Interval(20), {}, "")["classes"]
    assert found["all"] == {"undefined": "no negative sample"}
    assert found["none"] == {"undefined": "no positive sample"}
    assert found["unknown"] == {"undefined": "every label is missing"}


def test_few_patients_have_a_curve_without_interval() -> None:
    data = of_probabilities([0.9, 0.8, 0.2, 0.1], [1, 0, 1, 0])
    found = decision_curve(data, list("abcd"), [0.15, 0.5], Interval(20), {}, "patient")["classes"]["x"]
    assert "2 patient groups with it" in found["no_interval"]
    assert found["low"] == [None, None]


def test_the_picture_is_drawn_where_there_is_a_curve(tmp_path: Any) -> None:
    rows = case("multilabel", 2).of_split("test")
    data = scored(rows.labels, rows.targets, rows.logits)
    curve = decision_curve(data, list(rows.group), GRID, Interval(20), {}, "patient")
    plot_curve(tmp_path / "a.png", curve, "test")
    plot_curve(tmp_path / "b.png", curve, "test")
    plot_curve(tmp_path / "none.png", None, "test")
    plot_curve(tmp_path / "none.png", {"thresholds": [0.1], "classes": {"x": {"undefined": "no positive sample"}}}, "test")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert not (tmp_path / "none.png").exists()
