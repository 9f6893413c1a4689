"""The files that pydicom and nibabel test themselves with, and every frame of them: the libraries' own pixels, or one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.formats import KINDS, compare, installed, table
from tests.data.images.makers import encoded

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("library", ["pydicom", "pydicom, frame by frame", "nibabel"])
def test_each_file_is_the_librarys_own_pixels_or_one_line(library: str) -> None:
    pytest.importorskip(library.partition(",")[0])
    files = installed()[library]
    assert len(files) > 50
    outcomes = {path: compare(path) for path in files}
    wrong = {Path(str(path)).name: outcome for path, outcome in outcomes.items() if outcome.kind in ("wrong", "traceback")}
    assert not wrong
    for path, outcome in outcomes.items():
        if outcome.kind == "line":
            assert "\n" not in outcome.said
            assert Path(str(path)).name in outcome.said
    assert sum(outcome.kind == "equal" for outcome in outcomes.values()) >= {"pydicom": 70, "nibabel": 3}.get(library, len(files))


def test_the_table_counts_every_file(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(encoded(__import__("PIL.Image").Image.new("L", (4, 4))))
    (tmp_path / "y.png").write_bytes(b"")
    lines = table({"own": sorted(tmp_path.iterdir())})
    assert lines[-1] == "| own | 2 | 0 | 1 | 1 | 0 | 0 | 0e+00 |"
    assert len(lines) == 3
    assert len(KINDS) == 5
