"""Differences: the interval, its p-value, Holm's correction, the verdict against a margin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from medzoo.data.errors import ConfigError
from medzoo.data.labels import LabelSpace
from medzoo.evaluation.bootstrap import Estimate, Interval, Measured
from medzoo.evaluation.comparison.difference import (
    bootstrap_p,
    described_difference,
    difference,
    holm,
    read_margins,
    verdict,
    with_holm,
)
from medzoo.evaluation.metrics import scored


@pytest.mark.parametrize("tests", [1, 2, 3, 10, 40])
def test_holm_equals_statsmodels(tests: int) -> None:
    p = (np.random.default_rng(tests).integers(1, 60, size=tests) / 1000).tolist()  # some equal, some beyond 1 when corrected
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], atol=1e-12)


def test_p_counts_the_rarer_side_twice_and_is_never_0() -> None:
    assert bootstrap_p(np.array([1.0] * 97 + [-1.0] * 2)) == pytest.approx(2 * 3 / 100)
    assert bootstrap_p(np.full(999, 0.1)) == pytest.approx(2 / 1000)
    assert bootstrap_p(-np.full(999, 0.1)) == pytest.approx(2 / 1000)
    assert bootstrap_p(np.array([0.0, 0.0, 1.0, 1.0, 1.0])) == pytest.approx(2 * 3 / 6)  # those at 0 are on both sides
    assert bootstrap_p(np.zeros(10)) == 1.0


@given(st.integers(0, 500), st.floats(-0.5, 0.5))
def test_p_is_below_the_level_where_the_interval_leaves_0_out(seed: int, shift: float) -> None:
    drawn = np.random.default_rng(seed).normal(shift, 0.2, size=1999)
    low, high = Interval(1999).bounds(drawn)
    assert low is not None
    assert high is not None
    p = bootstrap_p(drawn)
    if low > 0 or high < 0:
        assert p <= 0.05 + 4 / 2000
    else:
        assert p >= 0.05 - 4 / 2000


@pytest.mark.parametrize(
    ("low", "high", "margin", "said"),
    [
        (0.01, 0.05, 0.02, "superior"),
        (-0.01, 0.05, 0.02, "non-inferior"),
        (-0.015, -0.005, 0.02, "non-inferior"),  # worse, and by less than matters
        (-0.03, 0.05, 0.02, "inconclusive"),
        (-0.03, -0.01, 0.02, "inconclusive"),
        (-0.05, -0.03, 0.02, "inferior"),
        (-0.05, -0.03, 0.0, "inferior"),
        (-0.01, 0.05, 0.0, "inconclusive"),
        (0.0, 0.0, 0.0, "inconclusive"),
        (0.0, 0.0, 0.02, "non-inferior"),
    ],
)
def test_the_verdict_is_where_the_interval_lies(low: float, high: float, margin: float, said: str) -> None:
    assert verdict(low, high, margin, higher_is_better=True) == said
    assert verdict(-high, -low, margin, higher_is_better=False) == said  # an error that falls is as good as an area that grows


def test_two_that_answer_alike_do_not_differ() -> None:
    same = Estimate(0.8, np.random.default_rng(0).normal(0.8, 0.1, size=200))
    told = described_difference(same, same, Interval(200), 0.02, higher_is_better=True)
    assert (told["difference"], told["low"], told["high"], told["p"], told["verdict"]) == (0, 0, 0, 1.0, "non-inferior")


def test_without_an_interval_nothing_is_tested() -> None:
    drawn = np.random.default_rng(0).normal(0.8, 0.1, size=200)
    scarce = described_difference(
        Estimate(0.8, drawn, "3 patients"), Estimate(0.9, drawn + 0.1, "3 patients"), Interval(200), 0.02, higher_is_better=True
    )
    undefined = described_difference(Estimate(None, None), Estimate(0.9, drawn), Interval(200), None, higher_is_better=True)
    assert scarce["no_interval"] == "3 patients"
    assert scarce["difference"] == pytest.approx(0.1)
    assert undefined["difference"] is None
    told = with_holm([scarce, {"p": 0.02}, undefined, {"p": 0.03}])
    assert [part["p_holm"] for part in told] == [None, pytest.approx(0.04), None, pytest.approx(0.04)]


def test_margins_are_for_all_or_by_name() -> None:
    assert read_margins(["0.02"], ["auroc", "ece"]) == {"auroc": 0.02, "ece": 0.02}
    assert read_margins(["0.02", "ece=0.01"], ["auroc", "ece"]) == {"auroc": 0.02, "ece": 0.01}
    assert read_margins(["ece=0.01", "0.02"], ["auroc", "ece"]) == {"auroc": 0.02, "ece": 0.01}
    assert read_margins(None, ["auroc"]) == {}
    for word in ("-0.1", "nan", "inf", "two", "auroc="):
        with pytest.raises(ConfigError, match="no number of at least 0"):
            read_margins([word], ["auroc"])
    with pytest.raises(ConfigError, match="acc is not among the metrics compared"):
        read_margins(["acc=0.1"], ["auroc"])


def test_interval_and_p_agree_with_scipy_on_images_that_are_patients() -> None:
    """scipy redraws pairs of answers, and its permutation test swaps the two models within an image."""
    rng = np.random.default_rng(3)
    truth = rng.random(300) < 0.5
    right = [rng.random(300) < share for share in (0.7, 0.78)]
    labels = LabelSpace("multilabel", ("x",))
    said = [np.where(ok == truth, 1.0, -1.0).astype(np.float32)[:, None] for ok in right]  # right: says what is true
    groups, interval = [str(i) for i in range(300)], Interval(4000)
    first, second = (
        Measured.of(scored(labels, truth[:, None].astype(np.float32), z), groups, interval).estimate("accuracy") for z in said
    )
    found = difference(first, second)
    gains = right[1].astype(float) - right[0].astype(float)
    assert found.value == pytest.approx(gains.mean())
    assert found.drawn is not None
    oracle = stats.bootstrap((gains,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(0))
    assert interval.bounds(found.drawn) == pytest.approx(tuple(oracle.confidence_interval), abs=0.006)
    swapped = stats.permutation_test(
        (right[0].astype(float), right[1].astype(float)), lambda a, b, axis: np.mean(b, axis) - np.mean(a, axis),
        permutation_type="samples", n_resamples=4000, vectorized=True, rng=np.random.default_rng(0),
    )  # fmt: skip
    assert 0.001 < swapped.pvalue < 0.2
    assert bootstrap_p(found.drawn) == pytest.approx(swapped.pvalue, abs=0.02)
