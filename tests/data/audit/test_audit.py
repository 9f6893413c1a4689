"""`medzoo verify` on a table with every fault planted, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medzoo.cli import main


def smooth(seed: int) -> np.ndarray:
    """A picture with large shapes, whose perceptual hash survives a little noise."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6), dtype=np.uint8))
    return np.asarray(coarse.resize((64, 64), Image.Resampling.BICUBIC))


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """12 patients of two images each; image 3 copied into test, 5 re-encoded into val, 7 with noise into test, 9 truncated."""
    lines = ["image,patient,split,label,sex"]
    for number in range(24):
        Image.fromarray(smooth(number)).save(tmp_path / f"{number}.png")
        split = "train" if number < 16 else "val" if number < 20 else "test"
        lines.append(f"{number}.png,{number // 2},{split},{'ab'[number % 2] if number != 2 else ''},{'fm'[number % 3 == 0]}")
    (tmp_path / "20.png").write_bytes((tmp_path / "3.png").read_bytes())
    Image.fromarray(smooth(5)).save(tmp_path / "16.png", compress_level=0)
    Image.fromarray(smooth(7) // 2 * 2).save(tmp_path / "22.png")
    (tmp_path / "9.png").write_bytes((tmp_path / "9.png").read_bytes()[:60])
    (tmp_path / "11.png").unlink()
    lines[24] = lines[24].replace(",11,", ",0,")  # patient 0 in train and test
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def options(folder: Path) -> list[str]:
    return [
        "data=table", f"data.file={folder / 't.csv'}", "data.target=label", "data.group=patient", "data.split=split",
        "data.subgroups=[sex]", "data.channels=1", f"output={folder / 'report'}",
    ]  # fmt: skip


def test_every_planted_fault_is_found(faulty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", *options(faulty), "deep=true"]) == 1
    report = json.loads((faulty / "report" / "verify.json").read_text())
    assert {s: (c["samples"], c["groups"]) for s, c in report["counts"].items()} == {
        "train": (15, 8),
        "val": (4, 2),
        "test": (4, 3),
    }
    assert any("1 image files are missing (11.png)" in note for note in report["notes"])
    assert report["images"]["distinct"] == 23
    assert [row["sample_id"] for row in report["images"]["listed"]] == ["9.png"]
    assert report["leakage"]["groups_listed"] == {"0": ["test", "train"]}
    identical = sorted(sorted(pair["sample_ids"]) for pair in report["leakage"]["identical_listed"])
    assert identical == [["16.png", "5.png"], ["20.png", "3.png"]]
    assert [sorted(pair["sample_ids"]) for pair in report["leakage"]["near_listed"]] == [["22.png", "7.png"]]
    train = report["labels"]["train"]
    assert (train["labelled"], train["samples"]) == (14, 15)
    assert train["names"]["a"] == {"observed": 14, "positive": 7.0, "prevalence": 0.5}
    assert report["subgroups"]["sex"]["m"]["train"] == 6
    assert len(report["problems"]) == 3
    text = capsys.readouterr().out
    assert "PROBLEM: 1 images cannot be read" in text
    assert "PROBLEM: 1 patient groups stand in several splits" in text
    html = (faulty / "report" / "verify.html").read_text()
    assert html.count("<img") >= 14
    assert "data:image/png;base64," in html
    assert "<script" not in html


def test_a_clean_dataset_has_no_problem_and_limits_are_kept(faulty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "data=phantom", "data.size=16", "data.patients=12", "images=5"]) == 0
    assert "5 of" in capsys.readouterr().out
    assert main(["verify", *options(faulty), "images=none"]) == 1  # the shared patient needs no image
    report = json.loads((faulty / "report" / "verify.json").read_text())
    assert report["images"]["checked"] == 0
    assert main(["verify", "data=phantom", "images=some"]) == 2
    assert "images='some' is not all, none or a number" in capsys.readouterr().err


def test_a_published_checksum_that_differs_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays = {}
    for split, count in (("train", 10), ("val", 5), ("test", 5)):
        arrays[f"{split}_images"] = np.zeros((count, 28, 28, 3), np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count) % 5)[:, None].astype(np.uint8)
    np.savez(tmp_path / "retinamnist.npz", **arrays)
    assert main(["verify", "data=medmnist", f"data.root={tmp_path}", "data.verify=false"]) == 1
    out = capsys.readouterr().out
    assert "PROBLEM: file retinamnist.npz differs (md5 " in out
    assert "PROBLEM: train has 10 samples, the authors state 1080" in out
    assert main(["verify", "data=medmnist", f"data.root={tmp_path}", "data.verify=false", "images=none"]) == 1
