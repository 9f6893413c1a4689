"""Volumes against nibabel's own canonical orientation; fourth dimensions of 1, files that lie about their size."""

from __future__ import annotations

import gzip
import sys
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medzoo.data.errors import ImageDependencyError, ImageError
from medzoo.data.images.decode import read_image
from medzoo.data.images.nifti import decode_nifti
from tests.data.images.makers import nifti

nibabel = pytest.importorskip("nibabel")
VOXELS = np.arange(4 * 5 * 6).reshape(4, 5, 6)


def put(folder: Path, data: bytes, name: str = "scan.nii.gz") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def theirs(path: Path) -> NDArray[Any]:
    """nibabel's values in its canonical orientation, as slices are looked at; trailing dimensions of 1 dropped."""
    values = np.asanyarray(nibabel.as_closest_canonical(nibabel.load(path)).dataobj)
    return values.reshape(values.shape[:3]).transpose(2, 1, 0)[:, ::-1, ::-1]


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(4, 5, 6, 1), (4, 5, 6, 1, 1), (4, 5, 6)], ids=str)
def test_further_dimensions_of_1_are_dropped_whatever_the_type(dtype: type, shape: tuple[int, ...], tmp_path: Path) -> None:
    path = put(tmp_path, nifti(VOXELS.astype(dtype).reshape(shape)))
    found = decode_nifti(path, dtype="float32", window=(0, 120))
    np.testing.assert_allclose(found, theirs(path) / 120, atol=1e-6)
    if dtype == np.uint8:
        np.testing.assert_array_equal(decode_nifti(path, dtype="uint8"), theirs(path))
    else:
        with pytest.raises(ImageError, match=r"not plain 8-bit ones; .*data\.window"):
            decode_nifti(path, dtype="uint8")


def test_a_file_is_packed_by_its_content_and_not_by_its_name(tmp_path: Path) -> None:
    data = nifti(VOXELS.astype(np.uint8))
    packed = put(tmp_path, data)
    expected = decode_nifti(packed, dtype="uint8")
    plain = gzip.decompress(data)
    for path in (put(tmp_path, data, "packed.nii"), put(tmp_path, plain, "plain.nii.gz"), put(tmp_path, plain, "plain.nii")):
        np.testing.assert_array_equal(decode_nifti(path, dtype="uint8"), expected)
    with pytest.raises(ImageError, match="cannot be read as NIfTI"):
        decode_nifti(put(tmp_path, b"no volume at all", "none.nii.gz"), dtype="uint8")


def members(data: bytes, size: int) -> bytes:
    """A gzip file of many members, as bgzip writes them: the last is empty, and zeros may fill what follows."""
    return b"".join(gzip.compress(data[at : at + size]) for at in range(0, len(data), size)) + gzip.compress(b"")


