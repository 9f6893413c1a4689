"""Inputs that tell whom a sample is of: shares by hand and against counting, and when `medzoo verify` warns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medzoo.data.audit.audit import as_lines, audit
from medzoo.data.audit.identifying import identified, identified_lines, identifying_warnings
from medzoo.data.registry import load_dataset
from tests.data.datasets.olives_files import label_rows, write_tree

NAN = float("nan")


@pytest.fixture(scope="module")
def phantom():
    return load_dataset("phantom", patients=16, size=16)


def _with(dataset, groups, kept=(), **inputs):
    table = dataset.table.head(len(groups)).assign(group=list(groups), split="train")
    table = table.assign(**{name: list(values) for name, values in dict(kept).items()})
    table = table.assign(**{f"input.{name}": np.array(values, np.float32) for name, values in inputs.items()})
    return replace(dataset, table=table, kept=tuple(dict(kept)))


def test_shares_by_hand(phantom):
    # Of the seven with any value: (1, 1) is of a alone, twice; (1, missing) of b alone; (2, 1) of b and c, four times in all.
    dataset = _with(
        phantom,
        "aabbbccd",
        {"eye": "LLLRRLLL", "visit": "11111122"},
        one=[1, 1, 1, 2, 2, 2, 2, NAN],
        two=[1, 1, NAN, 1, 1, 1, 1, NAN],
    )
    found = identified(dataset)
    assert found["names"] == ["one", "two"]
    assert found["samples"] == 7
    assert found["units"] == {
        "group": {"units": 3, "shared": 1.0, "identified": pytest.approx(3 / 7)},
        # Of b and of c one each is alone in its eye or visit; what the two of b share with c tells neither.
        "eye and visit": {"units": 5, "shared": pytest.approx(4 / 7), "identified": pytest.approx(3 / 7)},
    }
    assert identified_lines(found) == [
        "inputs: of 7 samples that have any, 42.9% have values of one group alone, 42.9% have values of one eye and visit alone"
    ]
    assert identifying_warnings(found) == []


def test_shares_by_counting(phantom):
    rng = np.random.default_rng(0)
    for _ in range(20):
        count = len(phantom.table)
        groups = rng.integers(0, 6, count).astype(str)
        values = rng.integers(0, 5, (count, 2)).astype(float)
        values[rng.random((count, 2)) < 0.3] = NAN
        found = identified(_with(phantom, groups, one=values[:, 0], two=values[:, 1]))
        keys = [tuple(None if np.isnan(v) else v for v in row) for row in values]
        of = {key: {g for g, other in zip(groups, keys, strict=True) if other == key} for key in keys}
        told = [len(of[key]) == 1 for key in keys if key != (None, None)]
        assert found["samples"] == len(told)
        assert found["units"]["group"]["identified"] == pytest.approx(np.mean(told))


def test_nothing_is_said_without_inputs_or_where_every_sample_is_alone(phantom):
    assert identified(phantom) == {}
    assert identified_lines({}) == identifying_warnings({}) == []
    assert identified(_with(phantom, "aabb", one=[NAN] * 4)) == {}
    alone = identified(_with(phantom, "abcd", one=[1, 2, 3, 4]))
    assert alone["units"]["group"]["identified"] == 1
    assert identifying_warnings(alone) == []  # any number is a name there
    pairs = identified(_with(phantom, "aabb", one=[1, 2, 3, 4]))
    assert identifying_warnings(pairs) == [
        "inputs one together tell the group of 100.0% of 4 samples: a model may know these by heart; look at what it says "
        "without them (docs/multimodal.md), or name fewer in data.inputs"
    ]


def test_the_audit_of_olives_warns_of_acuity_and_thickness(tmp_path):
    write_tree(tmp_path)  # BCVA and CST are of the eye alone there: they tell the patient, not the visit
    report = audit(load_dataset("olives", root=tmp_path, modalities=["fundus", "volume"], inputs=["bcva", "cst"]), images=2)
    assert report["inputs"]["units"]["group"]["identified"] == 1
    assert report["inputs"]["units"]["eye_id and visit"]["identified"] == 0
    assert any(line.startswith("WARNING: inputs bcva, cst together tell the group of 100.0% of 28") for line in as_lines(report))
    assert report["problems"] == []
    for number, row in enumerate(rows := label_rows()):
        row["CST"] = str(200 + number // 3)  # as in the real file: of the visit
    write_tree(tmp_path, rows, images=False)
    report = audit(load_dataset("olives", root=tmp_path), images=2)
    assert "the group of 100.0%, the eye_id and visit of 100.0% of 84 samples" in report["warnings"][-1]
