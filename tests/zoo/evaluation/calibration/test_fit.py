"""Calibrators against scikit-learn, and what they promise: finite logits, the same order, nothing from missing labels."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression

from medzoo.data.errors import EvaluationError
from medzoo.data.labels import LabelKind, LabelSpace, sigmoid, softmax
from medzoo.evaluation.calibration.calibrator import METHODS, Calibrator, one_against_rest
from medzoo.evaluation.calibration.fit import NEAREST, TEMPERATURES, fit_calibrator
from medzoo.evaluation.metrics import scored


class Logits(ClassifierMixin, BaseEstimator):
    """A classifier whose features are its logits already."""

    def __init__(self, width: int) -> None:
        self.width = width

    def fit(self, x: np.ndarray, y: np.ndarray) -> Logits:
        self.classes_, self.n_features_in_ = np.arange(self.width), self.width
        return self

    def decision_function(self, x: np.ndarray) -> np.ndarray:
        return x[:, 1] - x[:, 0] if self.width == 2 else x

    def predict(self, x: np.ndarray) -> np.ndarray:
        return x.argmax(axis=1)


def cohort(
    kind: LabelKind, width: int, n: int = 400, seed: int = 0, factor: float = 0.4
) -> tuple[LabelSpace, np.ndarray, np.ndarray]:
    """Return labels, targets and logits of a model that is `1 / factor` times too sure."""
    rng = np.random.default_rng(seed)
    labels = LabelSpace(kind, tuple(f"c{k}" for k in range(width)))
    logits = rng.normal(0.3, 3, (n, width)).astype(np.float32)
    if kind == "multilabel":
        return labels, (rng.random(logits.shape) < sigmoid(factor * logits)).astype(np.float32), logits
    shares = softmax(factor * logits.astype(float))
    return labels, labels.one_hot([rng.choice(width, p=row) for row in shares]), logits


def in_sklearn(targets: np.ndarray, logits: np.ndarray, method: str) -> np.ndarray:
    """Return scikit-learn's calibrated probabilities of the same samples."""
    x, y = logits.astype(np.float64), targets.argmax(axis=1)
    model = Logits(x.shape[1]).fit(x, y)
    return CalibratedClassifierCV(FrozenEstimator(model), method=method, ensemble=False).fit(x, y).predict_proba(x)


@pytest.mark.parametrize("width", [3, 5])
def test_temperature_is_scikit_learns(width: int) -> None:
    labels, targets, logits = cohort("multiclass", width)
    calibrator, notes = fit_calibrator("temperature", labels, targets, logits)
    assert calibrator.temperature == pytest.approx(2.5, rel=0.3)
    assert notes == []
    np.testing.assert_allclose(calibrator.probabilities(logits), in_sklearn(targets, logits, "temperature"), atol=1e-5)


def test_temperature_of_findings_is_one_minimum_over_all_of_them() -> None:
    labels, targets, logits = cohort("multilabel", 3, 3000)
    targets[::5, 1] = np.nan
    calibrator, _ = fit_calibrator("temperature", labels, targets, logits)
    known = ~np.isnan(targets)

    def loss(temperature: float) -> float:
        signed = np.where(targets == 1, 1, -1) * logits.astype(float) / temperature
        return np.logaddexp(0, -signed)[known].mean()

    own = loss(calibrator.temperature)
    assert calibrator.temperature == pytest.approx(2.5, rel=0.1)
    assert all(loss(calibrator.temperature * factor) > own for factor in (0.99, 1.01))


@pytest.mark.parametrize("kind", ["multiclass", "ordinal", "multilabel"])
def test_temperature_changes_no_order(kind: LabelKind) -> None:
    labels, targets, logits = cohort(kind, 4)
    calibrator, _ = fit_calibrator("temperature", labels, targets, logits)
    found = calibrator.logits(logits)
    assert (found.argmax(axis=1) == logits.argmax(axis=1)).all()
    assert ((found > 0) == (logits > 0)).all()


