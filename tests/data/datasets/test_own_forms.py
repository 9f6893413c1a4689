"""Case 23 and its kind: tables as pandas, R, Excel and packers write them, each read alike or refused in one line."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from medzoo.data.errors import MedzooError
from medzoo.data.tables.excel import read_workbook
from medzoo.data.tables.text_table import as_text
from medzoo.data.tables.words import shortened
from tests.data.datasets.own_tables import frame, load_table, write_images

SHORT = frame().to_csv(sep=";", index=False)
TABLE = frame(size=[n / 4 for n in range(12)], note=["two\nlines", "one"] * 6)


def _r(separator: str, quote: str) -> Callable[[Path], object]:
    """As R's write.table: the header has no cell for the names of rows."""

    def write(path: Path) -> None:
        quoted = [
            [f"{quote}{cell}{quote}" for cell in (row + 1, *TABLE.iloc[row][["image", "label", "patient"]])] for row in range(12)
        ]
        header = [f"{quote}{name}{quote}" for name in ("image", "label", "patient")]
        path.write_text("\n".join(separator.join(line) for line in [header, *quoted]))

    return write


def _excel(path: Path, **sheets: pd.DataFrame) -> None:
    with pd.ExcelWriter(path) as book:
        for name, table in sheets.items():
            table.to_excel(book, sheet_name=name, index=False)


def _merged(path: Path) -> None:
    """As people write a patient's images: one cell beside several rows."""
    import openpyxl

    _excel(path, one=TABLE)
    book = openpyxl.load_workbook(path)
    column = list(TABLE.columns).index("patient") + 1
    for row in range(2, 14, 2):
        book.active.merge_cells(start_row=row, end_row=row + 1, start_column=column, end_column=column)
    book.save(path)


FORMS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "pandas' index": ("t.csv", lambda path: TABLE.to_csv(path)),  # case 23
    "an index saved twice": ("t.csv", lambda path: TABLE.assign(**{"Unnamed: 0": range(12)}).to_csv(path)),
    "two unnamed levels": ("t.csv", lambda path: TABLE.set_index([pd.RangeIndex(12), pd.RangeIndex(12)]).to_csv(path)),
    "R, quoted": ("t.csv", _r(",", '"')),
    "R, tabs": ("t.tsv", _r("\t", "")),
    "semicolons": ("t.csv", lambda path: TABLE.to_csv(path, sep=";", index=False)),
    "semicolons, UTF-8 with a mark": ("t.csv", lambda path: TABLE.to_csv(path, sep=";", index=False, encoding="utf-8-sig")),
    "tabs, UTF-16": ("t.txt", lambda path: TABLE.to_csv(path, sep="\t", index=False, encoding="utf-16")),
    "tabs in a .csv": ("t.csv", lambda path: TABLE.to_csv(path, sep="\t", index=False)),
    "sep=": ("t.csv", lambda path: path.write_text("sep=;\n" + TABLE.to_csv(sep=";", index=False))),
    "a semicolon at every end": ("t.csv", lambda path: path.write_text(SHORT.replace("\n", ";\n"))),
    **{f"packed {end}": (f"t.csv{end}", lambda path: TABLE.to_csv(path, index=False)) for end in (".gz", ".bz2", ".xz", ".zip")},
    "packed tabs": ("t.tsv.gz", lambda path: TABLE.to_csv(path, sep="\t")),
    "packed lines": ("t.jsonl.gz", lambda path: TABLE.to_json(path, orient="records", lines=True)),
    "Excel": ("t.xlsx", lambda path: TABLE.to_excel(path, index=False)),
    "Excel with an index": ("t.xlsx", lambda path: TABLE.to_excel(path)),
    "Excel, a title above": ("t.xlsx", lambda path: TABLE.to_excel(path, index=False, startrow=3)),
    "Excel, an empty sheet": ("t.xlsx", lambda path: _excel(path, one=TABLE, two=pd.DataFrame())),
    "Excel, merged cells": ("t.xlsx", _merged),
    "Parquet with a named index": ("t.parquet", lambda path: TABLE.set_index("image").to_parquet(path)),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_table_as_others_write_it(form: str, tmp_path: Path) -> None:
    TABLE.to_csv(tmp_path / "plain.csv", index=False)
    plain = load_table(tmp_path / "plain.csv", missing="ignore")
    name, write = FORMS[form]
    write(tmp_path / name)
    read = load_table(tmp_path / name, missing="ignore")
    pd.testing.assert_frame_equal(read.table.reset_index(drop=True), plain.table)


