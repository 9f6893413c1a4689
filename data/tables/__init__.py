"""Tables in files: read as text, refused by the line that is wrong. The names below are the room's face.

They load pandas when they are used: what looks at bytes alone is imported without it, in a deployment too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medzoo.data.tables.text_table import TextTable, as_text, count_note, leaves_root

__all__ = ["TextTable", "as_text", "count_note", "leaves_root"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from medzoo.data.tables import text_table

    return getattr(text_table, name)
