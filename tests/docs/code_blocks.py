"""The blocks of code of a Markdown page, and which of them are not run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SHELL = "set -euo pipefail\n"
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


def run_blocks(page: Path, folder: Path) -> None:
    """Run the blocks of a page in a folder; those that need what continuous integration has not are passed over."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for block in code_blocks(page):
        if block.reason:
            continue
        command = ["bash", "-c", SHELL + block.code] if block.language == "bash" else [sys.executable, "-c", block.code]
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False, timeout=1500
        )
        assert done.returncode == 0, f"{page.name}, line {block.line}: {done.stderr[-2000:]}"
