"""The blocks of code of a Markdown page, and which of them are not run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from medzoo.cli import main

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


def run_blocks(page: Path, folder: Path, changes: Mapping[str, str]) -> None:
    """Run the blocks of a page in a folder, each by a process of its own, as a reader does; each change is of one place."""
    blocks = runnable(page)
    for old, new in changes.items():
        assert sum(block.code.count(old) for block in blocks) == 1, old
        blocks = [replace(block, code=block.code.replace(old, new)) for block in blocks]
    for block in blocks:
        run_by_a_process(page, block, folder)


def run_blocks_here(page: Path) -> None:
    """Run the blocks of a page in this process and the working directory: most of a short command's time are its imports.

    Python blocks see no names of one another, and what of bash is more than `medzoo` commands, one a line, is bash's.
    """
    for block in runnable(page):
        where = f"{page.name}, line {block.line}"
        if block.language == "python":
            exec(compile(block.code, where, "exec"), {"__name__": "__main__"})
        elif (commands := medzoo_commands(block.code)) is not None:
            for command in commands:
                assert main(command) == 0, f"{where}: {command}"
        else:
            run_by_a_process(page, block, Path.cwd())


def runnable(page: Path) -> list[Block]:
    """Return the blocks of a page but those that need what continuous integration has not."""
    return [block for block in code_blocks(page) if not block.reason]


def medzoo_commands(code: str) -> list[list[str]] | None:
    """Return the words of each line of bash after `medzoo`; None if a line is anything but one such command."""
    lines = [shlex.split(line, comments=True) for line in code.replace("\\\n", " ").splitlines()]
    commands = [words for words in lines if words]
    if all(words[0] == "medzoo" and not re.search(r"[|<>&;$`*]", "".join(words)) for words in commands):
        return [words[1:] for words in commands]
    return None


def run_by_a_process(page: Path, block: Block, folder: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", "-c", SHELL + block.code] if block.language == "bash" else [sys.executable, "-c", block.code]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False, timeout=1500
    )
    assert done.returncode == 0, f"{page.name}, line {block.line}: {done.stderr[-2000:]}"
