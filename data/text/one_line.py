"""Names as a terminal may be given them: a file's name may hold anything, a terminal's commands and a line's end, too."""

from __future__ import annotations

import unicodedata

_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the order in which others are shown."""


def one_line(text: str, keep: str = "") -> str:
    """Return a text in which what ends a line, moves a terminal's cursor or turns the order of letters is escaped.

    Args:
        text: The text.
        keep: Characters that stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter in keep or not _commands(letter) else ascii(letter)[1:-1] for letter in text)


def _commands(letter: str) -> bool:
    return letter in _TURNING or unicodedata.category(letter) in ("Cc", "Zl", "Zp")
