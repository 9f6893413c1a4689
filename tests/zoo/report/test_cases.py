"""Which samples are shown, by hand."""

from __future__ import annotations

import base64
from dataclasses import replace
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medzoo.data.labels import LabelSpace
from medzoo.data.registry import load_dataset
from medzoo.evaluation.predictions import Predictions
from medzoo.report.blocks import Cases, Note
from medzoo.report.cases import Look, cases


def given(labels: LabelSpace, targets: list[list[float]], probabilities: list[list[float]]) -> Predictions:
    count = len(targets)
    names = np.array([f"s{k}" for k in range(count)], dtype=object)
    values = np.array(probabilities, np.float32)
    return Predictions(
        labels, names, np.array(["test"] * count, dtype=object), names, np.array(targets, np.float32), values, values,
        pd.DataFrame(index=range(count)),
    )  # fmt: skip


def shown(predictions: Predictions, each: int = 2) -> dict[str, list[str]]:
    blocks = cases(predictions, None, each).blocks
    assert isinstance(blocks[0], Note)
    return {block.caption: [case.name for case in block.cases] for block in blocks if isinstance(block, Cases)}


def test_of_classes() -> None:
    labels, nan = LabelSpace("multiclass", ("a", "b")), np.nan
    predictions = given(
        labels, [[1, 0], [1, 0], [0, 1], [0, 1], [nan, nan], [1, 0]],
        [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.95, 0.05], [0.5, 0.5], [0.55, 0.45]],
    )  # fmt: skip
    assert shown(predictions) == {"Wrong, and sure": ["s3", "s1"], "Least sure": ["s5", "s2"], "Right, and sure": ["s0", "s2"]}
    said = [block.cases[0].said for block in cases(predictions, None, 1).blocks if isinstance(block, Cases)]
    assert said[0] == "true: b; says: a 0.95"
    assert not cases(predictions, None, 0).blocks


def test_of_findings_a_missing_one_neither_right_nor_wrong() -> None:
    labels, nan = LabelSpace("multilabel", ("a", "b")), np.nan
    predictions = given(
        labels, [[1, nan], [0, 0], [nan, nan], [1, 1], [0, nan]], [[0.9, 0.99], [0.8, 0.1], [0.5, 0.5], [0.6, 0.4], [0.97, 0.5]]
    )
    assert shown(predictions) == {"Wrong, and sure": ["s4", "s1"], "Least sure": ["s3", "s1"], "Right, and sure": ["s0"]}


def test_of_quantities_in_their_spread() -> None:
    labels = LabelSpace("regression", ("x", "y"), ("mm", "letters"))
    predictions = given(labels, [[0, 0], [1, 100], [2, np.nan]], [[0, 50], [1, 100], [3, 0]])
    order = shown(predictions, 3)
    assert order["Nearest to the truth"] == ["s1", "s0", "s2"]  # s0: 0 and 1 spread of y, s2: 1.22 of x
    assert order["Furthest from the truth"] == ["s2", "s0", "s1"]


@pytest.mark.parametrize("options", [{}, {"dims": 3, "size": 16}, {"channels": 3}])
def test_images_of_any_dataset(options: dict[str, object]) -> None:
    dataset = load_dataset("phantom", **{"patients": 6, "size": 16, **options})
    rows = dataset.rows("test")
    labels = LabelSpace("multiclass", ("a", "b"))
    predictions = given(labels, [[1, 0]] * len(rows), [[0.3, 0.7]] * len(rows))
    predictions = replace(predictions, sample_id=rows["sample_id"].to_numpy(dtype=object, copy=True))
    predictions.sample_id[0] = "gone"
    blocks = [block for block in cases(predictions, dataset, len(rows)).blocks if isinstance(block, Cases)]
    images = {case.name: case for case in blocks[0].cases}
    assert not images["gone"].image
    assert "not in the dataset" in images["gone"].missing
    assert all(case.image for name, case in images.items() if name != "gone")


def test_overlays_stand_beside_the_images_they_are_of() -> None:
    dataset = load_dataset("phantom", patients=20, size=16)
    rows = dataset.rows("test")
    predictions = given(LabelSpace("multiclass", ("a", "b")), [[1, 0]] * len(rows), [[0.3, 0.7]] * len(rows))
    predictions = replace(predictions, sample_id=rows["sample_id"].to_numpy(dtype=object))
    predictions.sample_id[0] = "gone"
    asked: list[str] = []

    def of(name: str) -> np.ndarray | None:
        asked.append(name)
        return None if len(asked) == 1 else np.full((16, 16, 3), (200, 10, 30), np.uint8)

    blocks = cases(predictions, dataset, len(rows), Look(of, "by hand")).blocks
    assert isinstance(blocks[0], Note)
    assert blocks[0].text.endswith("by hand.")
    shown = [case for block in blocks if isinstance(block, Cases) for case in block.cases]
    assert "gone" not in asked
    assert [case.name for case in shown if not case.overlay][:2] == ["gone", asked[0]]
    (overlay,) = {case.overlay for case in shown if case.overlay}
    with Image.open(BytesIO(base64.b64decode(overlay))) as picture:
        assert (picture.size, picture.getpixel((3, 3))) == ((16, 16), (200, 10, 30))
