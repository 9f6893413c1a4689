"""`medzoo verify` on images whose range nobody said, or that use next to none of it; on damaged and left out files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medzoo.cli import main
from medzoo.data.audit.greys import share_used, warning_lines
from tests.data.images.makers import dicom, encoded, tiff


def table(folder: Path, files: dict[str, bytes]) -> list[str]:
    for name, data in files.items():
        (folder / name).write_bytes(data)
    rows = "".join(f"{name},{'ab'[place % 2]}\n" for place, name in enumerate(files))
    (folder / "labels.csv").write_text("image,label\n" + rows)
    return [
        "verify", "data=table", f"data.file={folder / 'labels.csv'}", "data.target=label", "data.channels=1", f"output={folder}"
    ]  # fmt: skip


def narrow(seed: int, top: int = 2000) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, top, (16, 16))


def test_a_ct_without_a_window_is_said_and_its_range(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pydicom")
    wide = {"BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1, "RescaleSlope": 1, "RescaleIntercept": -1024}
    command = table(tmp_path, {f"{n}.dcm": dicom(narrow(n).astype(np.int16), **wide) for n in range(10)})
    assert main(command) == 0
    out = capsys.readouterr().out
    assert (
        "WARNING: 10 images have no window: range -33792..31743, all 16 stored bits was taken; say it with data.window=[low,high]"
        in out
    )
    assert "WARNING: 10 of 10 images use less than a tenth of the grey range, such as 0.dcm: 8 of 256 grey levels" in out
    assert "note: images have no window, such as 0.dcm" in out  # what training notes too
    assert "no problem found, but look at the warnings" in out
    report = json.loads((tmp_path / "verify.json").read_text())
    assert report["images"]["ranges"] == {"-33792..31743, all 16 stored bits": 10}
    assert len(report["warnings"]) == 2
    assert main([*command, "data.window=[-1024,1000]"]) == 0
    assert "WARNING" not in capsys.readouterr().out


def test_a_ct_that_says_so_has_hounsfield_units_and_one_with_a_window_is_silent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pydicom")
    hounsfield = {"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -1024}
    files = {f"{n}.dcm": dicom(narrow(n).astype(np.uint16), **hounsfield) for n in range(5)}
    files |= {
        f"w{n}.dcm": dicom(narrow(9 + n).astype(np.uint16), **hounsfield, WindowCenter=40, WindowWidth=400) for n in range(5)
    }
    assert main(table(tmp_path, files)) == 0
    out = capsys.readouterr().out
    assert "WARNING: 5 images have no window: range -1024..3071, a CT's Hounsfield units was taken" in out
    assert "less than a tenth" not in out


@pytest.mark.parametrize("form", ["png16", "tif16", "png8"])
def test_few_levels_are_said_in_any_format(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tifffile")
    files = {}
    for n in range(6):
        deep = (narrow(n, 4096)).astype(np.uint16)  # 12 bits in 16, and nothing says so
        data = {"png16": encoded(deep), "tif16": tiff(deep), "png8": encoded((deep // 200).astype(np.uint8))}[form]
        files[f"{n}.{form[:3]}"] = data
    assert main(table(tmp_path, files)) == 0
    out = capsys.readouterr().out
    assert "WARNING: 6 of 6 images use less than a tenth of the grey range" in out
    assert "have no window" not in out


def test_damaged_and_left_out_files_are_in_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("ill", "well"):
        (tmp_path / name).mkdir()
        for n in range(3):
            (tmp_path / name / f"{n}.png").write_bytes(encoded(narrow(n + 3 * (name == "ill"), 256).astype(np.uint8)))
    (tmp_path / "ill" / "x.tif").write_bytes(encoded(Image.new("L", (9, 9)), "TIFF")[:90])
    (tmp_path / "well" / "y.avif").write_bytes(b"\0\0\0\x1cftypavif" + bytes(20))
    assert main(["verify", "data=folder", f"data.root={tmp_path}"]) == 1
    out = capsys.readouterr().out
    assert "note: left out: 1 AVIF (not images that are read here)" in out
    assert "PROBLEM: 1 images cannot be read: " in out
    assert "x.tif" in out


def test_what_is_used_and_what_is_said() -> None:
    assert share_used(np.array([[0, 255]], np.uint8)) == 1
    assert share_used(np.array([0.25, 0.5], np.float32)) == pytest.approx(0.25)
    several = {"checked": 9, "ranges": {"a": 3, "b": 2, "c": 1, "d": 1}, "narrow": {"count": 0}}
    assert warning_lines(several) == [
        "7 images have no window: range a was taken for 3; range b was taken for 2; range c was taken for 1; 1 others; say it "
        "with data.window=[low,high]"
    ]
