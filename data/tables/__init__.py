"""Tables in files: read as text, refused by the line that is wrong. The names below are the room's face."""

from __future__ import annotations

from medzoo.data.tables.text_table import TextTable, as_text, count_note, leaves_root

__all__ = ["TextTable", "as_text", "count_note", "leaves_root"]
