"""Text tables: what is read is what the csv module reads, and a bad row is named by its own line."""

from __future__ import annotations

import csv
import gzip
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medzoo.data.dataset import UnknownColumnError
from medzoo.data.errors import DatasetError
from medzoo.data.tables import TextTable, as_text, count_note, leaves_root
from tests.data.trailing import Trailing

PLAIN = "id,word,number\n007,yes,1\n008,,2.50\n009,no,\n"


def write(folder: Path, text: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return path


def refused(message: str, path: Path, *columns: str, **options) -> None:
    with pytest.raises(DatasetError, match=message) as caught:
        TextTable.read(path, columns or None, **options)
    assert "\n" not in str(caught.value)


def line_of(text: str) -> int:
    """The line that follows a text, as an editor counts them."""
    return 1 + len(re.findall(r"\r\n|\r|\n", text))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.lists(st.text('a" ,\r\né', max_size=4), min_size=3, max_size=3), min_size=1, max_size=6),
    blank=st.sets(st.integers(0, 6)),
    end=st.sampled_from(["\n", "\r\n"]),
    comma=st.booleans(),
    bom=st.booleans(),
)
def test_what_is_read_is_what_was_written(tmp_path, rows, blank, end, comma, bom) -> None:
    text, kept, lines = f"a,b,c{',' * comma}{end}", [], []
    for number, cells in enumerate(rows):
        text += end * (number in blank)
        record = io.StringIO(newline="")
        # The writer does not quote a carriage return of its own accord.
        quoting = csv.QUOTE_ALL if "\r" in "".join(cells) else csv.QUOTE_MINIMAL
        csv.writer(Trailing(record, "," * comma, end), lineterminator=end, quoting=quoting).writerow(cells)
        if any(cells):
            kept.append(cells)
            lines.append(line_of(text))
        text += record.getvalue()
    path = write(tmp_path, b"\xef\xbb\xbf" * bom + text.encode("utf-8"))
    if not kept:
        return refused(r"t\.csv has no rows", path)
    table = TextTable.read(path)
    assert table.rows.to_numpy().tolist() == kept
    assert table.places(table.rows.index) == lines
    one = TextTable.read(path, ["b"]) if any(cells[1] for cells in kept) else table  # fewer columns, the same rows
    assert one.places(one.rows.index) == lines
    return None


def test_columns_are_read_by_name_and_called_as_in_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, PLAIN)
    assert list(TextTable.read(path).rows.columns) == ["id", "word", "number"]
    table = TextTable.read(path, {"patient": ("ID", "id"), "age": ("number",)})
    assert table["patient"].tolist() == ["007", "008", "009"]
    with pytest.raises(DatasetError, match=r"^t\.csv line 3: 'number' is '2\.50', too many$"):
        table.refuse(table["age"] == "2.50", "age", "too many")
    missing = r"^toy: t\.csv: the table has no column 'numbr' or 'n'; the nearest is 'number'; look$"
    with pytest.raises(UnknownColumnError, match=missing):
        TextTable.read(path, {"age": ("numbr", "n")}, dataset="toy", remedy="look")
    with pytest.raises(UnknownColumnError, match=r"^t\.csv: the table has no column 'wrd'; the nearest is 'word'$"):
        _ = TextTable.read(path)["wrd"]


def test_packed_files_and_tabs(tmp_path: Path) -> None:
    expected = TextTable.read(write(tmp_path, PLAIN)).rows
    packed = write(tmp_path, gzip.compress(PLAIN.encode()), "t.csv.gz")
    pd.testing.assert_frame_equal(TextTable.read(packed).rows, expected)
    tabs = write(tmp_path, PLAIN.replace(",", "\t"), "t.tsv")
    pd.testing.assert_frame_equal(TextTable.read(tabs).rows, expected)
    for number, text in enumerate(
        (PLAIN.encode("utf-16"), PLAIN.replace(",", ";").encode(), b"sep=;\n" + PLAIN.replace(",", ";").encode())
    ):
        read = TextTable.read(write(tmp_path, text, f"{number}.csv"))
        assert read.rows.to_numpy().tolist() == expected.to_numpy().tolist()
        assert read.places(read.rows.index) == [2 + (number == 2), 3 + (number == 2), 4 + (number == 2)]
    packed.write_bytes(packed.read_bytes()[:-9])
    refused(r"t\.csv\.gz cannot be read \(.+\); again$", packed, remedy="again")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is empty"),
        ("\n \n", "is empty"),
        ("id,word,number\n", "has no rows"),
        (PLAIN.replace("word", "id"), "has several columns 'id'; keep one"),
        (PLAIN.replace("008,", "008,x,y"), r"line 3: has cells beyond the 3 columns of the header \('2\.50'\); is a comma"),
        (PLAIN.replace("008,", "008,x,y").replace("2.50", ""), r"line 3: has cells beyond the 3 columns"),
        (PLAIN.replace("008,,2.50", "008,"), r"line 3: is cut short, with 2 cells of 3; it begins '008'"),
        # A comma more in the first row alone is not the comma at the end of every row.
        (PLAIN.replace("007,yes", "007,a,"), r"line 2: has cells beyond|line 3: is cut short, with 3 cells of 4"),
        (PLAIN.replace("007,yes,1", "007,a,b,"), r"line 3: is cut short, with 3 cells of 4"),
        (PLAIN.replace("word,", ","), r"line 2: has cells beyond the 2 columns of the header \('yes'\)"),
        (PLAIN.replace("009,no", '009,"no'), r"cannot be read \(a quote that opens on line 4 or below is not closed\)"),
        (PLAIN.encode().replace(b"no", b"n\xff"), r"cannot be read \(line 4 is not UTF-8 text: invalid start byte\)"),
    ],
)
def test_damaged_files_are_refused_with_their_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    refused(rf"^toy: .*t\.csv:? {message}", write(tmp_path, text), dataset="toy")


