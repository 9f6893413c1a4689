"""The GPU benchmark as a program: tried on the processor with a tiny network, nothing is said of its times."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import gpu
from benchmarks.timed_loops import INPUTS, Timing

SMALLEST = ["--device", "cpu", "--models", "tiny", "--size", "32", "--images", "8", "--epoch", "32", "--steps", "5"]
SMALLEST += ["--rounds", "1", "--workers", "0", "--precision", "no"]


def test_sections_are_merged_and_a_failed_one_is_a_line_and_a_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> str:
        raise RuntimeError("no such luck\nand more of it")

    monkeypatch.setitem(gpu.SECTIONS, "ceilings", broken)
    assert gpu.main(["--sections", "ceilings", "train", *SMALLEST, "--output", str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert printed.count("ceilings: ceilings failed: RuntimeError: no such luck") == 2  # at once, and at the end
    found = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert list(found) == ["train"]
    rows = {row["what"]: row for row in found["train"]["values"]["rows"]}
    wanted = {
        "b: medzoo, ready batch",
        "c: bare loop",
        "c: bare, channels last loop",
        "a: medzoo, packed, input=loader, 0 workers",
    }
    assert set(rows) == wanted | ({"a: medzoo, packed, input=device"} if "device" in INPUTS else set())
    assert all(row["rate"] > 0 and row["tflops"] > 0 for row in rows.values())
    monkeypatch.setitem(gpu.SECTIONS, "ceilings", lambda call, keep: keep("a table", {"a": 1}) or "a table")
    assert gpu.main(["--sections", "ceilings", "--device", "cpu", "--output", str(tmp_path)]) == 0
    assert list(json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))) == ["train", "ceilings"]
    assert "a table" in (tmp_path / "gpu.md").read_text(encoding="utf-8")


def test_what_has_no_time_left_is_named_and_not_begun(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["--sections", "small", "--small-images", "64", "--device", "cpu", "--minutes", "0"]) == 1
    assert "small: published, 0 workers is left out: it takes about 10 s, and 0 s are left" in capsys.readouterr().out


def test_a_timing_is_the_median_and_how_far_the_rounds_lie_apart() -> None:
    timing = Timing(100, (1.0, 2.0, 2.5))
    assert timing.rate == 50
    assert timing.spread == 0.75
