"""Label retrieval: six images by hand, scikit-learn's average precision, own patients never found, ties against the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from medzoo.data.labels import LabelSpace
from medzoo.evaluation.bootstrap import NO_INTERVAL, Interval
from medzoo.evaluation.nearest import gallery as module
from medzoo.evaluation.nearest.gallery import Gallery
from medzoo.evaluation.nearest.labels import Likeness, find_labels, label_retrieval
from medzoo.evaluation.nearest.shares import described_shares

CLASSES = LabelSpace("multiclass", ("a", "b"))
HALVES = CLASSES.one_hot([0, 0, 0, 1, 1, 1])
FINDINGS = LabelSpace("multilabel", ("mass", "nodule"))


def turned(*degrees: float) -> NDArray[np.float32]:
    turns = np.deg2rad(degrees)
    return np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32)


def own_patients(rows: int) -> NDArray[np.int64]:
    return np.arange(rows)


def test_six_images_by_hand() -> None:
    """On a line a₀ b₁₀ a₃₀ | a₄₀ b₅₅ b₁₇₅: a and b take turns, the third and fourth are of one patient."""
    space = Gallery(turned(0, 10, 30, 40, 55, 175), np.array([0, 1, 2, 2, 3, 4]))
    targets = CLASSES.one_hot([0, 1, 0, 0, 1, 1])
    found = label_retrieval(space, CLASSES, targets, NO_INTERVAL, ks=(1, 2))
    # Queries and their galleries, the nearest first:
    #   a0:   b a a b b    right at 2, 3    AP (1/2 + 2/3) / 2
    #   b10:  a a a b b    right at 4, 5    AP (1/4 + 2/5) / 2
    #   a30:  b10 b55 a0 b (not a40, its own)   distances 20, 25, 30, 145: right at 3    AP 1/3
    #   a40:  b55 b10 a0 b: 15, 30, 40, 135: right at 3    AP 1/3
    #   b55:  a40 a30 b10 a0 b175: 15, 25, 45, 55, 120: right at 3, 5    AP (1/3 + 2/5) / 2
    #   b175: b55 a40 a30 b10 a0: right at 1, 4    AP (1 + 2/4) / 2
    precisions = [7 / 12, 13 / 40, 1 / 3, 1 / 3, 11 / 30, 3 / 4]
    assert found["map"]["value"] == pytest.approx(np.mean(precisions))
    assert found["recall@1"]["value"] == pytest.approx(1 / 6)
    assert found["recall@2"]["value"] == pytest.approx(2 / 6)
    assert found["precision@2"]["value"] == pytest.approx((1 + 0 + 0 + 0 + 0 + 1) / 12)
    assert (found["queries"], found["gallery"], found["not_asked"], found["nothing_right"]) == (6, 4, 0, 0)


@pytest.mark.parametrize("labels", [LabelSpace("multiclass", tuple("abcde")), LabelSpace("multilabel", tuple("abcde"))])
def test_average_precision_is_scikit_learns(labels: LabelSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_VALUES", 1000)  # several blocks
    rng = np.random.default_rng(3)
    vectors, groups = rng.normal(size=(300, 6)).astype(np.float32), rng.integers(90, size=300)
    targets = labels.one_hot(rng.integers(5, size=300)) if labels.exclusive else (rng.random((300, 5)) < 0.2).astype(np.float32)
    found = find_labels(Gallery(vectors, groups), Likeness.of(labels, targets))
    unit = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    for place, row in enumerate(found.rows):
        others = groups != groups[row]
        right = (targets[others] * targets[row]).sum(axis=1) > 0
        assert found.right[place] == right.sum()
        assert found.gallery[place] == others.sum()
        expected = average_precision_score(right, unit[others] @ unit[row]) if right.any() else 0.0
        assert found.precision[place] == pytest.approx(expected, abs=1e-9)
        first = np.argsort(-(unit[others] @ unit[row]))[:5]
        assert found.hits[place, 1] == right[first].sum()


def test_a_constant_model_scores_what_the_worst_order_does() -> None:
    found = label_retrieval(Gallery(turned(*[20] * 6), own_patients(6)), CLASSES, HALVES, NO_INTERVAL)
    assert found["recall@1"]["value"] == 0
    assert found["map"]["value"] == pytest.approx((1 / 4 + 2 / 5) / 2)


def test_findings_share_one_or_not_or_nobody_knows() -> None:
    nan = np.nan
    targets = np.array([[1, 0], [1, 1], [0, 1], [0, 0], [nan, 0], [1, nan]], np.float32)
    likeness = Likeness.of(FINDINGS, targets)
    assert likeness.asked.tolist() == [True, True, True, False, False, True]
    right, unknown = likeness.right(np.array([0, 2]))
    assert right.tolist() == [[True, True, False, False, False, True], [False, True, True, False, False, False]]
    assert unknown.tolist() == [[False, False, False, False, True, False], [False, False, False, False, False, True]]
    found = find_labels(Gallery(turned(0, 1, 2, 3, 4, 5), own_patients(6)), likeness)
    assert dict(zip(found.rows.tolist(), found.gallery.tolist(), strict=True)) == {0: 4, 1: 4, 2: 4, 5: 3}


def test_what_cannot_be_asked_is_counted() -> None:
    targets = CLASSES.one_hot([0, 0, 1, np.nan])
    found = label_retrieval(Gallery(turned(0, 5, 11, 15), own_patients(4)), CLASSES, targets, NO_INTERVAL, ks=(1, 2))
    assert (found["queries"], found["not_asked"], found["nothing_right"], found["gallery"]) == (2, 1, 1, 2)
    assert found["recall@1"]["value"] == 1
    assert found["recall@2"] == {"value": None, "low": None, "high": None, "undefined": "the gallery of a query holds 2"}
    nobody = label_retrieval(Gallery(turned(0, 5), own_patients(2)), CLASSES, targets[2:], NO_INTERVAL)
    assert nobody["map"]["value"] is None


def test_the_interval_redraws_patients_and_not_images() -> None:
    """Of two kinds of patients one is always found, the other never: the interval is the binomial's of patients."""
    rng = np.random.default_rng(0)
    kind, patients, each = rng.integers(2, size=40), 40, 8
    found = np.repeat(kind, each).astype(np.float64)
    from_shares: dict[str, Any] = _shares(found, np.repeat(np.arange(patients), each))
    width = from_shares["x"]["high"] - from_shares["x"]["low"]
    share = kind.mean()
    expected = 2 * 1.96 * np.sqrt(share * (1 - share) / patients)
    assert from_shares["x"]["value"] == pytest.approx(share)
    assert width == pytest.approx(expected, rel=0.15)


def _shares(values: NDArray[np.float64], groups: NDArray[np.int64]) -> dict[str, Any]:
    return described_shares({"x": (values, np.ones(len(values)))}, groups, Interval(2000), "patient")


def test_few_patients_have_no_interval() -> None:
    space, targets = Gallery(turned(*range(8)), np.arange(8) // 2), CLASSES.one_hot([0, 1] * 4)
    found = label_retrieval(space, CLASSES, targets, Interval(50), "patient")
    assert found["map"]["no_interval"] == "4 patient groups, at least 5 are needed"