def test_a_row_may_end_early_where_it_is_allowed_or_nothing_wanted_is_cut(tmp_path: Path) -> None:
    path = write(tmp_path, "id,word,number\n007,yes\n008\n")
    assert TextTable.read(path, pad=True).rows.to_numpy().tolist() == [["007", "yes", ""], ["008", "", ""]]
    assert TextTable.read(path, ["id"])["id"].tolist() == ["007", "008"]
    refused(r"line 3: is cut short, with 1 cells of 3", path, "id", "word")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    refused(r"^toy: .*no\.csv is not there; get it$", tmp_path / "no.csv", dataset="toy", remedy="get it")
    refused(r"no\.csv is not there$", tmp_path / "no.csv")


@pytest.fixture
def table(tmp_path: Path) -> TextTable:
    text = 'id,word,number\n1,"two\nlines",1\n\n2,yes,x\n3,no,inf\n4,,2\n'
    return TextTable.read(write(tmp_path, text), dataset="toy", remedy="mend it")


def test_a_refusal_names_file_line_cells_and_how_many(table: TextTable) -> None:
    cases = [
        ((table["word"] == "yes", "number", "not a number"), "line 5: 'number' is 'x', not a number; mend it"),
        ((table["number"] != "1", "number", "odd", "go"), "line 5: 'number' is 'x', odd (3 such lines); go"),
        ((table["word"] == "", "word"), "line 7: 'word' is empty; mend it"),
        ((np.arange(4) == 0, ["id", "word"], "odd"), r"line 2: 'id' is '1', 'word' is 'two\nlines', odd; mend it"),
        ((table["id"][2:] == "4", "id", "too many"), "line 7: 'id' is '4', too many; mend it"),
    ]  # fmt: skip
    for arguments, message in cases:
        with pytest.raises(DatasetError) as caught:
            table.refuse(*arguments)
        assert str(caught.value) == f"toy: t.csv {message}"
    table.refuse(table["word"] == "maybe", "word")
    with pytest.raises(DatasetError, match="line 5: 'word' is 'yes', not one of no, nothing; mend it"):
        replace(table, rows=table.rows[1:]).refuse_others("word", ["no", ""])
    with pytest.raises(DatasetError, match=r"^toy: t\.csv: name 'n' stands on lines 2 and 6; keep one$"):
        table.refuse_repeats(pd.Series(["n", "m", "n", "o"], table.rows.index), "name", "keep one")
    table.refuse_repeats(table["id"], "id", "keep one")


def test_numbers_are_finite_or_missing(table: TextTable) -> None:
    with pytest.raises(DatasetError, match=r"line 5: 'number' is 'x', not a number \(2 such lines\)"):
        table.numbers("number")
    missing = table["number"].isin(["x", "inf"])
    np.testing.assert_array_equal(table.numbers("number", missing), [1, np.nan, np.nan, 2])
    with pytest.raises(DatasetError, match=r"line 2: 'word' is 'two\\nlines'"):
        table.numbers("word")


def test_rows_without_lines_are_named_by_number() -> None:
    table = TextTable("s.parquet", as_text(pd.DataFrame({"a": [1.0, np.nan, 0.5], "b": [True, False, True]})), unit="row")
    assert table.rows.to_numpy().tolist() == [["1", "1"], ["", "0"], ["0.5", "1"]]
    with pytest.raises(DatasetError, match=r"^s\.parquet row 1: 'a' is empty$"):
        table.refuse(table["a"] == "", "a")
    with pytest.raises(DatasetError, match=r"rows 0 and 2"):
        table.refuse_repeats(table["b"], "b", "keep one")


def test_cells_of_any_type_become_text() -> None:
    values = [3.0, -0.0, 1e15, 2.0**53, 0.1, -2.5, np.inf, np.nan]
    assert as_text(pd.DataFrame({"x": values}))["x"].tolist() == [
        "3", "0", "1000000000000000", "9007199254740992.0", "0.1", "-2.5", "inf", "",
    ]  # fmt: skip
    other = pd.DataFrame({"x": pd.array([1, None], "Int64"), "y": [" a ", None], "z": pd.array([True, None], "boolean")}, [4, 9])
    assert as_text(other).to_numpy().tolist() == [["1", "a", "1"], ["", "", ""]]
    assert as_text(other).index.tolist() == [4, 9]


def test_paths_that_leave_their_root() -> None:
    paths = ["a/b.png", "../a", "a/../b", "a..b/c", "/a", "\\a", "C:/a", "a\\..\\b", "..", "a/..b", None, ""]
    assert leaves_root(pd.Series(paths)).tolist() == [False, True, True, False, *[True] * 5, False, False, False]


def test_a_note_counts_rows_and_is_none_where_there_are_none() -> None:
    assert count_note([True, False, True], "films are dark") == ("2 of 3 films are dark",)
    assert count_note(pd.Series([False]), "films are dark") == ()
