"""What two models' labels part by is said, also where their first names are alike."""

from __future__ import annotations

from typing import Any

import pytest

from medzoo.data.labels import LabelSpace
from medzoo.data.samples.preprocess import Preprocess
from medzoo.store.spec import ModelSpec
from medzoo.tasks.setup.questions import other_labels


def _spec(labels: LabelSpace, column: Any = "dx") -> ModelSpec:
    return ModelSpec(
        "cnn", "classify", "test_resnet", Preprocess((8, 8)), labels, arguments={},
        objective={"loss": "auto"}, data={"options": {"target": column}},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("theirs", "ours", "said"),
    [
        (LabelSpace("multiclass", ("a", "b")), LabelSpace("multiclass", ("b", "a")), "multiclass a, b, not multiclass b, a"),
        (LabelSpace("multiclass", ("0", "1")), LabelSpace("ordinal", ("0", "1")), "multiclass 0, 1, not ordinal 0, 1"),
        (
            LabelSpace("multilabel", tuple("abcde")), LabelSpace("multilabel", tuple("abcdf")),
            "multilabel a, b, c, d, e, not multilabel a, b, c, d, f",
        ),
        (
            LabelSpace("regression", ("cst",), units=("um",)), LabelSpace("regression", ("cst",)),
            "regression cst (um), not regression cst (no unit)",
        ),
        (LabelSpace("multiclass", ("a", "b")), LabelSpace("multiclass", ("a", "b")), ""),
    ],
)  # fmt: skip
def test_what_differs_is_said(theirs: LabelSpace, ours: LabelSpace, said: str) -> None:
    assert other_labels(_spec(theirs), _spec(ours)) == said


def test_another_column_of_names_alike_is_said() -> None:
    labels = LabelSpace("multiclass", ("no", "yes"))
    assert other_labels(_spec(labels), _spec(labels, "dme")) == "multiclass no, yes of column 'dx', not of 'dme'"
