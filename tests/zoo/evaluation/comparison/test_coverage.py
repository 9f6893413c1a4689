"""Intervals over patients hold the truth as often as they say, also of a difference; those over images do not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, t

from benchmarks.coverage import EXPANDED, Patients, covered, drawn_areas
from medzoo.data.labels import LabelSpace
from medzoo.evaluation.bootstrap import Interval, Measured
from medzoo.evaluation.metrics import scored


def test_patients_redrawn_hold_the_truth_and_images_redrawn_do_not() -> None:
    made = Patients(patients=200, images=3)
    area, gain = covered(made, trials=400, replicates=250, units=("patients",))["patients"]
    assert 0.93 <= area <= 0.97
    assert 0.93 <= gain <= 0.97
    area, gain = covered(made, trials=80, replicates=100, units=("images",))["images"]
    assert area < 0.88
    assert gain < 0.88


def test_areas_are_drawn_as_a_report_draws_them() -> None:
    made, interval = Patients(patients=12, images=3), Interval(50, seed=3)
    ill, (score, _) = made.draw(np.random.default_rng(1))
    data = scored(LabelSpace("multilabel", ("ill",)), ill[:, None].astype(np.float32), score[:, None].astype(np.float32))
    for unit in ("patients", "images"):
        reported = Measured.of(data, made.units(unit), interval).estimate("auroc").drawn
        assert reported is not None
        np.testing.assert_allclose(drawn_areas(ill, score, made.units(unit), interval), reported, rtol=1e-9)


def test_of_few_patients_expanded_intervals_hold_it_as_often_as_they_say() -> None:
    made = Patients(patients=20, images=3)
    found = covered(made, trials=300, replicates=250, units=("patients",))
    for plain, wider in zip(found["patients"], found[EXPANDED], strict=True):
        assert plain < wider  # here 0.02 more
        assert 0.92 <= wider <= 0.98


def test_what_an_interval_is_expanded_by_is_students_quantile_and_the_lost_spread() -> None:
    interval = Interval(1000, 0.95, expanded=True)
    with pytest.raises(ValueError, match="of a number of groups"):
        interval.bounds(np.arange(10.0))
    for groups in (5, 20, 60, 100_000):
        low, high = interval.among(groups).tails
        assert norm.ppf(high) == pytest.approx(t.ppf(0.975, groups - 1) * np.sqrt(groups / (groups - 1)), rel=1e-9)
        assert low == pytest.approx(1 - high)
    assert interval.among(100_000).tails[0] == pytest.approx(0.025, abs=1e-5)
    assert Interval(1000, 0.95).among(5).tails == pytest.approx((0.025, 0.975))
    rng = np.random.default_rng(0)  # of a mean it is Student's interval, which is exact: redrawn means are normal enough here
    values = rng.normal(size=12)
    means = rng.choice(values, size=(200_000, 12)).mean(axis=1)
    low, high = interval.among(12).bounds(means)
    half = t.ppf(0.975, 11) * values.std(ddof=1) / np.sqrt(12)
    assert low is not None
    assert high is not None
    assert (high - low) / 2 == pytest.approx(half, rel=0.05)
