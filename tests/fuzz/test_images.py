"""Spoilt files of every format: pixels or one line; no traceback, no hang, no memory beyond bounds, no dead process.

`MEDZOO_FUZZ=20000 pytest tests/fuzz -m slow` tries so many a format (400 without).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.image_worker import FORMATS, failure, seeds, spoilt

COUNT = int(os.environ.get("MEDZOO_FUZZ", "400"))
FIRST = int(os.environ.get("MEDZOO_FUZZ_SEED", "0"))
FOUND = {"TIFF": (712, 1178, 23473, 51601), "DICOM": (7296, 8729), "FRAMES": (408, 1055)}
"""Seeds that failed once."""
ROOT = Path(__file__).resolve().parents[2]


def need(form: str) -> None:
    for module in {
        "TIFF": ["tifffile", "imagecodecs"],
        "DICOM": ["pydicom", "jpeg_ls", "openjpeg"],
        "FRAMES": ["pydicom", "jpeg_ls", "tifffile"],
        "NIFTI": ["nibabel"],
    }.get(form, []):
        pytest.importorskip(module)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("form", FORMATS)
def test_a_spoilt_file_is_pixels_or_one_line(form: str, tmp_path: Path) -> None:
    need(form)
    command = [sys.executable, "-m", "tests.fuzz.image_worker", form, str(FIRST), str(COUNT), str(tmp_path / "at")]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60 + COUNT * 0.5)
    except subprocess.TimeoutExpired:
        pytest.fail(f"{form}: seed {(tmp_path / 'at').read_text().strip()} hangs")
    assert done.returncode == 0, f"{form}: seed {(tmp_path / 'at').read_text().strip()} ends the process: {done.stderr[-500:]}"
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["read"], result["failures"]) == (COUNT, {})
    assert result["megabytes"] < 2048
    print(f"{form}: at most {result['megabytes']} MB, the slowest of {COUNT} in {result['slowest']} s")


@pytest.mark.parametrize("form", FORMATS)
def test_the_intact_files_are_read_and_what_failed_once_is_mended(form: str, tmp_path: Path) -> None:
    need(form)
    for data in seeds(form):
        assert failure(form, data, tmp_path) is None
    for seed in (*range(20), *FOUND.get(form, ())):
        assert failure(form, spoilt(form, seed), tmp_path) is None, f"{form} seed {seed}"