@pytest.mark.parametrize("size", [1, 100, 352, 400, 1000, 1 << 16])
def test_a_packed_file_may_have_several_members(size: int, tmp_path: Path) -> None:
    plain = nifti(np.random.default_rng(0).integers(0, 255, (12, 13, 14)).astype(np.uint8), packed=False)
    expected = decode_nifti(put(tmp_path, plain, "plain.nii"), dtype="uint8")
    data = members(plain, size)
    second = data.index(b"\x1f\x8b", 2)
    for filled in (data, data + bytes(512), data[:second] + bytes(20_000) + data[second:]):
        paths = [put(tmp_path, filled, name) for name in ("packed.nii", "packed.nii.gz", "packed")]
        for source in (filled, *paths[:2]):
            np.testing.assert_array_equal(decode_nifti(source, dtype="uint8"), expected)
        for source in (filled, paths[2]) if size > 400 else ():  # known by what its first bytes hold
            np.testing.assert_array_equal(read_image(source, channels=1, dtype="uint8", dimensions=3)[..., 0], expected)
    with pytest.raises(ImageError, match="cannot be read as NIfTI"):
        decode_nifti(data[: len(data) // 2], dtype="uint8")


def test_members_of_no_bytes_are_no_bomb() -> None:
    plain = nifti(np.zeros((4, 5, 6), np.uint8), packed=False)
    empty = gzip.compress(b"") * 20_000
    np.testing.assert_array_equal(decode_nifti(empty + gzip.compress(plain), dtype="uint8"), np.zeros((6, 5, 4), np.uint8))
    with pytest.raises(ImageError, match="cannot be read as NIfTI"):
        decode_nifti(empty, dtype="uint8")
    bomb = bytearray(plain)
    bomb[42:48] = np.array([500, 500, 500], "<i2").tobytes()
    with pytest.raises(ImageError, match="more than it can hold"):
        decode_nifti(members(bytes(bomb), 100), dtype="uint8")


def test_a_background_of_nan_is_counted_and_its_remedy_helps(tmp_path: Path) -> None:
    voxels = VOXELS.astype(np.float32)
    voxels[0], voxels[1, 0, 0] = np.nan, np.inf
    said = r"31 of its 120 values are NaN or infinite; .*numpy\.nan_to_num\(values, nan=low, neginf=low, posinf=high\)"
    for source in (put(tmp_path, nifti(voxels)), nifti(voxels)):
        with pytest.raises(ImageError, match=said):
            decode_nifti(source, dtype="float32", window=(0, 120))
    found = decode_nifti(nifti(np.nan_to_num(voxels, nan=0, neginf=0, posinf=120)), dtype="float32", window=(0, 120))
    assert (found.min(), found.max()) == (0, 1)


def test_8_bits_that_are_rescaled_are_not_plain(tmp_path: Path) -> None:
    path = put(tmp_path, nifti(VOXELS.astype(np.uint8).reshape(4, 5, 6, 1), slope=2.0, inter=-10.0))
    with pytest.raises(ImageError, match="not plain"):
        decode_nifti(path, dtype="uint8")
    np.testing.assert_allclose(decode_nifti(path, dtype="float32", window=(-10, 230)), (theirs(path) + 10) / 240, atol=1e-6)


@pytest.mark.parametrize("axes", list(permutations(range(3))))
def test_every_orientation_is_nibabels_from_a_path_and_from_bytes(axes: tuple[int, ...], tmp_path: Path) -> None:
    for signs in product((1, -1), repeat=3):
        affine = np.eye(4)
        affine[:3, :3] = np.eye(3)[list(axes)] * signs
        for packed, name in ((True, "scan.nii.gz"), (False, "scan.nii")):
            data = nifti(VOXELS.astype(np.uint8), affine, packed)
            path = put(tmp_path, data, name)
            np.testing.assert_array_equal(decode_nifti(path, dtype="uint8"), theirs(path))
            np.testing.assert_array_equal(read_image(data, channels=1, dtype="uint8", dimensions=3)[..., 0], theirs(path))


def test_a_model_of_volumes_reads_paths_by_content(tmp_path: Path) -> None:
    data = nifti(VOXELS.astype(np.uint8))
    for name in ("scan.nii.gz", "scan", "SCAN.NII.GZ"):
        path = put(tmp_path, data, name)
        found = read_image(path, channels=3, dtype="float32", dimensions=3)
        assert found.shape == (6, 5, 4, 3)
    with pytest.raises(ImageError, match="no NIfTI volume, and this model takes volumes"):
        read_image(put(tmp_path, b"hello", "x.png"), channels=1, dtype="uint8", dimensions=3)
    with pytest.raises(ImageError, match="is a NIfTI volume, not an image of one plane"):
        read_image(data, channels=1, dtype="uint8")


@pytest.mark.parametrize(
    ("voxels", "said"),
    [
        (VOXELS.reshape(4, 5, 2, 3).astype(np.uint8), "has [4, 5, 2, 3] voxels"),
        (VOXELS[0].astype(np.uint8), "has [5, 6] voxels"),
        (VOXELS.astype(np.complex64), "complex64 values, not gray"),
        (np.zeros((2, 2, 2), [("R", "u1"), ("G", "u1"), ("B", "u1")]), "not gray"),
    ],
)
def test_what_is_no_gray_volume_is_one_line(voxels: NDArray[Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError) as error:
        decode_nifti(put(tmp_path, nifti(voxels)), dtype="uint8", window=(0, 1))
    assert said in str(error.value)
    assert "scan.nii.gz" in str(error.value)


def test_a_file_that_cannot_hold_its_voxels_is_refused_before_they_are_allocated(tmp_path: Path) -> None:
    data = bytearray(nifti(VOXELS.astype(np.float64), packed=False))
    data[42:48] = np.array([500, 500, 500], "<i2").tobytes()
    for content, name in ((bytes(data), "scan.nii"), (gzip.compress(bytes(data)), "scan.nii.gz")):
        for source in (put(tmp_path, content, name), content):
            with pytest.raises(ImageError, match=r"cut short|more than it can hold|cannot be read"):
                decode_nifti(source, dtype="float32", window=(0, 1))
    data[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()
    with pytest.raises(ImageError, match=r"voxels are more than|more than it can hold"):
        decode_nifti(bytes(data), dtype="float32", window=(0, 1))


@pytest.mark.parametrize("cut", [0, 10, 100, 200])
def test_a_cut_file_is_one_line(cut: int, tmp_path: Path) -> None:
    data = nifti(VOXELS.astype(np.uint8))
    with pytest.raises(ImageError, match=r"scan\.nii\.gz"):
        decode_nifti(put(tmp_path, data[: min(cut, len(data) - 20)]), dtype="uint8")


def test_without_nibabel_the_line_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = put(tmp_path, nifti(VOXELS.astype(np.uint8)))
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(ImageDependencyError, match=r"pip install 'medzoo\[nifti\]'"):
        read_image(path, channels=1, dtype="uint8", dimensions=3)
