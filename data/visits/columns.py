"""What of this visit and of earlier ones stands beside an image, as inputs; nothing here is of the visit that is asked about.

`now`: what the target's columns say at this visit, `<name>_now`; classes as a category, `class_now`. `until`: the time to the
visit that is asked about. `since`: the time since the visit before. `earlier`: how many visits there were before.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medzoo.data.dataset import Dataset, input_matrix
from medzoo.data.errors import ConfigError
from medzoo.data.inputs import InputSpace
from medzoo.data.labels import LabelSpace
from medzoo.data.visits.places import Places, beside, counted_before

NOW, UNTIL, SINCE, EARLIER = "now", "until", "since", "earlier"
INPUTS = (NOW, UNTIL, SINCE, EARLIER)
CLASS = "class"
"""What the class is called among inputs: `class_now`, `class_prev1`."""

Context = tuple[Places, NDArray[np.float64], NDArray[np.float64], Places]
"""Of each row: whose visit, its order, its time, the place of the visit that is asked about."""


def carried_names(labels: LabelSpace) -> list[str]:
    """Return the names of the columns with what the target is at this visit, in index order."""
    return [f"carried.{name}" for name in labels.names]


def carried_matrix(table: pd.DataFrame, labels: LabelSpace) -> NDArray[np.float32] | None:
    """Return (N, K) what the target is at this visit, NaN where missing; None where the target is this visit's itself."""
    columns = carried_names(labels)
    if columns[0] not in table.columns:
        return None
    return np.ascontiguousarray(table[columns].to_numpy(dtype=np.float32, na_value=np.nan))


def visit_inputs(
    dataset: Dataset, table: pd.DataFrame, asked: Sequence[str], history: int, context: Context
) -> tuple[InputSpace | None, dict[str, NDArray[np.float32]]]:
    """Return the inputs of a dataset with those of visits, and the columns that are new.

    Args:
        dataset: Before its targets are moved.
        table: Its rows, numbered from 0.
        asked: Some of `INPUTS`.
        history: Of how many earlier visits all values stand beside the image, NaN where there was none.
        context: Of the rows.

    Raises:
        ConfigError: If history has nothing to remember, two inputs have one name, or classes are soft.
    """
    units, order, times, target = context
    own = dataset.inputs
    values = {} if own is None else dict(zip(own.names, input_matrix(table, own).T, strict=True))
    words = {} if own is None else dict(own.categories)
    new: dict[str, NDArray[np.float32]] = {}
    remembered = [(name, name, column) for name, column in values.items()]
    if NOW in asked:
        for name, column, classes in _now(dataset, table):
            new[f"{name}_{NOW}"] = column
            remembered.append((name, f"{name}_{NOW}", column))
            words |= {f"{name}_{NOW}": classes} if classes else {}
    if UNTIL in asked:
        new[UNTIL] = _less(times, target)
    before = beside(units, order, -1)
    if SINCE in asked:
        new[SINCE] = -_less(times, before)
    if EARLIER in asked:
        new[EARLIER] = counted_before(units, order).astype(np.float32)
    if history and not remembered:
        raise ConfigError(
            f"data.history={history}: there are no values whose earlier ones could stand beside the image; name some, "
            f"data.visit_inputs=[{NOW}] or data.inputs"
        )
    for step in range(1, history + 1):
        places = beside(units, order, -step)
        for name, now, column in remembered:
            new[f"{name}_prev{step}"] = np.where(places >= 0, column[places], np.float32(np.nan))
            words |= {f"{name}_prev{step}": words[now]} if now in words else {}
    if twice := [name for name in new if name in values]:
        raise ConfigError(
            f"the input {twice[0]!r} is of visits (data.visit_inputs, data.history) and a column: rename the column"
        )
    if not new:
        return own, {}
    return InputSpace((*values, *new), words), {f"input.{name}": column.astype(np.float32) for name, column in new.items()}


def _now(dataset: Dataset, table: pd.DataFrame) -> list[tuple[str, NDArray[np.float32], tuple[str, ...]]]:
    """Return what is known of the target at this visit: name, values, and of classes their words."""
    labels = dataset.labels
    assert labels is not None
    if not labels.exclusive:
        return [(name, table[f"target.{name}"].to_numpy(dtype=np.float32, na_value=np.nan), ()) for name in labels.names]
    if "target" not in table.columns:
        raise ConfigError(f"data.visit_inputs=[{NOW}]: the labels of {dataset.info.name} are shares of classes, not one of them")
    return [(CLASS, table["target"].to_numpy(dtype=np.float32, na_value=np.nan), labels.names)]


def _less(times: NDArray[np.float64], places: Places) -> NDArray[np.float32]:
    """Return the time of other rows less a row's own; NaN where there is none."""
    return np.where(places >= 0, times[places] - times, np.nan).astype(np.float32)
