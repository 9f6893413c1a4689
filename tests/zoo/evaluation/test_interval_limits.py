"""Intervals that would be none: each by hand, and that the others are as wide as they were."""

from __future__ import annotations

from math import erf

import numpy as np
import pandas as pd
import pytest

from medzoo.data.errors import ConfigError
from medzoo.data.labels import LabelSpace
from medzoo.evaluation.bootstrap import FEWEST_GROUPS, Interval
from medzoo.evaluation.predictions import Predictions
from medzoo.evaluation.report import evaluate, format_report

BINARY = LabelSpace("multiclass", ("no", "yes"))


def predictions(truth: list[int], logits: np.ndarray, groups: list[str], labels: LabelSpace = BINARY) -> Predictions:
    count = len(truth)
    targets = np.eye(labels.width, dtype=np.float32)[truth]
    return Predictions(
        labels, np.array([f"s{i}" for i in range(count)], object), np.array(["test"] * count, object), np.array(groups, object),
        targets, logits.astype(np.float32), logits.astype(np.float32), pd.DataFrame(index=range(count)), split_unit="patient",
    )  # fmt: skip


def scored(given: Predictions, **settings: float) -> dict:
    return evaluate(given, splits=["test"], interval=Interval(**{"replicates": 400, **settings}))["splits"]["test"]["metrics"]


def noisy(truth: list[int], seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=len(truth)) + np.array(truth) * 1.5
    return np.stack([-values, values], axis=1)


def test_a_constant_answer_has_no_chance_of_a_balanced_accuracy_of_one() -> None:
    truth = [1] * 6 + [0] * 194
    constant = np.tile([1.0, -1.0], (200, 1))
    found = scored(predictions(truth, constant, [f"p{i}" for i in range(200)]), replicates=3000)["balanced_accuracy"]
    assert found["value"] == 0.5
    assert found["high"] is None or found["high"] == 0.5
    assert found["no_interval"] == "every replicate gives the same value"


def test_a_replicate_that_lost_a_class_is_undefined() -> None:
    """The smaller class is lost in (1 − 5/12)¹² = 0.2% of the replicates; recall of the one that is left would be 1."""
    truth = [0] * 7 + [1] * 5
    logits = noisy(truth)
    logits[0] = [-3.0, 3.0]
    found = scored(predictions(truth, logits, [f"p{i}" for i in range(12)]), replicates=4000)
    for name in ("balanced_accuracy", "auroc", "recall"):
        assert found[name]["high"] is None or found[name]["high"] <= 1
    assert found["balanced_accuracy"]["low"] is not None


def test_eight_positives_of_one_patient_have_no_interval() -> None:
    truth = [1] * 8 + [0] * 60
    groups = ["p0"] * 8 + [f"p{1 + i // 2}" for i in range(60)]
    report = evaluate(predictions(truth, noisy(truth), groups), splits=["test"], interval=Interval(200))
    found = report["splits"]["test"]["metrics"]
    for name in ("auroc", "ap", "f1", "balanced_accuracy"):
        assert found[name]["value"] is not None
        assert (found[name]["low"], found[name]["high"]) == (None, None)
        assert "1 patient groups with it, at least 5 are needed" in found[name]["no_interval"]
    assert found["auroc"]["classes"]["yes"]["low"] is None
    assert found["accuracy"]["low"] is not None  # of all 31 patients
    assert "(no interval: yes: 1 patient groups with it" in format_report(report, "test")


@pytest.mark.parametrize("positives", [FEWEST_GROUPS - 1, FEWEST_GROUPS])
def test_the_least_number_of_positive_patients_is_stated(positives: int) -> None:
    truth = [1] * positives + [0] * 40
    found = scored(predictions(truth, noisy(truth), [f"p{i}" for i in range(len(truth))]))["auroc"]
    assert (found["low"] is None) == (positives < FEWEST_GROUPS)


def test_five_right_answers_are_no_proof_of_perfection() -> None:
    truth = [0, 1, 0, 1, 0]
    perfect = np.array([[2.0, -2.0] if t == 0 else [-2.0, 2.0] for t in truth])
    found = scored(predictions(truth, perfect, [f"p{i}" for i in range(5)]))
    assert found["accuracy"] == {
        "value": 1.0, "low": None, "high": None, "no_interval": "every replicate gives the same value"
    }  # fmt: skip
    assert found["auroc"]["low"] is None
    assert "needed" in scored(predictions(truth[:4], perfect[:4], list("abcd")))["accuracy"]["no_interval"]


def test_a_rare_class_takes_the_interval_of_the_mean_and_of_its_own_alone() -> None:
    labels = LabelSpace("multiclass", ("a", "b", "c"))
    truth = [0] * 30 + [1] * 30 + [2] * 3
    logits = np.random.default_rng(1).normal(size=(63, 3)) + np.eye(3)[truth]
    found = scored(predictions(truth, logits, [f"p{i}" for i in range(63)], labels))["auroc"]
    assert found["no_interval"].startswith("c: 3 patient groups with it")
    assert found["classes"]["a"]["low"] is not None
    assert found["classes"]["c"]["low"] is None


def test_missing_labels_do_not_count_as_patients() -> None:
    labels = LabelSpace("multilabel", ("x",))
    targets = np.full((60, 1), np.nan, np.float32)
    targets[:4], targets[4:30] = 1, 0
    logits = np.random.default_rng(0).normal(size=(60, 1)).astype(np.float32)
    names = np.array([f"p{i}" for i in range(60)], object)
    given = Predictions(
        labels, names, np.array(["test"] * 60, object), names, targets, logits, logits, pd.DataFrame(index=range(60))
    )
    found = evaluate(given, splits=["test"], interval=Interval(100))["splits"]["test"]["metrics"]["auroc"]["classes"]["x"]
    assert "4 image groups with it" in found["no_interval"]


def test_settings_out_of_range_are_refused_wherever_intervals_are_made() -> None:
    for settings in ({"replicates": -1}, {"level": 1.0}, {"level": 0.0}):
        with pytest.raises(ConfigError, match=r"replicates=-1|level="):
            Interval(**settings)


def test_intervals_of_large_samples_cover_as_before() -> None:
    """Scores of two classes are normal, 1.5 standard deviations apart: the true AUROC is Φ(1.5 / √2)."""
    true = 0.5 * (1 + erf(1.5 / 2))
    inside = 0
    for seed in range(60):
        truth = [0] * 60 + [1] * 60
        found = scored(predictions(truth, noisy(truth, seed), [f"p{i}" for i in range(120)]), replicates=200)["auroc"]
        inside += found["low"] <= true <= found["high"]
    assert inside >= 51
