"""The robustness index: a brute-force count over all pairs, and what it says where class or centre alone decides."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from medzoo.evaluation.bootstrap import NO_INTERVAL, Interval
from medzoo.evaluation.nearest import gallery as module
from medzoo.evaluation.nearest.gallery import Gallery
from medzoo.evaluation.nearest.robustness import robustness_index

Codes = NDArray[np.int64]


def clouds(by_class: float, by_centre: float, seed: int = 0, rows: int = 400) -> tuple[NDArray[np.float32], Codes, Codes, Codes]:
    """Return Gaussian vectors of two classes in two centres, their classes, centres and patients, two images each."""
    rng = np.random.default_rng(seed)
    classes, centres = (np.repeat(rng.integers(2, size=rows // 2), 2) for _ in range(2))
    ways = np.eye(2, 10)
    vectors = (
        rng.normal(size=(rows, 10))
        + np.outer(2 * classes - 1, by_class * ways[0])
        + np.outer(2 * centres - 1, by_centre * ways[1])
    )
    return vectors.astype(np.float32), classes, centres, np.arange(rows) // 2


def counted(vectors: NDArray[np.float32], classes: Codes, centres: Codes, groups: Codes, k: int) -> float:
    """Return the index by its definition, one image and one neighbour at a time."""
    same_class_elsewhere = other_class_here = 0
    for i, query in enumerate(vectors.astype(np.float64)):
        others = [j for j in range(len(vectors)) if groups[j] != groups[i]]
        alike = {j: float(query @ vectors[j]) / float(np.linalg.norm(query) * np.linalg.norm(vectors[j])) for j in others}
        for j in sorted(others, key=lambda j: -alike[j])[:k]:
            same_class_elsewhere += classes[i] == classes[j] and centres[i] != centres[j]
            other_class_here += classes[i] != classes[j] and centres[i] == centres[j]
    return same_class_elsewhere / (same_class_elsewhere + other_class_here)


@pytest.mark.parametrize(("by_class", "by_centre"), [(0.7, 0.7), (1.0, 0.4), (0.3, 1.2)])
def test_it_is_what_counting_gives(by_class: float, by_centre: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_VALUES", 3000)  # several blocks
    vectors, classes, centres, groups = clouds(by_class, by_centre, rows=160)
    found = robustness_index(Gallery(vectors, groups), classes, centres, NO_INTERVAL)
    for k in (5, 10, 50):
        assert found["k"][str(k)]["value"] == pytest.approx(counted(vectors, classes, centres, groups, k))
    assert found["at_random"] == pytest.approx(counted(vectors, classes, centres, groups, 160))


def test_near_1_where_the_class_decides_and_near_0_where_the_centre_does() -> None:
    for by_class, by_centre, low, high in ((6, 0, 0.98, 1.0), (0, 6, 0.0, 0.02), (0, 0, 0.4, 0.6)):
        vectors, classes, centres, groups = clouds(by_class, by_centre)
        found = robustness_index(Gallery(vectors, groups), classes, centres, NO_INTERVAL)
        values = [found["k"][str(k)]["value"] for k in (5, 10, 50)]
        assert all(low <= value <= high for value in values), (by_class, by_centre, values)
        assert found["at_random"] == pytest.approx(0.5, abs=0.05)


def test_the_own_patient_is_no_neighbour() -> None:
    """A patient's two images are of one class in two centres, side by side: counted, they would make any model look robust."""
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(60), 2)
    classes, centres = np.repeat(rng.integers(2, size=60), 2), np.tile([0, 1], 60)
    vectors = np.repeat(rng.normal(size=(60, 8)), 2, axis=0) + np.outer(2 * centres - 1, 3 * np.eye(8)[0]) * 0.01
    given = vectors.astype(np.float32)
    apart = robustness_index(Gallery(given, groups), classes, centres, NO_INTERVAL, ks=(1,))["k"]["1"]["value"]
    together = robustness_index(Gallery(given, np.arange(120)), classes, centres, NO_INTERVAL, ks=(1,))["k"]["1"]["value"]
    assert together == 1
    assert apart == pytest.approx(counted(given, classes, centres, groups, 1))
    assert apart < 0.8


def test_ties_count_against_it() -> None:
    same = np.ones((8, 3), np.float32)
    found = robustness_index(Gallery(same, np.arange(8)), np.arange(8) // 4, np.arange(8) % 2, NO_INTERVAL, ks=(2,))
    assert found["k"]["2"]["value"] == 0


def test_what_is_undefined_says_why_and_a_defined_one_has_an_interval() -> None:
    vectors, classes, centres, groups = clouds(1, 1, rows=40)
    one = robustness_index(Gallery(vectors, groups), classes, np.zeros_like(centres), NO_INTERVAL)
    assert one["undefined"] == "there is 1 level; two are needed"
    few = robustness_index(Gallery(vectors, groups), classes, centres, Interval(100))["k"]
    assert few["50"]["undefined"] == "a query has 38 neighbours"
    assert few["5"]["low"] < few["5"]["value"] < few["5"]["high"]
    # Each class in a centre of its own: no neighbour is of one alone.
    bound = robustness_index(Gallery(vectors, groups), classes, classes, NO_INTERVAL)
    assert bound["at_random"] is None
    assert bound["k"]["5"]["undefined"] == "no neighbour has the class or the level alone"
