"""Calibration errors and the parts of the Brier score, against scikit-learn, torchmetrics and what a hand can work out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss
from torchmetrics.functional.classification import binary_calibration_error

from medzoo.evaluation.calibration.bins import Binned, equal_mass, equal_width


def forecasts(seed: int = 0, n: int = 500) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = rng.beta(0.6, 0.9, n)
    return p, (rng.random(n) < p**1.5).astype(np.float64)


def binned(p: np.ndarray, y: np.ndarray, places: np.ndarray, weights: np.ndarray | None = None) -> Binned:
    return Binned.of(p, y, np.ones((1, len(p))) if weights is None else weights, places)


@pytest.mark.parametrize("bins", [1, 7, 15])
@pytest.mark.parametrize(("strategy", "place"), [("uniform", equal_width), ("quantile", equal_mass)])
def test_bins_are_scikit_learns(bins: int, strategy: str, place) -> None:
    p, y = forecasts()
    found = binned(p, y, place(p, bins))
    frequency, confidence = calibration_curve(y, p, n_bins=bins, strategy=strategy)
    filled = found.count[0] > 0
    np.testing.assert_allclose(found.outcome[0, filled] / found.count[0, filled], frequency, rtol=1e-12)
    np.testing.assert_allclose(found.forecast[0, filled] / found.count[0, filled], confidence, rtol=1e-12)


@pytest.mark.parametrize(("norm", "ours"), [("l1", Binned.expected_error), ("max", Binned.largest_error)])
def test_errors_are_torchmetrics(norm: str, ours) -> None:
    p, y = forecasts(1)
    theirs = binary_calibration_error(torch.tensor(p), torch.tensor(y).long(), n_bins=12, norm=norm)  # type: ignore[arg-type]
    assert ours(binned(p, y, equal_width(p, 12)))[0] == pytest.approx(float(theirs), abs=1e-6)


def test_equal_mass_holds_equal_numbers_and_keeps_ties_together() -> None:
    p = np.random.default_rng(0).random(100)
    assert (np.bincount(equal_mass(p, 10)) == 10).all()
    tied = np.array([0.2] * 7 + [0.4, 0.6, 0.8])
    places = equal_mass(tied, 5)
    assert len(set(places[:7])) == 1
    assert (np.diff(places) >= 0).all()


@pytest.mark.parametrize("place", [equal_width, equal_mass])
def test_the_parts_add_up_to_the_brier_score(place) -> None:
    p, y = forecasts(2)
    weights = np.stack([np.ones(len(p)), np.random.default_rng(0).integers(0, 4, len(p)).astype(float)])
    parts = binned(p, y, place(p, 9), weights).decomposition()
    total = (
        parts["reliability"] - parts["resolution"] + parts["uncertainty"]
        + parts["within_bin_variance"] - parts["within_bin_covariance"]
    )  # fmt: skip
    expected = [brier_score_loss(y, p, sample_weight=row) for row in weights]
    np.testing.assert_allclose(total, expected, rtol=1e-10)


def test_distinct_forecasts_need_murphys_three_terms_alone() -> None:
    p, y = forecasts(3)
    p = np.round(p, 1)
    parts = binned(p, y, np.unique(p, return_inverse=True)[1]).decomposition()
    assert parts["within_bin_variance"][0] == pytest.approx(0, abs=1e-12)
    assert parts["within_bin_covariance"][0] == pytest.approx(0, abs=1e-12)
    murphy = parts["reliability"][0] - parts["resolution"][0] + parts["uncertainty"][0]
    assert murphy == pytest.approx(brier_score_loss(y, p), rel=1e-10)


def test_by_hand() -> None:
    """Two bins: forecasts 0.2, 0.4 with outcomes 0, 1 (mean 0.3, frequency 0.5), and 0.8 twice with 1, 1 (gap 0.2)."""
    p, y = np.array([0.2, 0.4, 0.8, 0.8]), np.array([0.0, 1, 1, 1])
    found = binned(p, y, equal_width(p, 2))
    assert found.expected_error()[0] == pytest.approx(0.2)
    assert found.largest_error()[0] == pytest.approx(0.2)
    parts = {name: value[0] for name, value in found.decomposition().items()}
    assert parts["reliability"] == pytest.approx(0.04)
    assert parts["resolution"] == pytest.approx(0.5 * 0.25**2 + 0.5 * 0.25**2)
    assert parts["uncertainty"] == pytest.approx(0.75 * 0.25)
    assert parts["within_bin_variance"] == pytest.approx((0.1**2 + 0.1**2) / 4)
    assert parts["within_bin_covariance"] == pytest.approx(2 * (-0.1 * -0.5 + 0.1 * 0.5) / 4)


def test_without_weight_it_is_undefined() -> None:
    p, y = forecasts(4, 20)
    found = binned(p, y, equal_width(p, 5), np.zeros((1, 20)))
    assert np.isnan([found.expected_error()[0], found.largest_error()[0], *(v[0] for v in found.decomposition().values())]).all()
