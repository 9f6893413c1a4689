"""Numbers with a comma before the fraction: a point among them may part thousands, and is asked about; words keep theirs."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from medzoo.data.errors import MedzooError
from tests.data.datasets.own_tables import frame, load_table

SIZES = [f"{n},5" for n in range(12)]
ADVICE = "a number with a point beside data.decimal=','; write it without the point, or with a comma before its fraction"


def _lines(table: pd.DataFrame, path: Path) -> None:
    path.write_text("\n".join(map(json.dumps, table.to_dict("records"))))


KINDS: dict[str, tuple[str, Callable[[pd.DataFrame, Path], object], str]] = {
    "csv": ("t.csv", lambda table, path: table.to_csv(path, sep=";", index=False), "line 4"),
    "lines": ("t.jsonl", _lines, "line 3"),
    "parquet": ("t.parquet", lambda table, path: table.to_parquet(path), "row 2"),
    "excel": ("t.xlsx", lambda table, path: table.to_excel(path, index=False), "row 4"),
}
"""Kind of file → its name, how it is written, and where the third row stands."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", ["1.234", "1.234,5", "1.234.567", " 2.5", "-1.", ".5", "1.5E3"])
def test_a_number_with_a_point_is_refused_where_numbers_have_a_comma(kind: str, cell: str, tmp_path: Path) -> None:
    name, write, place = KINDS[kind]
    write(frame(size=[*SIZES[:2], cell, *SIZES[3:]]), tmp_path / name)
    for options in ({"target": "size", "kind": "regression"}, {"inputs": ["size"]}, {"weight": "size"}):
        with pytest.raises(MedzooError) as caught:
            load_table(tmp_path / name, decimal=",", missing="ignore", **options)
        assert str(caught.value) == f"{name} {place}: 'size' is {cell.strip()!r}, {ADVICE}"
    missing = load_table(tmp_path / name, decimal=",", missing="ignore", inputs=["size"], empty_words=[cell.strip()]).table
    assert missing["input.size"].isna().tolist() == [n == 2 for n in range(12)]


@pytest.mark.parametrize(("cell", "number"), [("1234", 1234), ("1,234", 1.234), (",5", 0.5), ("1,5E3", 1500), ("-1", -1)])
def test_what_the_remedy_says_is_read(cell: str, number: float, tmp_path: Path) -> None:
    frame(size=[*SIZES[:2], cell, *SIZES[3:]]).to_csv(tmp_path / "t.csv", sep=";", index=False)
    table = load_table(tmp_path / "t.csv", decimal=",", missing="ignore", inputs=["size"]).table
    assert table["input.size"].iloc[2] == np.float32(number)


@pytest.mark.parametrize("kind", ["lines", "parquet", "excel"])
def test_numbers_that_a_file_keeps_as_such_have_no_writer_s_point(kind: str, tmp_path: Path) -> None:
    name, write, _ = KINDS[kind]
    columns: dict[str, Any] = {"size": [n / 4 for n in range(12)], "other": SIZES}
    if kind == "parquet":
        columns["exact"] = pd.array([Decimal(n) / 4 for n in range(12)], dtype=pd.ArrowDtype(pa.decimal128(9, 2)))
    write(frame(**columns), tmp_path / name)
    inputs = [name for name in columns if name != "other"]
    table = load_table(tmp_path / name, decimal=",", missing="ignore", inputs=[*inputs, "other"], subgroups=inputs).table
    assert all(table[f"input.{name}"].tolist() == [n / 4 for n in range(12)] for name in inputs)
    assert table["input.other"].tolist() == [n + 0.5 for n in range(12)]


def test_words_keep_their_points(tmp_path: Path) -> None:
    columns = {
        "label": ["1.1", "2.3"] * 6, "patient": [f"1.{n // 2}" for n in range(12)], "id": [f"1.{n}1" for n in range(12)],
        "field": ["1.5", "3 T"] * 6, "grade": ["1.0", "0.0"] * 6, "word": ["1.5", "3.25"] * 6, "size": SIZES,
    }  # fmt: skip
    frame(**columns).to_csv(tmp_path / "t.csv", sep=";", index=False)
    options = {"id": "id", "names": ["1.1", "2.3"], "concepts": ["grade"], "subgroups": ["field"], "inputs": ["word", "size"]}
    dataset = load_table(tmp_path / "t.csv", decimal=",", missing="ignore", categories=["word"], **options)
    assert dataset.table["sample_id"].tolist() == columns["id"]
    assert sorted(set(dataset.table["group"])) == ["1", *(f"1.{n}" for n in range(1, 6))]
    assert sorted(set(dataset.table["field"])) == ["1.5", "3 T"]
    assert dataset.table["concept.grade"].tolist() == [1, 0] * 6
    with pytest.raises(MedzooError, match=r"t\.csv line 2: 'word' is '1\.5', a number with a point beside data\.decimal=','"):
        load_table(tmp_path / "t.csv", decimal=",", missing="ignore", **options | {"subgroups": ["word"], "inputs": ["size"]})


def test_a_point_in_a_further_table_is_named_there(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "t.csv", sep=";", index=False)
    (tmp_path / "l.csv").write_text("patient;size\n" + "\n".join(f"P{n};{n},5" for n in range(4)) + "\nP4;1.234\nP5;1\n")
    options: dict[str, Any] = {"join": [{"file": "l.csv", "by": "patient"}], "missing": "ignore", "inputs": ["size"]}
    with pytest.raises(MedzooError) as caught:
        load_table(tmp_path / "t.csv", decimal=",", **options)
    assert str(caught.value) == f"l.csv line 6: 'size' is '1.234', {ADVICE}"
    where = {"patient": ["P0", "P1", "P2", "P3", "P5"]}
    assert load_table(tmp_path / "t.csv", decimal=",", where=where, **options).table["input.size"].iloc[2] == 1.5


@pytest.mark.parametrize("kind", ["csv", "excel"])
def test_options_say_words_as_the_file_writes_them(kind: str, tmp_path: Path) -> None:
    """-9,0 was a measurement, and nobody was told that the word for missing had met no cell."""
    name, write, _ = KINDS[kind]
    stage = ["0,5", "1,5", "2,0"] * 4
    write(frame(size=[*SIZES[:2], "-9,0", *SIZES[3:]], stage=stage), tmp_path / name)
    asked: dict[str, Any] = {"decimal": ",", "missing": "ignore", "target": "stage", "names": ["low", "high"]}
    table = load_table(
        tmp_path / name, inputs=["size"], empty_words=["-9,0"], values={"0,5": "low", "1,5": "high", "2,0": None}, **asked
    ).table
    assert table["input.size"].isna().tolist() == [n == 2 for n in range(12)]
    np.testing.assert_array_equal(table["target"], [0, 1, np.nan] * 4)
    mapped = load_table(
        tmp_path / name, map_values={"stage": {"0,5": "low", "1,50": "high"}}, where={"stage": ["0,5", "1,5"]}, **asked
    )
    assert mapped.table["target"].tolist() == [0, 1] * 4
    assert not any("no cell holds" in note for note in mapped.info.notes)
