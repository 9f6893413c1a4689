"""Formats of Pillow's whose stored numbers are not 8-bit gray: declared ranges, palettes, inks, alpha."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medzoo.data.errors import ImageDependencyError, ImageError
from medzoo.data.images.decode import decode_image, read_image
from medzoo.data.images.pillow import PillowFile
from tests.data.images.makers import RAMP, encoded

DEEP = (np.arange(256).reshape(16, 16) * 257).astype(np.uint16)
RGB = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def gray(data: bytes) -> np.ndarray:
    return decode_image(data, channels=1, dtype="float32")[..., 0]


def png(pixels: bytes, width: int, height: int, bits: int, colour: int) -> bytes:
    """A PNG byte for byte: rows without a filter."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    row = len(pixels) // height
    rows = b"".join(b"\0" + pixels[at : at + row] for at in range(0, len(pixels), row))
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("top", [255, 1023, 4095, 65535])
def test_a_pgm_is_scaled_by_its_declared_maximum(top: int) -> None:
    values = np.arange(256).reshape(16, 16) * top // 255
    body = values.astype(">u2" if top > 255 else "u1").tobytes()
    np.testing.assert_allclose(gray(b"P5\n16 16\n%d\n" % top + body), values / top, atol=2e-5)
    text = " ".join(map(str, values.ravel())).encode()
    np.testing.assert_allclose(gray(b"P2\n16 16\n%d\n" % top + text), values / top, atol=2e-5)


def netpbm(values: np.ndarray, top: int, plain: bool) -> bytes:
    """A PGM or PPM of numbers up to `top`, with a comment in its header."""
    mark = {(1, True): b"P2", (1, False): b"P5", (3, True): b"P3", (3, False): b"P6"}[
        values.shape[2] if values.ndim == 3 else 1, plain
    ]
    head = mark + b"\n# made by hand 12 34\n%d %d\n%d\n" % (values.shape[1], values.shape[0], top)
    return head + (" ".join(map(str, values.ravel())).encode() if plain else values.astype(">u2").tobytes())


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("top", [256, 1000, 4095, 65534, 65535])
def test_a_window_of_a_pnm_is_in_the_numbers_that_it_stores(top: int, plain: bool, tmp_path: Path) -> None:
    values = np.random.default_rng(top).integers(0, top + 1, (5, 7, 3))
    low, high = top // 4, top // 2
    for stored in (values[..., 0], values):
        data = netpbm(stored, top, plain)
        expected = np.clip((stored.reshape(5, 7, -1) - low) / (high - low), 0, 1)
        (tmp_path / "x").write_bytes(data)
        for source in (data, tmp_path / "x", Image.open(io.BytesIO(data))):
            found = read_image(source, channels=expected.shape[-1], dtype="float32", window=(low, high))
            np.testing.assert_allclose(found, expected, atol=1e-6)
    decoded = Image.open(io.BytesIO(netpbm(values[..., 0], top, plain)))
    decoded.load()
    with pytest.raises(ImageError, match="which hides its own numbers; give the file's path or bytes"):
        read_image(decoded, channels=1, dtype="float32", window=(low, high))
    with pytest.raises(ImageError, match="cannot be decoded, truncated or damaged"):
        decode_image(netpbm(values, top, plain)[:-40], channels=3, dtype="float32", window=(low, high))


def test_a_window_leaves_8_bits_of_a_pnm_alone() -> None:
    for values in (RGB, RGB[..., 0]):
        data = encoded(values, "PPM")
        plain = decode_image(data, channels=3, dtype="uint8")
        np.testing.assert_array_equal(decode_image(data, channels=3, dtype="uint8", window=(0, 4095)), plain)


@pytest.mark.parametrize(("mark", "white"), [(b"P1", 0), (b"P4", 0)])
def test_a_bitmap_of_pnm_has_white_at_zero(mark: bytes, white: int) -> None:
    bits = np.arange(256).reshape(16, 16) % 3 == 0
    body = " ".join(map(str, bits.astype(int).ravel())).encode() if mark == b"P1" else np.packbits(bits, axis=-1).tobytes()
    np.testing.assert_array_equal(gray(mark + b"\n16 16\n" + body), (bits == white).astype(np.float32))


@pytest.mark.parametrize("bits", [8, 16])
def test_jpeg_2000_of_8_and_16_bits(bits: int) -> None:
    values = DEEP if bits == 16 else (DEEP >> 8).astype(np.uint8)
    np.testing.assert_allclose(gray(encoded(values, "JPEG2000", irreversible=False)), DEEP / 65535, atol=1e-6)


def test_jpeg_2000_of_12_bits_is_scaled_by_12() -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    for options in ({"codecformat": "jp2"}, {"codecformat": "j2k"}):
        data = imagecodecs.jpeg2k_encode(RAMP, level=0, reversible=True, bitspersample=12, **options)
        np.testing.assert_allclose(gray(data), RAMP / 4095, atol=1e-6)


