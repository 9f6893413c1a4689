"""Cells of JSON and Parquet that are lists, objects or bytes: no words, and no classes by the text that Python has for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from medzoo.data.errors import MedzooError
from medzoo.data.registry import load_dataset
from tests.data.datasets import shard_files
from tests.data.datasets.own_tables import frame, load_table, write_images

FINDINGS = [["a", "b"], ["a"], []]
USES: dict[str, dict[str, Any]] = {
    "target": {"target": "x"}, "separator": {"target": "x", "separator": "|", "names": ["a", "b"]}, "patient": {"group": "x"},
    "subgroups": {"subgroups": ["x"]}, "inputs": {"inputs": ["x"], "categories": ["x"]}, "quantity": {"inputs": ["x"]},
    "image": {"image": "x"}, "caption": {"caption": "x"}, "keep": {"keep": ["x"]}, "where": {"where": {"x": ["['a']"]}},
    "id": {"id": "x"}, "path": {"path": "{x}/{}.png"}, "target of several": {"target": ["x", "label"]},
}  # fmt: skip


@pytest.fixture(params=["jsonl", "parquet"])
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[list[Any]], Path]:
    write_images(tmp_path, list(frame()["image"]))

    def written(cells: list[Any]) -> Path:
        table, file = frame(x=[cells[n % len(cells)] for n in range(12)]), tmp_path / f"t.{request.param}"
        table.to_parquet(file) if request.param == "parquet" else table.to_json(file, orient="records", lines=True)
        return file

    return written


@pytest.mark.parametrize("use", USES)
def test_lists_are_no_words(use: str, write: Callable[[list[Any]], Path]) -> None:
    file = write(FINDINGS)
    with pytest.raises(
        MedzooError, match=r"(line 1|row 0): 'x' is .*, a list \(12 such .*say data\.separator='\[\]' with data\.names"
    ):
        load_table(file, **USES[use])


@pytest.mark.parametrize("use", ["target", "list", "patient"])
def test_objects_are_no_words(use: str, write: Callable[[list[Any]], Path]) -> None:
    options = {**USES, "list": {"target": "x", "separator": "[]", "names": ["a"]}}[use]
    with pytest.raises(
        MedzooError, match=r"'x' is .*, an object \(12 such .*; a cell is a word or a number: give its fields columns"
    ):
        load_table(write([{"a": 1}, {"a": 2}]), **options)


def test_bytes_are_no_words(tmp_path: Path) -> None:
    write_images(tmp_path, list(frame()["image"]))
    frame(x=[b"\x89PNG"] * 12).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(MedzooError, match=r"row 0: 'x' is .*, bytes .*write images as files"):
        load_table(tmp_path / "t.parquet", image="x")
    assert load_table(tmp_path / "t.parquet").labels is not None  # the column is there and not used
    frame(label=[b"benign", b"malignant"] * 6).to_parquet(tmp_path / "t.parquet")  # text, whose writer did not say so
    labels = load_table(tmp_path / "t.parquet").labels
    assert labels is not None
    assert labels.names == ("benign", "malignant")


def test_lists_of_findings_are_read_with_their_separator_and_elsewhere_not_looked_at(write: Callable[[list[Any]], Path]) -> None:
    file = write(FINDINGS)
    dataset = load_table(file, target="x", separator="[]", names=["a", "b"])
    np.testing.assert_array_equal(dataset.table[["target.a", "target.b"]], [[1, 1], [1, 0], [0, 0]] * 4)
    assert load_table(file).labels is not None  # the column is there and not used
    several = load_dataset(
        "table",
        file=file,
        group="patient",
        targets={"one": "label", "all": {"target": "x", "separator": "[]", "names": ["a", "b"]}},
    )
    assert list(several.targets) == ["one", "all"]


def test_lists_of_a_further_table_are_named_there(tmp_path: Path) -> None:
    write_images(tmp_path, list(frame()["image"]))
    frame().to_csv(tmp_path / "t.csv", index=False)
    further = pd.DataFrame({"patient": [f"P{n}" for n in range(6)], "x": [["a"], "b"] * 3})
    further.to_json(tmp_path / "more.jsonl", orient="records", lines=True)
    options: dict[str, Any] = {"join": [{"file": "more.jsonl", "by": "patient"}]}
    with pytest.raises(MedzooError, match=r"more\.jsonl line 1: 'x' is .*, a list \(3 such lines\)"):
        load_table(tmp_path / "t.csv", target="x", **options)
    assert load_table(tmp_path / "t.csv", **options).labels is not None


@pytest.mark.parametrize("options", [{"target": "findings"}, {"target": "label", "subgroups": ["findings"]}])
def test_lists_in_shards_are_no_words(options: dict[str, Any], tmp_path: Path) -> None:
    shard_files.write_splits(tmp_path)
    with pytest.raises(
        MedzooError, match=r"sample '.*': 'findings' is '\[\]', a list \(30 such samples\); .*data\.separator='\[\]'"
    ):
        load_dataset("shards", root=tmp_path, channels=1, group="patient", **options)
