"""Calibration slope and intercept against statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from medzoo.evaluation.calibration.slope import CELLS, in_cells, logistic_recalibration


def cohort(seed: int, n: int = 300, slope: float = 0.5, intercept: float = -1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    z = rng.normal(1.0, 3.0, n)
    return z, rng.random(n) < 1 / (1 + np.exp(-(slope * z + intercept)))


@pytest.mark.parametrize("seed", range(3))
def test_as_statsmodels_has_it(seed: int) -> None:
    z, y = cohort(seed)
    found = logistic_recalibration(z, y, np.ones((1, len(z))))
    intercept, slope = sm.Logit(y.astype(float), sm.add_constant(z)).fit(disp=0).params
    assert found["slope"][0] == pytest.approx(slope, rel=1e-6)
    assert found["intercept"][0] == pytest.approx(intercept, rel=1e-6)
    large = sm.GLM(y.astype(float), np.ones(len(z)), family=sm.families.Binomial(), offset=z).fit().params[0]
    assert found["in_the_large"][0] == pytest.approx(large, rel=1e-6)


def test_weights_are_repetitions() -> None:
    z, y = cohort(7, 200)
    weights = np.random.default_rng(1).integers(0, 4, (5, len(z)))
    found = logistic_recalibration(z, y, weights.astype(float))
    for row, counts in enumerate(weights):
        params = sm.Logit(np.repeat(y, counts).astype(float), sm.add_constant(np.repeat(z, counts))).fit(disp=0).params
        assert (found["intercept"][row], found["slope"][row]) == (
            pytest.approx(params[0], rel=1e-6), pytest.approx(params[1], rel=1e-6),
        )  # fmt: skip


def test_saturated_logits_are_no_obstacle() -> None:
    z, y = cohort(3, 2000, slope=0.02)
    found = logistic_recalibration(z * 50, y, np.ones((1, len(z))))
    params = sm.Logit(y.astype(float), sm.add_constant(z * 50)).fit(disp=0).params
    assert found["slope"][0] == pytest.approx(params[1], rel=1e-6)
    shift = found["in_the_large"][0]
    assert (1 / (1 + np.exp(-np.clip(z * 50 + shift, -700, 700)))).sum() == pytest.approx(y.sum(), abs=1e-6)


def test_what_has_no_maximum_is_undefined() -> None:
    ones = np.ones((1, 4))
    apart = logistic_recalibration(np.array([-2.0, -1, 1, 2]), np.array([False, False, True, True]), ones)
    assert np.isnan(apart["slope"][0])
    assert np.isnan(apart["intercept"][0])
    assert np.isfinite(apart["in_the_large"][0])
    turned = logistic_recalibration(np.array([-2.0, -1, 1, 2]), np.array([True, True, False, False]), ones)
    assert np.isnan(turned["slope"][0])
    level = logistic_recalibration(np.full(4, 0.3), np.array([False, True, True, True]), ones)
    assert np.isnan(level["slope"][0])
    assert level["in_the_large"][0] == pytest.approx(np.log(3) - 0.3)
    one_kind = logistic_recalibration(np.arange(4.0), np.ones(4, bool), ones)
    assert np.isnan([value[0] for value in one_kind.values()]).all()


def test_a_separated_replicate_is_undefined_beside_one_that_is_not() -> None:
    z, y = np.array([-2.0, 1.5, 1.0, 2.0]), np.array([False, False, True, True])
    found = logistic_recalibration(z, y, np.array([[1.0, 1, 1, 1], [2.0, 0, 1, 1]]))
    assert np.isfinite(found["slope"][0])
    assert np.isnan(found["slope"][1])


def test_replicates_of_many_samples_are_those_of_their_cells() -> None:
    z, y = cohort(3, n=20_000)
    weights = np.random.default_rng(0).poisson(1.0, (20, len(z))).astype(float)
    cells = in_cells(z, y, weights)
    assert cells[2].shape == (20, 2 * CELLS)
    np.testing.assert_allclose(cells[2].sum(axis=1), weights.sum(axis=1))
    exact, close = logistic_recalibration(z, y, weights), logistic_recalibration(*cells)
    for name, values in exact.items():
        assert np.abs(close[name] - values).max() < 0.1 * values.std()
        assert abs((close[name] - values).mean()) < 0.01 * values.std()
    few = z[:900], y[:900], weights[:, :900]
    assert all(given is back for given, back in zip(few, in_cells(*few), strict=True))
