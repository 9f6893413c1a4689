"""What README and the tutorials tell a user to type is run, in order, in an empty folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.code_blocks import code_blocks, medzoo_commands, run_blocks_here

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "tutorials").glob("*.md"))]
RUN = [page for page in PAGES if any(not block.reason for block in code_blocks(page))]
TUTORIALS = [page for page in RUN if page.name != "README.md"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_every_block_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here and not as a reader does, which README's test proves of the same command."""
    monkeypatch.chdir(tmp_path)
    run_blocks_here(page)


def test_only_plain_commands_are_not_left_to_bash() -> None:
    assert medzoo_commands('medzoo a "b=[c, d]"  # why\n\nmedzoo e \\\n  f\n') == [["a", "b=[c, d]"], ["e", "f"]]
    for code in ("ls\nmedzoo a", "medzoo a | cat", "medzoo a && medzoo b", "medzoo a > b", "medzoo $A", "A=1 medzoo a"):
        assert medzoo_commands(code) is None


def test_what_is_not_run_says_why() -> None:
    """Only what needs something that continuous integration has not may be left out."""
    left = [(page.name, block.line, block.reason) for page in PAGES for block in code_blocks(page) if block.reason]
    allowed = ("network", "installs", "GPU", "make", "serves until it is stopped")
    assert [entry for entry in left if not any(word in entry[2] for word in allowed)] == []


def test_every_tutorial_is_run_and_listed() -> None:
    tutorials = {page.name for page in PAGES[1:]} - {"index.md"}
    assert {page.name for page in RUN} >= {*tutorials, "README.md"}
    listed = (ROOT / "docs" / "tutorials" / "index.md").read_text(encoding="utf-8")
    assert [name for name in tutorials if f"]({name})" not in listed] == []
