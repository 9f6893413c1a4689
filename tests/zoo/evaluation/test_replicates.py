"""Replicates made from sums over groups and from ranks, against scikit-learn and scipy on rows repeated one by one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from medzoo.data.labels import LabelSpace
from medzoo.evaluation import bootstrap as bootstrap_module
from medzoo.evaluation import weighting as weighting_module
from medzoo.evaluation.bootstrap import Interval, bootstrap, group_codes, replicate_weights
from medzoo.evaluation.metrics import all_metrics, scored
from medzoo.evaluation.weighting import Weighting

REPLICATES = 40


def sample(
    kind: str, width: int, *, ties: bool, per_group: int, samples: int = 240
) -> tuple[LabelSpace, np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(width + 2 * ties + per_group)
    labels = LabelSpace(kind, tuple(f"c{k}" for k in range(width)))  # type: ignore[arg-type]
    logits = rng.normal(size=(samples, width)).astype(np.float32)
    logits = np.round(logits * 2) / 2 if ties else logits
    if kind == "multilabel":
        targets = (rng.random((samples, width)) < 0.3).astype(np.float32)
        targets[rng.random(targets.shape) < 0.15] = np.nan
    elif kind == "regression":
        targets = (50 + logits + rng.normal(size=logits.shape)).astype(np.float32)
        logits += 50
        targets[rng.random(targets.shape) < 0.15] = np.nan
    else:
        targets = labels.one_hot(rng.integers(width, size=samples))
        targets[:20] = np.nan
    return labels, targets, logits, [f"p{i // per_group % 60}" for i in range(samples)]


def repeated(groups: list[str]) -> list[np.ndarray]:
    """Return the rows of each replicate, as often as their group was drawn."""
    weights = np.concatenate(list(replicate_weights(group_codes(groups), REPLICATES, seed=0)))
    return [np.repeat(np.arange(len(groups)), row.astype(int)) for row in weights]


def ece(p: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, p, side="left") - 1, 0, bins - 1)
    return sum(abs(right[place == b].sum() - p[place == b].sum()) for b in set(place)) / len(p)


BINARY: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], float]] = {
    "auroc": lambda y, z, p: sk.roc_auc_score(y, z),
    "ap": lambda y, z, p: sk.average_precision_score(y, z),
    "accuracy": lambda y, z, p: sk.accuracy_score(y, p > 0.5),
    "balanced_accuracy": lambda y, z, p: sk.balanced_accuracy_score(y, p > 0.5),
    "f1": lambda y, z, p: sk.f1_score(y, p > 0.5),
    "recall": lambda y, z, p: sk.recall_score(y, p > 0.5),
    "precision": lambda y, z, p: sk.precision_score(y, p > 0.5, zero_division=0),
    "brier": lambda y, z, p: sk.brier_score_loss(y, p),
    "ece": lambda y, z, p: ece(p, y),
}


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("per_group", [1, 4])
def test_findings_equal_a_loop_of_sklearn(ties: bool, per_group: int) -> None:
    labels, targets, logits, groups = sample("multilabel", 3, ties=ties, per_group=per_group)
    data = scored(labels, targets, logits)
    drawn, _ = bootstrap(data, groups, Interval(REPLICATES))
    assert set(drawn) == set(BINARY)
    for k in range(3):
        for place, rows in enumerate(repeated(groups)):
            rows = rows[~np.isnan(targets[rows, k])]
            y, z, p = targets[rows, k], logits[rows, k], data.probabilities[rows, k]
            for name, oracle in BINARY.items():
                assert drawn[name][place, k] == pytest.approx(oracle(y, z, p), abs=1e-12), name


@pytest.mark.parametrize("kind", ["multiclass", "ordinal"])
@pytest.mark.parametrize("ties", [False, True])
def test_classes_equal_a_loop_of_sklearn(kind: str, ties: bool) -> None:
    labels, targets, logits, groups = sample(kind, 4, ties=ties, per_group=3)
    data = scored(labels, targets, logits)
    classes, overall = bootstrap(data, groups, Interval(REPLICATES))
    for place, rows in enumerate(repeated(groups)):
        rows = rows[~np.isnan(targets[rows, 0])]
        truth, p = targets[rows].argmax(axis=1), data.probabilities[rows]
        said = p.argmax(axis=1)
        for k in range(4):
            assert classes["auroc"][place, k] == pytest.approx(sk.roc_auc_score(truth == k, data.scores[rows, k]), abs=1e-12)
            assert classes["ap"][place, k] == pytest.approx(
                sk.average_precision_score(truth == k, data.scores[rows, k]), abs=1e-12
            )
        assert classes["recall"][place] == pytest.approx(sk.recall_score(truth, said, average=None), abs=1e-12)
        expected = {
            "accuracy": sk.accuracy_score(truth, said),
            "balanced_accuracy": sk.balanced_accuracy_score(truth, said),
            "nll": sk.log_loss(truth, p, labels=range(4)),
            "brier": np.mean(((p - np.eye(4)[truth]) ** 2).sum(axis=1)),
            "ece": ece(p.max(axis=1), (said == truth).astype(float)),
            "top3_accuracy": np.mean([t in np.argsort(-row, kind="stable")[:3] for t, row in zip(truth, p, strict=True)]),
        }
        if kind == "ordinal":
            expected |= {
                "kappa": sk.cohen_kappa_score(truth, said, weights="quadratic"),
                "mae": sk.mean_absolute_error(truth, said),
            }
        assert set(overall) == set(expected)
        for name, value in expected.items():
            assert overall[name][place] == pytest.approx(value, abs=1e-12), name


@pytest.mark.parametrize("ties", [False, True])
def test_quantities_equal_a_loop_of_sklearn_and_scipy(ties: bool) -> None:
    labels, targets, logits, groups = sample("regression", 2, ties=ties, per_group=4)
    targets = np.round(targets) if ties else targets
    drawn, _ = bootstrap(scored(labels, targets, logits), groups, Interval(REPLICATES))
    for k in range(2):
        for place, rows in enumerate(repeated(groups)):
            rows = rows[~np.isnan(targets[rows, k])]
            y, said = targets[rows, k].astype(float), logits[rows, k].astype(float)
            assert drawn["mae"][place, k] == pytest.approx(sk.mean_absolute_error(y, said), abs=1e-12)
            assert drawn["rmse"][place, k] == pytest.approx(sk.root_mean_squared_error(y, said), abs=1e-12)
            assert drawn["r2"][place, k] == pytest.approx(sk.r2_score(y, said), abs=1e-11)
            assert drawn["spearman"][place, k] == pytest.approx(stats.spearmanr(y, said).statistic, abs=1e-12)


@pytest.mark.parametrize("kind", ["multilabel", "multiclass", "ordinal", "regression"])
def test_weights_of_groups_are_weights_of_their_samples(kind: str) -> None:
    labels, targets, logits, groups = sample(kind, 3, ties=True, per_group=4)
    data, codes = scored(labels, targets, logits), group_codes(groups)
    weights = np.random.default_rng(0).exponential(size=(7, codes.max() + 1))  # no whole numbers
    for ours, plain in zip(all_metrics(data, weights, codes=codes), all_metrics(data, weights[:, codes]), strict=True):
        for name, values in plain.items():
            np.testing.assert_allclose(ours[name], values, atol=1e-12, err_msg=name)


def test_replicates_do_not_depend_on_how_many_are_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("multilabel", "regression"):
        labels, targets, logits, groups = sample(kind, 2, ties=True, per_group=4)
        data = scored(labels, targets, logits)
        whole, _ = bootstrap(data, groups, Interval(REPLICATES))
        with monkeypatch.context() as patch:
            patch.setattr(bootstrap_module, "CHUNK_VALUES", 420)  # 7 replicates of 60 groups
            patch.setattr(weighting_module, "BLOCK_VALUES", 700)
            parts, _ = bootstrap(data, groups, Interval(REPLICATES))
        for name, values in whole.items():
            np.testing.assert_allclose(parts[name], values, atol=1e-12, err_msg=name)


def test_what_is_held_at_once_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weighting_module, "BLOCK_VALUES", 1000)
    widths = [weights.shape[1] for _, weights in Weighting(np.ones((50, 10))).blocks(height=200)]
    assert max(widths) == 5
    assert sum(widths) == 50


def test_a_class_without_positives_is_undefined_and_no_error() -> None:
    labels = LabelSpace("multilabel", ("never", "always", "unknown"))
    targets = np.tile(np.array([0, 1, np.nan], np.float32), (20, 1))
    drawn, _ = bootstrap(scored(labels, targets, np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)),
                         [str(i) for i in range(20)], Interval(5))  # fmt: skip
    assert np.isnan(drawn["auroc"]).all()
    assert np.isnan(drawn["ap"]).all()
    assert np.isnan(drawn["brier"][:, 2]).all()
    assert not np.isnan(drawn["brier"][:, :2]).any()
