"""Real files: where they are, and what was not tested without them.

`MEDZOO_TEST_DATA` names a folder with `medmnist/`, `chestxray14/`, `scin/` and `olives/`, each as its authors
distribute it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

VARIABLE = "MEDZOO_TEST_DATA"
_REASON = f"{VARIABLE} is not set"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real files; the test is skipped where there is none."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        pytest.skip(_REASON)
    path = Path(folder)
    if not path.is_dir():
        pytest.fail(f"{VARIABLE}={folder} is not a folder")
    return path


def pytest_terminal_summary(terminalreporter):
    """Say how many tests had no real files: passing without them proves less."""
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if _REASON in str(report.longrepr)]
    if skipped:
        terminalreporter.write_line(
            f"{len(skipped)} tests on real files were skipped: {_REASON} (a folder with medmnist/, chestxray14/, scin/, olives/)",
            yellow=True,
        )
