"""A dataset whose target is that of a later visit: each row keeps what this visit shows, and is asked what a later one will."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medzoo.data.dataset import Dataset, target_columns, target_matrix
from medzoo.data.errors import ConfigError, DatasetError
from medzoo.data.options import chosen
from medzoo.data.tables import count_note
from medzoo.data.timing import Visits, span
from medzoo.data.visits.columns import INPUTS, carried_names, visit_inputs
from medzoo.data.visits.places import Places, beside, nearest

NEXT = "next"
MOST_HISTORY = 20
"""Earlier visits whose values may stand beside an image."""


def check_options(horizon: Any, tolerance: Any, inputs: Any, history: Any) -> list[str]:
    """Return the option `visit_inputs`; refuse what is of a later visit where none is asked for, and what is no number of visits.

    Raises:
        ConfigError: As said.
        UnknownNameError: If an input is none of `INPUTS`.
    """
    names = chosen(inputs, "visit_inputs", INPUTS) or []
    if not isinstance(history, int) or isinstance(history, bool) or not 0 <= history <= MOST_HISTORY:
        raise ConfigError(f"data.history={history} is no number of earlier visits, from 0 to {MOST_HISTORY}")
    for option, value in (("tolerance", tolerance), ("visit_inputs", names), ("history", history)):
        if horizon is None and value:
            raise ConfigError(f"data.{option} is of a later visit's target: give data.horizon=next, or a span such as 12w")
    if horizon is not None and not isinstance(horizon, str):
        raise ConfigError(f"data.horizon={horizon} has no unit: give next, or a span such as {horizon}w (d, w, m, y; v: visits)")
    if horizon == NEXT and tolerance is not None:
        raise ConfigError(f"data.tolerance={tolerance} is of a span such as data.horizon=12w; of the next visit leave it out")
    if horizon not in (None, NEXT) and tolerance is None:
        raise ConfigError(f"data.horizon={horizon} needs data.tolerance: how far from it a visit may be, such as 4w")
    return names


def with_horizon(dataset: Dataset, horizon: str, tolerance: str | None, inputs: Sequence[str], history: int) -> Dataset:
    """Return a dataset whose targets are those of a later visit.

    A row without such a visit keeps its place and has no target. What was the target becomes `carried.<name>`, the answer of
    whoever says that nothing changes.

    Args:
        dataset: With labels and `visits`.
        horizon: `next`, or a span: the visit nearest to it.
        tolerance: How far from the span a visit may be; None for `next`.
        inputs: Some of `INPUTS`, which stand beside the images.
        history: Of how many earlier visits the inputs stand there, too.

    Raises:
        ConfigError: If the dataset has no labels or visits, or several targets, or a span or an input is not possible.
        DatasetError: If it is not known which visit is the later one, or no row has any.
    """
    name, visits, labels = dataset.info.name, dataset.visits, dataset.labels
    if visits is None:
        raise ConfigError(f"data.horizon={horizon}: {name} does not say when a sample was; of a table data.time=<column> does")
    if labels is None:
        raise ConfigError(f"data.horizon={horizon} is of a target, and {name} has none")
    if dataset.targets:
        raise ConfigError(f"data.horizon={horizon} is of one target, and data.targets=[{', '.join(dataset.targets)}] are several")
    table = dataset.table.reset_index(drop=True)
    units: Places = np.asarray(table.groupby(list(visits.of), sort=False).ngroup(), np.int64)
    times = _numbers(table[visits.time])
    order = times if visits.order is None else _numbers(table[visits.order])
    _refuse_two_groups(name, table, visits, units)
    _refuse_at_once(name, table, visits, units, order)
    target, where = _later(visits, units, order, times, horizon, tolerance)
    if not (target >= 0).any():
        raise DatasetError(f"{name}: none of its {len(table)} samples has a {where} of the same {visits.whose}")
    known = target_matrix(table, labels)
    now = pd.DataFrame(known, columns=carried_names(labels))
    space, further = visit_inputs(dataset, table, inputs, history, (units, order, times, target))
    for column in ["target"] if "target" in table.columns else target_columns(labels):
        moved = pd.Series(_at(_numbers(table[column]), target), index=table.index)
        table[column] = moved.astype(table[column].dtype)
    table = pd.concat([table, now, pd.DataFrame(further)], axis=1)
    article = "the" if horizon == NEXT else "a"
    unknown = (target >= 0) & np.isnan(target_matrix(table, labels)).all(axis=1)
    notes = [
        f"the target is that of {article} {where} of the same {visits.whose}; images and inputs are of this visit or earlier",
        *count_note(target < 0, f"samples have no {where}: their target is missing"),
        *count_note(unknown, f"samples have a {where} of which nothing is known: their target is missing"),
        *count_note(np.isnan(times), "samples have a place among the visits and no time"),
        *_apart(times, target, visits),
    ]
    if dataset.regions is not None:
        notes.append("regions are of what this visit shows, not of a later one's target, and are left out")
    said = "the next visit" if horizon == NEXT else f"{horizon} later"
    info = replace(
        dataset.info,
        name=f"{dataset.info.name}/{horizon.replace(' ', '')}",
        title=f"{dataset.info.title}, {said}",
        notes=(*dataset.info.notes, *notes),
    )
    return replace(dataset, table=table, info=info, inputs=space, regions=None)


def refuse_parted_visits(dataset: Dataset, table: pd.DataFrame) -> None:
    """Refuse splits that part the visits of one: the truth of one is the target of another; DatasetError names it."""
    assert dataset.visits is not None
    splits = table.groupby(list(dataset.visits.of), sort=False)["split"].nunique()
    parted = splits.index[splits > 1]
    if len(parted):
        first = " / ".join(map(str, parted[0] if isinstance(parted[0], tuple) else (parted[0],)))
        raise DatasetError(
            f"{dataset.info.name}: the visits of {first} stand in several splits ({len(parted)} such): what is asked "
            "in one would be known in another; split by group"
        )


def _later(
    visits: Visits, units: Places, order: NDArray[np.float64], times: NDArray[np.float64], horizon: str, tolerance: str | None
) -> tuple[Places, str]:
    """Return the row of each one's later visit, -1 where there is none, and in words which visit that is."""
    if horizon == NEXT:
        return beside(units, order, 1), "next visit"
    ahead, slack = span(horizon, "horizon", visits.unit), span(tolerance, "tolerance", visits.unit)
    if slack >= ahead:
        raise ConfigError(f"data.tolerance={tolerance} is not below data.horizon={horizon}: this visit would be near enough")
    where = f"visit {_number(ahead - slack)} to {_number(ahead + slack)} {visits.unit} later"
    return nearest(units, times, ahead, slack), where


