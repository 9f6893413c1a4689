"""Tables beside images on the command line: which row is an image's, and what of a file is refused."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

from medzoo.data.errors import ConfigError
from medzoo.export.commands.inputs_file import rows_for, rows_of
from medzoo.export.commands.regions_file import regions_of


def table(folder: Path, text: str) -> Path:
    path = folder / "rows.csv"
    path.write_text(text, encoding="utf-8")
    return path


def found(folder: Path, *names: str) -> list[tuple[str, Path]]:
    return [(name, folder / name) for name in names]


def test_an_image_takes_the_row_of_its_own_folder_not_of_a_namesake(tmp_path: Path) -> None:
    path = table(tmp_path, "image,flag\np1/film.png,1\n")
    rows = rows_of(path, "--inputs")
    assert [row["flag"] for row in rows_for(found(tmp_path, "p1/film.png"), rows, "image", path)] == ["1"]
    with pytest.raises(ConfigError, match=r"no row for p2/film\.png"):
        rows_for(found(tmp_path, "p2/film.png"), rows, "image", path)


def test_a_cell_without_a_folder_is_one_image_by_its_file_name(tmp_path: Path) -> None:
    path = table(tmp_path, "image,flag\nfilm.png,1\nother.png,0\n")
    rows = rows_of(path, "--inputs")
    assert [row["flag"] for row in rows_for(found(tmp_path, "a/other.png", "b/film.png"), rows, "image", path)] == ["0", "1"]
    with pytest.raises(ConfigError, match=r"film\.png in column 'image' may be .*p1/film\.png or .*p2/film\.png; write it with"):
        rows_for(found(tmp_path, "p1/film.png", "p2/film.png"), rows, "image", path)
    twice = rows_of(table(tmp_path, "image,flag\nfilm.png,1\nfilm.png,0\n"), "--inputs")
    with pytest.raises(ConfigError, match="2 rows for"):
        rows_for(found(tmp_path, "film.png"), twice, "image", path)


@pytest.mark.parametrize(("text", "said"), [
    ("image,flag\na.png,1,2\n", r"line 2: 3 cells, and the header has 2"),
    ("image,flag\na.png,1\n\nb.png\n", r"line 4: 1 cells, and the header has 2"),
    ("image,flag,flag\na.png,1,0\n", r"the column 'flag' 2 times"),
    ("image,flag,\na.png,1,0\n", r"a column without a name"),
    ("image,flag\n", "has no row"), ("", "has no row"), ('image\n"a.png\n', "cannot be read"),
])  # fmt: skip
def test_a_table_that_says_two_things_or_too_much_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = table(tmp_path, text)
    with pytest.raises(ConfigError, match=said):
        rows_of(path, "--inputs")
    with pytest.raises(ConfigError, match="--regions"):
        regions_of(found(tmp_path, "a.png"), str(path), None)


def test_a_mark_blank_lines_and_commas_at_the_ends_are_read_over(tmp_path: Path) -> None:
    path = table(tmp_path, "\ufeffimage, flag ,\n\n a.png,1,\n,,\nb.png,,\n")
    assert rows_of(path, "--inputs") == [{"image": "a.png", "flag": "1"}, {"image": "b.png", "flag": ""}]


@pytest.mark.parametrize(
    "content",
    [
        "image;flag\na.png;1\n", "sep=;\nimage;flag\na.png;1\n", "image\tflag\na.png\t1\n", "image|flag\na.png|1\n",
        ",image,flag\n0,a.png,1\n", '"","image","flag"\n"1","a.png","1"\n', "image,flag\na.png,1\n".encode("utf-16"),
    ],
)  # fmt: skip
def test_a_table_is_read_as_those_that_are_learnt_from(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert rows_of(path, "--inputs") == [{"image": "a.png", "flag": "1"}]
    packed = tmp_path / "rows.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert rows_of(packed, "--inputs") == [{"image": "a.png", "flag": "1"}]


@pytest.mark.parametrize(("name", "content", "said"), [
    ("rows.xlsx", b"PK\3\4", r"a CSV file is read here, and \.xlsx is none; save it as CSV"),
    ("rows.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", r"\(it is an Excel workbook of the old form .*\); save it as CSV"),
    ("rows.csv", gzip.compress(b"image,flag\na.png,1\n", mtime=0), r"\(it is packed by gzip\); save it as CSV"),
    ("rows.csv", "image,flag\na.png,1\n".encode("utf-16-le"), "is UTF-16-LE text without a byte-order mark; save it as UTF-8"),
    ("rows.csv", "image,flag\nä.png,1\n".encode("cp1252"), r"\(it is not UTF-8 text\); save it as UTF-8"),
    ("rows.csv", b"image;flag\na.png;1;2\n", "line 2: 3 cells, and the header has 2; quote a semicolon"),
])  # fmt: skip
def test_what_is_no_csv_is_told(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        rows_of(tmp_path / name, "--inputs")


def test_tables_are_read_without_the_libraries_of_training(tmp_path: Path) -> None:
    path = table(tmp_path, "image;flag\na.png;1\n")
    program = f"""
import sys
from pathlib import Path
from medzoo.export.commands.inputs_file import rows_of
assert rows_of(Path({str(path)!r}), "--inputs") == [{{"image": "a.png", "flag": "1"}}]
print(sorted({{"pandas", "pyarrow", "torch", "hydra"}} & set(sys.modules)))
"""
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"
