"""The section of feature space: every figure stands where it says, and what is undefined is said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from medzoo.data.labels import LabelSpace
from medzoo.evaluation.bootstrap import Interval
from medzoo.evaluation.embeddings import Embeddings, unit_rows
from medzoo.evaluation.nearest.report import embeddings_report
from medzoo.report.blocks import Cell, Note, Section, Table
from medzoo.report.embedding_sections import embeddings

CLASSES = LabelSpace("multiclass", ("a", "b"))


def made(labels: LabelSpace, *, splits: tuple[str, ...] = ("train", "test"), rows: int = 60) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    names = np.array([f"s{i}" for i in range(rows)], dtype=object)
    targets = (
        labels.one_hot(rng.integers(2, size=rows)) if labels.exclusive else rng.integers(2, size=(rows, 2)).astype(np.float32)
    )
    given = Embeddings(
        sample_id=names, split=np.array([splits[i % len(splits)] for i in range(rows)], dtype=object), group=names,
        image=unit_rows(rng.normal(size=(rows, 4))).astype(np.float32), image_key=names,
        text=np.full(rows, "", dtype=object), labels=labels, targets=targets, details={"split_unit": "patient"},
        subgroups=pd.DataFrame({"site": rng.choice(["a/b", "c~d"], rows), "same": "one"}),
    )  # fmt: skip
    return {"embeddings": embeddings_report(given, ["test"], Interval(50), ["site", "same"])}


def cells(section: Section) -> Iterator[Cell]:
    for block in section.blocks:
        if isinstance(block, Table):
            yield from (cell for row in block.rows for cell in row)


def look_up(report: dict[str, Any], source: str) -> Any:
    file, _, place = source.partition("#/")
    assert file == "metrics.json"
    value = report
    for part in place.split("/"):
        value = value[part.replace("~1", "/").replace("~0", "~")]
    return value


def test_every_figure_stands_where_it_says() -> None:
    report = made(CLASSES)
    section = embeddings(report, "test")
    figures = [cell for cell in cells(section) if cell.source]
    assert len(figures) == 7 + 3 + 3 + 1 + 3 + 2
    for cell in figures:
        found = look_up(report, cell.source)
        assert cell.number == (found["value"] if isinstance(found, dict) else found), cell
    notes = [block for block in section.blocks if isinstance(block, Note)]
    assert [look_up(report, note.source) in note.text for note in notes] == [True, True]
    assert "there is 1 level; two are needed" in notes[1].text


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (made(CLASSES, splits=("test",)), "No nearest prototype: the file has no train split"),
        (made(LabelSpace("multilabel", ("x", "y"))), "No robustness index by site: of classes and grades alone"),
        (made(LabelSpace("regression", ("x", "y"))), "No measures of the embeddings: quantities are never the same."),
    ],
)
def test_what_is_undefined_is_said(report: dict[str, Any], said: str) -> None:
    texts = [block.text for block in embeddings(report, "test").blocks if isinstance(block, Note)]
    assert any(text.startswith(said) for text in texts), texts


def test_a_run_without_has_no_section() -> None:
    assert not embeddings({"splits": {}}, "test").blocks
    assert not embeddings(made(CLASSES), "val").blocks
