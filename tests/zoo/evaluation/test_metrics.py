"""Our metrics against scikit-learn's and the medmnist package's own evaluator."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from medmnist.evaluator import getACC, getAUC
from scipy import stats
from sklearn import metrics as sk

from medzoo.data.errors import EvaluationError, UnknownNameError
from medzoo.data.labels import LabelSpace
from medzoo.evaluation.metrics import (
    all_metrics,
    calibration_error,
    macro_mean,
    macro_means,
    quadratic_kappa,
    scored,
)
from medzoo.evaluation.monitor import monitor_value, monitorable
from medzoo.evaluation.ranking import auroc, average_precision, spearman
from medzoo.evaluation.weighting import Weighting

TASKS = {"multiclass": "multi-class", "ordinal": "ordinal-regression", "multilabel": "multi-label, binary-class"}


def case(kind: str, width: int, seed: int, samples: int = 200) -> tuple[LabelSpace, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = LabelSpace(kind, tuple(f"c{k}" for k in range(width)))  # type: ignore[arg-type]
    logits = rng.normal(size=(samples, width)).astype(np.float32)
    if kind == "multilabel":
        return labels, (rng.random((samples, width)) < 0.3).astype(np.float32), logits
    codes = np.concatenate([np.arange(width), rng.integers(width, size=samples - width)])
    return labels, labels.one_hot(codes), logits


def plain(labels: LabelSpace, targets: np.ndarray, logits: np.ndarray) -> tuple[dict, dict]:
    classes, overall = all_metrics(scored(labels, targets, logits), np.ones((1, len(targets))))
    return {k: v[0] for k, v in classes.items()}, {k: v[0] for k, v in overall.items()}


@pytest.mark.parametrize(("kind", "width"), [("multiclass", 4), ("ordinal", 5), ("multiclass", 2), ("multilabel", 14)])
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_medmnist_evaluator(kind: str, width: int, seed: int) -> None:
    labels, targets, logits = case(kind, width, seed)
    probabilities = scored(labels, targets, logits).probabilities
    if kind == "multilabel":
        truth, task = targets, TASKS[kind]
    else:
        truth, task = targets.argmax(1)[:, None], "binary-class" if width == 2 else TASKS[kind]
    assert monitor_value(labels, targets, logits, "auroc") == pytest.approx(getAUC(truth, probabilities, task), abs=1e-6)
    assert monitor_value(labels, targets, logits, "accuracy") == pytest.approx(getACC(truth, probabilities, task), abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_exclusive_metrics_equal_sklearn_with_missing_labels(seed: int) -> None:
    labels, targets, logits = case("multiclass", 4, seed)
    targets[20:60] = np.nan
    known = ~np.isnan(targets[:, 0])
    classes, overall = plain(labels, targets, logits)
    truth = targets[known].argmax(1)
    p = scored(labels, targets, logits).probabilities[known]
    for k in range(4):
        assert classes["auroc"][k] == pytest.approx(sk.roc_auc_score(truth == k, p[:, k]), abs=1e-9)
        assert classes["ap"][k] == pytest.approx(sk.average_precision_score(truth == k, p[:, k]), abs=1e-9)
    said = p.argmax(1)
    assert classes["f1"] == pytest.approx(sk.f1_score(truth, said, average=None), abs=1e-9)
    assert classes["recall"] == pytest.approx(sk.recall_score(truth, said, average=None), abs=1e-9)
    assert classes["precision"] == pytest.approx(sk.precision_score(truth, said, average=None, zero_division=0), abs=1e-9)
    assert overall["accuracy"] == pytest.approx(sk.accuracy_score(truth, said), abs=1e-9)
    assert overall["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(truth, said), abs=1e-9)
    assert overall["nll"] == pytest.approx(sk.log_loss(truth, p), abs=1e-9)
    assert overall["brier"] == pytest.approx(np.mean(((p - np.eye(4)[truth]) ** 2).sum(1)), abs=1e-9)


def test_multilabel_metrics_equal_sklearn_with_missing_entries() -> None:
    labels, targets, logits = case("multilabel", 5, 0)
    targets[np.random.default_rng(1).random(targets.shape) < 0.3] = np.nan
    classes, _ = plain(labels, targets, logits)
    for k in range(5):
        known = ~np.isnan(targets[:, k])
        y, z = targets[known, k], logits[known, k]
        assert classes["auroc"][k] == pytest.approx(sk.roc_auc_score(y, z), abs=1e-9)
        assert classes["ap"][k] == pytest.approx(sk.average_precision_score(y, z), abs=1e-9)
        assert classes["f1"][k] == pytest.approx(sk.f1_score(y, z > 0), abs=1e-9)
        assert classes["balanced_accuracy"][k] == pytest.approx(sk.balanced_accuracy_score(y, z > 0), abs=1e-9)
        assert classes["brier"][k] == pytest.approx(sk.brier_score_loss(y, 1 / (1 + np.exp(-z.astype(float)))), abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_pooled_f1_equals_sklearn(seed: int) -> None:
    labels, targets, logits = case("multilabel", 5, seed)
    logits -= 1.0
    _, overall = plain(labels, targets, logits)
    called = logits > 0
    assert (called.any(1) | targets.astype(bool).any(1)).sum() < len(targets)  # some samples are of nothing
    assert overall["micro_f1"] == pytest.approx(sk.f1_score(targets, called, average="micro"), abs=1e-9)
    own = sk.f1_score(targets, called, average="samples", zero_division=np.nan)
    assert overall["example_f1"] == pytest.approx(own, abs=1e-9)


def test_pooled_f1_with_missing_entries_and_weights() -> None:
    """Missing entries are in no count: as if each sample had only the findings that are known of it."""
    labels, targets, logits = case("multilabel", 4, 5)
    targets[np.random.default_rng(1).random(targets.shape) < 0.4] = np.nan
    copies = np.random.default_rng(2).integers(0, 3, len(targets))
    _, overall = all_metrics(scored(labels, targets, logits), copies[None].astype(float))
    known, called = ~np.isnan(targets), logits > 0
    times = np.repeat(copies[:, None], 4, axis=1)[known]
    micro = sk.f1_score(targets[known], called[known], sample_weight=times)
    rows = zip(targets, called, known, strict=True)
    own = np.array([sk.f1_score(t[k], c[k], zero_division=np.nan) if k.any() else np.nan for t, c, k in rows])
    defined = ~np.isnan(own)
    assert overall["micro_f1"][0] == pytest.approx(micro, abs=1e-9)
    assert overall["example_f1"][0] == pytest.approx(np.average(own[defined], weights=copies[defined]), abs=1e-9)
    assert monitor_value(labels, targets, logits, "example_f1") == pytest.approx(own[defined].mean())


def test_pooled_f1_without_a_positive_is_undefined() -> None:
    labels, targets, logits = case("multilabel", 3, 0)
    overall = plain(labels, targets * 0, logits)[1]
    assert np.isnan(overall["micro_f1"])
    assert np.isnan(overall["example_f1"])
    assert monitorable(labels, targets * 0, "micro_f1") == "no finding is positive in any sample"
    assert "micro_f1" not in plain(*case("multiclass", 3, 0))[1]  # of exclusive classes it is their accuracy


def test_regression_equals_sklearn() -> None:
    labels = LabelSpace("regression", ("size", "age"))
    rng = np.random.default_rng(0)
    targets, said = rng.normal(size=(50, 2)).astype(np.float32), rng.normal(size=(50, 2)).astype(np.float32)
    classes, _ = plain(labels, targets, said)
    for k in range(2):
        assert classes["mae"][k] == pytest.approx(sk.mean_absolute_error(targets[:, k], said[:, k]), abs=1e-6)
        assert classes["r2"][k] == pytest.approx(sk.r2_score(targets[:, k], said[:, k]), abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 60), st.integers(1, 6))
def test_weighted_ranking_metrics_equal_sklearn_with_ties(seed: int, samples: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    score = rng.integers(levels, size=samples).astype(float)
    positive = rng.random(samples) < 0.5
    weights = rng.integers(0, 4, size=(3, samples)).astype(float)
    areas, precisions = auroc(score, positive, weights), average_precision(score, positive, weights)
    for row, area, precision in zip(weights, areas, precisions, strict=True):
        if row[positive].sum() == 0 or row[~positive].sum() == 0:
            assert np.isnan(area)
            continue
        assert area == pytest.approx(sk.roc_auc_score(positive, score, sample_weight=row), abs=1e-9)
        assert precision == pytest.approx(sk.average_precision_score(positive, score, sample_weight=row), abs=1e-9)


def test_calibration_error_by_hand() -> None:
    # Two bins: (0, .5] holds .2 and .4 with one right (|.5 − .3|), (.5, 1] holds .9 right (|1 − .9|).
    value = calibration_error(np.array([0.2, 0.4, 0.9]), np.array([1.0, 0.0, 1.0]), np.ones((1, 3)), 2)
    assert value[0] == pytest.approx((2 * 0.2 + 0.1) / 3)


def test_saturated_logits_still_rank() -> None:
    labels = LabelSpace("multiclass", ("a", "b", "c"))
    logits = np.array([[60.0, 0, 0], [80.0, 0, 0], [0, 50.0, 0], [0, 0, 50.0]], dtype=np.float32)
    classes, _ = plain(labels, labels.one_hot([1, 0, 1, 2]), logits)
    assert classes["auroc"][0] == 1.0  # softmax would tie the first two at 1


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_an_absent_class_is_undefined_and_left_out(kind: str) -> None:
    labels, targets, logits = case(kind, 3, 0)
    if kind == "multiclass":
        targets = labels.one_hot(targets.argmax(1) % 2)
    else:
        targets[:, 2] = 0
    classes, _ = plain(labels, targets, logits)
    assert np.isnan(classes["auroc"][2])
    assert monitor_value(labels, targets, logits, "auroc") == pytest.approx(classes["auroc"][:2].mean())


def test_what_cannot_be_scored_is_none_with_a_reason() -> None:
    labels, targets, logits = case("multiclass", 3, 0)
    one = targets[:1], logits[:1]
    assert monitor_value(labels, *one, "auroc") is None
    assert "positive and negative" in str(monitorable(labels, one[0], "auroc"))
    assert "missing" in str(monitorable(labels, np.full_like(targets, np.nan), "auroc"))
    assert monitor_value(labels, np.full_like(targets, np.nan), logits, "accuracy") is None


def test_tied_soft_targets_are_counted_and_left_out() -> None:
    labels = LabelSpace("multiclass", ("a", "b"))
    targets = np.array([[0.5, 0.5], [0.7, 0.3], [0.2, 0.8]], dtype=np.float32)
    data = scored(labels, targets, np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32))
    assert data.tied == 1
    assert all_metrics(data, np.ones((1, 3)))[1]["accuracy"][0] == 1.0


def test_bad_input_is_one_line() -> None:
    labels, targets, logits = case("multiclass", 3, 0)
    with pytest.raises(UnknownNameError, match="auroc"):
        monitor_value(labels, targets, logits, "aurocc")
    with pytest.raises(EvaluationError, match="not finite"):
        scored(labels, targets, np.full_like(logits, np.nan))


@pytest.mark.parametrize("seed", range(3))
def test_kappa_and_grade_error_equal_sklearn(seed: int) -> None:
    labels, targets, logits = case("ordinal", 5, seed)
    targets[10:30] = np.nan
    known = ~np.isnan(targets[:, 0])
    _, overall = plain(labels, targets, logits)
    truth, said = targets[known].argmax(1), logits[known].argmax(1)
    assert overall["kappa"] == pytest.approx(sk.cohen_kappa_score(truth, said, weights="quadratic"), abs=1e-9)
    assert overall["mae"] == pytest.approx(sk.mean_absolute_error(truth, said), abs=1e-9)
    assert overall["top3_accuracy"] == pytest.approx(sk.top_k_accuracy_score(truth, logits[known], k=3), abs=1e-9)
    assert "top5_accuracy" not in overall


def test_kappa_of_one_grade_is_undefined() -> None:
    ones = np.ones((1, 4))
    same = np.zeros(4, dtype=np.int64)
    assert np.isnan(quadratic_kappa(same, same, Weighting(ones))[0])
    assert quadratic_kappa(same, np.array([0, 1, 2, 1]), Weighting(ones))[0] == pytest.approx(0, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 3)), min_size=3, max_size=30))
def test_weighted_rank_metrics_equal_repeated_samples(rows: list[tuple[int, int, int]]) -> None:
    """A weight is a number of copies: what the bootstrap relies on. Spearman against scipy, kappa against scikit-learn."""
    a, b, copies = (np.array(column) for column in zip(*rows, strict=True))
    long_a, long_b = np.repeat(a, copies), np.repeat(b, copies)
    rank = spearman(a.astype(float), b.astype(float), Weighting(copies[None].astype(float)))[0]
    if len(set(long_a)) > 1 and len(set(long_b)) > 1:
        assert rank == pytest.approx(stats.spearmanr(long_a, long_b).statistic, abs=1e-9)
    else:
        assert np.isnan(rank)
    kappa = quadratic_kappa(a, b, Weighting(copies[None].astype(float)))[0]
    if len(set(long_a) | set(long_b)) > 1:
        assert kappa == pytest.approx(sk.cohen_kappa_score(long_a, long_b, labels=range(6), weights="quadratic"), abs=1e-9)


def test_soft_labels_are_scored_as_they_are_and_ties_are_counted() -> None:
    labels = LabelSpace("multiclass", ("a", "b", "c"))
    targets = np.array([[0.7, 0.2, 0.1], [0.5, 0.5, 0.0], [np.nan] * 3, [0.0, 0.0, 1.0]], dtype=np.float32)
    logits = np.array([[1, 0, 0], [0, 1, 0], [5, 5, 5], [0, 0, 2]], dtype=np.float32)
    data = scored(labels, targets, logits)
    _, overall = plain(labels, targets, logits)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    expected = -np.mean([(targets[i] * log_p[i]).sum() for i in (0, 1, 3)])
    assert data.tied == 1
    assert overall["soft_cross_entropy"] == pytest.approx(expected, abs=1e-6)
    assert overall["accuracy"] == 1  # of the two that have one class
    hard = plain(labels, labels.one_hot([0, 1, 2, 2]), logits)[1]
    assert "soft_cross_entropy" not in hard
    assert monitorable(labels, labels.one_hot([0, 1, 2, 2]), "soft_cross_entropy") == "no target is soft"


def test_a_macro_mean_is_over_what_is_defined() -> None:
    nan = np.nan
    np.testing.assert_array_equal(macro_means(np.array([[1, 3, nan], [nan, nan, 4], [nan, nan, nan]])), [2, 4, nan])
    assert macro_means(np.zeros((0, 3))).shape == (0,)
    assert [macro_mean(np.array(row)) for row in ([1, 3, nan], [nan], [])] == [2, None, None]