def test_a_long_number_keeps_its_digits(tmp_path: Path) -> None:
    """pandas makes fractions of whole numbers beside an empty cell: patients would become one."""
    long = [2**60 + n // 2 for n in range(12)]
    rows = [
        {**row, "patient": number, "other": None if n else 1}
        for n, (row, number) in enumerate(zip(frame().to_dict("records"), long, strict=True))
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps({k: v for k, v in row.items() if v is not None}) for row in rows))
    frame(patient=pd.array([*long[:-1], None], dtype="Int64")).to_parquet(tmp_path / "t.parquet")
    assert load_table(tmp_path / "t.jsonl", missing="ignore").table["group"].nunique() == 6
    with pytest.raises(MedzooError, match="row 11: 'patient' is empty"):
        load_table(tmp_path / "t.parquet", missing="ignore")


def test_long_numbers_that_are_real_ones_are_said(tmp_path: Path) -> None:
    """Above 2^53 neighbours are one real number: six patients become three."""
    long = [float(2**60 + 128 * (n // 2)) for n in range(12)]  # real numbers stand 256 apart there
    frame(patient=long).to_parquet(tmp_path / "t.parquet")
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps(row) for row in frame(patient=long).to_dict("records")))
    for name in ("t.parquet", "t.jsonl"):
        read = load_table(tmp_path / name, missing="ignore").table["group"]
        assert len(shortened(set(read))) == len(set(read)) == 3


def test_truth_is_one_and_zero_beside_a_missing_cell(tmp_path: Path) -> None:
    for name, truth in (("whole", [True, False] * 6), ("missing", [True, False] * 5 + [True, None])):
        frame(label=pd.array(truth, dtype="boolean")).to_parquet(tmp_path / f"{name}.parquet")
        labels = load_table(tmp_path / f"{name}.parquet", missing="ignore").labels
        assert labels is not None
        assert labels.names == ("0", "1")


def test_a_number_is_as_long_as_its_cell_shows_it(tmp_path: Path) -> None:
    import openpyxl

    _excel(tmp_path / "t.xlsx", one=frame(patient=[n // 2 for n in range(12)]))
    book = openpyxl.load_workbook(tmp_path / "t.xlsx")
    for row in range(2, 14):
        book.active.cell(row, 3).number_format = "0000"
    book.save(tmp_path / "t.xlsx")
    assert sorted(set(load_table(tmp_path / "t.xlsx", missing="ignore").table["group"])) == [f"{n:04}" for n in range(6)]


@pytest.mark.parametrize(
    ("form", "hour", "written"),
    [
        ("yyyy-mm-dd hh:mm", 9, "2020-01-01 00:00:00"),
        ('[$-409]d/m/yy "at" h:mm AM/PM', 9, "2020-01-01 00:00:00"),
        ("yyyy-mm-dd hh:mm:ss", 0, "2020-01-01"),  # as pandas writes a column of dates
        ('yyyy-mm-dd "heute"', 9, "2020-01-01"),
    ],
)
def test_midnight_is_written_as_the_other_times_of_its_column(form: str, hour: int, written: str, tmp_path: Path) -> None:
    import openpyxl

    _excel(tmp_path / "t.xlsx", one=frame(seen=[datetime(2020, 1, 1 + n, hour * (n > 0)) for n in range(12)]))
    book = openpyxl.load_workbook(tmp_path / "t.xlsx")
    for row in range(2, 14):
        book.active.cell(row, 4).number_format = form
    book.save(tmp_path / "t.xlsx")
    assert read_workbook(tmp_path / "t.xlsx")["seen"].iloc[0] == written
    if written != "2020-01-01":
        times = load_table(tmp_path / "t.xlsx", missing="ignore", time="seen").table["visit.time"]
        assert times.diff().iloc[1] == 1 + hour / 24


def _merge(path: Path, *areas: str, cells: Mapping[str, object] | None = None) -> None:
    import openpyxl

    book = openpyxl.load_workbook(path)
    for area in areas:
        book.active.merge_cells(area)
    for place, value in (cells or {}).items():
        book.active[place] = value
    book.save(path)


def _replace(path: Path, old: bytes, new: bytes) -> None:
    """Put other bytes into the parts of a workbook."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name).replace(old, new) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)


def test_a_merged_header_names_its_column_once_and_a_title_is_no_row(tmp_path: Path) -> None:
    table = frame(label=["benign", "malignant", *["benign"] * 10])
    table.to_excel(tmp_path / "t.xlsx", index=False, startrow=1)
    _merge(tmp_path / "t.xlsx", "A1:A2", "B1:B2", "C1:C2", cells={"A1": "image", "B1": "label", "C1": "patient"})
    read = load_table(tmp_path / "t.xlsx", missing="ignore")
    assert read.table["sample_id"].tolist() == table["image"].tolist()
    assert set(read.table["group"]) == set(table["patient"])


@pytest.mark.parametrize("reach", [b"E2:XFD1048576", b"C1048575:C1048576"])
def test_a_merged_cell_of_a_whole_sheet_costs_nothing(reach: bytes, tmp_path: Path) -> None:
    _excel(tmp_path / "t.xlsx", one=TABLE)
    _merge(tmp_path / "t.xlsx", "H2:H4")
    _replace(tmp_path / "t.xlsx", b"H2:H4", reach)
    assert len(load_table(tmp_path / "t.xlsx", missing="ignore").table) == 12


def test_merged_cells_in_other_quotes_are_merged(tmp_path: Path) -> None:
    _excel(tmp_path / "t.xlsx", one=frame())
    _merge(tmp_path / "t.xlsx", "C2:C5")
    _replace(tmp_path / "t.xlsx", b'ref="C2:C5"', b"ref='C2:C5'")
    assert load_table(tmp_path / "t.xlsx", missing="ignore").table["group"].nunique() == 5


def _array_formula(path: Path) -> None:
    from openpyxl.worksheet.formula import ArrayFormula

    _excel(path, one=frame())
    _merge(path, cells={"B3": ArrayFormula("B3:B4", "=SUM(A1:A2)")})


@pytest.mark.parametrize("end", [".csv", ".csv.gz", ".csv.zip"])
def test_lines_are_the_files_own_beside_an_index_and_cells_of_several_lines(end: str, tmp_path: Path) -> None:
    TABLE.assign(size=["x" if n == 7 else n for n in range(12)]).to_csv(tmp_path / f"t{end}")
    with pytest.raises(MedzooError, match=rf"t{end} line 13: 'size' is 'x', not a number"):  # 4 cells of two lines above it
        load_table(tmp_path / f"t{end}", target="size", kind="regression", missing="ignore")


def test_rows_of_a_workbook_are_counted_as_excel_counts_them(tmp_path: Path) -> None:
    TABLE.assign(size=["x" if n == 7 else n for n in range(12)]).to_excel(tmp_path / "t.xlsx", index=False, startrow=2)
    with pytest.raises(MedzooError, match=r"t\.xlsx row 11: 'size' is 'x', not a number"):
        load_table(tmp_path / "t.xlsx", target="size", kind="regression", missing="ignore")


def test_numbers_with_a_comma(tmp_path: Path) -> None:
    TABLE.to_csv(tmp_path / "t.csv", sep=";", decimal=",", index=False)
    options = {"target": "size", "kind": "regression", "missing": "ignore"}
    with pytest.raises(MedzooError, match=r"line 2: 'size' is '0,0', not a number \(12 such lines\); say data\.decimal=','"):
        load_table(tmp_path / "t.csv", **options)
    read = load_table(tmp_path / "t.csv", decimal=",", **options)
    np.testing.assert_array_equal(read.table["target.size"], np.float32(TABLE["size"]))


def test_text_in_another_encoding(tmp_path: Path) -> None:
    table = frame(label=["gutartig", "bösartig"] * 6)
    table.to_csv(tmp_path / "t.csv", sep=";", index=False, encoding="cp1252")
    with pytest.raises(MedzooError, match=r"line 3 is not UTF-8 text: .*data\.encoding=cp1252, say$"):
        load_table(tmp_path / "t.csv", missing="ignore")
    labels = load_table(tmp_path / "t.csv", missing="ignore", encoding="cp1252").labels
    assert labels is not None
    assert labels.names == ("bösartig", "gutartig")


def _formulas(path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    for row in [["image", "label", "patient"], ["a.png", '=IF(1,"x","y")', "P1"], ["b.png", "y", "P2"]]:
        book.active.append(row)
    book.save(path)


@pytest.mark.parametrize(
    ("name", "write", "options", "message"),
    [
        ("t.xls", lambda path: path.write_bytes(b""), {}, "not a table of a known kind .*save it as .xlsx or CSV"),
        ("t.xlsx", lambda path: path.write_bytes(b"PK\3\4"), {}, "cannot be read"),
        ("t.xlsx", lambda path: path.write_bytes(b""), {}, "cannot be read"),
        ("t.xlsx", lambda path: _excel(path, a=TABLE, b=TABLE), {}, r"has 2 sheets \(a, b\); name one as data.sheet=a"),
        ("t.xlsx", lambda path: _excel(path, a=TABLE, b=TABLE), {"sheet": "c"}, "has no sheet 'c'; it has a, b"),
        ("t.xlsx", _array_formula, {}, "row 3: 'label' is a formula"),
        ("t.xlsx", _formulas, {}, "row 2: 'label' is a formula .* whose value the file does not keep"),
        ("t.xlsx", lambda path: pd.DataFrame({"\u200b": ["\u200b"]}).to_excel(path, index=False), {}, "sheet 'Sheet1' is empty"),
        ("t.csv", lambda path: TABLE.to_csv(path), {"sheet": "a"}, "data.sheet=a is for workbooks"),
        ("t.xlsx", lambda path: TABLE.to_excel(path), {"encoding": "utf-8"}, "data.encoding=utf-8 is for text"),
        ("t.csv", lambda path: TABLE.to_csv(path), {"encoding": "rot13"}, "is no known encoding"),
        ("t.csv", lambda path: TABLE.to_csv(path), {"decimal": "'"}, "neither . nor ,"),
        ("t.csv.gz", lambda path: path.write_bytes(b"\x1f\x8bdamaged"), {}, "cannot be read"),
        ("t.csv.zip", lambda path: path.write_bytes(b"PK\3\4damaged"), {}, "cannot be read"),
        ("t.csv.xz", lambda path: path.write_bytes(b"\xfd7zXZ\0damaged"), {}, "cannot be read"),
        ("t.csv.bz2", lambda path: path.write_bytes(b"BZh91AY&SYdamaged"), {}, "cannot be read"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_line(name: str, write: Callable, options: dict, message: str, tmp_path: Path) -> None:
    write(tmp_path / name)
    with pytest.raises(MedzooError, match=message) as caught:
        load_table(tmp_path / name, missing="ignore", **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["float16", "float32", "Float32", "float64", "float[pyarrow]"])
def test_fractions_of_parquet_are_as_short_as_their_type_keeps_them(kind: str) -> None:
    """0.1 kept as a float32 is 0.1 and not 0.10000000149011612; whole numbers that it cannot tell apart are not written whole."""
    text = as_text(pd.DataFrame({"a": pd.array([0.1, 2.5, 3, None], dtype=kind)}), strip=False)["a"]
    assert text.tolist() == ["0.1", "2.5", "3", ""]
    if kind == "float32":
        assert shortened(as_text(pd.DataFrame({"a": np.array([2**24, 7], np.float32)}), strip=False)["a"]) == [
            "1.6777216000000000E+07"
        ]


def test_decimals_of_parquet_are_the_numbers_that_they_are(tmp_path: Path) -> None:
    marks = [Decimal(n % 2).quantize(Decimal(1).scaleb(-18)) for n in range(12)]
    frame(label=pd.array(marks, dtype=pd.ArrowDtype(pa.decimal128(38, 18)))).to_parquet(tmp_path / "t.parquet")
    labels = load_table(tmp_path / "t.parquet", missing="ignore").labels
    assert labels is not None
    assert labels.names == ("0", "1")


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_findings_are_read_with_as_many_zeros_as_a_database_writes(tmp_path: Path, suffix: str) -> None:
    """A decimal of two places, of which a Parquet file keeps the places."""
    write_images(tmp_path, list(frame()["image"]))
    found = [[Decimal("1.00"), Decimal("0.00"), None][n % 3] for n in range(12)]
    table = frame(mass=found, edema=found[::-1])
    path = tmp_path / f"t.{suffix}"
    (table.to_parquet if suffix == "parquet" else table.to_csv)(path, index=False)
    dataset = load_table(path, target=["mass", "edema"], concepts=["mass"])
    expected = np.array([1, 0, np.nan] * 4, np.float32)
    np.testing.assert_array_equal(dataset.table["target.mass"], expected)
    np.testing.assert_array_equal(dataset.table["concept.mass"], expected)