def test_platt_of_two_classes_is_scikit_learns() -> None:
    labels, targets, logits = cohort("multiclass", 2)
    calibrator, _ = fit_calibrator("platt", labels, targets, logits)
    np.testing.assert_allclose(calibrator.probabilities(logits), in_sklearn(targets, logits, "sigmoid"), atol=2e-5)


def test_platt_of_classes_is_one_against_the_rest_divided_by_the_sum() -> None:
    labels, targets, logits = cohort("multiclass", 4)
    calibrator, _ = fit_calibrator("platt", labels, targets, logits)
    odds = one_against_rest(logits.astype(np.float64))
    each = []
    for k in range(4):
        y = targets[:, k]
        pair = np.stack([np.zeros(len(odds)), odds[:, k]], axis=1)
        each.append(in_sklearn(np.stack([1 - y, y], axis=1), pair, "sigmoid")[:, 1])
    expected = np.stack(each, axis=1)
    np.testing.assert_allclose(calibrator.probabilities(logits), expected / expected.sum(axis=1, keepdims=True), atol=5e-5)


def test_isotonic_says_scikit_learns_frequency_in_the_middle_of_each_block() -> None:
    labels, targets, logits = cohort("multilabel", 2, 600)
    calibrator, _ = fit_calibrator("isotonic", labels, targets, logits)
    for k in range(2):
        z, y = logits[:, k].astype(float), targets[:, k]
        level = IsotonicRegression(y_min=0, y_max=1).fit(z, y).predict(z)
        places, values = (np.array(side) for side in calibrator.knots[k])
        assert (np.diff(places) >= NEAREST).all()
        blocks = {float(z[level == v].mean()): float(v) for v in np.unique(level)}
        for place, value in zip(places, values, strict=True):
            if place in blocks:  # not one of two near ones that were taken together
                inside = 0 < blocks[place] < 1
                assert abs(sigmoid(np.array(value)) - blocks[place]) < (1e-9 if inside else 0.26)
        assert sum(place in blocks for place in places) >= 3
        weights = np.array([np.sum(level == v) for v in np.unique(level)])
        assert weights.sum() == 600


def test_isotonic_by_hand() -> None:
    """Odds -2, -1, 0, 1, 2 with outcomes 0, 1, 0, 1, 1: blocks {-2}, {-1, 0} at a half, {1, 2}; ends: 1/4 and 5/6."""
    labels = LabelSpace("multilabel", ("a",))
    logits = np.float32([[-2], [-1], [0], [1], [2]])
    calibrator, _ = fit_calibrator("isotonic", labels, np.float32([[0], [1], [0], [1], [1]]), logits)
    places, values = calibrator.knots[0]
    assert places == pytest.approx((-2, -0.5, 1.5))
    assert values == pytest.approx((-np.log(3), 0, np.log(5)))
    found = calibrator.logits(np.array([[-9.0], [-1.25], [0.5], [9.0]]))[:, 0]
    assert found == pytest.approx([-np.log(3), -np.log(3) / 2, np.log(5) / 2, np.log(5)])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("kind", "width"), [("multiclass", 2), ("multiclass", 4), ("ordinal", 3), ("multilabel", 3)])
