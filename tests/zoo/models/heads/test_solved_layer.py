"""A solved head against scikit-learn on standardised features: the same probabilities from the features as they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from medzoo.losses.convex import Convex
from medzoo.models.heads.solved_layer import PROBE_PENALTIES, solved_layers


@pytest.fixture(scope="module")
def features() -> Tensor:
    """Features as a network gives them: positive, of very different means and spreads, one of them always 0."""
    rng = np.random.default_rng(0)
    values = np.abs(rng.normal(size=(160, 12)) * rng.uniform(0.05, 3, 12) + rng.uniform(0, 8, 12))
    values[:, 4] = 0
    return torch.from_numpy(values).float()


def only(features: Tensor, problem: Convex, penalty: float) -> tuple[Tensor, Tensor]:
    ((_, weight, bias),) = solved_layers(features, problem, [penalty])
    return features @ weight.T + bias, weight


def logistic(inputs: np.ndarray, classes: np.ndarray, penalty: float, weights: np.ndarray | None = None) -> LogisticRegression:
    return LogisticRegression(C=1 / penalty, tol=1e-12, max_iter=20000).fit(inputs, classes, sample_weight=weights)


def grades(features: Tensor, count: int) -> np.ndarray:
    """Classes that the features tell something of."""
    rng = np.random.default_rng(1)
    score = features.numpy()[:, :3].sum(1) + rng.normal(size=len(features))
    return np.digitize(score, np.quantile(score, np.arange(1, count) / count))


@pytest.mark.parametrize("penalty", [1e4, 100.0, 1.0])
def test_classes_equal_scikit_learn_and_unlabelled_rows_count_for_nothing(features: Tensor, penalty: float) -> None:
    codes = grades(features, 4)
    targets = torch.eye(4)[codes]
    targets[::7] = torch.nan
    known = ~targets.isnan().any(1).numpy()
    logits, weight = only(features, Convex("multiclass", targets), penalty)
    scaler = StandardScaler().fit(features.numpy()[known].astype(np.float64))
    theirs = logistic(scaler.transform(features[known]), codes[known], penalty).predict_proba(scaler.transform(features))
    np.testing.assert_allclose(logits.softmax(1), theirs, atol=1e-5)
    assert (weight[:, 4] == 0).all()


def test_findings_are_fitted_one_by_one_on_what_is_known_of_each(features: Tensor) -> None:
    rng = np.random.default_rng(2)
    targets = np.stack([grades(features, 2), 1 - grades(features[:, 2:], 2), rng.integers(0, 2, 160)], axis=1).astype(np.float64)
    targets[rng.random(targets.shape) < 0.4] = np.nan
    weights = rng.uniform(0.5, 2, targets.shape)
    logits, _ = only(features, Convex("multilabel", torch.from_numpy(targets), torch.from_numpy(weights)), 30.0)
    known = ~np.isnan(targets).all(axis=1)
    inputs = StandardScaler().fit(features.numpy()[known].astype(np.float64)).transform(features)
    for finding, column in enumerate(targets.T):
        seen = ~np.isnan(column)
        assert 0 < seen.sum() < len(seen)
        theirs = logistic(inputs[seen], column[seen], 30.0, weights[seen, finding]).predict_proba(inputs)[:, 1]
        np.testing.assert_allclose(logits[:, finding].sigmoid(), theirs, atol=1e-5)


def test_quantities_equal_ridge(features: Tensor) -> None:
    targets = torch.stack([features[:, 0] * 3 - features[:, 1], torch.linspace(-1, 1, 160)], dim=1).double()
    targets[::5, 1] = torch.nan
    values, _ = only(features, Convex("regression", targets), 50.0)
    inputs = StandardScaler().fit_transform(features.numpy().astype(np.float64))
    for place, column in enumerate(targets.numpy().T):
        seen = ~np.isnan(column)
        theirs = Ridge(alpha=50.0, tol=1e-12).fit(inputs[seen], column[seen]).predict(inputs)
        np.testing.assert_allclose(values[:, place], theirs, atol=2e-5)


def test_what_is_seen_in_one_state_only_gets_the_bias_of_half_a_sample(features: Tensor) -> None:
    codes = grades(features, 2)
    targets = torch.zeros(160, 3)
    targets[torch.arange(160), torch.from_numpy(codes * 2)] = 1  # class 1 never
    logits, weight = only(features, Convex("multiclass", targets), 10.0)
    assert (weight[1] == 0).all()
    assert logits.softmax(1)[:, 1].max() < 0.02
    two, _ = only(features, Convex("multiclass", targets[:, [0, 2]]), 10.0)
    torch.testing.assert_close(logits[:, [0, 2]], two)
    findings = torch.stack([torch.ones(160), torch.full((160,), torch.nan)], dim=1)
    logits, weight = only(features, Convex("multilabel", findings), 10.0)
    assert (weight == 0).all()
    torch.testing.assert_close(logits[0].sigmoid(), torch.tensor([160.5 / 161, 0.5]))


def test_the_grid_goes_from_scikit_learns_strongest_c_to_a_hundred() -> None:
    assert PROBE_PENALTIES[0] == pytest.approx(1e4)
    assert PROBE_PENALTIES[-1] == pytest.approx(0.01)
    assert list(PROBE_PENALTIES) == sorted(PROBE_PENALTIES, reverse=True)


@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "regression"])
def test_a_sample_of_weight_two_is_that_sample_twice(features: Tensor, kind: str) -> None:
    """In the loss, and in the mean and spread by which the penalty measures weights."""
    rng, rows = np.random.default_rng(3), len(features)
    counts = torch.from_numpy(rng.integers(1, 4, rows))
    targets = torch.from_numpy(np.eye(4)[rng.integers(0, 3, rows)])  # the last class is never seen
    twice = torch.arange(rows).repeat_interleave(counts)
    wide = counts[:, None].double()
    problem = Convex(kind, targets * wide) if kind == "multiclass" else Convex(kind, targets, torch.ones_like(targets) * wide)
    ((_, weight, bias),) = solved_layers(features, problem, [30.0], samples=counts)
    ((_, wanted, shift),) = solved_layers(features[twice], Convex(kind, targets[twice]), [30.0])
    torch.testing.assert_close(weight, wanted, rtol=0, atol=1e-5)
    torch.testing.assert_close(bias, shift, rtol=0, atol=1e-4)
