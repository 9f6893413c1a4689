"""Which group each sample is of, by the names that an objective keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medzoo.data.dataset import Dataset, target_matrix
from medzoo.data.labels import LabelSpace
from medzoo.data.splits.subgroups import level_names

GROUP = "group_code"
"""Key of a batch's groups, (N,) int64."""
WEIGHT = "weight"
"""Key of how much each sample of a batch counts, (N,) float32."""
OF = " of "
"""Stands between a class and a level in the name of a cell."""


def group_names(dataset: Dataset, column: str, cells: bool) -> NDArray[np.object_]:
    """Return each row's group by name, over all splits: numbers of many values are banded as in reports."""
    levels = level_names(dataset.table[column])
    if not cells:
        return levels
    assert dataset.labels is not None
    return np.array(
        [f"{one}{OF}{level}" for one, level in zip(_classes(dataset.table, dataset.labels), levels, strict=True)], object
    )


def _classes(table: pd.DataFrame, labels: LabelSpace) -> list[str]:
    targets = target_matrix(table, labels)
    codes = np.nan_to_num(targets).argmax(axis=1)
    return ["unlabelled" if np.isnan(row).any() else labels.names[code] for row, code in zip(targets, codes, strict=True)]


def group_codes(described: Mapping[str, Any], dataset: Dataset, split: str) -> NDArray[np.int64]:
    """Return (N,) the groups of a split by their place in an objective's levels.

    What has no label, and so no loss, may be of a group that no labelled sample is of: it is given the first.
    """
    names = group_names(dataset, described["column"], described["cells"])[(dataset.table["split"] == split).to_numpy()]
    places = {level: place for place, level in enumerate(described["levels"])}
    return np.array([places.get(name, 0) for name in names], dtype=np.int64)
