"""DeLong's test against its definition, pair by pair, and against a permutation test where images are independent."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from medzoo.evaluation.comparison.delong import delong


def by_definition(first: np.ndarray, second: np.ndarray, positive: np.ndarray) -> tuple[float, float, float]:
    """Return both areas and the variance of their difference as the paper writes them: ψ over all m·n pairs, then S10 and S01."""
    v10, v01, areas = [], [], []
    for score in (first, second):
        x, y = score[positive], score[~positive]
        psi = np.array([[1.0 if a > b else 0.5 if a == b else 0.0 for b in y] for a in x])
        v10.append(psi.mean(axis=1))
        v01.append(psi.mean(axis=0))
        areas.append(psi.mean())
    covariance = np.cov(v10) / positive.sum() + np.cov(v01) / (~positive).sum()
    contrast = np.array([-1.0, 1.0])
    return areas[0], areas[1], float(contrast @ covariance @ contrast)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(4, 40), st.integers(2, 30))
def test_equals_the_definition_with_ties(seed: int, samples: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    positive = np.arange(samples) % 2 == 0
    first, second = rng.integers(levels, size=(2, samples)).astype(float)
    found = delong(first, second, positive)
    assert found is not None
    one, two, variance = by_definition(first, second, positive)
    assert found.areas == pytest.approx((one, two), abs=1e-12)
    assert found.areas[0] == pytest.approx(roc_auc_score(positive, first), abs=1e-12)
    assert found.standard_error**2 == pytest.approx(variance, abs=1e-12)
    if found.z is not None:
        assert found.z == pytest.approx((two - one) / np.sqrt(variance), abs=1e-6)
        assert found.p == pytest.approx(2 * stats.norm.sf(abs(found.z)), abs=1e-12)


def test_by_hand() -> None:
    # Positives 3, 1 and negatives 2, 0. First: 3 above both, 1 above one: V10 = (1, ½), V01 = (½, 1), area ¾.
    found = delong(np.array([3.0, 1, 2, 0]), np.array([3.0, 2, 1, 0]), np.array([True, True, False, False]))
    assert found is not None
    assert found.areas == (0.75, 1.0)
    # Differences of V10 are (0, ½) and of V01 (½, 0): variances ⅛ each, over 2 and 2.
    assert found.standard_error == pytest.approx(np.sqrt(1 / 8 / 2 + 1 / 8 / 2))
    assert found.z == pytest.approx(0.25 / np.sqrt(1 / 8))


def test_scores_that_rank_alike_do_not_differ_and_one_of_a_kind_is_no_test() -> None:
    score = np.random.default_rng(0).normal(size=20)
    positive = np.arange(20) < 8
    same = delong(score, 2 * score + 1, positive)
    assert same is not None
    assert same.p == 1.0
    assert delong(score, -score, np.arange(20) < 1) is None
    split = delong(np.where(positive, 0.0, 1.0), np.where(positive, 1.0, 0.0), positive)  # 0 against 1, without any spread
    assert split is not None
    assert split.p is None


def test_agrees_with_a_permutation_test_on_independent_images() -> None:
    rng = np.random.default_rng(1)
    positive = np.arange(160) % 2 == 0
    first = rng.normal(size=160) + positive
    second = 0.6 * first + 0.8 * rng.normal(size=160) + 0.3 * positive
    ranks = np.stack([stats.rankdata(first), stats.rankdata(second)])

    def gain(a: np.ndarray, b: np.ndarray) -> float:  # areas by the rank sum of the positives
        return float(stats.rankdata(b)[positive].sum() - stats.rankdata(a)[positive].sum()) / 80**2

    oracle = stats.permutation_test(
        (ranks[0], ranks[1]), gain, permutation_type="samples", n_resamples=500, rng=np.random.default_rng(0)
    )
    found = delong(first, second, positive)
    assert found is not None
    assert found.difference == pytest.approx(oracle.statistic)
    assert 0.005 < oracle.pvalue < 0.5
    assert found.p == pytest.approx(oracle.pvalue, abs=0.04)
