"""What a table's first bytes say it is, where its name says something else; needs no library."""

from __future__ import annotations

import zipfile
from pathlib import Path

from medzoo.data.tables.text_file import PACKED, UNREADABLE, TextFile

_ZIP, _OLD, _PARQUET = "a zip archive", "an Excel workbook of the old form or with a password", "a Parquet file"
_SIGNATURES = (
    (b"PK\x03\x04", _ZIP, ".zip"), (b"\x1f\x8b", "packed by gzip", ".gz"), (b"\xfd7zXZ\x00", "packed by xz", ".xz"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _OLD, ""), (b"PAR1", _PARQUET, ".parquet"),
)  # fmt: skip
"""First bytes → what the file is, and the ending that it should bear."""
_BZ2, _BLOCKS = b"BZh", (b"1AY&SY", b"\x17rE8P\x90")
_ANOTHER = "save it as .xlsx or CSV"
_HEAD = 512


def misnamed(path: Path, kind: str) -> str | None:
    """Return what a file is by its first bytes, and what to do, where its name says something else; else None.

    Args:
        path: The file.
        kind: What its name says, as `medzoo.data.tables.text_file.kind_of` has it.
    """
    packer = path.suffix.lower() if path.suffix.lower() in PACKED else ""
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
        what, ending = _signature(head)
        if packer and ending == packer:
            with TextFile(path).binary() as stream:
                what, _ = _signature(stream.read(_HEAD))
            return what and f"what is packed in it is {what}, not text; unpack it, and name it as what it is"
    except UNREADABLE:
        return None  # which reading it says
    if packer:
        renamed = "" if what is None else ending
        return f"it is {what or 'not packed'}; rename it to {path.stem}{renamed}" if what or _is_text(head) else None
    if what == _OLD:
        return f"it is {what}; {_ANOTHER}"
    if what == _ZIP:
        return _of_zip(path, kind)
    if what is not None:
        # What is packed keeps the ending of what is in it.
        return (
            None if ending == kind else f"it is {what}; rename it to {path.stem if ending == '.parquet' else path.name}{ending}"
        )
    if kind in (".xlsx", ".xlsm", ".parquet") and _is_text(head):
        page = head.lstrip().lower().startswith((b"<html", b"<!doctype", b"<table", b"<?xml"))
        remedy = _ANOTHER if page else f"rename it to {path.stem}{'.jsonl' if head.lstrip().startswith(b'{') else '.csv'}"
        return f"it is {'a page of HTML or XML' if page else 'text'}; {remedy}"
    return None


def unmarked_utf16(path: Path) -> str | None:
    """Return the encoding of text that is UTF-16 without a mark, by the zeros beside its first letters; None of any other.

    Raises:
        UNREADABLE: One of them, if the file cannot be read.
    """
    with TextFile(path).binary() as stream:
        head = stream.read(64)
    head = head[: len(head) // 2 * 2]
    even, odd = head[::2], head[1::2]
    if len(head) < 4:
        return None
    if not any(odd) and all(even):
        return "utf-16-le"
    return "utf-16-be" if not any(even) and all(odd) else None


def _signature(head: bytes) -> tuple[str | None, str]:
    if head.startswith(_BZ2) and head[4:10] in _BLOCKS:
        return "packed by bzip2", ".bz2"
    return next(((what, ending) for mark, what, ending in _SIGNATURES if head.startswith(mark)), (None, ""))


def _of_zip(path: Path, kind: str) -> str | None:
    """Return what to do about a zip archive, which a workbook is too."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except UNREADABLE:
        return None if kind in (".xlsx", ".xlsm") else f"it is {_ZIP}, and damaged"
    if "xl/workbook.xml" in names:
        return None if kind in (".xlsx", ".xlsm") else f"it is an Excel workbook; rename it to {path.stem}.xlsx"
    if "mimetype" in names:
        return f"it is an OpenDocument file; {_ANOTHER}"
    return f"it is {_ZIP}; rename it to {path.stem if kind in ('.xlsx', '.xlsm') else path.name}.zip, or unpack it"


def _is_text(head: bytes) -> bool:
    """Return whether bytes are text of an encoding whose letters are no control characters, or that bears the mark of UTF-16."""
    marked = head.startswith((b"\xff\xfe", b"\xfe\xff"))
    return bool(head) and (marked or not any(byte < 9 or 13 < byte < 32 for byte in head))
