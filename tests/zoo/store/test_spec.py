"""A spec that is read from a file of others."""

from __future__ import annotations

from pathlib import Path

import pytest

from medzoo.data.errors import CheckpointError
from medzoo.store.spec import ModelSpec


def test_lists_without_end_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match="cannot read"):
        ModelSpec.read(tmp_path / "spec.json")
