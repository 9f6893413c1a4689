"""Quantities of different units: no mean over micrometres and letters, neither in a report nor where an epoch is chosen."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from medzoo.data.labels import LabelSpace
from medzoo.evaluation.bootstrap import Interval, Measured
from medzoo.evaluation.metrics import scored
from medzoo.evaluation.monitor import monitor_value
from medzoo.evaluation.predictions import Predictions
from medzoo.evaluation.report import evaluate, format_report

MIXED = LabelSpace("regression", ("cst", "bcva"), ("um", "letters"))
ALIKE = LabelSpace("regression", ("left", "right"), ("mm", "mm"))
RNG = np.random.default_rng(0)
TARGETS = np.stack([RNG.normal(300, 80, 60), RNG.normal(70, 10, 60)], axis=1).astype(np.float32)
ERRORS = np.stack([RNG.normal(0, 40, 60), RNG.normal(0, 2, 60)], axis=1).astype(np.float32)


@pytest.mark.parametrize("metric", ["mae", "rmse"])
def test_an_epoch_is_chosen_by_errors_in_standard_deviations(metric: str) -> None:
    size = np.abs(ERRORS).mean(axis=0) if metric == "mae" else np.sqrt((ERRORS.astype(float) ** 2).mean(axis=0))
    found = monitor_value(MIXED, TARGETS, TARGETS + ERRORS, metric)
    assert found == pytest.approx((size / TARGETS.std(axis=0)).mean(), rel=1e-4)
    assert monitor_value(ALIKE, TARGETS, TARGETS + ERRORS, metric) == pytest.approx(size.mean(), rel=1e-4)
    # Halving the error in letters counts as much as halving that in micrometres counts for its own part.
    better = TARGETS + ERRORS * np.array([1, 0.5], np.float32)
    gained = found - monitor_value(MIXED, TARGETS, better, metric)
    assert gained == pytest.approx(0.25 * (size / TARGETS.std(axis=0))[1], rel=1e-3)


def test_missing_and_constant_quantities_have_no_share() -> None:
    targets = TARGETS.copy()
    targets[1:, 1] = np.nan  # one value has no spread
    found = monitor_value(MIXED, targets, TARGETS + ERRORS, "mae")
    assert found == pytest.approx(np.abs(ERRORS[:, 0]).mean() / TARGETS[:, 0].std(), rel=1e-4)
    targets[:] = np.nan
    assert monitor_value(MIXED, targets, TARGETS + ERRORS, "mae") is None


def predictions(labels: LabelSpace) -> Predictions:
    names = np.array([f"s{i}" for i in range(60)], object)
    values = (TARGETS + ERRORS).astype(np.float32)
    split = np.array(["test"] * 60, object)
    return Predictions(labels, names, split, names, TARGETS, values, values, pd.DataFrame(index=range(60)))


def test_a_report_has_no_mean_error_over_units() -> None:
    report = evaluate(predictions(MIXED), splits=["test"], interval=Interval(50))
    metrics = report["splits"]["test"]["metrics"]
    assert metrics["mae"]["value"] is None
    assert metrics["mae"]["classes"]["cst"]["value"] == pytest.approx(np.abs(ERRORS[:, 0]).mean(), rel=1e-4)
    assert metrics["mae"]["classes"]["bcva"]["low"] is not None
    assert metrics["r2"]["value"] is not None  # without a unit
    text = format_report(report, "test")
    assert "undefined  (the quantities have different units; each stands below)" in text
    assert "bcva" in text
    alike = evaluate(predictions(ALIKE), splits=["test"], interval=Interval(50))
    assert alike["splits"]["test"]["metrics"]["mae"]["value"] == pytest.approx(np.abs(ERRORS).mean(), rel=1e-4)


def test_the_interval_of_the_calibration_error_surrounds_it() -> None:
    """Redrawn samples have a larger error than the sample itself; the interval is moved back by what that is on average."""
    rng = np.random.default_rng(1)
    p = rng.uniform(0.05, 0.95, 150)
    truth = (rng.uniform(size=150) < p).astype(np.float32)[:, None]
    data = scored(LabelSpace("multilabel", ("x",)), truth, np.log(p / (1 - p)).astype(np.float32)[:, None])
    measured = Measured.of(data, [str(i) for i in range(150)], Interval(2000))
    plain = measured.drawn["ece"][:, 0]
    found = measured.of_class("ece", 0)
    assert plain.mean() > found["value"] + 0.02  # the bias is there
    assert found["low"] < found["value"] < found["high"]
    assert (found["low"] + found["high"]) / 2 == pytest.approx(found["value"], abs=0.02)
