"""How the bytes of a table are text: packed or not, its encoding, and what stands between its cells."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import lzma
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TextIO, cast

from medzoo.data.errors import DatasetError

PACKED = (".gz", ".bz2", ".xz", ".zip")
UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError, UnicodeError, csv.Error)
"""What opening and reading such a file may raise; `zipfile` NotImplementedError of a compression that it does not have."""
SEPARATORS = ",;\t|"

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip


@dataclass(frozen=True)
class TextFile:
    """A file of text that may be packed.

    Attributes:
        path: The file.
        encoding: Of its text.
        separator: What stands between its cells.
    """

    path: Path
    encoding: str = "utf-8-sig"
    separator: str = ","

    @classmethod
    def find(cls, path: Path, encoding: str | None = None) -> TextFile:
        """Find out how a file is written.

        Its separator is the one that its first line of cells has most of; its encoding UTF-8, or by its mark UTF-16 or UTF-32.

        Args:
            path: The file.
            encoding: That of its text; None: as found.

        Raises:
            DatasetError: If there is no such encoding.
            UNREADABLE: One of them, if the file cannot be read.
        """
        file = cls(path, encoding or _encoding(path))
        if not is_encoding(file.encoding):
            raise DatasetError(f"data.encoding={encoding} is no known encoding; cp1252, utf-16 and latin-1 are some")
        return cls(path, "utf-8-sig" if file.encoding.lower() in ("utf-8", "utf8") else file.encoding, _separator(file))

    @property
    def plain(self) -> bool:
        """Whether it is UTF-8."""
        return self.encoding == "utf-8-sig"

    def binary(self) -> IO[bytes]:
        """Open its bytes, unpacked."""
        return _binary(self.path)

    def text(self) -> TextIO:
        """Open its text, line ends as they are."""
        return io.TextIOWrapper(self.binary(), encoding=self.encoding, newline="")


def is_encoding(name: str) -> bool:
    """Return whether Python knows an encoding of text by a name."""
    try:
        io.TextIOWrapper(io.BytesIO(), encoding=name)
    except (LookupError, ValueError):
        return False
    return True


def says_unicode(path: Path) -> bool:
    """Return whether text itself says that it is Unicode: by a mark, or by letters beyond ASCII that are UTF-8 throughout.

    ASCII alone says nothing: text of several other encodings is bytes of it.

    Args:
        path: A file, which may be packed.

    Raises:
        UNREADABLE: One of them, if the file cannot be read.
    """
    decoder, plain = codecs.getincrementaldecoder("utf-8")(), True
    with _binary(path) as stream:
        block = stream.read(1 << 20)
        if block.startswith((codecs.BOM_UTF8, *(mark for mark, _ in _MARKS))):
            return True
        try:
            while block:
                plain = plain and block.isascii()
                decoder.decode(block)
                block = stream.read(1 << 20)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return not plain


def kind_of(path: Path) -> str:
    """Return the ending of a table's file that says its kind, in lower case, without that of a packer: `.csv` of `t.csv.gz`."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in PACKED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _binary(path: Path) -> IO[bytes]:
    packer = path.suffix.lower()
    if packer == ".gz":
        return cast(IO[bytes], gzip.open(path, "rb"))
    if packer == ".bz2":
        return cast(IO[bytes], bz2.open(path, "rb"))
    if packer == ".xz":
        return cast(IO[bytes], lzma.open(path, "rb"))
    if packer == ".zip":
        with zipfile.ZipFile(path) as archive:
            members = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
            if len(members) != 1:
                raise zipfile.BadZipFile(f"it holds {len(members)} files, not one table; unpack it")
            if archive.getinfo(members[0]).flag_bits & 1:
                raise zipfile.BadZipFile("it is encrypted; unpack it")
            return io.BytesIO(archive.read(members[0]))
    return path.open("rb")


def _encoding(path: Path) -> str:
    with _binary(path) as stream:
        head = stream.read(4)
    return next((name for mark, name in _MARKS if head.startswith(mark)), "utf-8-sig")


def _separator(file: TextFile) -> str:
    """Return what the first line of cells is parted by most, outside of quotes; `sep=;` of a spreadsheet says it."""
    usual = "\t" if kind_of(file.path) == ".tsv" else ","
    line = ""
    with file.binary() as stream:
        text = io.TextIOWrapper(stream, encoding=file.encoding, errors="replace", newline="")
        while not line.strip():
            if not (line := text.readline(1 << 20)):
                return usual
    if (said := line.strip("\ufeff\r\n ").lower()).startswith("sep=") and len(said) == 5:
        return said[4]
    bare = "".join(line.split('"')[::2])
    most = max(SEPARATORS[:3], key=lambda mark: (bare.count(mark), mark == usual))
    return most if bare.count(most) else "|" if "|" in bare else usual
