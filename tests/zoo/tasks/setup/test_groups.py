"""Groups that a loss weighs: how many training rows each has, and cells that would bear one name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from medzoo.data.dataset import ArrayReader, Dataset
from medzoo.data.errors import ConfigError
from medzoo.data.info import DatasetInfo
from medzoo.data.labels import LabelSpace
from medzoo.losses.objective import Objective
from medzoo.settings.schema import LossConfig, ModelConfig, PreprocessConfig
from medzoo.tasks.setup.families import task_from_config
from medzoo.tasks.setup.groups import with_groups


def cohort(labels: LabelSpace, **columns: Any) -> Dataset:
    size = len(columns["site"])
    names = [f"s{i}" for i in range(size)]
    base = {"sample_id": names, "split": "train", "group": names, "array_index": range(size)}
    info = DatasetInfo("toy", "Toy", "synthetic", "CC0-1.0", "", "", labels, None)
    return Dataset(info, pd.DataFrame(base | columns), ArrayReader(np.zeros((size, 1, 4, 4), np.uint8)), labels, None, ("site",))


def test_cells_that_would_bear_one_name_are_refused() -> None:
    labels = LabelSpace("multiclass", ("a", "a of b"))
    made = cohort(labels, target=[0, 1, 0], site=["b of c", "c", "c"])
    with pytest.raises(ConfigError, match="of site hold 'of', so that cells of other classes would bear one name"):
        with_groups(Objective("cross_entropy"), LossConfig(group={"column": "site", "cells": True}), made)
    found = with_groups(Objective("cross_entropy"), LossConfig(group="site"), made).groups
    assert found is not None
    assert found["levels"] == ["b of c", "c"]
    assert found["counts"] == [1, 2]


@pytest.mark.parametrize("cells", [False, True])
def test_a_row_of_weight_ten_is_ten_rows_of_its_group(cells: bool) -> None:
    labels, given = LabelSpace("multiclass", ("a", "b")), {"column": "site", "how": "balanced", "cells": cells}
    columns = {"target": [0, 1, 0, 1, np.nan], "site": ["north", "north", "south", "south", "south"]}
    weights = np.array([10, 1, 1, 2, 5])
    weighed = cohort(labels, **columns, sample_weight=weights)
    repeated = cohort(labels, **{name: np.repeat(np.array(column, object), weights) for name, column in columns.items()})
    found, wanted, plain = (
        with_groups(Objective("cross_entropy"), LossConfig(group=given), made).groups or {}
        for made in (weighed, repeated, cohort(labels, **columns))
    )
    assert found == wanted
    assert all(isinstance(count, int) for count in plain["counts"])  # as they always stood in specs


def test_setups_count_the_weights_of_the_training_split() -> None:
    labels, loss = LabelSpace("multiclass", ("a", "b")), LossConfig(class_weights="balanced")
    made = cohort(labels, target=[0, 0, 0, 1], site=["n"] * 4, sample_weight=[1, 1, 1, 3])
    model = ModelConfig(backbone="test_resnet", preprocess=PreprocessConfig(size=16))
    assert task_from_config(model, loss, made, 0).spec.objective["class_weights"] == [1.0, 1.0]
