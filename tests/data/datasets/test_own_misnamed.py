"""Tables that are not what their names say: told by their first bytes, with what to do."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from medzoo.data.errors import DatasetError
from tests.data.datasets.own_tables import frame, load_table, write_images


def text() -> bytes:
    return frame().to_csv(index=False).encode()


def workbook() -> bytes:
    buffer = io.BytesIO()
    frame().to_excel(buffer, index=False)
    return buffer.getvalue()


def parquet() -> bytes:
    return bytes(frame().to_parquet(None))


def zipped(content: bytes, name: str = "t.csv") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def lines() -> bytes:
    return frame().to_json(orient="records", lines=True).encode()  # type: ignore[no-any-return]


OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_images(tmp_path, list(frame()["image"]))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", workbook, "it is an Excel workbook; rename it to t.xlsx"),
        ("t.jsonl", workbook, "it is an Excel workbook; rename it to t.xlsx"),
        ("t.parquet", workbook, "it is an Excel workbook; rename it to t.xlsx"),
        ("t.csv", lambda: gzip.compress(text()), "it is packed by gzip; rename it to t.csv.gz"),
        ("t.tsv", lambda: bz2.compress(text()), "it is packed by bzip2; rename it to t.tsv.bz2"),
        ("t.csv", lambda: lzma.compress(text()), "it is packed by xz; rename it to t.csv.xz"),
        ("t.csv", lambda: zipped(text()), "it is a zip archive; rename it to t.csv.zip, or unpack it"),
        ("t.xlsx", lambda: zipped(text()), "it is a zip archive; rename it to t.zip, or unpack it"),
        ("t.csv", parquet, "it is a Parquet file; rename it to t.parquet"),
        ("t.xlsx", parquet, "it is a Parquet file; rename it to t.parquet"),
        ("t.csv", lambda: OLE, "it is an Excel workbook of the old form or with a password; save it as .xlsx or CSV"),
        ("t.xlsx", lambda: OLE, "it is an Excel workbook of the old form or with a password; save it as .xlsx or CSV"),
        ("t.csv", lambda: zipped(b"<x/>", "mimetype"), "it is an OpenDocument file; save it as .xlsx or CSV"),
        ("t.xlsx", text, "it is text; rename it to t.csv"), ("t.parquet", text, "it is text; rename it to t.csv"),
        ("t.parquet", lines, "it is text; rename it to t.jsonl"),
        ("t.xlsx", lambda: b"<html><table></table></html>", "it is a page of HTML or XML; save it as .xlsx or CSV"),
        ("t.csv.zip", lambda: zipped(zipped(text())), "what is packed in it is a zip archive, not text; unpack it"),
        ("t.csv.gz", lambda: gzip.compress(gzip.compress(text())), "what is packed in it is packed by gzip, not text; unpack it"),
        ("t.csv.gz", text, "it is not packed; rename it to t.csv"),
        ("t.csv.gz", lambda: zipped(text()), "it is a zip archive; rename it to t.csv.zip"),
    ],
)  # fmt: skip
def test_what_a_file_is_and_what_to_do(name: str, content: Callable[[], bytes], said: str, folder: Path) -> None:
    (folder / name).write_bytes(content())
    with pytest.raises(DatasetError, match=rf"{re.escape(name)} is not what its name says: {re.escape(said)}") as caught:
        load_table(folder / name)
    assert "cp1252" not in str(caught.value)
    renamed = re.search(r"rename it to ([\w.]+)", said)
    if renamed is not None and renamed[1] != "t.zip":  # the remedy is one
        (folder / name).rename(folder / renamed[1])
        assert len(load_table(folder / renamed[1]).table) == 12


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_utf_16_without_a_mark_is_told(name: str, encoding: str, folder: Path) -> None:
    content = text().decode().encode(encoding)
    (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    with pytest.raises(DatasetError, match=rf"text without a byte-order mark; .* needs data\.encoding={encoding}$"):
        load_table(folder / name)
    assert len(load_table(folder / name, encoding=encoding).table) == 12


def test_utf_16_without_a_mark_in_a_further_table_and_in_json(folder: Path) -> None:
    (folder / "t.csv").write_bytes(text())
    (folder / "more.csv").write_bytes("patient,age\nP1,3\n".encode("utf-16-le"))
    with pytest.raises(DatasetError, match=r"more\.csv is UTF-16-LE .*needs encoding: utf-16-le in its entry of data\.join"):
        load_table(folder / "t.csv", join=[{"file": "more.csv", "by": "patient"}])
    (folder / "t.jsonl").write_bytes(lines().decode().encode("utf-16-le"))
    with pytest.raises(DatasetError, match=r"UTF-16-LE text without a byte-order mark; save it as UTF-8"):
        load_table(folder / "t.jsonl")


def test_names_padded_with_zeros_are_not_taken_for_utf_16(folder: Path) -> None:
    (folder / "t.csv").write_bytes(text().replace(b"image,", b"image\x00\x00,"))
    assert len(load_table(folder / "t.csv").table) == 12
