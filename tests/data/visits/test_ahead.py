"""A later visit's truth as the target: of every kind of label, with nothing of that visit among the inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from medzoo.data.dataset import ArrayReader, Dataset, input_columns, target_columns, target_matrix
from medzoo.data.errors import ConfigError, DatasetError, MedzooError
from medzoo.data.info import DatasetInfo
from medzoo.data.labels import LabelSpace
from medzoo.data.registry import load_dataset
from medzoo.data.timing import Visits
from medzoo.data.visits.ahead import check_options, refuse_parted_visits, with_horizon
from medzoo.data.visits.columns import INPUTS, carried_matrix

LABELS = {
    "multiclass": LabelSpace("multiclass", ("a", "b", "c")),
    "multilabel": LabelSpace("multilabel", ("mass", "fluid")),
    "regression": LabelSpace("regression", ("CST", "BCVA"), ("um", "letters")),
}


def eyes(kind: str = "regression", seed: int = 0, count: int = 40, inputs: bool = True) -> Dataset:
    """Return visits of twelve eyes of six patients, in no order, some labels missing."""
    rng = np.random.default_rng(seed)
    labels, eye = LABELS[kind], rng.integers(0, 12, count)
    if labels.exclusive:
        targets = {"target": rng.integers(0, 3, count).astype(np.float64)}
    else:
        values = rng.normal(300, 50, (count, 2)) if kind == "regression" else rng.integers(0, 2, (count, 2))
        targets = {column: values[:, k].astype(np.float32) for k, column in enumerate(target_columns(labels))}
    for column in targets.values():
        column[rng.random(count) < 0.15] = np.nan
    table = pd.DataFrame(
        {
            "sample_id": [f"s{place}" for place in range(count)], "split": np.where(eye // 2 < 4, "train", "test"),
            "group": [f"p{one // 2}" for one in eye], "eye": eye, "week": rng.permutation(200)[:count].astype(np.float64),
            **targets, **({"input.age": rng.normal(60, 9, count).astype(np.float32)} if inputs else {}),
            "array_index": range(count),
        }
    )  # fmt: skip
    info = DatasetInfo(name="eyes", title="Eyes", modality="none", licence="CC0-1.0", citation="", homepage="", labels=labels)
    reader = ArrayReader(np.zeros((count, 8, 8), np.uint8))
    return Dataset(info, table, reader, labels, visits=Visits(("eye",), "week", "weeks"))


@pytest.mark.parametrize("kind", sorted(LABELS))
@pytest.mark.parametrize("seed", range(5))
def test_targets_and_inputs_are_those_of_pandas(kind: str, seed: int) -> None:
    before = eyes(kind, seed)
    after = with_horizon(before, "next", None, INPUTS, 2)
    assert after.labels is not None
    assert after.inputs is not None
    frame = before.table.sort_values("week")
    columns = ["target"] if "target" in frame else target_columns(after.labels)
    of_eye = frame.groupby("eye")
    pd.testing.assert_frame_equal(after.table[columns], of_eye[columns].shift(-1).reindex(after.table.index))
    carried = carried_matrix(after.table, after.labels)
    np.testing.assert_array_equal(carried, target_matrix(before.table, LABELS[kind]))
    wanted = pd.DataFrame({"input.until": of_eye["week"].shift(-1) - frame["week"], "input.since": of_eye["week"].diff()})
    wanted["input.earlier"] = of_eye.cumcount()
    names = {"target": "class"} if "target" in frame else {column: column.removeprefix("target.") for column in columns}
    for column, name in {**names, "input.age": "age"}.items():
        if column != "input.age":
            wanted[f"input.{name}_now"] = frame[column]
        for step in (1, 2):
            wanted[f"input.{name}_prev{step}"] = of_eye[column].shift(step)
    wanted = wanted.reindex(after.table.index).astype(np.float32)
    assert set(input_columns(after.table)) == {"input.age", *wanted.columns}
    pd.testing.assert_frame_equal(after.table[list(wanted.columns)], wanted)
    categories = {"class_now", "class_prev1", "class_prev2"} if kind == "multiclass" else set()
    assert set(after.inputs.categories) == categories


@pytest.mark.parametrize("horizon", ["next", "20w"])
def test_nothing_of_the_later_visit_is_an_input(horizon: str) -> None:
    """Whatever is measured at a visit, earlier rows have the same inputs; only what they are asked changes."""
    dataset, tolerance = eyes(), None if horizon == "next" else "15w"
    first = with_horizon(dataset, horizon, tolerance, INPUTS, 3)
    inputs = [column for column in input_columns(first.table) if column != "input.until"]
    changed = dataset.table.copy()
    week = float(changed["week"].median())
    late = changed["week"] > week
    measured = ["target.CST", "target.BCVA", "input.age"]
    changed.loc[late, measured] += 1000
    second = with_horizon(dataset.with_table(changed), horizon, tolerance, INPUTS, 3)
    pd.testing.assert_frame_equal(first.table.loc[~late, inputs], second.table.loc[~late, inputs])
    moved = (first.table["target.CST"] != second.table["target.CST"]) & first.table["target.CST"].notna()
    assert moved[~late].any()


def test_rows_without_a_later_visit_stay_and_are_counted() -> None:
    dataset = eyes()
    after = with_horizon(dataset, "20w", "4w", [], 0)
    assert after.table["sample_id"].tolist() == dataset.table["sample_id"].tolist()
    lacking = [
        not any((dataset.table["eye"] == row.eye) & ((dataset.table["week"] - row.week - 20).abs() <= 4))
        for row in dataset.table.itertuples()
    ]
    assert after.table.loc[lacking, ["target.CST", "target.BCVA"]].isna().all(axis=None)
    assert after.table.loc[~np.array(lacking), "target.CST"].notna().any()
    assert f"{sum(lacking)} of 40 samples have no visit 16 to 24 weeks later: their target is missing" in after.info.notes
    assert (after.info.name, after.info.title) == ("eyes/20w", "Eyes, 20w later")
    assert after.inputs == dataset.inputs


def test_an_order_stands_where_there_is_no_time() -> None:
    dataset = eyes(inputs=False)
    table = dataset.table.assign(visit=dataset.table.groupby("eye")["week"].rank())
    table["week"] = table["week"].where(table["eye"] % 2 == 0)
    ordered = Dataset(
        dataset.info, table, dataset.reader, dataset.labels, visits=Visits(("eye",), "week", "weeks", order="visit")
    )
    after = with_horizon(ordered, "next", None, ["until", "earlier"], 0)
    timed = with_horizon(dataset, "next", None, ["until", "earlier"], 0)
    for column in ("target.CST", "carried.CST", "input.earlier"):
        pd.testing.assert_series_equal(after.table[column], timed.table[column])
    assert after.table.loc[table["eye"] % 2 == 1, "input.until"].isna().all()
    by_time = with_horizon(ordered, "20w", "19w", [], 0)
    assert by_time.table.loc[table["eye"] % 2 == 1, "target.CST"].isna().all()
    assert by_time.table.loc[table["eye"] % 2 == 0, "target.CST"].notna().any()


def _twice(table: pd.DataFrame) -> pd.DataFrame:
    first, second = table.index[table["eye"] == 3][:2]
    return table.assign(week=table["week"].where(table.index != second, table.loc[first, "week"]))


WRONG: list[tuple[dict[str, Any], Any, str]] = [
    ({"horizon": "next"}, _twice, "'s.*' and 's.*' are of the same eye at the same time .2 such samples.: which is"),
    ({"horizon": "next"}, lambda table: table.assign(eye=0), "have the same eye and are of two groups; name who is seen again"),
    ({"horizon": "5000w", "tolerance": "1w"}, None, "none of its 40 samples has a visit 4999 to 5001 weeks later of the same"),
    ({"horizon": "12w", "tolerance": "12w"}, None, "data.tolerance=12w is not below data.horizon=12w"),
    ({"horizon": "2v", "tolerance": "1v"}, None, "data.horizon=2v is a number of visits, and time is counted in weeks here: 12w"),
    ({"horizon": "12k", "tolerance": "1w"}, None, "unknown unit of time 'k' in data.horizon=12k"),
    ({"horizon": "soon", "tolerance": "1w"}, None, "data.horizon=soon is no span of time: give a number and its unit, 12w"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "change", "said"), WRONG)
def test_what_cannot_be_told_is_one_line(options: dict[str, Any], change: Any, said: str) -> None:
    dataset = eyes()
    if change is not None:
        dataset = dataset.with_table(change(dataset.table))
    with pytest.raises(MedzooError, match=said) as caught:
        with_horizon(dataset, **{"tolerance": None, "inputs": [], "history": 0, **options})
    assert "\n" not in str(caught.value)


OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"history": 2}, "data.history is of a later visit's target: give data.horizon=next"),
    ({"visit_inputs": ["now"]}, "data.visit_inputs is of a later visit's target"),
    ({"tolerance": "4w"}, "data.tolerance is of a later visit's target"),
    ({"horizon": "12w"}, "data.horizon=12w needs data.tolerance: how far from it a visit may be, such as 4w"),
    ({"horizon": "next", "tolerance": "4w"}, "data.tolerance=4w is of a span such as data.horizon=12w"),
    ({"horizon": 12}, "data.horizon=12 has no unit: give next, or a span such as 12w"),
    ({"horizon": "next", "history": -1}, "data.history=-1 is no number of earlier visits, from 0 to 20"),
    ({"horizon": "next", "history": True}, "data.history=True is no number"),
    ({"horizon": "next", "visit_inputs": ["nwo"]}, "unknown choice of data.visit_inputs 'nwo'; did you mean 'now'"),
    ({"horizon": "next", "visit_inputs": "now"}, "data.visit_inputs=now is one text; give a list"),
]


@pytest.mark.parametrize(("options", "said"), OPTIONS)
def test_options_that_do_not_go_together_are_one_line(options: dict[str, Any], said: str) -> None:
    with pytest.raises(MedzooError, match=said) as caught:
        load_dataset("phantom", **{"visits": True, "patients": 8, "size": 16, **options})
    assert "\n" not in str(caught.value)


def test_datasets_without_visits_labels_or_values_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"phantom/multiclass does not say when a sample was; of a table data.time="):
        load_dataset("phantom", patients=8, size=16, horizon="next")
    dataset = eyes(inputs=False)
    with pytest.raises(ConfigError, match=r"data.history=1: there are no values .* data.visit_inputs=\[now\] or data.inputs"):
        with_horizon(dataset, "next", None, ["until"], 1)
    bare = Dataset(dataset.info, dataset.table.drop(columns=["target.CST", "target.BCVA"]), dataset.reader, visits=dataset.visits)
    with pytest.raises(ConfigError, match=r"data.horizon=next is of a target, and eyes has none"):
        with_horizon(bare, "next", None, [], 0)
    clash = dataset.table.assign(**{"input.CST_now": np.float32(1)})
    with pytest.raises(ConfigError, match=r"the input 'CST_now' is of visits .* and a column: rename the column"):
        with_horizon(dataset.with_table(clash), "next", None, ["now"], 0)
    assert check_options(None, None, None, 0) == []


def test_splits_that_part_visits_are_refused() -> None:
    dataset = eyes()
    refuse_parted_visits(dataset, dataset.table)
    first = dataset.table.index[dataset.table["eye"] == 5][0]
    parted = dataset.table.assign(split=dataset.table["split"].where(dataset.table.index != first, "val"))
    with pytest.raises(DatasetError, match=r"eyes: the visits of 5 stand in several splits \(1 such\)"):
        refuse_parted_visits(dataset, parted)
