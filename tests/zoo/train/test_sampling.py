"""How often samples are drawn: what weights mean there, and that they count once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from medzoo.data.labels import LabelSpace
from medzoo.train.sampling import drawn_with

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