@pytest.mark.parametrize("form", ["jp2", "j2k"])
@pytest.mark.parametrize("bits", [9, 10, 12, 15, 16])
def test_jpeg_2000_of_deep_colours_is_their_upper_8_bits(bits: int, form: str, tmp_path: Path) -> None:
    """White above all, which Pillow rounds up to black."""
    imagecodecs = pytest.importorskip("imagecodecs")
    top = 2**bits - 1
    values = np.random.default_rng(bits).integers(0, top + 1, (16, 16, 3)).astype(np.uint16)
    values[0] = top
    data = imagecodecs.jpeg2k_encode(values, level=0, reversible=True, bitspersample=bits, codecformat=form, mct=False)
    upper = (values >> (bits - 8)).astype(np.uint8)
    np.testing.assert_array_equal(decode_image(data, channels=3, dtype="uint8"), upper)
    (tmp_path / "x").write_bytes(data)
    for opened in (Image.open(io.BytesIO(data)), Image.open(tmp_path / "x")):
        np.testing.assert_array_equal(read_image(opened, channels=3, dtype="uint8"), upper)
    decoded = Image.open(io.BytesIO(data))
    decoded.load()
    with pytest.raises(ImageError, match="white of deep colours as black, or closed; give the file's path or bytes"):
        read_image(decoded, channels=3, dtype="uint8")
    with (tmp_path / "x").open("rb") as file:
        closed = Image.open(file)
    with pytest.raises(ImageError, match="or closed; give the file's path or bytes"):
        read_image(closed, channels=3, dtype="uint8")


def test_jpeg_2000_of_deep_gray_beside_alpha_is_the_gray() -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    pair = np.stack([RAMP, np.full_like(RAMP, 4095)], axis=-1)
    data = imagecodecs.jpeg2k_encode(pair, level=0, reversible=True, bitspersample=12, codecformat="jp2")
    np.testing.assert_allclose(gray(data), RAMP / 4095, atol=1e-6)


def test_deep_colours_without_imagecodecs_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    data = imagecodecs.jpeg2k_encode(RGB.astype(np.uint16) * 257, level=0, reversible=True, bitspersample=16)
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(ImageDependencyError, match=r"colours of 16 bits in JPEG 2000.*medzoo\[tiff\]"):
        decode_image(data, channels=3, dtype="uint8")
    decode_image(encoded(RGB, "JPEG2000"), channels=3, dtype="uint8")  # 8 bits need none


def test_jpeg_2000_of_more_than_16_bits_is_one_line() -> None:
    data = bytearray(encoded(DEEP, "JPEG2000", irreversible=False))
    data[data.index(b"\xff\x4f\xff\x51") + 42] = 23
    with pytest.raises(ImageError, match="1 components of 24 bits are not read"):
        decode_image(bytes(data), channels=1, dtype="float32")


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_gray_png_of_any_depth(bits: int) -> None:
    values = np.arange(256).reshape(16, 16) * (2**bits - 1) // 255
    packed = values.astype(">u2").tobytes() if bits == 16 else np.packbits(
        np.unpackbits(values.astype(np.uint8)[..., None], axis=-1)[..., 8 - bits :].reshape(16, -1), axis=-1
    ).tobytes()  # fmt: skip
    np.testing.assert_allclose(gray(png(packed, 16, 16, bits, 0)), values / (2**bits - 1), atol=1e-6)


def test_gray_and_colour_of_16_bits_beside_alpha() -> None:
    pair = np.stack([DEEP, np.full_like(DEEP, 9)], axis=-1)
    np.testing.assert_allclose(gray(png(pair.astype(">u2").tobytes(), 16, 16, 16, 4)), DEEP / 65535, atol=1e-6)
    four = np.concatenate([RGB.astype(np.uint16) * 257, DEEP[..., None]], axis=-1)
    np.testing.assert_array_equal(decode_image(png(four.astype(">u2").tobytes(), 16, 16, 16, 6), channels=3, dtype="uint8"), RGB)


def interlaced(values: np.ndarray, colour: int) -> bytes:
    """A PNG of 16 bits in the seven passes of Adam7."""
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    parts = [values[top::rows, left::columns].astype(">u2") for left, top, columns, rows in passes]
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for part in parts if part.size for row in part))
    data = bytearray(png(b"\0" * values.size * 2, values.shape[1], values.shape[0], 16, colour)[:33])
    data[28] = 1
    chunks = (bytes(data[12:29]), b"IDAT" + body, b"IEND")
    whole = (struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks)
    return bytes(data[:8]) + b"".join(whole)


