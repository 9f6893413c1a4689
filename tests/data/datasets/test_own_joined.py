"""Further tables whose columns stand beside the first one's: each read in its own encoding, bad cells named in their own file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from medzoo.data.errors import ConfigError, DatasetError, MedzooError
from tests.data.datasets.own_tables import frame, load_table, write_images

PLACES = ["Zürich", "Genève"] * 6
FIRST = frame(place=PLACES).drop(columns="label")
LABELS = pd.DataFrame({"patient": [f"P{n}" for n in range(6)], "label": ["é", "b"] * 3})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_images(tmp_path, list(frame()["image"]))
    return tmp_path


def workbook(path: Path, *sheets: str) -> None:
    with pd.ExcelWriter(path) as book:
        for sheet in sheets:
            LABELS.to_excel(book, sheet_name=sheet, index=False)


def classes(folder: Path, first: str, further: str, entry: dict[str, Any] | None = None, **options: Any) -> tuple[str, ...]:
    join = [{"file": further, "by": "patient", **(entry or {})}]
    labels = load_table(folder / first, join=join, **options).labels
    assert labels is not None
    return labels.names


@pytest.mark.parametrize(
    ("name", "write", "entry"),
    [
        ("l.csv", lambda path: LABELS.to_csv(path, index=False), {}),
        ("l.csv.gz", lambda path: LABELS.to_csv(path, index=False), {}),
        ("l.csv", lambda path: LABELS.to_csv(path, index=False, encoding="utf-8-sig"), {}),
        ("l.csv", lambda path: LABELS.to_csv(path, index=False, encoding="utf-16"), {}),
        ("l.csv", lambda path: LABELS.to_csv(path, index=False, encoding="cp1252"), {}),
        ("l.csv", lambda path: LABELS.to_csv(path, index=False, encoding="cp850"), {"encoding": "cp850"}),
        ("l.csv", lambda path: LABELS.to_csv(path, index=False, encoding="utf-7"), {"encoding": "utf-7"}),
        ("l.parquet", LABELS.to_parquet, {}),
        ("l.xlsx", lambda path: workbook(path, "labels"), {}),
        ("l.xlsx", lambda path: workbook(path, "notes", "labels"), {"sheet": "labels"}),
    ],
)  # fmt: skip
def test_each_table_is_read_as_it_is_written(
    name: str, write: Callable[[Path], object], entry: dict[str, Any], folder: Path
) -> None:
    FIRST.to_csv(folder / "t.csv", index=False, encoding="cp1252")
    write(folder / name)
    assert classes(folder, "t.csv", name, entry, encoding="cp1252") == ("b", "é")


def test_ascii_that_says_nothing_is_of_the_first_encoding(folder: Path) -> None:
    for name, table in (("t.csv", FIRST), ("l.csv", LABELS)):
        table.to_csv(folder / name, index=False, encoding="utf-7")
    assert classes(folder, "t.csv", "l.csv", encoding="utf-7") == ("b", "é")


def test_what_is_said_of_a_further_table_is_advised_as_it_is_said_there(folder: Path) -> None:
    """Each remedy is taken in turn: none leads back."""
    FIRST.to_parquet(folder / "t.parquet")
    LABELS.to_csv(folder / "l.csv", index=False, encoding="cp1252")
    advised = (
        r"l\.csv cannot be read \(line 2 is not UTF-8 .*; text in another encoding needs encoding: cp1252, say, in its entry"
    )
    with pytest.raises(MedzooError, match=advised):
        classes(folder, "t.parquet", "l.csv")
    assert classes(folder, "t.parquet", "l.csv", {"encoding": "cp1252"}) == ("b", "é")
    FIRST.to_csv(folder / "t.csv", index=False)
    with pytest.raises(MedzooError, match=advised):
        classes(folder, "t.csv", "l.csv", encoding="utf-8")
    with pytest.raises(MedzooError, match=r"it is not ascii text: .*; text in another encoding needs encoding: cp1252, say"):
        classes(folder, "t.csv", "l.csv", {"encoding": "ascii"})
    workbook(folder / "l.xlsx", "notes", "labels")
    with pytest.raises(MedzooError, match=r"has 2 sheets \(notes, labels\); name one as sheet: notes in its entry of data\.join"):
        classes(folder, "t.csv", "l.xlsx")
    assert classes(folder, "t.csv", "l.xlsx", {"sheet": "labels"}) == ("b", "é")


@pytest.mark.parametrize(
    ("name", "entry", "said"),
    [
        (
            "l.csv",
            {"sheet": "one"},
            r"sheet: one in its entry of data\.join is for workbooks \(.*\), and l\.csv is none; leave it",
        ),
        (
            "l.xlsx",
            {"encoding": "cp1252"},
            r"encoding: cp1252 in its entry of data\.join is for text \(.*\), and l\.xlsx is none",
        ),
        ("l.csv", {"encoding": "rot13"}, r"encoding: rot13 of l\.csv in data\.join is no known encoding; cp1252"),
        ("l.csv", {"encodin": "cp1252"}, r"unknown key 'encodin' of l\.csv in data\.join; .*did you mean 'encoding'"),
        ("l.csv", {"sheet": ["one"]}, r"data\.join\.sheet=\[one\] is a list"),
    ],
)
def test_what_does_not_fit_a_further_table_is_one_line(name: str, entry: dict[str, Any], said: str, folder: Path) -> None:
    FIRST.to_csv(folder / "t.csv", index=False)
    LABELS.to_csv(folder / "l.csv", index=False)
    workbook(folder / "l.xlsx", "labels")
    with pytest.raises(ConfigError, match=said) as caught:
        classes(folder, "t.csv", name, entry)
    assert "\n" not in str(caught.value)


FURTHER = "patient,y,z,size\nP0,1,1,0.5\nP1,0,0,1\n\nP2,0,1,\nP3,1,0,2\nP4,1,,3\n"
"""Without a row of P5; P2 stands on line 5."""


@pytest.mark.parametrize(
    ("old", "new", "options", "said"),
    [
        ("P2,0", "P2,maybe", {"target": ["y", "z"]}, "l.csv line 5: 'y' is 'maybe', neither 0, 1 nor empty;"),
        ("P2,0", "P2,2", {"target": ["y", "z"], "kind": "multiclass"}, "l.csv line 5: 'y' is '2', neither 0, 1"),
        ("P2,0,1", "P2,1,1", {"target": ["y", "z"], "kind": "multiclass"}, "l.csv line 2: 'y' is '1', 'z' is '1', so that 2"),
        ("P2,0", "P2,c", {"target": "y", "names": ["0", "1"]}, "l.csv line 5: unknown class 'c'"),
        ("P2,0", "P2,-", {"target": "y"}, "l.csv line 5: 'y' holds '-' (2): missing?"),
        ("P2,0", "P2,c", {"target": "y", "separator": "|", "names": ["0", "1"]}, "l.csv line 5: unknown finding 'c'"),
        ("P2,0", "P2,c", {"target": "y", "separator": "[]", "names": ["0", "1"]}, "l.csv line 2: '1' is no list of findings"),
        (",2\n", ",two\n", {"target": "y", "inputs": ["size"]}, "l.csv line 6: 'size' is 'two', not a number; name words"),
        (
            ",0,0,1\n\nP2,0,1,\n",
            ",0,0,one\n\nP2,0,1,two\n",
            {"target": "y", "inputs": ["size"]},
            "l.csv line 3: 'size' is 'one', not a number (2 such lines);",
        ),
        ("", "", {"group": "y"}, "t.csv line 12: 'y' of l.csv is empty (2 such lines); every sample needs its group"),
        ("", "", {"time": "place", "time_as": "days"}, "t.csv line 2: 'place' is 'Zürich', not a number (12 such lines)"),
    ],
)
def test_a_bad_cell_is_named_in_the_file_that_has_it(
    old: str, new: str, options: dict[str, Any], said: str, folder: Path
) -> None:
    FIRST.to_csv(folder / "t.csv", index=False)
    (folder / "l.csv").write_text(FURTHER.replace(old, new) if old else FURTHER)
    with pytest.raises(MedzooError) as caught:
        load_table(folder / "t.csv", **{"join": [{"file": "l.csv", "by": "patient"}], "target": "z", **options})
    assert str(caught.value).startswith(said), str(caught.value)


def test_columns_of_two_files_are_named_with_their_files(folder: Path) -> None:
    FIRST.assign(own=[0] * 11 + [1]).to_csv(folder / "t.csv", index=False)
    (folder / "l.csv").write_text(FURTHER)
    join = [{"file": "l.csv", "by": "patient"}]
    with pytest.raises(MedzooError) as caught:
        load_table(folder / "t.csv", join=join, target=["own", "y"], kind="multiclass")
    assert str(caught.value).startswith("t.csv line 4: 'own' is '0', 'y' of l.csv is '0', so that 2 columns name no class")


@pytest.mark.parametrize("by", ["patient", ["patient", "site"]])
def test_keys_that_a_spreadsheet_took_the_zeros_from_are_named(by: str | list[str], folder: Path) -> None:
    names = [f"{n:02d}" for n in range(9, 15)]
    first = FIRST.assign(patient=FIRST["patient"].map(lambda name: names[int(name[1:])]), site="x")
    first.to_csv(folder / "t.csv", index=False)
    LABELS.assign(patient=[str(int(name)) for name in names], site="x").drop(columns=["site"] if by == "patient" else []).to_csv(
        folder / "l.csv", index=False
    )
    notes = load_table(folder / "t.csv", join=[{"file": "l.csv", "by": by}]).info.notes
    said = [note for note in notes if "have none in l.csv" in note]
    rows = int((first["patient"] == "09").sum())
    assert len(said) == 1
    lost = f"{rows} of {len(first)} rows have none in l.csv: what stands there is missing for them"
    assert said[0].startswith(f"{lost}; {rows} of them look like one there")
    assert "'09'" in said[0]
    assert "'9'" in said[0]
    first[first["patient"] != "14"].to_csv(folder / "t.csv", index=False)
    LABELS.assign(patient=names).iloc[1:].to_csv(folder / "l.csv", index=False)
    (note,) = [n for n in load_table(folder / "t.csv", join=[{"file": "l.csv", "by": "patient"}]).info.notes if "have none" in n]
    assert note.endswith("missing for them")
    first.assign(patient="09").to_csv(folder / "t.csv", index=False)
    LABELS.assign(patient=[str(n) for n in range(9, 15)]).to_csv(folder / "l.csv", index=False)
    with pytest.raises(DatasetError, match=r"by 'patient'; 12 of them look like one there \(such as '09' and '9'\)"):
        load_table(folder / "t.csv", join=[{"file": "l.csv", "by": "patient"}])
