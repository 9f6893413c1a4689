"""A directory of DICOM slices as one volume: order, series, and what is no stack, on files that pydicom wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medzoo.data.datasets.table.load import load
from medzoo.data.errors import ConfigError, ImageError
from medzoo.data.images.decode import read_image
from medzoo.data.images.dicom.series import NUMBER, POSITION, Series, ordered, read_series
from medzoo.data.images.nifti import decode_nifti
from tests.data.images.series_files import AXIAL, SAGITTAL, VOXELS, WINDOW, save, write

nibabel = pytest.importorskip("nibabel")


def test_slices_lie_in_order_of_their_positions_and_as_nifti_has_them(tmp_path: Path) -> None:
    folder = write(tmp_path / "s")
    (folder / "notes.txt").write_text("no slice")
    slices, by = ordered(Series(folder))
    assert [one.path.name for one in slices] == ["c.dcm", "b.dcm", "a.dcm", "e.dcm", "d.dcm"]
    assert by == POSITION
    volume = read_series(Series(folder), channels=1, dtype="float32", window=WINDOW)
    assert volume.shape == (5, 6, 7, 1)
    np.testing.assert_allclose(volume[..., 0], np.clip((VOXELS.astype(float) - 1024 + 1000) / 2000, 0, 1), atol=1e-6)
    # Written as NIfTI with DICOM's axes (towards the left, the back and the head), the same volume is read.
    affine = np.diag([-1.0, -1.0, 2.5, 1.0])
    nibabel.save(nibabel.Nifti1Image(VOXELS.transpose(2, 1, 0).astype(np.float32) - 1024, affine), tmp_path / "s.nii")
    np.testing.assert_allclose(decode_nifti(tmp_path / "s.nii", dtype="float32", window=WINDOW), volume[..., 0], atol=1e-6)
    given: dict[str, Any] = {"channels": 1, "dtype": "float32", "dimensions": 3, "window": WINDOW}
    np.testing.assert_array_equal(read_image(folder, **given), volume)


@pytest.mark.parametrize("orientation", [AXIAL, SAGITTAL, (0.8, 0.6, 0.0, 0.0, 0.0, -1.0)])
@pytest.mark.parametrize("mirrored", [False, True])
def test_order_is_along_the_normal_whatever_the_plane(tmp_path: Path, orientation: tuple[float, ...], mirrored: bool) -> None:
    places = [10, 7.5, 5, 2.5, 0] if mirrored else [0, 2.5, 5, 7.5, 10]
    folder = write(tmp_path / "s", places, orientation)
    names = [one.path.name[0] for one in ordered(Series(folder))[0]]
    assert names == list("deabc" if mirrored else "cbaed")


def test_without_positions_numbers_say_the_order_and_it_is_said(tmp_path: Path) -> None:
    for name in ("s", "t"):
        write(tmp_path / name, ImagePositionPatient=None)
    slices, by = ordered(Series(tmp_path / "s"))
    assert (by, [one.path.name for one in slices]) == (NUMBER, ["d.dcm", "e.dcm", "a.dcm", "b.dcm", "c.dcm"])
    (tmp_path / "t.csv").write_text("image,y,split\ns,a,train\nt,b,test\n")
    dataset = load(tmp_path / "t.csv", target="y", window=list(WINDOW), channels=1)
    assert any("slices have no positions, such as those of s: they are sorted by InstanceNumber" in n for n in dataset.info.notes)


def test_one_of_several_series_is_chosen_or_they_are_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "s")
    write(folder, names="vwxyz", SeriesInstanceUID="1.2.4")
    with pytest.raises(ImageError, match=r"holds 2 series, 1\.2\.3 of 5 files, 1\.2\.4 of 5 files; choose one"):
        ordered(Series(folder))
    assert {one.path.name for one in ordered(Series(folder, "1.2.4"))[0]} == {f"{name}.dcm" for name in "vwxyz"}
    with pytest.raises(ImageError, match=r"no series 1\.9; it holds 1\.2\.3 of 5 files"):
        ordered(Series(folder, "1.9"))
    (tmp_path / "t.csv").write_text("image,uid,y,id,split\ns,1.2.3,a,one,train\ns,1.2.4,b,two,test\n")
    dataset = load(tmp_path / "t.csv", target="y", window=list(WINDOW), channels=1, series_uid="uid", id="id")
    one, two = (dataset.reader.read(*(row[c] for c in dataset.reader.columns)) for _, row in dataset.table.iterrows())
    np.testing.assert_array_equal(one, two)  # of the same voxels
    assert dataset.table["group"].nunique() == 1  # one directory is not parted by a split of its own
    (tmp_path / "bags.csv").write_text("image,uid,y,split\ns,1.2.3,a,train\ns,1.2.4,a,train\n")
    asked = {"target": "y", "names": ["a", "b"], "channels": 1, "series_uid": "uid", "bag": "image"}
    bag = load(tmp_path / "bags.csv", **asked, window=list(WINDOW))
    assert bag.table["series_uid"].tolist() == [("1.2.3", "1.2.4")]  # two members of one directory
    with pytest.raises(ConfigError, match=r"data\.series_uid=uid is of one image column of directories"):
        load(tmp_path / "t.csv", target="y", series_uid="uid", id="id", frames="volume")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"places": (0, 2.5, 7.5, 10, 12.5)}, "b.dcm and a.dcm lie 5 mm apart and the other slices 2.5 mm .*slices are missing"),
        ({"places": (0, 2.5, 2.5, 5, 7.5)}, r"b.dcm lie at one place, 102.5 mm \(ImagePositionPatient"),
        ({"places": (0, 2.5, 5, 7.5, 10.5)}, "e.dcm and d.dcm lie 3 mm apart and the other slices 2.5 mm"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, r"a.dcm: is a localizer \(ImageType"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 1]}, "ImageOrientationPatient has 5 numbers, not 6"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "are no two right angles"),
        ({"NumberOfFrames": 3}, "a.dcm: holds 3 frames, and a series is files of one slice"),
        ({"ImagePositionPatient": None, "InstanceNumber": None}, "a.dcm: has neither a position nor an InstanceNumber"),
        ({"ImagePositionPatient": None, "InstanceNumber": 3}, r"lie at one place, 3 \(InstanceNumber"),
    ],
)
def test_what_is_no_stack_is_one_line(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    folder = write(tmp_path / "s", **change)
    with pytest.raises(ImageError, match=said):
        ordered(Series(folder))


def test_one_slice_that_is_unlike_the_others_is_named(tmp_path: Path) -> None:
    folder, place = write(tmp_path / "s"), {"ImagePositionPatient": [3.0, -4.0, 112.5], "ImageOrientationPatient": list(AXIAL)}
    for change, pixels, said in (
        ({}, np.zeros((6, 8)), "z.dcm: 8 x 6 pixels, the first slice of its series has 7 x 6"),
        ({"ImageOrientationPatient": list(SAGITTAL)}, VOXELS[0], "z.dcm: is turned otherwise than the first slice"),
        ({"ImagePositionPatient": None}, VOXELS[0], "z.dcm: has no position .* and others of its series have"),
    ):
        save(folder / "z.dcm", pixels, **{**place, **change})
        with pytest.raises(ImageError, match=said):
            ordered(Series(folder))
    (folder / "z.dcm").write_bytes(b"no slice")
    with pytest.raises(ImageError, match=r"z\.dcm"):
        ordered(Series(folder))


def test_a_directory_is_no_image_of_one_plane_and_an_empty_one_no_volume(tmp_path: Path) -> None:
    folder = write(tmp_path / "s")
    with pytest.raises(ImageError, match="a directory is a volume, and this model takes other images"):
        read_image(folder, channels=1, dtype="uint8", dimensions=2)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="empty: no DICOM image lies in this directory"):
        read_image(tmp_path / "empty", channels=1, dtype="uint8", dimensions=3)
