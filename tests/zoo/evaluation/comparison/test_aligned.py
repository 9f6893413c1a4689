"""Rows of several models: the same, in the same order, or refused by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from medzoo.data.errors import EvaluationError
from medzoo.data.labels import LabelSpace
from medzoo.evaluation.comparison.aligned import align
from medzoo.evaluation.predictions import Predictions
from tests.zoo.evaluation.comparison.samples import LABELS, predictions


def changed(given: Predictions, field: str, place: Any, value: Any) -> Predictions:
    column = getattr(given, field).copy()
    column[place] = value
    return replace(given, **{field: column})


def test_rows_come_in_the_order_of_the_first() -> None:
    one, two = predictions(), predictions(model=1)
    order = np.random.default_rng(0).permutation(len(two))
    parts = ("sample_id", "split", "group", "targets", "logits", "probabilities")
    shuffled = replace(two, **{part: getattr(two, part)[order] for part in parts})
    found = align({"one": one, "two": shuffled})
    assert found["one"] is one
    assert found["two"].sample_id.tolist() == one.sample_id.tolist()
    np.testing.assert_array_equal(found["two"].logits, two.logits)
    of_visits = replace(shuffled, carried=shuffled.targets)
    assert align({"one": one, "two": of_visits})["two"].carried is None  # not compared, and in no other order either


ONE = predictions()
REFUSED = [
    (predictions(patients=39), "not tested on the same samples: 3 (p39/i0, p39/i1, p39/i2) in one alone"),
    (predictions(patients=41), "not tested on the same samples: 3 (p40/i0, p40/i1, p40/i2) in two alone"),
    (changed(ONE, "sample_id", 3, "p0/i0"), "sample p0/i0 stands twice in the predictions of two"),
    (changed(ONE, "group", 2, "p9"), "other groups: sample p0/i2 is of p0 in one and of p9 in two (1 samples differ)"),
    (changed(ONE, "targets", (4, 1), np.nan), "other targets: nodule of sample p1/i1 is"),
    (replace(ONE, labels=LabelSpace("multilabel", ("mass", "cyst"))), "other labels: 1 (nodule) of one alone, 1 (cyst) of two"),
    (replace(ONE, labels=LabelSpace("multilabel", ("nodule", "mass"))), "other labels: their order differs"),
    (replace(ONE, labels=LabelSpace("regression", ("mass", "nodule"))), "labels of other kinds: multilabel and regression"),
    (replace(ONE, details={"data": {"name": "phantom"}}), "other datasets: one on clinic, two on phantom"),
    (replace(ONE, split_unit="image"), "other groups: patient in one, image in two"),
]  # fmt: skip


@pytest.mark.parametrize(("other", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_what_differs_is_named(other: Predictions, message: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        align({"one": ONE, "two": other})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_targets_are_the_same_where_both_miss_them() -> None:
    assert np.isnan(ONE.targets).any()
    assert LABELS["multilabel"] == align({"one": ONE, "two": predictions(model=2)})["two"].labels
