"""A table in several files, rows that are taken, several rows of an image, several findings in a cell, a column a class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medzoo.data.dataset import Dataset, target_matrix
from medzoo.data.errors import ConfigError, DatasetError
from medzoo.data.registry import load_dataset
from tests.data.datasets.own_tables import frame, load_table, write_images

NAN = np.nan


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_images(tmp_path, list(frame()["image"]))
    return tmp_path


def written(folder: Path, text: str, name: str = "t.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def answers(dataset: Dataset) -> np.ndarray:
    assert dataset.labels is not None
    return target_matrix(dataset.table, dataset.labels)


def test_cells_with_commas_are_joined_as_they_are_parted(folder: Path) -> None:
    names = [("a, b", "c") if n < 6 else ("a", "b, c") for n in range(12)]
    table = frame(last=[last for last, _ in names], first=[first for _, first in names])
    table.drop(columns="label").to_csv(folder / "t.csv", index=False)
    written(folder, 'last,first,label\n"a, b",c,benign\na,"b, c",malignant\n', "labels.csv")
    dataset = load_table(folder / "t.csv", join=[{"file": "labels.csv", "by": ["last", "first"]}])
    assert dataset.labels is not None
    named = np.array(dataset.labels.names)[answers(dataset).argmax(axis=1)]
    assert list(named) == ["benign"] * 6 + ["malignant"] * 6


def test_a_further_table_is_joined_by_its_columns_whatever_its_order(folder: Path) -> None:
    frame(visit=[n % 2 for n in range(12)]).drop(columns="label").to_csv(folder / "t.csv", index=False)
    rows = [f"P{n // 2},{n % 2}.0,{('benign', 'malignant')[n % 3 == 0]},{30 + n}" for n in range(12)]
    written(folder, "\n".join(["patient,visit,label,age", *rows[::-1]]), "labels.csv")
    join = [{"file": "labels.csv", "by": ["patient", "visit"]}]
    dataset = load_table(folder / "t.csv", join=join, subgroups=["age"])
    assert dataset.table["target"].tolist() == [float(n % 3 == 0) for n in range(12)]
    assert dataset.table["age"].tolist() == [30 + n for n in range(12)]
    assert not any("have none in" in note for note in dataset.info.notes)


def test_a_row_that_has_none_in_the_further_table_is_missing_there_and_said(folder: Path) -> None:
    frame().drop(columns="label").to_csv(folder / "t.csv", index=False)
    written(folder, "patient,label\nP0,a\nP1,b\nP2,a\nP3,b\nP4,a\nP9,b\n", "labels.csv")
    dataset = load_table(folder / "t.csv", join=[{"file": "labels.csv.gz", "by": "patient"}])
    assert dataset.table["target"].isna().tolist() == [False] * 10 + [True] * 2
    assert any("2 of 12 rows have none in labels.csv" in note for note in dataset.info.notes)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("patient,grade\nP0,1\nP0,2\n", "'patient' 'P0' stands on lines 2 and 3; which of them belongs to a row of t.csv"),
        ("patient,label\nP0,1\n", "t.csv and more.csv both have a column 'label'; rename one"),
        ("patient,grade\nQ0,1\n", "no row of t.csv is in more.csv by 'patient' (such as 'P0' and 'Q0')"),
        ("person,grade\nP0,1\n", "more.csv: the table has no column 'patient'"),
    ],
)
def test_tables_that_cannot_be_joined_are_refused(text: str, said: str, folder: Path) -> None:
    frame().to_csv(folder / "t.csv", index=False)
    written(folder, text, "more.csv")
    with pytest.raises(DatasetError) as error:
        load_table(folder / "t.csv", join=[{"file": "more.csv", "by": ["patient"]}])
    assert said in str(error.value)


@pytest.mark.parametrize("join", ["more.csv", {"file": "more.csv"}, [{"file": "more.csv"}], [{"file": "more.csv", "by": []}]])
def test_an_option_that_joins_nothing_is_refused(join: Any, folder: Path) -> None:
    frame().to_csv(folder / "t.csv", index=False)
    with pytest.raises(ConfigError, match=r"data\.join"):
        load_table(folder / "t.csv", join=join)


def test_a_further_table_that_is_not_there_is_named(folder: Path) -> None:
    frame().to_csv(folder / "t.csv", index=False)
    with pytest.raises(DatasetError, match=r"no table at .*more\.csv, whose columns data\.join asks for"):
        load_table(folder / "t.csv", join=[{"file": "more.csv", "by": ["patient"]}])


def test_rows_are_taken_by_their_words_and_counted(folder: Path) -> None:
    frame(view=["PA", "AP", "L"] * 4, visit=[n // 3 % 2 for n in range(12)]).to_csv(folder / "t.csv", index=False)
    dataset = load_table(folder / "t.csv", where={"view": ["PA", "AP"], "visit": [0.0]})
    assert dataset.table["sample_id"].tolist() == ["i00.png", "i01.png", "i06.png", "i07.png"]
    assert any("4 of 12 rows are taken (data.where: view: PA, AP; visit: 0.0)" in note for note in dataset.info.notes)
    with pytest.raises(DatasetError, match=r"data\.where leaves no row of t\.csv: 'view' holds 'AP', 'L', 'PA', not XX"):
        load_table(folder / "t.csv", where={"view": ["XX"]})
    with pytest.raises(ConfigError, match=r"data\.where=view is no mapping"):
        load_table(folder / "t.csv", where="view")


READINGS = {
    "i00.png": "110", "i01.png": "10", "i02.png": "1-", "i03.png": "--0", "i04.png": "000", "i05.png": "111", "i06.png": "-",
}  # fmt: skip
"""Image → what its readers say of a finding; - says nothing."""
SETTLED = {
    "majority": [1, NAN, 1, 0, 0, 1, NAN], "unanimous": [NAN, NAN, 1, 0, 0, 1, NAN], "any": [1, 1, 1, NAN, 0, 1, NAN],
}  # fmt: skip


@pytest.mark.parametrize("readers", SETTLED)
def test_several_rows_of_an_image_are_settled(readers: str, folder: Path) -> None:
    rows = [f"{image},P{image},{'' if one == '-' else one},0" for image, said in READINGS.items() for one in said]
    file = written(folder, "\n".join(["image,patient,mass,other", *rows]))
    dataset = load_dataset("table", file=file, target=["mass", "other"], group="patient", readers=readers)
    np.testing.assert_array_equal(answers(dataset)[:, 0], SETTLED[readers])
    assert dataset.table["sample_id"].tolist() == list(READINGS)
    open_ = int(np.isnan(SETTLED[readers]).sum()) - 1
    note = f"{len(rows)} rows of 7 images: a sample an image, its labels by data.readers={readers}; {open_} of 14 are not settled"
    assert any(note in said for said in dataset.info.notes)


@pytest.mark.parametrize(("readers", "expected"), [("majority", [0, NAN, 1, 0]), ("unanimous", [NAN, NAN, 1, 0])])
def test_classes_are_settled_too(readers: str, expected: list[float], folder: Path) -> None:
    words = [("i00.png", "aab"), ("i01.png", "ab"), ("i02.png", "bb"), ("i03.png", "a")]
    rows = [f"{image},{one}" for image, said in words for one in said]
    dataset = load_dataset("table", file=written(folder, "\n".join(["image,label", *rows])), target="label", readers=readers)
    np.testing.assert_array_equal(dataset.table["target"], expected)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": "label", "readers": "any"}, "data.readers=any is no way to settle multiclass labels; majority is"),
        ({"readers": "majority"}, "data.readers settles labels of several rows of an image; name their column"),
        ({"target": "label", "readers": "best"}, "choice of data.readers"),
        (
            {"target": "label", "readers": "majority", "subgroups": ["sex"]},
            "line 3: 'sex' is 'm', which another row",
        ),
    ],
)
def test_what_cannot_be_settled_is_refused(options: dict[str, Any], said: str, folder: Path) -> None:
    file = written(folder, "image,label,sex\ni00.png,a,f\ni00.png,a,m\ni01.png,b,f\n")
    with pytest.raises((ConfigError, DatasetError)) as error:
        load_dataset("table", file=file, **options)
    assert said in str(error.value)


def test_without_readers_two_rows_of_an_image_need_names(folder: Path) -> None:
    with pytest.raises(DatasetError, match=r"image 'i00\.png' stands on lines 2 and 3; .* data\.id"):
        load_dataset("table", file=written(folder, "image,label\ni00.png,a\ni00.png,b\n"), target="label")


def test_a_column_a_class_names_exactly_one(folder: Path) -> None:
    rows = ["i00.png,1,0,0", "i01.png,0,1.0,0", "i02.png,0,0,1", "i03.png,,,"]
    file = written(folder, "\n".join(["image,a,b,c", *rows]))
    options: dict[str, Any] = {"file": file, "target": ["a", "b", "c"]}
    dataset = load_dataset("table", **options, kind="multiclass", names=["A", "B", "C"])
    assert dataset.labels is not None
    assert (dataset.labels.kind, dataset.labels.names) == ("multiclass", ("A", "B", "C"))
    np.testing.assert_array_equal(dataset.table["target"], [0, 1, 2, NAN])
    findings = load_dataset("table", **options)
    assert findings.labels is not None
    assert findings.labels.kind == "multilabel", "as ever, without a kind"
    for wrong in ("i00.png,1,1,0", "i00.png,0,0,0", "i00.png,0,,0"):
        written(folder, "\n".join(["image,a,b,c", wrong]))
        with pytest.raises(DatasetError, match=r"line 2: .*name no class, or several; exactly one column is 1"):
            load_dataset("table", **options, kind="multiclass")


@pytest.mark.parametrize("separator", ["|", "[]"])
def test_findings_of_a_cell_mean_others_or_leave_the_rest_open(separator: str, folder: Path) -> None:
    cells = [["mass"], ["tumour", "effusion"], ["mass", "no change"], ["no change"], [], ["both"], ["device"]]
    text = ["|".join(cell) if separator == "|" else f'"{cell}"' for cell in cells]
    rows = [f"i{n:02}.png,{cell}" for n, cell in enumerate(text)]
    both = "mass|effusion" if separator == "|" else "['mass', 'effusion']"
    dataset = load_dataset(
        "table", file=written(folder, "\n".join(["image,findings", *rows])), target="findings", separator=separator,
        names=["mass", "effusion"], left_out=["device"],
        values={"tumour": "mass", "no change": None, "both": both, "lump": "mass"},
    )  # fmt: skip
    none = [NAN, NAN] if separator == "|" else [0, 0]
    np.testing.assert_array_equal(answers(dataset), [[1, 0], [1, 1], [1, NAN], [NAN, NAN], none, [1, 1], [0, 0]])
    assert any("left out (data.left_out), 1 in all: device (1)" in note for note in dataset.info.notes)
    assert any("data.values: no cell holds 'lump'" in note for note in dataset.info.notes)


@pytest.mark.parametrize(("separator", "cells"), [("|", ["|", "| |", "mass|"]), ("[]", ["['']", "['', ' ']", "['mass', '']"])])
def test_a_cell_of_separators_alone_names_nothing_and_is_missing(separator: str, cells: list[str], folder: Path) -> None:
    rows = [f'i{n:02}.png,"{cell}"' for n, cell in enumerate(cells)]
    file = written(folder, "\n".join(["image,findings", *rows]))
    dataset = load_dataset("table", file=file, target="findings", separator=separator, names=["mass", "effusion"])
    np.testing.assert_array_equal(answers(dataset), [[NAN, NAN], [NAN, NAN], [1, 0]])
    assert any("2 cells hold separators of findings and no finding" in note for note in dataset.info.notes)


@pytest.mark.parametrize("cell", ["mass", "[mass]", "[1]", "['mass'", "{'mass'}", "__import__('os')"])
def test_a_cell_that_is_no_list_is_refused_by_line(cell: str, folder: Path) -> None:
    file = written(folder, f'image,findings\ni00.png,"{cell}"\n')
    with pytest.raises(DatasetError, match=r"line 2: .* is no list of findings; write \['a', 'b'\]"):
        load_dataset("table", file=file, target="findings", separator="[]", names=["mass"])


def test_a_finding_that_is_no_label_is_refused_until_it_is_left_out(folder: Path) -> None:
    file = written(folder, "image,findings\ni00.png,mass|device\ni01.png,tube\n")
    options: dict[str, Any] = {"file": file, "target": "findings", "separator": "|", "names": ["mass"]}
    with pytest.raises(DatasetError, match=r"line 2: unknown finding 'device'.*; or leave it out, data\.left_out"):
        load_dataset("table", **options)
    with pytest.raises(DatasetError, match=r"line 3: unknown finding 'tube'"):
        load_dataset("table", **options, left_out=["device"])
    np.testing.assert_array_equal(answers(load_dataset("table", **options, left_out=["*"])), [[1], [0]])
    with pytest.raises(ConfigError, match=r"data\.left_out is of findings in one column"):
        load_dataset("table", file=file, target="findings", left_out=["device"])


@pytest.mark.parametrize("pattern", [None, r"^P(\d+)"])
def test_a_sample_without_a_group_may_stand_alone(pattern: str | None, folder: Path) -> None:
    frame(patient=["", "", *[f"P{n // 2}" for n in range(2, 12)]]).to_csv(folder / "t.csv", index=False)
    with pytest.raises(DatasetError, match="'patient' is empty"):
        load_table(folder / "t.csv", group_pattern=pattern)
    dataset = load_table(folder / "t.csv", group_pattern=pattern, ungrouped="alone")
    assert dataset.table["group"].nunique() == 7
    assert dataset.table["group"].tolist()[:3] == ["alone: i00.png", "alone: i01.png", "1" if pattern else "P1"]
    assert any("2 samples have no 'patient': each is a group of its own" in note for note in dataset.info.notes)
