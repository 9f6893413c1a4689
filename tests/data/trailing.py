"""CSV with commas after the last cell, as some spreadsheets write it."""

from __future__ import annotations

from typing import TextIO


class Trailing:
    """A text file for `csv.writer` that writes something between each row and its end.

    The writer itself took such an end of rows only before Python 3.13.
    """

    def __init__(self, file: TextIO, tail: str, end: str) -> None:
        self.file, self.tail, self.end = file, tail, end

    def write(self, row: str) -> int:
        """Write a row, which the writer hands over whole."""
        assert row.endswith(self.end)
        return self.file.write(row.removesuffix(self.end) + self.tail + self.end)
