"""Every dataset that reads a CSV file, on its tiny files: what editors do to one changes nothing, what is wrong has its line."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from medzoo.data.datasets.chestxray14.boxes import load_boxes
from medzoo.data.errors import DatasetError
from medzoo.data.registry import load_dataset
from tests.data.datasets import chestxray14_files, derm1m_files, olives_files, scin_files


@dataclass(frozen=True)
class Form:
    """A dataset's CSV file: how it is written and read, and a cell of its fourth row that cannot be."""

    file: str
    write: Callable[[Path], Any]
    load: Callable[[Path], pd.DataFrame]
    column: str
    value: str
    message: str
    pads: bool = False


def _loader(name: str, **options: Any) -> Callable[[Path], pd.DataFrame]:
    return lambda root: load_dataset(name, **{"root": root, "missing": "ignore"} | options).table


def _boxes(root: Path) -> None:
    chestxray14_files.write_release(root)
    boxes = (*chestxray14_files.BOXES, ("00000002_000.png", "Mass", "1,2,3,4"))
    chestxray14_files.write_text(root / "BBox_List_2017.csv", chestxray14_files.box_text(boxes))


def _table(root: Path) -> None:
    (root / "t.csv").write_text("image,y,case\n" + "".join(f"{n}.png,{n % 2},c{n}\n" for n in range(6)))


FORMS = {
    "chestxray14": Form(
        "Data_Entry_2017_v2020.csv", chestxray14_files.write_release, _loader("chestxray14"), "Patient Age", "old",
        "'Patient Age' is 'old', not like 58",
    ),
    "boxes": Form("BBox_List_2017.csv", _boxes, load_boxes, "y", "two", "'y' is 'two', not a number"),
    "derm1m": Form(
        "Derm1M_v2_pretrain.csv", lambda root: derm1m_files.write_derm1m(root, images=False), _loader("derm1m", min_count=1),
        "filename", "../a.jpg", "'filename' is '../a.jpg', which leaves",
    ),
    "olives": Form(
        "OLIVES_Dataset_Labels/ml_centric_labels/Biomarker_Clinical_Data_Images.csv",
        lambda root: olives_files.write_tree(root, images=False), _loader("olives"), "CST", "thick",
        "'CST' is 'thick', not a number",
    ),
    "scin": Form(
        "scin_cases.csv", lambda root: scin_files.write_tables(root, scin_files.eleven()), _loader("scin", top=3), "age_group",
        "OLD", "'age_group' is 'OLD', not one of AGE_18_TO_29",
    ),
    "table": Form(
        "t.csv", _table, lambda root: _loader("table", file=root / "t.csv", target="y", concepts=["y"])(root), "y", "perhaps",
        "'y' is 'perhaps', neither 0, 1 nor empty", pads=True,
    ),
}  # fmt: skip
FOURTH = 4  # record of the row that is damaged; the header is record 0


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> Form:
    return FORMS[request.param]


def _written(form: Form, root: Path) -> list[list[str]]:
    """Write the dataset's files; returns the records of its CSV file, each as wide as the header's named columns."""
    form.write(root)
    with (root / form.file).open(encoding="utf-8", newline="") as stream:
        header, *rows = csv.reader(stream)
    width = len([name for name in header if name])
    return [record[:width] for record in (header, *rows)]


def _save(
    path: Path, records: list[list[str]], encoding: str = "utf-8", end: str = "\n", before: dict[int, str] | None = None
) -> int:
    """Write records; returns the line on which the fourth row begins, counted in what was written."""
    text, line = "", 0
    for number, record in enumerate(records):
        text += (before or {}).get(number, "")
        if number == FOURTH:
            line = text.count("\n") + 1
        cells = io.StringIO(newline="")
        csv.writer(cells, lineterminator=end).writerow(record)
        text += cells.getvalue()
    path.write_bytes(text.encode(encoding))
    return line


