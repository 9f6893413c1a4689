"""A table of visits: whose, when, and what the next one will say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from medzoo.data.dataset import Dataset
from medzoo.data.errors import MedzooError
from medzoo.data.registry import load_dataset
from tests.data.datasets.own_tables import write_images


def frame(count: int = 48, seed: int = 0) -> pd.DataFrame:
    """Return visits of both eyes of patients on dates of their own, in no order."""
    rng = np.random.default_rng(seed)
    days = rng.permutation(900)[:count]
    return pd.DataFrame(
        {
            "image": [f"i{n:02}.png" for n in range(count)], "patient": [f"P{n % 8:02}" for n in range(count)],
            "eye": rng.choice(["left", "right"], count), "date": pd.to_datetime("2019-01-01") + pd.to_timedelta(days, "D"),
            "cst": rng.integers(200, 600, count), "letters": rng.integers(30, 90, count), "fluid": rng.integers(0, 2, count),
            "grade": rng.integers(0, 3, count), "arm": [("a", "b")[n % 2] for n in range(count)],
        }
    )  # fmt: skip


def load(folder: Path, table: pd.DataFrame, **options: Any) -> Dataset:
    write_images(folder, list(table["image"].unique()))
    table.to_csv(folder / "t.csv", index=False)
    given = {"group": "patient", "time": "date", "visits_of": ["patient", "eye"], "horizon": "next"}
    return load_dataset(
        "table", file=folder / "t.csv", **{**given, "target": ["cst", "letters"], "kind": "regression", **options}
    )


def test_the_next_visit_of_an_eye_is_that_of_pandas(tmp_path: Path) -> None:
    table = frame()
    dataset = load(tmp_path, table, inputs=["letters", "arm"], categories=["arm"], visit_inputs=["until"], history=1)
    ordered = table.sort_values("date").set_index("image")
    later = ordered.groupby(["patient", "eye"])
    found = dataset.table.set_index("path")
    for name in ("cst", "letters"):
        pd.testing.assert_series_equal(
            found[f"target.{name}"], later[name].shift(-1).reindex(found.index), check_dtype=False, check_names=False
        )
    wait = (later["date"].shift(-1) - ordered["date"]).dt.days.reindex(found.index)
    np.testing.assert_array_equal(found["input.until"], wait)
    before = later["letters"].shift(1).reindex(found.index)
    np.testing.assert_array_equal(found["input.letters_prev1"], before)
    assert dataset.inputs is not None
    assert dataset.inputs.names == ("letters", "arm", "until", "letters_prev1", "arm_prev1")
    assert dataset.inputs.categories == {"arm": ("a", "b"), "arm_prev1": ("a", "b")}
    note = "the target is that of the next visit of the same patient and eye; images and inputs are of this visit or earlier"
    assert note in dataset.info.notes


def test_numbers_count_what_was_said_and_a_horizon_is_in_any_unit(tmp_path: Path) -> None:
    table = frame()
    table["months"] = (table["date"] - table["date"].min()).dt.days / 30.4375
    by_date = load(tmp_path, table, horizon="26w", tolerance="8w")
    by_month = load(tmp_path, table, time="months", time_as="months", horizon="182d", tolerance="56d")
    assert by_date.table["target.cst"].notna().any()
    np.testing.assert_array_equal(by_date.table["target.cst"], by_month.table["target.cst"])


@pytest.mark.parametrize(("target", "kind"), [(["fluid", "arm"], "multilabel"), ("grade", "ordinal"), ("grade", "multiclass")])
def test_labels_of_every_kind_are_the_next_visits(target: Any, kind: str, tmp_path: Path) -> None:
    table = frame()
    dataset = load(tmp_path, table, target=target, kind=kind, map_values={"arm": {"a": 0, "b": 1}} if "arm" in target else None)
    later = table.sort_values("date").assign(arm=(table["arm"] == "b") * 1).set_index("image").groupby(["patient", "eye"])
    found = dataset.table.set_index("path")
    for name in [target] if isinstance(target, str) else target:
        column = "target" if isinstance(target, str) else f"target.{name}"
        np.testing.assert_array_equal(found[column], later[name].shift(-1).reindex(found.index))


def test_a_bag_may_be_a_visit(tmp_path: Path) -> None:
    table = frame()
    twice = pd.concat([table, table.assign(image=[f"second/{name}" for name in table["image"]])])
    twice["visit"] = twice["patient"] + twice["eye"] + twice["date"].astype(str)
    dataset = load(tmp_path, twice, bag="visit", target="cst", kind="regression")
    assert len(dataset) == len(table)
    alone = load(tmp_path, table, target="cst", kind="regression")
    assert sorted(dataset.table["target.cst"].dropna()) == sorted(alone.table["target.cst"].dropna())


def _changed(table: pd.DataFrame, place: int, column: str, value: Any) -> pd.DataFrame:
    changed = table.astype({column: object})
    changed.loc[place, column] = value
    return changed


WRONG: list[tuple[dict[str, Any], Any, str]] = [
    ({}, lambda t: _changed(t.assign(date=t["date"].dt.strftime("%Y-%m-%d")), 4, "date", "03/04/2020"),
     "t.csv line 6: 'date' is '03/04/2020', not written as the first"),
    ({}, lambda t: _changed(t.assign(date=t["date"].dt.strftime("%Y-%m-%d")), 4, "date", ""),
     "t.csv line 6: 'date' is empty; every sample needs its time"),
    ({"visits_of": None}, lambda t: t.assign(date="2020-01-01"), "of the same group at the same time .48 such samples."),
    ({"visits_of": ["eye"]}, None, "have the same eye and are of two groups; name who is seen again by a column more"),
    ({"visits_of": ["patient", "eey"]}, None, "t.csv: the table has no column 'eey'; the nearest is 'eye'"),
    ({"time": "dat"}, None, "t.csv: the table has no column 'dat'; the nearest is 'date'"),
    ({"group": None}, None, "data.time=date needs data.group: visits of one patient must not stand in two splits"),
    ({"time": None}, None, "data.visits_of is of data.time=<column>, which is not given"),
    ({"time": None, "visits_of": None, "time_as": "weeks"}, None, "data.time_as is of data.time=<column>, which is not given"),
    ({"time": None, "visits_of": None}, None, "table/t does not say when a sample was; of a table data.time=<column> does"),
    ({"target": None, "kind": "auto"}, None, "data.horizon=next is of a target, and table/t has none"),
    ({"horizon": "2v", "tolerance": "1v"}, None, "data.horizon=2v is a number of visits, and time is counted in days here"),
    ({"split": "part", "allow_shared_groups": True}, lambda t: t.assign(part=["train", "test", "val"] * 16),
     "table/t/next: the visits of P0. / .* stand in several splits .* split by group"),
    ({"split": "part"}, lambda t: t.assign(part=["train", "test", "val"] * 16), "groups stand in several splits"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "change", "said"), WRONG)
def test_what_cannot_be_told_is_one_line(options: dict[str, Any], change: Any, said: str, tmp_path: Path) -> None:
    table = frame()
    with pytest.raises(MedzooError, match=said) as caught:
        load(tmp_path, table if change is None else change(table), **options)
    assert "\n" not in str(caught.value)
