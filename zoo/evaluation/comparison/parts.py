"""What a comparison says, before it is Markdown or HTML: headings, sentences and tables of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Grid:
    """A table of text.

    Attributes:
        header: A name for each column.
        rows: A text for each column.
        lead: A sentence above it; empty: none.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    lead: str = ""


@dataclass(frozen=True)
class Part:
    """A heading, and the sentences and tables below it in their order; `level` is the heading's, 2 or 3."""

    title: str
    blocks: Sequence[str | Grid]
    level: int = 2


def markdown(title: str, notes: Sequence[str], parts: Sequence[Part], closing: Sequence[str] = ()) -> str:
    """Return a page: its title, notes as paragraphs, the parts, and closing remarks as a list."""
    lines = [f"# {title}", ""]
    for note in notes:
        lines += [note, ""]
    for part in parts:
        lines += [f"{'#' * part.level} {part.title}", ""]
        for block in part.blocks:
            lines += [block, ""] if isinstance(block, str) else _table(block)
    lines += [f"- {one}" for one in closing]
    return "\n".join(lines).rstrip() + "\n"


def _table(grid: Grid) -> list[str]:
    lines = [grid.header, ["---"] * len(grid.header), *grid.rows]
    return ([grid.lead, ""] if grid.lead else []) + [f"| {' | '.join(map(_cell, line))} |" for line in lines] + [""]


def _cell(text: str) -> str:
    return text.replace("|", r"\|")  # of a name; else it would end the cell