def _refused(form: Form, root: Path, *parts: str) -> None:
    with pytest.raises(DatasetError) as caught:
        form.load(root)
    for part in parts:
        assert part in str(caught.value), str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_editors_do_to_a_file_changes_nothing(form: Form, tmp_path: Path) -> None:
    records = _written(form, tmp_path)
    path = tmp_path / form.file
    _save(path, records)
    expected = form.load(tmp_path)
    commas = [[*record, ""] for record in records]
    noted = [[*record, "two\nlines"] for record in records[1:]]
    for change in (
        {"records": records, "encoding": "utf-8-sig"},
        {"records": records, "end": "\r\n"},
        {"records": commas, "encoding": "utf-8-sig", "end": "\r\n"},
        {"records": [records[0], *commas[1:]]},  # in the rows alone
        {"records": records, "before": {1: "\n", 3: "\n\n"}},
        {"records": [*records, [""] * len(records[0])]},  # commas alone
        {"records": [[*records[0], "their own note"], *noted]},
    ):
        _save(path, **change)  # type: ignore[arg-type]
        pd.testing.assert_frame_equal(form.load(tmp_path), expected)


@pytest.mark.parametrize("before", [None, {2: "\n"}])
@pytest.mark.parametrize("note", ["one line", "two\nlines", "three\n\nlines"])
def test_a_bad_row_is_named_by_its_own_line(form: Form, note: str, before: dict[int, str] | None, tmp_path: Path) -> None:
    records = _written(form, tmp_path)
    records[FOURTH][records[0].index(form.column)] = form.value
    records = [[*records[0], "their own note"], *([*record, note] for record in records[1:])]
    line = _save(tmp_path / form.file, records, before=before)
    assert line >= 1 + FOURTH + 3 * note.count("\n") + (before is not None)  # Derm1M's first row has two lines of itself
    _refused(form, tmp_path, f"{Path(form.file).name} line {line}: ", form.message)


def test_ragged_rows_are_named_by_their_own_line(form: Form, tmp_path: Path) -> None:
    whole = _written(form, tmp_path)
    whole = [[*whole[0], "their own note"], *([*record, "two\nlines"] for record in whole[1:])]
    path = tmp_path / form.file
    width = len(whole[0])
    for more in ("x", ""):  # an empty one too: a comma that is not quoted moves the other cells
        line = _save(path, [*whole[:FOURTH], [*whole[FOURTH], more], *whole[FOURTH + 1 :]])
        _refused(form, tmp_path, f"{path.name} line {line}: has cells beyond the {width} columns of the header")
    line = _save(path, [*whole[:FOURTH], whole[FOURTH][:1], *whole[FOURTH + 1 :]])
    if form.pads:
        assert form.load(tmp_path)["target"].isna().sum() == 1
    else:
        _refused(form, tmp_path, f"{path.name} line {line}: is cut short, with 1 cells of {width}")


def test_headers_and_bytes_that_cannot_be(form: Form, tmp_path: Path) -> None:
    records = _written(form, tmp_path)
    path = tmp_path / form.file
    place = records[0].index(form.column)
    _save(path, [[*record, record[place]] for record in records])
    _refused(form, tmp_path, f"{path.name} has several columns {form.column!r}")
    _save(path, [[*record[:place], *record[place + 1 :]] for record in records])
    _refused(form, tmp_path, f"{path.name}: the table has no column {form.column!r}")
    line = _save(path, records)
    content = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*content[: line - 1], b"\xff" + content[line - 1], *content[line:]]))
    _refused(form, tmp_path, f"{path.name} cannot be read (line {line} is not UTF-8 text")
    path.write_bytes(b"\n".join([*content[:-1], b'"cut', b""]))
    _refused(form, tmp_path, f"{path.name} cannot be read (a quote that opens on line {len(content)} or below is not closed)")
    path.write_bytes(content[0] + b"\n")
    _refused(form, tmp_path, f"{path.name} has no rows")
    path.write_bytes(b"")
    _refused(form, tmp_path, f"{path.name} is empty")
