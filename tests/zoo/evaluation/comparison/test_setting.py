"""Means over seeds: the same patients for all runs, the runs redrawn, and what stands beside."""

from __future__ import annotations

import statistics

import numpy as np
import pytest

from medzoo.data.errors import UnknownNameError
from medzoo.evaluation.bootstrap import Estimate, Interval, Measured
from medzoo.evaluation.comparison.setting import Setting, mean_estimate, mean_of_runs
from medzoo.evaluation.metrics import scored
from tests.zoo.evaluation.comparison.samples import predictions

INTERVAL = Interval(300)


def made(*models: int, kind: str = "multilabel") -> Setting:
    parts = tuple(predictions(kind, model=model) for model in models)
    return Setting("made", "", tuple(f"run-{model}" for model in models), parts, (), INTERVAL)


def test_one_run_has_the_figures_of_its_report() -> None:
    part = predictions()
    measured = Measured.of(scored(part.labels, part.targets, part.logits), list(part.group), INTERVAL, unit="patient")
    for metric in ("auroc", "f1", "ece"):
        assert made(0).described(metric) == measured.described(metric)


def test_seeds_are_averaged_replicate_by_replicate() -> None:
    setting = made(0, 1, 2)
    each = setting.estimates("auroc")
    told = setting.described("auroc")
    values = [estimate.value for estimate in each]
    assert told["value"] == pytest.approx(np.mean(values))
    assert told["sd"] == pytest.approx(statistics.stdev(values))
    assert told["runs"] == pytest.approx(values)
    joint = np.mean([estimate.drawn for estimate in each], axis=0)  # each replicate has the same patients in all of them
    low, high = INTERVAL.bounds(joint)
    assert (told["patients_alone"]["low"], told["patients_alone"]["high"]) == (low, high)


def test_redrawing_the_runs_adds_the_spread_between_them() -> None:
    """Replicates of runs i.i.d. around three values: the variance is that of the mean over three drawn, plus the patients'."""
    rng = np.random.default_rng(0)
    patients = rng.normal(0, 0.02, size=20_000)
    runs = [Estimate(value, value + patients) for value in (0.7, 0.8, 0.9)]
    nested = mean_of_runs(runs, 0, "a")
    assert nested.drawn is not None
    assert nested.value == pytest.approx(0.8)
    between = np.var([0.7, 0.8, 0.9])  # divided by n, as redrawing three sees it
    assert nested.drawn.var() == pytest.approx(between / 3 + 0.02**2, rel=0.03)
    assert mean_estimate(runs).drawn == pytest.approx(0.8 + patients)
    other = mean_of_runs(runs, 0, "b")
    assert other.drawn is not None
    assert abs(np.corrcoef(nested.drawn - patients, other.drawn - patients)[0, 1]) < 0.05  # settings draw their runs apart


def test_a_mean_is_undefined_where_a_run_is() -> None:
    assert mean_estimate([Estimate(0.5, np.ones(3)), Estimate(float("nan"), np.ones(3))]).value is None
    assert mean_estimate([Estimate(0.5, np.ones(3)), Estimate(0.7, None)]).drawn is None


def test_metrics_of_torchmetrics_are_compared_too_and_others_refused() -> None:
    setting = made(0, 1)
    assert setting.metrics(["auroc", "matthews_corrcoef"]) == ["auroc", "matthews_corrcoef"]
    estimate = setting.estimate("matthews_corrcoef")
    assert estimate.drawn is not None
    assert len(estimate.drawn) == 300
    with pytest.raises(UnknownNameError, match="did you mean 'auroc'"):
        setting.metrics(["aurocc"])