def test_logits_are_finite_survive_json_and_mean_the_probabilities(method: str, kind: LabelKind, width: int) -> None:
    labels, targets, logits = cohort(kind, width)
    calibrator, _ = fit_calibrator(method, labels, targets, logits)
    again = Calibrator.from_dict(json.loads(json.dumps(calibrator.to_dict(), allow_nan=False)))
    assert again == calibrator
    extreme = np.concatenate([logits, logits * 1e4, np.zeros((1, width))]).astype(np.float32)
    found = again.logits(extreme)
    assert np.isfinite(found).all()
    shares = again.probabilities(extreme)
    np.testing.assert_allclose(shares, softmax(found) if labels.exclusive else sigmoid(found), atol=1e-12)
    if labels.exclusive:
        np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_the_likelihood_of_new_samples_grows(method: str, kind: LabelKind) -> None:
    labels, targets, logits = cohort(kind, 3, 3000)
    calibrator, _ = fit_calibrator(method, labels, targets, logits)
    _, truth, fresh = cohort(kind, 3, 3000, seed=1)

    def surprise(values: np.ndarray) -> float:
        data = scored(labels, truth, values)
        return float(-np.log(np.where(data.truth == 1, data.probabilities, 1 - data.probabilities)).mean())

    assert surprise(calibrator.logits(fresh)) < 0.85 * surprise(fresh)


@pytest.mark.parametrize("method", METHODS)
def test_missing_labels_are_left_out(method: str) -> None:
    labels, targets, logits = cohort("multilabel", 2)
    more = np.concatenate([targets, np.full((50, 2), np.nan, np.float32)])
    padded = fit_calibrator(method, labels, more, np.concatenate([logits, logits[:50] + 7]))[0]
    assert padded == fit_calibrator(method, labels, targets, logits)[0]


def test_a_class_that_the_val_split_lacks_stays_as_it_is_and_is_named() -> None:
    labels, targets, logits = cohort("multilabel", 3)
    targets[:, 1], targets[:, 2] = 0, np.nan
    for method in ("platt", "isotonic"):
        calibrator, notes = fit_calibrator(method, labels, targets, logits)
        np.testing.assert_allclose(calibrator.logits(logits)[:, 1:], logits[:, 1:], rtol=1e-6)
        assert [note.split()[0] for note in notes] == ["c1", "c2"]


def test_what_is_odd_is_said() -> None:
    labels = LabelSpace("multilabel", ("a",))
    logits = np.linspace(-3, 3, 40, dtype=np.float32)[:, None]
    apart = (logits > 0).astype(np.float32)
    calibrator, notes = fit_calibrator("temperature", labels, apart, logits)
    assert calibrator.temperature == pytest.approx(TEMPERATURES[0], rel=1e-2)
    assert "parted without error" in notes[0]
    assert "say nothing" in fit_calibrator("temperature", labels, 1 - apart, logits)[1][0]
    assert "wrong way round" in fit_calibrator("platt", labels, 1 - apart, logits)[1][0]
    flat, notes = fit_calibrator("isotonic", labels, 1 - apart, logits)
    assert sigmoid(flat.logits(logits)) == pytest.approx(np.full((40, 1), 0.5))
    assert "constant" in notes[0]
    platt, _ = fit_calibrator("platt", labels, apart, logits)  # Platt's targets keep it finite
    assert np.abs(platt.logits(logits)).max() < 20


def test_refusals() -> None:
    labels, targets, logits = cohort("multilabel", 2)
    with pytest.raises(EvaluationError, match="has no label"):
        fit_calibrator("platt", labels, np.full_like(targets, np.nan), logits)
    with pytest.raises(EvaluationError, match="quantities"):
        fit_calibrator("temperature", LabelSpace("regression", ("a", "b")), targets, logits)
    with pytest.raises(EvaluationError, match="none of temperature, platt, isotonic"):
        fit_calibrator("beta", labels, targets, logits)
    told = fit_calibrator("isotonic", labels, targets, logits)[0].to_dict()
    for broken in (
        {**told, "knots": told["knots"][:1]}, {**told, "method": "temperature", "temperature": 0.0},
        {**told, "knots": [{"from": [1.0, 0.0], "to": [0.0, 1.0]}] * 2}, {"method": "platt"},
        {**told, "knots": [{"from": [float("nan")], "to": [0.0]}] * 2},
    ):  # fmt: skip
        with pytest.raises(EvaluationError, match="fit it again"):
            Calibrator.from_dict(broken)
