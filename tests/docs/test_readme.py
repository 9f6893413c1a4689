"""What README tells a user to type is run: a file of its own, so that two workers share the pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.code_blocks import run_blocks

SHORTER = {"trainer.epochs=15": "trainer.epochs=2"}
"""What may be less here: nothing that README says follows from how long the model was trained."""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_block_runs(tmp_path: Path) -> None:
    run_blocks(Path(__file__).resolve().parents[2] / "README.md", tmp_path, SHORTER)
