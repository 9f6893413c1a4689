"""Intersections of subgroup columns, and how a terminal shows hundreds of levels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.labels import LabelSpace
from medzoo.evaluation.bootstrap import Interval
from medzoo.evaluation.fairness.levels import MOST_AUTO, named_levels
from medzoo.evaluation.predictions import Predictions
from medzoo.evaluation.report import evaluate, format_report

LABELS = LabelSpace("multiclass", ("no", "yes"))


def cohort(columns: dict[str, Any], size: int = 400) -> Predictions:
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=size)
    z = rng.normal(size=size) + y
    return Predictions(
        labels=LABELS,
        sample_id=np.arange(size).astype(str).astype(object),
        split=np.array(["test"] * size, dtype=object),
        group=np.array([f"p{i // 2}" for i in range(size)], dtype=object),
        targets=LABELS.one_hot(y),
        logits=np.stack([-z, z], axis=1).astype(np.float32),
        probabilities=np.zeros((size, 2), np.float32),
        subgroups=pd.DataFrame(columns),
        split_unit="patient",
    )


def columns(size: int = 400) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    sex = rng.choice(["F", "M", None], size)
    age = np.where(rng.random(size) < 0.1, np.nan, rng.integers(1, 95, size))
    return {"sex": sex, "age": age, "ward": [f"w{i // 4}" for i in range(size)]}


def test_an_intersection_holds_every_pair_of_levels_missing_ones_too() -> None:
    report = evaluate(cohort(columns()), splits=["test"], interval=Interval(0), intersections=[["sex", "age"]])
    part = report["splits"]["test"]
    together = part["subgroups"]["sex & age"]
    assert sum(told["samples"] for told in together.values()) == 400
    assert {"missing & missing", "F & missing", "missing & [18.0, 40.0)"} <= set(together)
    for sex, told in part["subgroups"]["sex"].items():
        own = [level["samples"] for name, level in together.items() if name.startswith(f"{sex} & ")]
        assert sum(own) == told["samples"]
    assert part["disparity"]["sex & age"]["auroc"]["gap"]["value"] > 0
    assert "ward" in part["subgroups"]
    assert "sex & ward" not in part["subgroups"]


def test_auto_takes_pairs_of_few_levels_and_names_those_it_leaves_out() -> None:
    named, notes = named_levels(pd.DataFrame(columns()), "auto")
    assert list(named.columns) == ["sex", "age", "ward", "sex & age"]
    assert len(notes) == 2
    assert f"sex & ward: {named['sex'].str.cat(named['ward'], ' & ').nunique()} levels" in notes[0]
    assert named["sex & age"].nunique() <= MOST_AUTO
    report = evaluate(cohort(columns()), splits=["test"], interval=Interval(0), intersections="auto")
    assert notes[0] in report["notes"]


def test_levels_that_hold_what_joins_them_stay_apart() -> None:
    held = pd.DataFrame({"site": ["a", "a & b", "a"], "ward": ["b & c", "c", "b & c"]})
    named, _ = named_levels(held, [["site", "ward"]])
    assert named["site & ward"].tolist() == ['"a" & "b & c"', '"a & b" & "c"', '"a" & "b & c"']


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("all", "or auto, not all"),
        (["sex"], "sex is one column"),
        ([["sex"]], "does not name at least two columns"),
        ([["sex", "sex"]], "each once"),
        ([["sex", "age"], ["age", "sex"]], "the same columns twice"),
        (None, "or auto, not None"),
    ],
)
def test_what_is_no_intersection_is_refused(asked: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        named_levels(pd.DataFrame(columns()), asked)


def test_an_unknown_column_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown subgroup column 'sx'.*did you mean 'sex'"):
        named_levels(pd.DataFrame(columns()), [["sx", "age"]])
    with pytest.raises(ConfigError, match="bears the name of an intersection"):
        named_levels(pd.DataFrame({**columns(), "sex & age": "x"}), [["sex", "age"]])


def test_hundreds_of_levels_are_a_few_lines_worst_first() -> None:
    report = evaluate(cohort(columns()), splits=["test"], interval=Interval(0))
    text = format_report(report, "test")
    assert "and 94 more levels in metrics.json" in text
    assert text.count("ward=") == 6
    sexes = [line for line in text.splitlines() if line.strip().startswith("sex=")]
    block = report["splits"]["test"]["disparity"]["sex"]["auroc"]
    assert sexes[0].strip().startswith(f"sex={block['worst']['level']} ")
    assert f"sex: auroc gap {block['gap']['value']:.3f}, worst {block['worst']['level']}" in text
    assert "ward: no gap in auroc" in text  # two patients each: none of them counts