@pytest.mark.parametrize("form", ["plain", "filtered", "interlaced"])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_window_of_a_png_of_16_bits_is_in_the_numbers_that_it_stores(count: int, form: str, tmp_path: Path) -> None:
    """Whatever stands beside the gray; 12 bits of 16, of which the upper 8 are 16 levels."""
    values = np.random.default_rng(count).integers(0, 4096, (13, 11, count)).astype(np.uint16)
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[count]
    if form == "plain":
        data = png(values.astype(">u2").tobytes(), 11, 13, 16, colour)
    elif form == "interlaced":
        data = interlaced(values, colour)
    else:
        data = pytest.importorskip("imagecodecs").png_encode(np.sort(values, axis=1), filter=0xF8)
        values = np.sort(values, axis=1)
    meant = values[..., : 1 if count < 3 else 3]
    (tmp_path / "x.png").write_bytes(data)
    for source in (data, tmp_path / "x.png", Image.open(io.BytesIO(data))):
        found = read_image(source, channels=meant.shape[-1], dtype="float32", window=(0, 4095))
        np.testing.assert_allclose(found, meant / 4095, atol=1e-6)
    as_gray = decode_image(data, channels=1, dtype="float32", window=(0, 4095))
    weights = np.array([1.0] if count < 3 else [0.299, 0.587, 0.114])
    np.testing.assert_allclose(as_gray[..., 0], meant / 4095 @ weights, atol=1e-6)
    if count > 2:  # without a window as before
        upper = (meant >> 8).astype(np.uint8)
        np.testing.assert_array_equal(decode_image(data, channels=3, dtype="uint8"), upper)


def test_deep_colours_of_a_png_are_turned_by_its_exif() -> None:
    values = np.random.default_rng(0).integers(0, 4096, (4, 6, 3)).astype(np.uint16)
    data = png(values.astype(">u2").tobytes(), 6, 4, 16, 2)
    exif = Image.Exif()
    exif[0x0112] = 6
    body = b"eXIf" + exif.tobytes()[6:]
    data = data[:33] + struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) + data[33:]
    found = decode_image(data, channels=3, dtype="float32", window=(0, 4095))
    np.testing.assert_allclose(found, np.rot90(values, -1) / 4095, atol=1e-6)


def test_a_window_of_a_later_picture_of_a_png_of_16_bits_is_one_line() -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    frames = np.random.default_rng(0).integers(0, 4096, (2, 8, 8, 3)).astype(np.uint16)
    data = imagecodecs.apng_encode(frames)
    found = decode_image(data, channels=3, dtype="float32", window=(0, 4095))
    np.testing.assert_allclose(found, frames[0] / 4095, atol=1e-6)
    opened = PillowFile(data, "x.png", 1 << 20)
    opened.pixels(1, None)
    with pytest.raises(ImageError, match="8 of 16 bits are read of a PNG's later pictures, which no window fits; save it alone"):
        opened.pixels(1, (0, 4095))


def test_a_window_of_deep_colours_in_jpeg_2000_is_in_the_numbers_that_it_stores() -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    values = np.random.default_rng(0).integers(0, 1024, (16, 16, 3)).astype(np.uint16)
    data = imagecodecs.jpeg2k_encode(values, level=0, reversible=True, bitspersample=12, codecformat="jp2", mct=False)
    found = decode_image(data, channels=3, dtype="float32", window=(0, 1023))
    np.testing.assert_allclose(found, values / 1023, atol=1e-6)


def test_inks_are_pillows_and_an_animated_png_is_its_first_picture() -> None:
    inks = Image.fromarray(RGB).convert("CMYK")
    for form in ("JPEG", "TIFF"):
        data = encoded(inks, form)
        theirs = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        np.testing.assert_array_equal(decode_image(data, channels=3, dtype="uint8"), theirs)
    moving = encoded(Image.fromarray(RGB), "PNG", save_all=True, append_images=[Image.fromarray(255 - RGB)], default_image=True)
    np.testing.assert_array_equal(decode_image(moving, channels=3, dtype="uint8"), RGB)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000", "PPM"])
def test_a_cut_file_is_one_line(form: str) -> None:
    data = encoded(RGB, form)
    for end in (4, 12, len(data) // 2, len(data) - 12):
        try:
            decode_image(data[:end], channels=3, dtype="uint8")
        except ImageError as error:
            assert "\n" not in str(error)  # noqa: PT017  # a cut at the very end may take away nothing of the pixels
            continue
        assert end > len(data) // 2


def test_pillow_images_of_all_modes_are_pixels_or_one_line() -> None:
    for mode in ("1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "LA", "PA", "RGBX", "RGBa", "La", "I;16"):
        image = Image.new(mode, (4, 4))
        if mode == "F":
            with pytest.raises(ImageError, match="no declared range"):
                read_image(image, channels=1, dtype="uint8")
        else:
            assert read_image(image, channels=3, dtype="uint8").shape == (4, 4, 3)
