"""What `medzoo verify` says beside faults: what is left out, looks alike, contradicts itself, cannot be learnt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medzoo.cli import main
from medzoo.data.audit.table_facts import left_out
from tests.data.datasets.own_tables import frame, write_images

NAMES = list(frame()["image"])


def verify(folder: Path, *words: str, status: int = 0) -> dict:
    given = ["verify", "data=table", f"data.file={folder / 't.csv'}", "data.target=label", f"output={folder / 'report'}"]
    assert main([*given, *words]) == status
    report: dict = json.loads((folder / "report" / "verify.json").read_text())
    return report


@pytest.mark.parametrize(("there", "status"), [(5, 1), (7, 0)])
def test_most_files_missing_is_a_problem(there: int, status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_images(tmp_path, NAMES[:there])
    frame().to_csv(tmp_path / "t.csv", index=False)
    report = verify(tmp_path, "data.group=patient", status=status)
    assert report["left_out"] == {"files": 12 - there, "samples": 12 - there, "of": 12, "share": (12 - there) / 12}
    out = capsys.readouterr().out
    assert f"left out: {12 - there} of 12 samples ({(12 - there) / 12:.1%}), {12 - there} image files are missing" in out
    assert ("no problem found" in out) == (status == 0)
    verify(tmp_path, "data.group=patient", "data.missing=skip")  # the user knows


def test_the_note_of_missing_files_is_understood() -> None:
    note = "3 image files are missing (a (1): x.png, b.png, ...): 2 of 9 samples left out"
    assert left_out(["other", note]) == {"files": 3, "samples": 2, "of": 9, "share": 2 / 9}
    assert left_out(["other"]) == {}


def test_identical_images_with_contradictory_labels_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_images(tmp_path, NAMES)
    for copy, of in ((1, 0), (3, 2), (6, 4)):  # 6 and 4 have one label
        (tmp_path / NAMES[copy]).write_bytes((tmp_path / NAMES[of]).read_bytes())
    frame(split=["train"] * 8 + ["val"] * 4).to_csv(tmp_path / "t.csv", index=False)
    report = verify(tmp_path, "data.split=split", "data.group=patient")
    assert (report["contradictions"]["images"], report["contradictions"]["contradictory"]) == (3, 2)
    assert "2 of 3 images that stand in several samples have contradictory labels" in capsys.readouterr().out


def test_no_patient_and_a_class_that_is_not_learnt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = [f"S{n // 2:02}_{n}.png" for n in range(12)]
    write_images(tmp_path, images)
    table = frame(image=images, split=["train"] * 8 + ["val"] * 2 + ["test"] * 2, label=["a", "b"] * 5 + ["c", "c"])
    table.assign(sign=["1", "0", ""] * 4, text=["", "a film"] * 6).to_csv(tmp_path / "t.csv", index=False)
    verify(tmp_path, "data.split=split", "data.concepts=[sign]", "data.caption=text")
    out = capsys.readouterr().out
    assert "no patient is known: every image is its own group; data.group_pattern finds one in the names" in out
    assert "such as data.group_pattern='^([^_]+)_', which finds 6" in out
    assert "look at the classes: no training sample of c" in out
    assert "note: the val split has 2 samples" in out
    assert "captions of train: 4 of 8 samples have one" in out
    assert "concepts of train\n  sign " in out
    verify(tmp_path, "data.group=patient", "data.split=split")
    assert "no patient is known" not in capsys.readouterr().out


def test_long_numbers_that_a_spreadsheet_shortened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_images(tmp_path, NAMES)
    frame(patient=["1.23457E+12", "P1", "P2"] * 4).to_csv(tmp_path / "t.csv", index=False)
    verify(tmp_path, "data.group=patient")
    assert "look at the groups: 1 are numbers as spreadsheets shorten them ('1.23457E+12')" in capsys.readouterr().out


def test_images_that_no_row_names_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_images(tmp_path, [*NAMES, "forgotten.png", "other/elsewhere.png", "._i00.png"])
    frame().to_csv(tmp_path / "t.csv", index=False)
    assert verify(tmp_path, "data.group=patient")["unnamed"] == {"images": 1, "listed": ["forgotten.png"]}
    assert "no row names 1 images that lie beside the table's, such as forgotten.png" in capsys.readouterr().out
