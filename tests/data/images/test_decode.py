"""Decoding against Pillow itself, and every kind of bad file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from medzoo.data.errors import ImageError
from medzoo.data.images.decode import decode_image, read_image
from medzoo.data.images.pixels import as_channels, as_dtype

RGB = np.random.default_rng(0).integers(0, 256, (13, 17, 3), dtype=np.uint8)


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1"])
@pytest.mark.parametrize("channels", [1, 3])
def test_eight_bit_modes_equal_pillows_convert(mode: str, channels: int) -> None:
    image = Image.fromarray(RGB).convert(mode)
    ours = decode_image(encoded(image), channels=channels, dtype="uint8")  # type: ignore[arg-type]
    theirs = np.asarray(image.convert("RGB") if channels == 3 else image.convert("RGB").convert("L"))
    np.testing.assert_array_equal(ours, theirs.reshape(13, 17, channels))


def test_gray_is_pillows_whole_number_formula_on_every_colour() -> None:
    colours = np.random.default_rng(1).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    np.testing.assert_array_equal(as_channels(colours, 1)[..., 0], np.asarray(Image.fromarray(colours).convert("L")))


def test_sixteen_bits_are_scaled_from_their_full_range_or_a_window() -> None:
    deep = np.array([[0, 65535], [257, 32768]], dtype=np.uint16)
    data = encoded(Image.fromarray(deep))
    np.testing.assert_allclose(decode_image(data, channels=1, dtype="float32")[..., 0], deep / 65535, atol=1e-7)
    assert decode_image(data, channels=1, dtype="uint8")[..., 0].tolist() == [[0, 255], [1, 128]]
    narrow = decode_image(data, channels=1, dtype="float32", window=(0, 257))
    assert narrow[..., 0].tolist() == [[0, 1], [1, 1]]


def test_the_cameras_turn_is_applied() -> None:
    image = Image.fromarray(RGB)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    ours = decode_image(encoded(image, "PNG", exif=exif), channels=3, dtype="uint8")
    np.testing.assert_array_equal(ours, np.rot90(RGB, k=-1))


def turned() -> Image.Image:
    image, exif = Image.fromarray(RGB), Image.Exif()
    exif[0x0112] = 6
    return Image.open(io.BytesIO(encoded(image, exif=exif)))


@pytest.mark.parametrize(
    "image",
    [Image.fromarray(RGB).convert(mode) for mode in ("L", "LA", "RGB", "RGBA", "P", "1", "CMYK")]
    + [Image.fromarray(np.array([[0, 65535], [257, 32768]], dtype=np.uint16)), turned()],
    ids=lambda image: f"{type(image).__name__}-{image.mode}",
)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_pillow_image_is_what_its_file_would_be(image: Image.Image, dtype: Literal["uint8", "float32"]) -> None:
    data = encoded(image, "TIFF" if image.mode == "CMYK" else "PNG", exif=image.getexif())
    for channels in (1, 3):
        theirs = read_image(data, channels=channels, dtype=dtype)
        np.testing.assert_array_equal(read_image(image, channels=channels, dtype=dtype), theirs)


def test_a_pillow_image_of_several_pages_or_unknown_range_is_one_line() -> None:
    pages = Image.open(io.BytesIO(encoded(Image.fromarray(RGB), "TIFF", save_all=True, append_images=[Image.fromarray(RGB)])))
    with pytest.raises(ImageError, match=r"^Pillow image \(RGB, 17 x 13\): holds 2 pages"):
        read_image(pages, channels=3, dtype="uint8")
    measured = Image.fromarray(np.array([[-1000, 400]], np.float32))
    with pytest.raises(ImageError, match=r"no declared range; give window"):
        read_image(measured, channels=1, dtype="float32")
    assert read_image(measured, channels=1, dtype="float32", window=(-1000, 400)).ravel().tolist() == [0, 1]
    with pytest.raises(ImageError, match="volumes"):
        read_image(measured, channels=1, dtype="float32", dimensions=3)


def test_types_convert_both_ways() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    np.testing.assert_array_equal(as_dtype(as_dtype(levels, "float32"), "uint8"), levels)


@pytest.mark.parametrize("content", [b"", b"text", encoded(Image.fromarray(RGB))[:120]])
def test_bad_files_are_one_line_that_names_them(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "scan.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"scan\.png") as error:
        decode_image(path, channels=1, dtype="uint8")
    assert "\n" not in str(error.value)


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    bomb = encoded(Image.new("1", (50_000, 50_000)))
    with pytest.raises(ImageError, match="too large"):
        decode_image(bomb, channels=1, dtype="uint8")


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="absent"):
        decode_image(tmp_path / "absent.png", channels=1, dtype="uint8")


def dicom(photometric: str = "MONOCHROME2", pixels: bool = True) -> bytes:
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = FileDataset("x", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.Rows, data.Columns, data.SamplesPerPixel = 2, 2, 1
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.PhotometricInterpretation = photometric
    data.RescaleSlope, data.RescaleIntercept = 1, -1024
    if pixels:
        data.PixelData = np.array([[0, 1024], [2048, 4095]], dtype=np.uint16).tobytes()
    out = io.BytesIO()
    pydicom.dcmwrite(out, data, enforce_file_format=True)
    return out.getvalue()


def test_dicom_is_rescaled_and_windowed() -> None:
    pytest.importorskip("pydicom")
    ours = decode_image(dicom(), channels=1, dtype="float32", window=(-1024, 1024))[..., 0]
    np.testing.assert_allclose(ours, [[0, 0.5], [1, 1]], atol=1e-6)
    inverted = decode_image(dicom("MONOCHROME1"), channels=1, dtype="float32", window=(-1024, 1024))[..., 0]
    np.testing.assert_allclose(inverted, [[1, 0.5], [0, 0]], atol=1e-6)


def test_dicom_without_pixels_is_one_line() -> None:
    pytest.importorskip("pydicom")
    with pytest.raises(ImageError, match="pixel"):
        decode_image(dicom(pixels=False), channels=1, dtype="uint8")


@pytest.mark.parametrize("order", ["<", ">"])
def test_an_array_of_either_byte_order_is_its_numbers(order: str) -> None:
    pixels = np.linspace(0, 1, 48, dtype=np.float32).reshape(4, 4, 3)
    found = read_image(pixels.astype(f"{order}f4"), channels=3, dtype="float32")
    np.testing.assert_array_equal(found, pixels)
    assert found.dtype == np.float32
