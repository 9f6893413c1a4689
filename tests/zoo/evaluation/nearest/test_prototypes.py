"""Class prototypes: scikit-learn's nearest centroid, its areas under the curve, and findings with two prototypes each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score
from sklearn.neighbors import NearestCentroid

from medzoo.data.labels import LabelSpace
from medzoo.evaluation.bootstrap import NO_INTERVAL, Interval
from medzoo.evaluation.embeddings import Embeddings, unit_rows
from medzoo.evaluation.nearest.prototypes import centroids, distances, prototype_metrics

CLASSES = LabelSpace("multiclass", ("a", "b", "c"))
FINDINGS = LabelSpace("multilabel", ("mass", "nodule"))


def embedded(labels: LabelSpace, targets: NDArray[np.float32], vectors: NDArray[Any]) -> Embeddings:
    names = np.array([f"s{i}" for i in range(len(vectors))], dtype=object)
    test, none = (np.full(len(names), text, dtype=object) for text in ("test", ""))
    return Embeddings(
        sample_id=names, split=test, group=names, image=unit_rows(vectors).astype(np.float32), image_key=names, text=none,
        labels=labels, targets=targets, details={"split_unit": "patient"},
    )  # fmt: skip


def drawn(rows: int, seed: int, missing: int = 0) -> tuple[NDArray[Any], Embeddings]:
    rng = np.random.default_rng(seed)
    code = rng.choice(3, p=(0.6, 0.3, 0.1), size=rows)
    vectors = rng.normal(size=(rows, 8)) + 1.2 * np.eye(3, 8)[code]
    told = code.astype(np.float64)
    told[:missing] = np.nan
    return code[missing:], embedded(CLASSES, CLASSES.one_hot(told), vectors)


def test_classes_are_scikit_learns_nearest_centroids() -> None:
    seen, train = drawn(400, 0, missing=7)
    truth, tested = drawn(500, 1)
    found = prototype_metrics(train, tested, NO_INTERVAL)
    oracle = NearestCentroid().fit(train.image[7:].astype(np.float64), seen)
    said = oracle.predict(tested.image.astype(np.float64))
    assert found["accuracy"]["value"] == pytest.approx(accuracy_score(truth, said))
    assert found["balanced_accuracy"]["value"] == pytest.approx(balanced_accuracy_score(truth, said))
    assert found["train"] == 393
    # The areas, by distances of our own making.
    apart = ((tested.image[:, None].astype(np.float64) - oracle.centroids_) ** 2).sum(axis=2)
    for k, name in enumerate(CLASSES.names):
        others = [j for j in range(3) if j != k]
        score = -apart[:, k] - np.log(np.exp(-apart[:, others]).sum(axis=1))
        assert found["auroc"]["classes"][name]["value"] == pytest.approx(roc_auc_score(truth == k, score))


def test_prototypes_are_the_means_and_distances_the_distances() -> None:
    rng = np.random.default_rng(5)
    vectors = unit_rows(rng.normal(size=(5000, 4))).astype(np.float32)  # several tiles
    member = rng.random((5000, 2)) < 0.3
    means = centroids(vectors, member)
    np.testing.assert_allclose(means, [vectors[member[:, k]].mean(axis=0) for k in range(2)], atol=1e-6)
    expected = ((vectors[:, None].astype(np.float64) - means) ** 2).sum(axis=2)
    np.testing.assert_allclose(distances(vectors, means), expected, atol=1e-6)


def test_a_finding_is_nearer_to_those_with_it_or_to_those_without() -> None:
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(300, 6))
    targets = (vectors[:, :2] + rng.normal(size=(300, 2)) > 0.3).astype(np.float32)
    targets[:20, 0] = np.nan
    train, tested = embedded(FINDINGS, targets[:200], vectors[:200]), embedded(FINDINGS, targets[200:], vectors[200:])
    found = prototype_metrics(train, tested, NO_INTERVAL)
    for k, name in enumerate(FINDINGS.names):
        known = ~np.isnan(train.targets[:, k])  # type: ignore[index]
        oracle = NearestCentroid().fit(train.image[known], train.targets[known, k])  # type: ignore[index]
        said, truth = oracle.predict(tested.image), tested.targets[:, k]  # type: ignore[index]
        assert found["balanced_accuracy"]["classes"][name]["value"] == pytest.approx(balanced_accuracy_score(truth, said))
        apart = ((tested.image[:, None] - oracle.centroids_) ** 2).sum(axis=2)
        assert found["auroc"]["classes"][name]["value"] == pytest.approx(
            roc_auc_score(truth, apart[:, 0] - apart[:, 1]), abs=1e-3
        )


def test_what_has_no_prototype_is_said() -> None:
    rng = np.random.default_rng(4)
    vectors = rng.normal(size=(30, 4))
    train = embedded(CLASSES, CLASSES.one_hot(rng.integers(2, size=30)), vectors)
    assert prototype_metrics(train, train, NO_INTERVAL) == {"undefined": "the train split shows no c"}
    targets = np.stack([rng.integers(2, size=30), np.ones(30)], axis=1).astype(np.float32)
    found = embedded(FINDINGS, targets, vectors)
    measured = prototype_metrics(found, found, Interval(50))
    assert measured["without"] == ["nodule"]
    assert measured["auroc"]["classes"]["nodule"]["value"] is None
    assert measured["auroc"]["value"] == measured["auroc"]["classes"]["mass"]["value"]
