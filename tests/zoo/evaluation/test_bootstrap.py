"""Intervals: what is redrawn, how often they hold the truth, and when there is none."""

from __future__ import annotations

import numpy as np
import pytest

from medzoo.data.labels import LabelSpace
from medzoo.evaluation.bootstrap import NO_INTERVAL, Asked, Interval, bootstrap, replicate_weights
from medzoo.evaluation.metrics import scored
from medzoo.export.settings import GateConfig
from medzoo.settings.evaluation import EvaluationConfig
from medzoo.settings.verbs import InterveneConfig


def test_weights_keep_groups_whole_and_depend_on_the_seed_alone() -> None:
    codes = np.array([0, 0, 1, 1, 1, 2])
    weights = np.concatenate(list(replicate_weights(codes, 50, seed=3)))
    assert weights.shape == (50, 6)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 2] == weights[:, 4]).all()
    assert (weights[:, [0, 2, 5]].sum(1) == 3).all()
    np.testing.assert_array_equal(weights, np.concatenate(list(replicate_weights(codes, 50, seed=3))))


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    labels, covered = LabelSpace("multilabel", ("x",)), 0
    for trial in range(100):  # two unit normals one apart: AUROC = Φ(1/√2) = 0.7602
        y = (np.arange(120) % 2).astype(np.float32)[:, None]
        data = scored(labels, y, (rng.normal(size=(120, 1)) + y).astype(np.float32))
        interval = Interval(200, 0.95, trial)
        drawn, _ = bootstrap(data, [str(i) for i in range(120)], interval, bins=5)
        low, high = interval.bounds(drawn["auroc"][:, 0])
        assert low is not None
        assert high is not None
        covered += low <= 0.7602 <= high
    assert covered >= 88


def test_bounds_are_quantiles_of_what_is_defined() -> None:
    values = np.arange(101.0)
    assert Interval(101, 0.9).bounds(values) == pytest.approx((5, 95))
    half = np.where(np.arange(101) < 50, np.nan, values)
    assert Interval(101, 0.9).bounds(half) == pytest.approx((52.5, 97.5))


@pytest.mark.parametrize("values", [None, np.zeros(0), np.zeros(1), np.array([1.0, np.nan, np.nan]), np.full(4, np.nan)])
def test_too_few_replicates_have_no_interval(values: np.ndarray | None) -> None:
    assert Interval().bounds(values) == (None, None)


def test_without_replicates_or_with_one_group_nothing_is_drawn() -> None:
    labels = LabelSpace("multilabel", ("x",))
    data = scored(labels, np.array([[0], [1]], np.float32), np.array([[0], [1]], np.float32))
    assert bootstrap(data, ["a", "b"], NO_INTERVAL) == bootstrap(data, ["a", "a"], Interval(5)) == ({}, {})


@pytest.mark.parametrize("settings", [EvaluationConfig, InterveneConfig, GateConfig])
def test_every_verb_asks_for_the_same_unless_told_otherwise(settings: type[Asked]) -> None:
    assert Interval.of(settings()) == Interval()
    assert Interval.of(settings(replicates=5, level=0.5, seed=7)) == Interval(5, 0.5, 7)  # type: ignore[call-arg]
