"""`medzoo predict` on other people's files: every kind, damaged ones, volumes, folders with what file managers leave."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medzoo.cli import main
from medzoo.data.images.nifti import decode_nifti
from medzoo.export import OnnxModel
from tests.data.images.makers import dicom, dicom_data, encoded, nifti, replaced, written

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def names(out: str) -> list[str]:
    return [Path(line.split("  ")[0]).name for line in out.splitlines()]


def test_a_folder_of_every_kind_and_what_is_left_out_is_said(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, form in {
        "a.jfif": "JPEG",
        "b.jpe": "JPEG",
        "c.webp": "WEBP",
        "d.gif": "GIF",
        "E.PNG": "PNG",
        "noending": "PNG",
    }.items():
        (tmp_path / name).write_bytes(encoded(PICTURE, form))
    for name in ("._a.png", ".DS_Store", "Thumbs.db"):
        (tmp_path / name).write_bytes(b"\0\x05\x16\x07")
    for name in ("x.heic", "y.heic"):
        (tmp_path / name).write_bytes(b"\0\0\0\x1cftypheic" + bytes(20))
    (tmp_path / "labels.csv").write_text("a,b\n")
    assert main(["predict", str(exported), str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert names(captured.out) == ["E.PNG", "a.jfif", "b.jpe", "c.webp", "d.gif", "noending"]
    assert captured.err.splitlines() == ["medzoo: left out: 2 HEIC, 1 csv (not images that are read here)"]


def test_damaged_files_of_every_format_are_skipped_one_line_each(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pydicom")
    (tmp_path / "good.png").write_bytes(encoded(PICTURE))
    two = encoded(Image.fromarray(PICTURE), "TIFF", save_all=True, append_images=[Image.fromarray(PICTURE)])
    bad = {
        "cut.tif": encoded(PICTURE, "TIFF")[:100], "pages.tif": two, "cut.webp": encoded(PICTURE, "WEBP")[:60],
        "cut.gif": encoded(PICTURE, "GIF")[:30], "frames.dcm": replaced(dicom(NumberOfFrames=88), b"S\x02\x0088", b"S\x02\x001A"),
        "pixels.dcm": dicom(Rows=500), "no.dcm": b"hello", "cut.jp2": encoded(PICTURE, "JPEG2000")[:90], "empty.png": b"",
    }  # fmt: skip
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
    assert main(["predict", str(exported), str(tmp_path), "--on-error", "skip"]) == 0
    captured = capsys.readouterr()
    assert names(captured.out) == ["good.png"]
    said = captured.err.splitlines()
    assert said[-1] == f"medzoo: {len(bad)} of {len(bad) + 1} images skipped"
    assert sorted(Path(line.split(": ")[2]).name for line in said[:-1]) == sorted(bad)
    for name in bad:
        assert main(["predict", str(exported), str(tmp_path / name)]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_dicom_without_preamble_or_with_an_impossible_window_is_predicted(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pydicom")
    (tmp_path / "bare.dcm").write_bytes(written(dicom_data(), preamble=False))
    (tmp_path / "bare").write_bytes(written(dicom_data(), preamble=False))
    (tmp_path / "width.dcm").write_bytes(dicom(WindowCenter=0, WindowWidth=0))
    (tmp_path / "jpeg.dcm").write_bytes(encoded(PICTURE, "JPEG"))
    assert main(["predict", str(exported), str(tmp_path), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(row["image"]).name for row in rows] == ["bare", "bare.dcm", "jpeg.dcm", "width.dcm"]
    assert rows[0]["logits"] == rows[1]["logits"] == rows[3]["logits"] != rows[2]["logits"]


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight NIfTI volumes in orientations of their own, and a table."""
    pytest.importorskip("nibabel")
    folder, rng = tmp_path_factory.mktemp("volumes"), np.random.default_rng(0)
    rows = ["image,label,split"]
    for number in range(8):
        affine = np.diag([*rng.choice([-1.0, 1.0], 3), 1])[:, [*rng.permutation(3), 3]]
        shape = (8, 9, 10, 1) if number % 2 else (8, 9, 10)
        (folder / f"v{number}.nii.gz").write_bytes(nifti(rng.integers(-500, 500, shape).astype(np.int16), affine))
        rows.append(f"v{number}.nii.gz,{'ab'[number // 2 % 2]},{'train' if number < 4 else 'val' if number < 6 else 'test'}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def volume_model(volumes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("volume_model") / "run"
    data = ["data=table", f"data.file={volumes / 'labels.csv'}", "data.target=label", "data.split=split", "data.channels=1"]
    model = ["model=cnn3d", "+model.arguments.width=0.125", "model.preprocess.size=[8,16,16]", "data.window=[-500,500]"]
    rest = ["trainer.epochs=1", "trainer.batch_size=2", "evaluation.replicates=100", "trainer.trackers=[]", f"run={run}"]
    assert main(["train", *data, *model, *rest]) == 0
    assert main(["export", f"run={run}", "images=2"]) == 0
    return run / "model.onnx"


def test_a_model_trained_on_nifti_predicts_nifti_turned_as_in_training(
    volume_model: Path, volumes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = sorted(volumes.glob("*.nii.gz"))
    model = OnnxModel(volume_model)
    by_hand = [decode_nifti(path, dtype="uint8", window=(-500, 500)) for path in files]  # as FileReader gave them to training
    expected = model.predict(by_hand)["logits"]
    np.testing.assert_array_equal(model.predict([str(path) for path in files])["logits"], expected)
    np.testing.assert_array_equal(model.predict([path.read_bytes() for path in files])["logits"], expected)
    (volumes / "._v0.nii.gz").write_bytes(b"\0\x05\x16\x07")
    assert main(["predict", str(volume_model), str(volumes), "--json"]) == 0
    captured = capsys.readouterr()
    rows = [json.loads(line) for line in captured.out.splitlines()]
    assert [Path(row["image"]).name for row in rows] == [path.name for path in files]
    assert captured.err == "medzoo: left out: 1 csv (not images that are read here)\n"
    np.testing.assert_allclose([list(row["logits"].values()) for row in rows], expected, atol=1e-6)
    (tmp_path / "noending").write_bytes(files[0].read_bytes())
    (tmp_path / "cut.nii.gz").write_bytes(files[0].read_bytes()[:100])
    (tmp_path / "x.png").write_bytes(encoded(PICTURE))
    given = [str(tmp_path / name) for name in ("noending", "cut.nii.gz", "x.png")]
    assert main(["predict", str(volume_model), *given, "--on-error", "skip"]) == 0
    captured = capsys.readouterr()
    assert names(captured.out) == ["noending"]
    assert len(captured.err.splitlines()) == 3
    assert "no NIfTI volume, and this model takes volumes" in captured.err


def test_a_model_of_images_says_that_nifti_is_none(exported: Path, volumes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(exported), str(volumes / "v0.nii.gz")]) == 2
    assert "is a NIfTI volume, not an image of one plane" in capsys.readouterr().err
    assert main(["predict", str(exported), str(volumes)]) == 2
    assert "it holds 8 nii.gz, 1 csv" in capsys.readouterr().err
