"""How often samples are drawn: what weights mean there, and that they count once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from medzoo.data.labels import LabelSpace
from medzoo.settings.schema import LossConfig
from medzoo.train.sampling import drawn_with, evened_twice

LABELS = LabelSpace("multiclass", ("a", "b"))


def drawn(sampling: str, **further: Any) -> tuple[Any, dict[str, Any]]:
    samples: Any = SimpleNamespace(targets=np.eye(2, dtype=np.float32)[[0, 0, 0, 1]], further=dict(further))
    return drawn_with(sampling, samples, LABELS), samples.further


@pytest.mark.parametrize("sampling", ["balanced", "groups"])
def test_a_weight_is_how_often_a_sample_is_drawn_and_counts_once(sampling: str) -> None:
    codes = np.array([0, 0, 0, 1])
    found, left = drawn(sampling, group_code=codes, weight=np.array([2, 1, 1, 9], np.float32))
    assert found.tolist() == pytest.approx([1 / 4, 1 / 8, 1 / 8, 1 / 2])
    assert "weight" not in left
    plain, _ = drawn(sampling, group_code=codes)
    assert plain.tolist() == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2])


def test_where_every_sample_comes_once_weights_stay_with_the_loss() -> None:
    found, left = drawn("shuffle", weight=np.ones(4, np.float32))
    assert found is None
    assert "weight" in left


@pytest.mark.parametrize(
    ("sampling", "loss", "said"),
    [
        ("balanced", {"class_weights": "balanced"}, "evens out the classes, and loss.class_weights=balanced does it once more"),
        ("balanced", {"positive_weights": "balanced"}, "loss.positive_weights=balanced"),
        ("balanced", {"logit_adjustment": 1.0}, "loss.logit_adjustment=1.0"),
        ("groups", {"group": {"column": "sex", "how": "balanced"}}, "evens out the groups, and loss.group.how=balanced"),
        ("balanced", {"class_weights": [1.0, 2.0]}, None),
        ("balanced", {"logit_adjustment": 0.0}, None),
        ("groups", {"group": {"column": "sex", "how": "dro"}, "class_weights": "balanced"}, None),
        ("groups", {"group": "sex"}, None),
        ("shuffle", {"class_weights": "balanced", "logit_adjustment": 1.0}, None),
    ],
)
def test_what_is_evened_out_twice_is_said(sampling: str, loss: dict[str, Any], said: str | None) -> None:
    found = evened_twice(sampling, LossConfig(**loss))
    assert found is said is None or said in str(found)
