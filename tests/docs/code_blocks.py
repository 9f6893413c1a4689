"""The blocks of code of a Markdown page, and which of them are not run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"(?:<!-- not run: (?P<reason>[^>]+) -->\n+)?```(?P<language>bash|python)\n(?P<code>.*?)^```$", re.S | re.M)


@dataclass(frozen=True)
class Block:
    """One block.

    Attributes:
        line: Of its fence, in the page.
        language: bash or python.
        code: Its text.
        reason: Why it is not run, by the comment before it; empty: it is.
    """

    line: int
    language: str
    code: str
    reason: str


def code_blocks(page: Path) -> list[Block]:
    """Return the blocks of bash and Python of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(text.count("\n", 0, found.start("language")) + 1, found["language"], found["code"], found["reason"] or "")
        for found in _BLOCK.finditer(text)
    ]
