"""Volumes that are stacked as channels show one place in the patient, whatever the order of their axes in the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medzoo.data.errors import ImageError
from medzoo.data.images.files import FileReader
from medzoo.data.images.planes.placed import refuse_apart
from medzoo.data.images.planes.reader import StackedReader
from medzoo.data.images.planes.stack import Stack

nibabel: Any = pytest.importorskip("nibabel")
AFFINE = np.array([[2.0, 0, 0, -10], [0, 1.5, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1]])


def volume(path: Path, affine: np.ndarray = AFFINE, turn: str = "RAS", codes: int = 1) -> Path:
    image = nibabel.Nifti1Image(np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6), affine)
    turned = nibabel.orientations.ornt_transform(nibabel.io_orientation(affine), nibabel.orientations.axcodes2ornt(turn))
    image = image.as_reoriented(turned)
    image.set_sform(image.affine, codes)
    image.set_qform(image.affine, codes)
    nibabel.save(image, path)
    return path


def moved(by: float = 0.0, scale: float = 1.0, turn: float = 0.0) -> np.ndarray:
    cos, sin = np.cos(turn), np.sin(turn)
    rotated = np.array([[cos, -sin, 0, 0], [sin, cos, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]) @ AFFINE
    rotated[:3, :3] *= scale
    rotated[0, 3] += by
    return rotated


@pytest.mark.parametrize("turn", ["RAS", "LPS", "PIR"])
def test_one_place_is_one_whatever_the_axes_of_the_file(turn: str, tmp_path: Path) -> None:
    first, other = volume(tmp_path / "t1.nii.gz"), volume(tmp_path / "t2.nii", moved(by=0.3), turn)
    refuse_apart([("t1", first), ("t2", str(other))])
    reader = StackedReader(FileReader(tmp_path, channels=1), ("t1", "t2"), Stack(("t1", "t2")))
    stacked = reader.read("t1.nii.gz", "t2.nii")
    np.testing.assert_array_equal(stacked[0], stacked[1])


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (moved(by=4.0), "channel 't2' lies up to 4 mm from channel 't1'"),
        (moved(scale=1.5), "mm from channel 't1'"),
        (moved(turn=0.2), "mm from channel 't1'"),
    ],
)
def test_another_place_is_refused(other: np.ndarray, said: str, tmp_path: Path) -> None:
    volume(tmp_path / "t1.nii.gz")
    volume(tmp_path / "t2.nii.gz", other)
    reader = StackedReader(FileReader(tmp_path, channels=1), ("t1", "t2"), Stack(("t1", "t2")))
    with pytest.raises(ImageError, match=said):
        reader.read("t1.nii.gz", "t2.nii.gz")
    given = {"t1": tmp_path / "t1.nii.gz", "t2": tmp_path / "t2.nii.gz"}
    with pytest.raises(ImageError, match="resample them to one grid"):
        Stack(("t1", "t2")).read(given, lambda path: np.zeros((6, 5, 4, 1), dtype=np.uint8))


def test_headers_that_say_no_place_are_held_against_one_another_by_voxel_size(tmp_path: Path) -> None:
    first = volume(tmp_path / "t1.nii.gz", codes=0)
    refuse_apart([("t1", first), ("t2", volume(tmp_path / "t2.nii.gz", moved(by=40.0)))])
    with pytest.raises(ImageError, match=r"has voxels of 2\.4 x 1\.8 x 3\.6 mm, not 2 x 1\.5 x 3, as channel 't1'"):
        refuse_apart([("t1", first), ("t3", volume(tmp_path / "t3.nii.gz", moved(scale=1.2)))])


def test_what_says_no_place_is_passed_over(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.nii.gz"
    damaged.write_bytes(b"no volume")
    first = volume(tmp_path / "t1.nii.gz")
    refuse_apart([("t1", first), ("t2", damaged), ("t3", np.zeros((2, 2, 2))), ("t4", tmp_path / "image.png")])
