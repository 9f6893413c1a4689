"""Files of any number of planes as channels, on files that tifffile, NumPy and nibabel wrote; and images stacked to one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medzoo.data.errors import ImageError, UnknownNameError
from medzoo.data.images.decode import read_image
from medzoo.data.images.laid import blended
from medzoo.data.images.pixels import as_channels
from medzoo.data.images.planes.read import plane_pixels, read_planes
from medzoo.data.images.planes.stack import Stack
from medzoo.data.images.thumbnail import thumbnail

tifffile = pytest.importorskip("tifffile")
nibabel = pytest.importorskip("nibabel")

BYTES = np.random.default_rng(0).integers(0, 256, (5, 10, 12), dtype=np.uint8)
DEEP = np.random.default_rng(1).integers(0, 65536, (5, 10, 12)).astype(np.uint16)
FLOATS = np.random.default_rng(2).normal(size=(5, 10, 12)).astype(np.float32)
Write = Callable[[Path, np.ndarray], None]


def _last(array: np.ndarray) -> np.ndarray:
    return np.moveaxis(array, 0, -1)


TIFFS: dict[str, Write] = {
    "pages": lambda path, a: tifffile.imwrite(path, a, photometric="minisblack"),
    "side by side": lambda path, a: tifffile.imwrite(path, _last(a), photometric="minisblack", planarconfig="contig"),
    "in planes": lambda path, a: tifffile.imwrite(path, a, photometric="minisblack", planarconfig="separate"),
    "packed pages": lambda path, a: tifffile.imwrite(path, a, photometric="minisblack", compression="zlib"),
    "OME": lambda path, a: tifffile.imwrite(path, a, photometric="minisblack", ome=True, metadata={"axes": "CYX"}),
    "RGB and more": lambda path, a: tifffile.imwrite(path, _last(a), photometric="rgb", planarconfig="contig"),
    "big-endian": lambda path, a: tifffile.imwrite(
        path, _last(a), photometric="minisblack", planarconfig="contig", byteorder=">"
    ),
}


@pytest.mark.parametrize("kind", TIFFS)
@pytest.mark.parametrize("stored", [BYTES, DEEP, FLOATS], ids=["uint8", "uint16", "float32"])
def test_a_tiff_has_its_planes_in_order_and_no_colour_or_alpha(tmp_path: Path, kind: str, stored: np.ndarray) -> None:
    TIFFS[kind](tmp_path / "x.tif", stored)
    window = (-3.0, 3.0) if stored.dtype == np.float32 else None
    found = read_planes(tmp_path / "x.tif", channels=5, dtype="float32", window=window)
    wanted = np.clip((FLOATS + 3) / 6, 0, 1) if window else stored / np.iinfo(stored.dtype).max
    np.testing.assert_allclose(found, _last(wanted), atol=1e-6)
    assert found.flags["C_CONTIGUOUS"]
    data = (tmp_path / "x.tif").read_bytes()
    np.testing.assert_array_equal(read_planes(data, channels=5, dtype="float32", window=window), found)
    assert plane_pixels(data) == 120
    with pytest.raises(ImageError, match=r"x\.tif: holds 5 channels \(.*page.*\), and 4 are asked for \(data\.channels\)"):
        read_planes(tmp_path / "x.tif", channels=4, dtype="float32", window=window)


@pytest.mark.parametrize("stored", [BYTES[:4], DEEP[:4]], ids=["uint8", "uint16"])
def test_four_planes_are_not_an_alpha_beside_colours(tmp_path: Path, stored: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "x.tif", _last(stored), photometric="rgb", extrasamples=["unassalpha"])
    found = read_planes(tmp_path / "x.tif", channels=4, dtype="float32")
    np.testing.assert_allclose(found, _last(stored / np.iinfo(stored.dtype).max), atol=1e-6)


def test_floats_of_a_tiff_need_a_window_and_planes_one_size(tmp_path: Path) -> None:
    TIFFS["side by side"](tmp_path / "x.tif", FLOATS)
    with pytest.raises(ImageError, match=r"x\.tif: .* have no declared range; give window"):
        read_planes(tmp_path / "x.tif", channels=5, dtype="uint8")
    with tifffile.TiffWriter(tmp_path / "y.tif") as file:
        file.write(BYTES[0], photometric="minisblack")
        file.write(BYTES[1, :8], photometric="minisblack")
    with pytest.raises(ImageError, match=r"y\.tif\[1\]: 12 x 8 pixels, the first of its channels has 12 x 10"):
        read_planes(tmp_path / "y.tif", channels=2, dtype="uint8")
    tifffile.imwrite(tmp_path / "z.tif", BYTES[0] % 4, photometric="palette", colormap=np.zeros((3, 256), np.uint16))
    with pytest.raises(ImageError, match="its samples are no planes"):
        read_planes(tmp_path / "z.tif", channels=1, dtype="uint8")


def test_an_array_has_its_channels_first(tmp_path: Path) -> None:
    for name, stored in (("bytes", BYTES), ("deep", DEEP), ("floats", np.abs(FLOATS) / 10)):
        np.save(tmp_path / f"{name}.npy", stored)
        top = np.iinfo(stored.dtype).max if stored.dtype.kind == "u" else 1
        found = read_planes(tmp_path / f"{name}.npy", channels=5, dtype="float32")
        np.testing.assert_allclose(found, _last(stored / top), atol=1e-6)
        for order in "<>":
            np.save(tmp_path / "other.npy", stored.astype(stored.dtype.newbyteorder(order)))
            np.testing.assert_array_equal(read_planes(tmp_path / "other.npy", channels=5, dtype="float32"), found)
    np.save(tmp_path / "volume.npy", BYTES[:, None].repeat(3, axis=1))
    assert read_planes(tmp_path / "volume.npy", channels=5, dtype="uint8").shape == (3, 10, 12, 5)
    assert plane_pixels((tmp_path / "volume.npy").read_bytes()) == 120
    np.save(tmp_path / "last.npy", _last(BYTES))
    with pytest.raises(ImageError, match=r"holds 10 channels, and 5 are asked for .*np\.moveaxis\(array, -1, 0\) has 5"):
        read_planes(tmp_path / "last.npy", channels=5, dtype="uint8")
    np.save(tmp_path / "wild.npy", FLOATS)
    with pytest.raises(ImageError, match=r"wild\.npy: float32 values .* have no declared range"):
        read_planes(tmp_path / "wild.npy", channels=5, dtype="uint8")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "short.npy").write_bytes((tmp_path / "bytes.npy").read_bytes()[:-1])
    for name in ("objects", "short"):
        with pytest.raises(ImageError, match=f"{name}.npy: an array cut short, or of no numbers"):
            read_planes(tmp_path / f"{name}.npy", channels=5, dtype="uint8")


@pytest.mark.parametrize("shape", [(6, 7, 8, 4), (6, 7, 8, 1, 4)])
def test_a_nifti_of_four_dimensions_is_its_volumes_side_by_side(tmp_path: Path, shape: tuple[int, ...]) -> None:
    voxels, window = np.random.default_rng(3).normal(size=shape).astype(np.float32), (-3.0, 3.0)
    affine = np.diag([-1.0, 1.0, 1.0, 1.0])  # so that an axis is turned
    nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / "x.nii.gz")
    found = read_planes(tmp_path / "x.nii.gz", channels=4, dtype="float32", window=window)
    for channel in range(4):
        nibabel.save(nibabel.Nifti1Image(voxels[..., channel].reshape(6, 7, 8), affine), tmp_path / "one.nii")
        alone = read_image(tmp_path / "one.nii", channels=1, dtype="float32", dimensions=3, window=window)
        np.testing.assert_array_equal(found[..., channel], alone[..., 0])
    with pytest.raises(ImageError, match=r"x\.nii\.gz: has .* voxels, 4 channels, and 3 are asked for"):
        read_planes(tmp_path / "x.nii.gz", channels=3, dtype="float32", window=window)


def test_other_files_hold_no_planes(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4)).save(tmp_path / "x.png")
    with pytest.raises(ImageError, match=r"x\.png: is PNG; 4 channels \(data\.channels\) are read from TIFF, \.npy and NIfTI"):
        read_planes(tmp_path / "x.png", channels=4, dtype="uint8")
    (tmp_path / "empty.tif").touch()
    with pytest.raises(ImageError, match=r"empty\.tif: the file is empty"):
        read_planes(tmp_path / "empty.tif", channels=4, dtype="uint8")


def test_planes_are_neither_made_up_nor_dropped() -> None:
    pixels = _last(BYTES)
    np.testing.assert_array_equal(as_channels(pixels, 5), pixels)
    np.testing.assert_array_equal(as_channels(pixels[..., :4], 4), pixels[..., :4])
    for have, wanted in ((5, 4), (3, 5), (1, 2)):
        with pytest.raises(ImageError, match=f"has {have} channels .*, and {wanted} are asked for"):
            as_channels(pixels[..., :have], wanted)
    with pytest.raises(ImageError, match="cannot bring 5 channels"):
        as_channels(pixels, 3)


STACK = Stack(("t1", "t2", "flair"), zeros=True)


def test_images_by_name_are_channels_in_the_order_of_the_names(tmp_path: Path) -> None:
    Image.fromarray(BYTES[0]).save(tmp_path / "t1.png")
    given = {"flair": BYTES[2], "t1": tmp_path / "t1.png"}
    about: dict[str, Any] = {"channels": 3, "dtype": "uint8"}
    found = read_image(given, stack=STACK, **about)  # type: ignore[arg-type]
    np.testing.assert_array_equal(found, np.stack([BYTES[0], np.zeros((10, 12), np.uint8), BYTES[2]], axis=-1))
    assert Stack.of_card({"stack": STACK.to_dict()}) == STACK
    assert Stack.of_card({}) is None
    with pytest.raises(ImageError, match=r"lacks the image of channel 't2'; data\.missing_channels=zeros"):
        read_image(given, stack=Stack(STACK.names), **about)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="lacks the image of channel 't1'"):
        read_image({"t1": None}, stack=STACK, **about)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="channel 't2' has 8 x 12 pixels, channel 't1' has 10 x 12"):
        read_image({**given, "t2": BYTES[1, :8]}, stack=STACK, **about)  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="t3"):
        read_image({**given, "t3": BYTES[1]}, stack=STACK, **about)  # type: ignore[arg-type]


def test_of_many_channels_the_first_is_shown() -> None:
    assert thumbnail(BYTES, 12) == thumbnail(BYTES[:1], 12)
    flat = np.zeros((10, 12), np.float32)
    np.testing.assert_array_equal(blended(_last(BYTES), flat), blended(_last(BYTES[:1]), flat))
