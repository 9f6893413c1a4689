"""Prediction sets against MAPIE and by hand, their coverage on samples that are exchangeable, and what is said of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mapie.classification import SplitConformalClassifier
from mapie.regression import SplitConformalRegressor
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from medzoo.data.errors import ConfigError, EvaluationError, UnknownNameError
from medzoo.data.labels import LabelKind, LabelSpace, sigmoid
from medzoo.evaluation.bootstrap import Interval
from medzoo.evaluation.calibration.conformal import Conformal
from medzoo.evaluation.calibration.conformal_fit import class_thresholds, fit_conformal, one_a_group, risk_threshold
from medzoo.evaluation.calibration.conformal_report import conformal_part
from medzoo.evaluation.calibration.prediction_sets import check_conformal
from medzoo.evaluation.metrics import scored
from medzoo.evaluation.predictions import Predictions
from medzoo.evaluation.run_report import report_run
from medzoo.settings.evaluation import ConformalConfig, EvaluationConfig, check_evaluation
from medzoo.store.directory import RunDirectory


class Given(ClassifierMixin, BaseEstimator):
    """A classifier whose features are its probabilities."""

    def fit(self, x: np.ndarray, y: np.ndarray) -> Given:
        self.classes_, self.n_features_in_ = np.arange(x.shape[1]), x.shape[1]
        return self

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        return x

    def predict(self, x: np.ndarray) -> np.ndarray:
        return x.argmax(axis=1)


class Same(RegressorMixin, BaseEstimator):
    """A regressor whose feature is its answer."""

    def fit(self, x: np.ndarray, y: np.ndarray) -> Same:
        self.n_features_in_ = 1
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        return x[:, 0]


def cohort(kind: LabelKind, n: int, seed: int = 0, val: int | None = None, width: int = 4) -> Predictions:
    """Return predictions of val and test, drawn alike; of a model that is wrong about how sure it may be."""
    rng = np.random.default_rng(seed)
    labels = LabelSpace(kind, tuple(f"c{k}" for k in range(width)))
    logits = rng.normal(0, 2, (n, width)).astype(np.float32)
    if kind == "multilabel":
        targets = (rng.random(logits.shape) < sigmoid(0.5 * logits - 0.5)).astype(np.float32)
    elif kind == "regression":
        targets = (logits + rng.standard_t(4, logits.shape)).astype(np.float32)
    else:
        targets = labels.one_hot((0.7 * logits + [1.5, 0.5, 0, -0.5][:width] + rng.gumbel(size=logits.shape)).argmax(axis=1))
    split = np.where(np.arange(n) < (n // 2 if val is None else val), "val", "test").astype(object)
    return Predictions(
        labels, np.arange(n).astype(str).astype(object), split, np.array([f"p{i}" for i in range(n)], object), targets, logits,
        logits, pd.DataFrame({"site": np.where(np.arange(n) % 2, "a", "b")}), spec_hash="s", split_unit="patient",
        details={"weights": "w"},
    )  # fmt: skip


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_sets_are_mapies(coverage: float) -> None:
    given = cohort("multiclass", 838, val=419)
    p, truth = (scored(given.labels, given.targets, given.logits).probabilities, given.targets.argmax(axis=1))
    level = class_thresholds(p[:419], truth[:419], coverage, "split")[0]
    model = SplitConformalClassifier(Given().fit(p, truth), confidence_level=coverage, prefit=True)
    theirs = model.conformalize(p[:419], truth[:419]).predict_set(p[419:])[1][:, :, 0]
    assert ((p[419:] >= level) == theirs).all()
    conformal, _, _ = fit_conformal(given, coverage, "split")
    clear = np.abs(np.log(p[419:] / (1 - p[419:])) - np.log(level / (1 - level))) > 0.0011  # not within the slack
    assert ((conformal.sets(p[419:]) == theirs) | ~clear).all()


def test_intervals_are_mapies() -> None:
    given = cohort("regression", 600, width=1)
    conformal, _, _ = fit_conformal(given, 0.9, "split")
    x, y = given.logits.astype(np.float64), given.targets[:, 0].astype(np.float64)
    model = SplitConformalRegressor(Same().fit(x, y), confidence_level=0.9, prefit=True).conformalize(x[:300], y[:300])
    theirs = model.predict_interval(x[300:])[1][:, :, 0]
    np.testing.assert_allclose(conformal.intervals(x[300:])[:, 0], theirs, rtol=1e-9)


def test_thresholds_by_hand() -> None:
    """Nine samples at a coverage of 0.8: with (9 + 1) · 0.2 = 2, the second lowest probability of the truth is still in."""
    own = np.array([0.9, 0.3, 0.8, 0.5, 0.7, 0.4, 0.6, 0.95, 0.85])
    p, truth = np.stack([own, 1 - own], axis=1), np.zeros(9, np.int64)
    assert class_thresholds(p, truth, 0.8, "split") == pytest.approx([0.4, 0.4])
    assert class_thresholds(p, truth, 0.9, "split") == pytest.approx([0.3, 0.3])
    assert class_thresholds(p, truth, 0.95, "split") == [0, 0]  # ten times 0.05 is less than one: everything is in
    assert class_thresholds(p, truth, 0.8, "class") == pytest.approx([0.4, 0])  # nothing is known of the second class


def test_the_risk_threshold_by_hand() -> None:
    """Three patients, rate 1/2: (Σ loss + 1) / 4 ≤ 1/2 allows a sum of 1.

    At λ = 0.2 nothing is missed; at 0.4 half of the first's findings; at 0.6 all of the second's too, which is too much.
    """
    p = np.array([[0.2, 0.9], [0.4, 0.1], [0.6, 0.3]])
    positive = np.array([[True, True], [True, False], [True, False]])
    assert risk_threshold(p, positive, 0.5) == 0.4
    assert risk_threshold(p, positive, 0.25) == 0.2
    assert risk_threshold(p, positive, 0.2) == 0  # one patient more of three is a quarter already


@pytest.mark.parametrize("by", ["split", "class"])
def test_coverage_of_exchangeable_samples_is_the_one_asked_for(by: str) -> None:
    found = []
    for seed in range(24):
        given = cohort("multiclass", 6000, seed, val=1500)
        conformal, _, _ = fit_conformal(given, 0.9, by)
        part = conformal_part(conformal, given.of_split("test"), Interval(0))
        found.append([part["coverage"]["value"], *(c["coverage"]["value"] for c in part["classes"].values())])
    means = np.mean(found, axis=0)
    assert means[0] == pytest.approx(0.9, abs=0.01)
    if by == "class":
        assert means[1:] == pytest.approx(np.full(4, 0.9), abs=0.015)  # a few hundred samples of each decide
    else:
        assert np.ptp(means[1:]) > 0.05  # sets over all classes owe the single class nothing


def test_missed_findings_and_intervals_of_exchangeable_samples() -> None:
    missed, inside = [], []
    for seed in range(8):
        given = cohort("multilabel", 6000, seed, val=1000)
        missed.append(
            conformal_part(fit_conformal(given, 0.9, "split")[0], given.of_split("test"), Interval(0))["missed"]["value"]
        )
        given = cohort("regression", 6000, seed, val=1000, width=2)
        part = conformal_part(fit_conformal(given, 0.9, "split")[0], given.of_split("test"), Interval(0))
        inside += [c["coverage"]["value"] for c in part["classes"].values()]
    assert np.mean(missed) == pytest.approx(0.1, abs=0.01)
    assert np.mean(inside) == pytest.approx(0.9, abs=0.01)


def test_one_image_a_patient_is_drawn_and_said() -> None:
    groups, usable = np.repeat(["a", "b", "c"], 4).astype(object), np.array([True] * 8 + [False, True, False, False])
    rows = one_a_group(groups, usable, 0)
    assert len(rows) == 3
    assert set(groups[rows]) == {"a", "b", "c"}
    assert usable[rows].all()
    assert len({tuple(one_a_group(groups, usable, seed)) for seed in range(20)}) > 3
    given = cohort("multiclass", 400)
    given = replace(given, group=np.array([f"p{i // 2}" for i in range(400)], object))
    _, told, notes = fit_conformal(given, 0.9, "split")
    assert told == {"samples": 100, "images": 200}
    assert "of 200 val images one a patient was drawn, 100" in notes[0]


@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "regression"])
def test_only_labels_of_val_are_looked_at(kind: LabelKind) -> None:
    given = cohort(kind, 400)
    targets = given.targets.copy()
    targets[200:] = targets[200:][::-1]
    assert fit_conformal(replace(given, targets=targets), 0.9, "split") == fit_conformal(given, 0.9, "split")
    targets[:200] = targets[:200][::-1]
    assert fit_conformal(replace(given, targets=targets), 0.9, "split") != fit_conformal(given, 0.9, "split")


def test_parts_by_hand() -> None:
    """Thresholds 0.5 and 0.3 of four images of two patients: sets {a}, {a}, {b}, {b}; of the truths a, b, b, b three are held."""
    labels = LabelSpace("multiclass", ("a", "b"))
    p = np.array([[0.8, 0.2], [0.75, 0.25], [0.4, 0.6], [0.45, 0.55]])
    given = replace(
        cohort("multiclass", 4, val=0), labels=labels, targets=labels.one_hot([0, 1, 1, 1]), logits=np.log(p).astype(np.float32),
        group=np.array(["p", "p", "p", "q"], object),
    )  # fmt: skip
    part = conformal_part(Conformal(labels, 0.9, "class", (0.5, 0.3)), given, Interval(0))
    assert part["coverage"]["value"] == 0.75
    assert part["coverage_by_group"]["value"] == pytest.approx((2 / 3 + 1) / 2)
    assert (part["size"]["value"], part["singleton"]["value"], part["empty"]["value"]) == (1, 1, 0)
    assert part["classes"]["b"]["coverage"] == {"value": pytest.approx(2 / 3), "low": None, "high": None, "samples": 3}
    assert part["subgroups"]["site"]["a"]["value"] == 0.5
    findings = LabelSpace("multilabel", ("a", "b"))
    truth = np.float32([[1, 1], [1, 0], [0, np.nan], [0, 0]])
    logits = np.float32([[1, -1], [-1, 1], [1, 1], [-1, -1]])
    given = replace(given, labels=findings, targets=truth, logits=logits)
    part = conformal_part(Conformal(findings, 0.9, "split", (0.5, 0.5)), given, Interval(0))
    assert part["missed"]["value"] == 0.75
    assert part["missed"]["samples"] == 2
    assert part["size"]["value"] == 1.0
    assert part["empty"]["value"] == 0.25
    assert part["false_alarms"]["value"] == pytest.approx(2 / 4)
    assert part["classes"]["a"]["held"]["value"] == 0.5


def test_intervals_are_of_patients() -> None:
    given = cohort("multiclass", 800)
    part = conformal_part(fit_conformal(given, 0.9, "split")[0], given.of_split("test"), Interval(500))
    found = part["coverage"]
    expected = 2 * 1.96 * np.sqrt(found["value"] * (1 - found["value"]) / 400)
    assert found["high"] - found["low"] == pytest.approx(expected, rel=0.15)
    few = replace(given, group=np.array([f"p{i % 3}" for i in range(800)], object)).of_split("test")
    assert (
        "at least 5 are needed"
        in conformal_part(Conformal(given.labels, 0.9, "split", (0.2,) * 4), few, Interval(50))["size"]["no_interval"]
    )


def test_in_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunDirectory(tmp_path / "run")
    given = cohort("multiclass", 600)
    given.write(run.predictions)
    config = EvaluationConfig(replicates=20, calibration="temperature", conformal=ConformalConfig(0.9, "class"))
    report = report_run(run, config)
    assert "prediction sets for a coverage of 0.9 (by class), fitted on 300 val samples" in capsys.readouterr().out
    told = json.loads(run.metrics.read_text())["conformal"]
    assert set(told["splits"]) == {"test"}
    kept = json.loads(run.conformal.read_text())
    assert kept["conformal"]["thresholds"] == told["thresholds"]
    assert kept["calibrator"] == json.loads(run.calibration.read_text())["calibrator"]
    assert (kept["spec"], kept["weights"]) == ("s", "w")
    other = RunDirectory(run.path / "external" / "other")
    cohort("multiclass", 200, seed=4).of_split("test").write(other.predictions)
    there = report_run(other, replace(config, splits=["test"]), model=run)
    assert there["conformal"]["thresholds"] == report["conformal"]["thresholds"]
    with pytest.raises(EvaluationError, match="another calibration than"):
        report_run(other, replace(config, splits=["test"], calibration="none"), model=run)
    with pytest.raises(EvaluationError, match="another coverage or kind"):
        report_run(other, replace(config, splits=["test"], conformal=ConformalConfig(0.8)), model=run)


def test_too_few_samples_are_said() -> None:
    given = cohort("multiclass", 20, val=8)
    conformal, _, notes = fit_conformal(given, 0.9, "split")
    assert conformal.sets(np.full((1, 4), 1e-9)).all()
    assert "few val samples of any class" in notes[0]
    quantity = cohort("regression", 20, val=8, width=1)
    conformal, _, notes = fit_conformal(quantity, 0.9, "split")
    assert conformal.widths == (None,)
    assert conformal_part(conformal, quantity.of_split("test"), Interval(0))["classes"]["c0"]["undefined"] == "no interval"
    assert fit_conformal(cohort("regression", 20, val=9, width=1), 0.9, "split")[0].widths[0] is not None  # nine are enough


def test_refusals() -> None:
    labels = LabelSpace("multilabel", ("a", "b"))
    with pytest.raises(ConfigError, match="exclude each other, not of multilabel"):
        check_conformal(ConformalConfig(by="class"), ["val"], labels)
    with pytest.raises(ConfigError, match="add it: evaluation"):
        check_conformal(ConformalConfig(), ["test"], labels)
    with pytest.raises(ConfigError, match="coverage=1 is not between"):
        check_evaluation(EvaluationConfig(conformal=ConformalConfig(1.0)))
    with pytest.raises(UnknownNameError, match="known: class, split"):
        check_evaluation(EvaluationConfig(conformal=ConformalConfig(by="patient")))
    given = cohort("multilabel", 40)
    with pytest.raises(EvaluationError, match="no finding"):
        fit_conformal(replace(given, targets=np.zeros_like(given.targets)), 0.9, "split")
    with pytest.raises(EvaluationError, match="predict it too"):
        fit_conformal(given.of_split("test"), 0.9, "split")
    for broken in ({"thresholds": [0.1]}, {"coverage": 2}, {"by": "x"}, {"thresholds": [0.1, float("nan")]}):
        with pytest.raises(EvaluationError, match="fit them again"):
            Conformal.from_dict({**Conformal(labels, 0.9, "split", (0.1, 0.2)).to_dict(), **broken})