def _refuse_two_groups(name: str, table: pd.DataFrame, visits: Visits, units: Places) -> None:
    groups = table["group"].groupby(units).nunique()
    if (groups > 1).any():
        rows = table[units == groups.index[groups > 1][0]]
        one, other = rows.drop_duplicates("group")["sample_id"].iloc[:2]
        raise DatasetError(
            f"{name}: {one!r} and {other!r} have the same {visits.whose} and are of two groups; name who is seen again by a "
            "column more, data.visits_of=[patient, eye]"
        )


def _refuse_at_once(name: str, table: pd.DataFrame, visits: Visits, units: Places, order: NDArray[np.float64]) -> None:
    """Refuse two visits of one at the same time: neither is the next."""
    keys = pd.DataFrame({"unit": units, "order": order})
    twice = keys.duplicated(keep=False) & keys["order"].notna()
    if twice.any():
        one, other = table.loc[(keys == keys[twice].iloc[0]).all(axis=1), "sample_id"].iloc[:2]
        raise DatasetError(
            f"{name}: {one!r} and {other!r} are of the same {visits.whose} at the same time ({int(twice.sum())} such samples): "
            "which is the next cannot be told; part them (data.visits_of=[patient, eye]), or join them (data.bag)"
        )


def _numbers(column: pd.Series) -> NDArray[np.float64]:
    return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan), np.float64)


def _at(values: NDArray[np.float64], places: Places) -> NDArray[np.float64]:
    return np.where(places >= 0, values[places], np.nan)


def _apart(times: NDArray[np.float64], target: Places, visits: Visits) -> list[str]:
    """Say how long it is to the target."""
    spans = _at(times, target) - times
    spans = spans[~np.isnan(spans)]
    if not len(spans) or visits.unit == "visits":
        return []
    low, middle, high = (_number(float(value)) for value in np.quantile(spans, [0, 0.5, 1]))
    return [f"time to the target visit: {low} to {high} {visits.unit}, median {middle}"]


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
