"""What README and the tutorials tell a user to type is run, in order, in an empty folder; the notebook too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.code_blocks import code_blocks

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "tutorials").glob("*.md"))]
RUN = [page for page in PAGES if any(not block.reason for block in code_blocks(page))]
SHELL = "set -euo pipefail\n"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_every_block_runs(page: Path, tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for block in code_blocks(page):
        if block.reason:
            continue
        command = ["bash", "-c", SHELL + block.code] if block.language == "bash" else [sys.executable, "-c", block.code]
        done = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False, timeout=1500
        )
        assert done.returncode == 0, f"{page.name}, line {block.line}: {done.stderr[-2000:]}"


def test_what_is_not_run_says_why() -> None:
    """Only what needs something that continuous integration has not may be left out."""
    left = [(page.name, block.line, block.reason) for page in PAGES for block in code_blocks(page) if block.reason]
    allowed = ("network", "installs", "GPU", "make")
    assert [entry for entry in left if not any(word in entry[2] for word in allowed)] == []


def test_every_tutorial_is_run_and_listed() -> None:
    tutorials = {page.name for page in PAGES[1:]} - {"index.md"}
    assert {page.name for page in RUN} >= {*tutorials, "README.md"}
    listed = (ROOT / "docs" / "tutorials" / "index.md").read_text(encoding="utf-8")
    assert [name for name in tutorials if f"]({name})" not in listed] == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    notebook = nbformat.read(ROOT / "docs" / "tutorials" / "first_model.ipynb", as_version=4)
    installing = [cell for cell in notebook.cells if "skip-execution" in cell.metadata.get("tags", [])]
    assert all("pip install" in cell.source for cell in installing)
    assert [cell for cell in notebook.cells if cell.get("outputs")] == []  # what it prints belongs to who runs it
    client = nbclient.NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
        skip_cells_with_tag="skip-execution",
    )
    client.execute()
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "largest difference" in printed
