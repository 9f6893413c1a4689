"""TIFFs of every kind against tifffile: polarity, declared bits, planes, byte orders; damaged ones are one line."""

from __future__ import annotations

import io
import re
import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from medzoo.data.errors import ImageDependencyError, ImageError
from medzoo.data.images.decode import decode_image, read_image
from medzoo.data.images.tiff.header import _entries, read_pages
from tests.data.images.makers import RAMP, encoded, tiff

tifffile = pytest.importorskip("tifffile")
pytest.importorskip("imagecodecs")
RNG = np.random.default_rng(0)
DEEP = (np.arange(256).reshape(16, 16) * 257).astype(np.uint16)
COLOURS = RNG.integers(0, 65536, (16, 16, 3)).astype(np.uint16)


def gray(data: bytes, **options: Any) -> NDArray[Any]:
    return decode_image(data, channels=1, dtype="float32", **options)[..., 0]


def line(data: bytes, **options: Any) -> str:
    with pytest.raises(ImageError) as error:
        gray(data, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def ifd(tags: dict[int, Any], pixels: bytes, order: str = "<") -> bytes:
    """A TIFF of one strip, byte for byte, for kinds that tifffile does not write; shorts and longs alone."""
    tags = {**tags, 273: 8, 279: len(pixels)}
    entries, far, start = b"", b"", 8 + len(pixels) + len(pixels) % 2
    after = start + 2 + 12 * len(tags) + 4
    for tag, value in sorted(tags.items()):
        values = value if isinstance(value, tuple) else (value,)
        kind, code = (4, "I") if tag in (273, 279) else (3, "H")
        raw = struct.pack(f"{order}{len(values)}{code}", *values)
        if len(raw) > 4:
            raw, far = struct.pack(order + "I", after + len(far)), far + raw
        entries += struct.pack(order + "HHI", tag, kind, len(values)) + raw.ljust(4, b"\0")
    mark = b"II*\0" if order == "<" else b"MM\0*"
    body = struct.pack(order + "H", len(tags)) + entries + bytes(4) + far
    return mark + struct.pack(order + "I", start) + pixels.ljust(start - 8, b"\0") + body


def packed(values: NDArray[Any], bits: int) -> bytes:
    """Rows of values of any number of bits, the highest first, each row to whole bytes."""
    rows = np.unpackbits(values.astype(">u2").view(np.uint8).reshape(*values.shape, 2), axis=-1)[..., 16 - bits :]
    return np.packbits(rows.reshape(len(values), -1), axis=-1).tobytes()


def bits_tiff(values: NDArray[Any], bits: int, photometric: int = 1, order: str = "<") -> bytes:
    height, width = values.shape
    return ifd({256: width, 257: height, 258: bits, 259: 1, 262: photometric, 277: 1, 278: height}, packed(values, bits), order)


# 11: white is zero


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize(
    "options", [{}, {"compression": "zlib"}, {"compression": "lzw", "predictor": 2}, {"tile": (16, 16)}], ids=str
)
def test_white_is_zero_at_any_depth(order: str, dtype: str, options: dict[str, Any]) -> None:
    values = DEEP if dtype == "uint16" else (DEEP >> 8).astype(np.uint8)
    top = np.iinfo(dtype).max
    for photometric, expected in (("miniswhite", 1 - values / top), ("minisblack", values / top)):
        data = tiff(values, photometric=photometric, byteorder=order, **options)
        np.testing.assert_allclose(gray(data), expected, atol=1e-6)


@pytest.mark.parametrize("bits", [1, 2, 4, 10, 12, 14])
def test_white_is_zero_of_few_and_odd_bits(bits: int) -> None:
    values = np.arange(256).reshape(16, 16) * (2**bits - 1) // 255
    np.testing.assert_allclose(gray(bits_tiff(values, bits, 0)), 1 - values / (2**bits - 1), atol=1e-6)


def test_a_window_of_white_is_zero_is_in_stored_values_and_inverted() -> None:
    data = tiff(DEEP, photometric="miniswhite")
    np.testing.assert_allclose(gray(data, window=(0, 257)), 1 - np.clip(DEEP / 257, 0, 1), atol=1e-6)
    floats = tiff(DEEP.astype(np.float32), photometric="miniswhite")
    np.testing.assert_allclose(gray(floats, window=(0, 65535)), 1 - DEEP / 65535, atol=1e-6)


def test_a_pillow_image_of_a_tiff_is_as_its_file() -> None:
    for data in (tiff(DEEP, photometric="miniswhite"), bits_tiff(RAMP, 12)):
        opened = Image.open(io.BytesIO(data))
        np.testing.assert_array_equal(read_image(opened, channels=1, dtype="float32")[..., 0], gray(data))


# 12: declared bits


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 8, 10, 12, 14, 16])
def test_declared_bits_are_the_range(bits: int, order: str) -> None:
    values = np.arange(256).reshape(16, 16) * (2**bits - 1) // 255
    np.testing.assert_allclose(
        gray(bits_tiff(values, bits, 1, order)), values / (2**bits - 1), atol=1e-6 if bits not in (3, 6) else 2e-3
    )


# 13: planes


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"byteorder": ">"}, {"tile": (16, 16)}], ids=str)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_planes_are_as_samples_side_by_side(dtype: str, options: dict[str, Any]) -> None:
    colours = COLOURS if dtype == "uint16" else (COLOURS >> 8).astype(np.uint8)
    planes = tiff(np.moveaxis(colours, -1, 0), photometric="rgb", planarconfig="separate", **options)
    beside = tiff(colours, photometric="rgb", planarconfig="contig", **options)
    for data in (planes, beside):
        np.testing.assert_array_equal(decode_image(data, channels=3, dtype="uint8"), (COLOURS >> 8).astype(np.uint8))


# 14: damaged


def test_a_second_page_without_a_size_is_one_line() -> None:
    two = tiff(DEEP) + b""
    assert "holds 2 pages" in line(encoded(Image.fromarray(DEEP), "TIFF", save_all=True, append_images=[Image.fromarray(DEEP)]))
    (place,) = struct.unpack_from("<I", two, 4)
    (number,) = struct.unpack_from("<H", two, place)
    at = place + 2 + 12 * number
    data = two[:at] + struct.pack("<I", len(two)) + two[at + 4 :] + struct.pack("<HHHIII", 1, 258, 3, 1, 8, 0)
    assert "damaged TIFF (page 2 has no size)" in line(data)


@pytest.mark.parametrize(
    "data",
    [
        tiff(DEEP)[:60],
        tiff(DEEP)[:200],
        tiff(DEEP.astype(np.float64))[:-300],
        tiff(DEEP, compression="zlib")[:-20],
        bits_tiff(RAMP, 10).replace(struct.pack("<HHII", 279, 4, 1, 320), struct.pack("<HHII", 279, 4, 1, 900)),
        bits_tiff(RAMP, 10).replace(struct.pack("<HHII", 273, 4, 1, 8), struct.pack("<HHII", 273, 4, 1, 90000)),
        ifd({256: 16, 257: 16, 258: 8, 259: 1}, bytes(256)),
        ifd({256: 0, 257: 16, 258: 8, 262: 1}, bytes(256)),
        ifd({256: 60000, 257: 60000, 258: 10, 262: 1}, bytes(256)),
        b"II*\0\x08\0\0\0",
        b"II*\0\xff\xff\xff\xff",
        b"MM\0+\0\x08\0\0",
    ],
    ids=range(12),
)
def test_a_damaged_or_cut_tiff_is_one_line(data: bytes) -> None:
    assert re.search("damaged|cut short|truncated|limit", line(data, window=(0, 1)))


def test_a_tag_that_stands_many_times_is_read_once() -> None:
    """A page of 2,000 equal tags of 1,000 values each: what is unpacked does not grow with their number."""
    entry = struct.pack("<HHII", 273, 1, 1000, 8)
    sizes = b"".join(struct.pack("<HHII", tag, 3, 1, 4) for tag in (256, 257))
    data = b"II*\0" + struct.pack("<I", 1008) + bytes(1000) + struct.pack("<H", 2002) + sizes + entry * 2000 + bytes(4)
    assert [key for key, _ in _entries(data, 1010, 2002, "<", False, 12, 4)] == ["width", "height", "offsets"]


def test_a_header_of_more_rows_than_the_file_holds_is_not_filled_with_black() -> None:
    tall = {256: 16, 257: 4000, 258: 8, 259: 1, 262: 1, 277: 1}
    assert "holds fewer pixels" in line(ifd({**tall, 278: 16}, bytes(256)))
    assert "holds fewer pixels" in line(ifd({**tall, 278: 4000}, bytes(256)))


def test_a_tiff_that_does_not_count_its_bytes_is_read() -> None:
    data = ifd({256: 16, 257: 16, 258: 8, 259: 1, 262: 1, 277: 1, 278: 16}, (DEEP >> 8).astype(np.uint8).tobytes())
    uncounted = data.replace(struct.pack("<HHI", 279, 4, 1), struct.pack("<HHI", 65000, 4, 1))
    np.testing.assert_array_equal(gray(uncounted), gray(data))


def test_channels_that_nothing_explains_are_not_dropped() -> None:
    for shape, planar in (((16, 16, 5), "contig"), ((5, 16, 16), "separate")):
        data = tiff(np.zeros(shape, np.uint8), photometric="minisblack", planarconfig=planar)
        assert "a TIFF of 5 channels" in line(data)


@pytest.mark.parametrize("compression", ["lzma", "zstd", "lzw", "packbits", "jpeg2000", "jpegxl", "lerc", "webp"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_compressions_without_loss_change_nothing(compression: str, dtype: type) -> None:
    if compression == "webp":
        colours = (COLOURS >> 8).astype(np.uint8)
        data = tiff(colours, photometric="rgb", compression="webp", compressionargs={"lossless": True})
        np.testing.assert_array_equal(decode_image(data, channels=3, dtype="uint8"), colours)
        return
    values = DEEP if dtype == np.uint16 else (DEEP >> 8).astype(np.uint8)
    np.testing.assert_allclose(gray(tiff(values, compression=compression)), values / np.iinfo(dtype).max, atol=1e-6)


# 15: intact kinds


@pytest.mark.parametrize("options", [{}, {"planarconfig": "separate"}, {"compression": "zlib"}, {"byteorder": ">"}], ids=str)
def test_a_window_of_deep_colours_is_in_the_numbers_that_they_store(options: dict[str, Any]) -> None:
    colours = COLOURS >> 4
    stored = np.moveaxis(colours, -1, 0) if options.get("planarconfig") else colours
    data = tiff(stored, photometric="rgb", **options)
    found = decode_image(data, channels=3, dtype="float32", window=(100, 4000))
    np.testing.assert_allclose(found, np.clip((colours - 100.0) / 3900, 0, 1), atol=1e-6)
    np.testing.assert_array_equal(decode_image(data, channels=3, dtype="uint8"), colours >> 8)
    with pytest.raises(ImageError, match="give the file's path"):
        read_image(Image.open(io.BytesIO(data)), channels=3, dtype="float32", window=(100, 4000))
    eight = tiff((colours >> 4).astype(np.uint8), photometric="rgb")
    np.testing.assert_array_equal(decode_image(eight, channels=3, dtype="uint8", window=(100, 4000)), colours >> 4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])  # Pillow's, and tifffile's
def test_floats_that_are_no_numbers_are_counted(dtype: str) -> None:
    values = np.linspace(0, 1, 256).reshape(16, 16).astype(dtype)
    values[0, :3] = np.nan
    assert "3 of its 256 values are NaN or infinite; save a copy with numbers" in line(tiff(values), window=(0, 1))


def test_a_window_of_inks_is_one_line() -> None:
    inks = RNG.integers(0, 65536, (16, 16, 4)).astype(np.uint16)
    with pytest.raises(ImageError, match="a TIFF of CMYK of 16 bits with a window is not read; save it as RGB"):
        decode_image(tiff(inks, photometric="separated"), channels=3, dtype="uint8", window=(0, 4095))


def test_floats_of_any_size_take_a_window_and_say_so() -> None:
    values = np.linspace(-1000, 3000, 256).reshape(16, 16)
    for dtype in (np.float16, np.float32, np.float64):
        data = tiff(values.astype(dtype))
        np.testing.assert_allclose(gray(data, window=(-1000, 3000)), (values + 1000) / 4000, atol=1e-3)
        assert "have no declared range; give window=[low, high]" in line(data)
    assert "NaN" in line(tiff(np.full((4, 4), np.nan)), window=(0, 1))


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.uint32])
def test_signed_and_32_bit_numbers_take_a_window_and_say_so(dtype: type) -> None:
    values = np.arange(100).reshape(10, 10).astype(dtype)
    for order in "<>":
        data = tiff(values, byteorder=order)
        np.testing.assert_allclose(gray(data, window=(0, 99)), values / 99, atol=1e-6)
        assert "no declared range" in line(data)


@pytest.mark.parametrize("kind", ["unassalpha", "unspecified"])
def test_gray_beside_alpha_is_the_gray(kind: str) -> None:
    pair = np.stack([DEEP, np.full_like(DEEP, 40000)], axis=-1)
    data = tiff(pair, photometric="minisblack", planarconfig="contig", extrasamples=[kind])
    np.testing.assert_allclose(gray(data), DEEP / 65535, atol=1e-6)


def test_what_was_multiplied_by_alpha_is_divided_again() -> None:
    alpha = np.full_like(DEEP, 32768)
    pair = np.stack([(DEEP.astype(np.uint32) * 32768 // 65535).astype(np.uint16), alpha], axis=-1)
    data = tiff(pair, photometric="minisblack", planarconfig="contig", extrasamples=["assocalpha"])
    np.testing.assert_allclose(gray(data), DEEP / 65535, atol=1e-4)
    eight = np.concatenate([np.full((4, 4, 3), 50, np.uint8), np.full((4, 4, 1), 100, np.uint8)], axis=-1)
    data = tiff(eight, photometric="rgb", extrasamples=["assocalpha"])
    assert decode_image(data, channels=3, dtype="uint8")[0, 0].tolist() == [127, 127, 127]


@pytest.mark.parametrize("options", [{"bigtiff": True, "byteorder": ">"}, {"bigtiff": True}, {"byteorder": ">"}], ids=str)
def test_bigtiff_and_byte_orders(options: dict[str, Any]) -> None:
    np.testing.assert_allclose(gray(tiff(DEEP, **options)), DEEP / 65535, atol=1e-6)
    data = tiff(COLOURS, photometric="rgb", **options)
    np.testing.assert_array_equal(decode_image(data, channels=3, dtype="uint8"), (COLOURS >> 8).astype(np.uint8))


def test_palettes_of_8_and_16_bits() -> None:
    for bits in (8, 16):
        colours = np.stack([np.arange(2**bits), np.arange(2**bits)[::-1], np.full(2**bits, 77)]) * (257 if bits == 8 else 1)
        data = tiff(
            DEEP if bits == 16 else (DEEP >> 8).astype(np.uint8), photometric="palette", colormap=colours.astype(np.uint16)
        )
        found = decode_image(data, channels=3, dtype="uint8")
        np.testing.assert_array_equal(found[..., 0], DEEP >> 8)
        np.testing.assert_array_equal(found[..., 1], 255 - (DEEP >> 8))


def test_a_palette_of_8_bit_values_is_not_black() -> None:
    """As libtiff reads one: no word of it is larger than 255. By Pillow, by tifffile, and of an image that a user opened."""
    colours = np.stack([np.arange(256), np.arange(256)[::-1], np.full(256, 77)]).astype(np.uint16)
    places = (DEEP >> 8).astype(np.uint8)
    expected = np.stack([places, 255 - places, np.full_like(places, 77)], axis=-1)
    plain, other = (
        tiff(places, photometric="palette", colormap=colours, **options) for options in ({}, {"bigtiff": True, "byteorder": ">"})
    )
    assert read_pages(plain, "x").header(plain, 0, "x").by_pillow
    assert not read_pages(other, "x").header(other, 0, "x").by_pillow
    for data in (plain, other):
        np.testing.assert_array_equal(decode_image(data, channels=3, dtype="uint8"), expected)
    np.testing.assert_array_equal(read_image(Image.open(io.BytesIO(plain)), channels=3, dtype="uint8"), expected)
    words = tuple(map(int, (colours[:, :16] * 16 % 256).ravel()))
    few = ifd({256: 16, 257: 16, 258: 4, 259: 1, 262: 3, 277: 1, 278: 16, 320: words}, packed(places >> 4, 4))
    np.testing.assert_array_equal(decode_image(few, channels=3, dtype="uint8")[..., 0], places >> 4 << 4)


def test_cmyk_of_16_bits_is_as_of_8() -> None:
    inks = RNG.integers(0, 65536, (16, 16, 4)).astype(np.uint16)
    deep, plain = (tiff(i, photometric="separated") for i in (inks, (inks >> 8).astype(np.uint8)))
    theirs = np.asarray(Image.fromarray((inks >> 8).astype(np.uint8), "CMYK").convert("RGB"))
    for data in (deep, plain):
        np.testing.assert_array_equal(decode_image(data, channels=3, dtype="uint8"), theirs)


def test_lab_is_colour_and_other_kinds_say_which_they_are() -> None:
    lab = Image.new("LAB", (4, 4), (128, 128, 128))
    assert np.ptp(decode_image(encoded(lab, "TIFF"), channels=3, dtype="uint8")) <= 2  # no a and b: a gray
    raw = ifd({256: 16, 257: 16, 258: 8, 259: 1, 262: 32803, 277: 1, 278: 16}, bytes(256))
    assert "a camera's raw pixels is not read" in line(raw)
    ycbcr = ifd({256: 16, 257: 16, 258: (8, 8, 8), 259: 1, 262: 6, 277: 3, 278: 16, 530: (2, 2)}, bytes(16 * 16 * 3))
    assert line(ycbcr)


def test_a_smaller_copy_beside_the_image_is_no_second_page() -> None:
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as writer:
        writer.write(DEEP, metadata=None)
        writer.write(DEEP[::2, ::2], subfiletype=1, metadata=None)
    np.testing.assert_allclose(gray(out.getvalue()), DEEP / 65535, atol=1e-6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_turn_is_the_same_whoever_reads_it(orientation: int) -> None:
    turn = [(274, 3, 1, orientation, True)]
    tall = DEEP[:10]
    by_pillow, by_tifffile = tiff(tall, extratags=turn), tiff(tall, extratags=turn, bigtiff=True, byteorder=">")
    assert read_pages(by_pillow, "x").header(by_pillow, 0, "x").by_pillow
    assert not read_pages(by_tifffile, "x").header(by_tifffile, 0, "x").by_pillow
    np.testing.assert_array_equal(gray(by_pillow), gray(by_tifffile))


def test_what_pillow_reads_is_what_tifffile_reads() -> None:
    seen = 0
    for dtype in (np.uint8, np.uint16):
        for shape, photometric, extra in (
            ((12, 20), "minisblack", ()),
            ((12, 20), "miniswhite", ()),
            ((12, 20, 3), "rgb", ()),
            ((12, 20, 4), "rgb", ("unassalpha",)),
            ((12, 20, 4), "rgb", ("unspecified",)),
            ((12, 20, 5), "rgb", ("unspecified", "unspecified")),
            ((12, 20, 2), "minisblack", ("unassalpha",)),
        ):
            for order in "<>":
                for options in (
                    {},
                    {"compression": "zlib", "predictor": 2},
                    {"compression": "packbits"},
                    {"tile": (16, 16)},
                    {"rowsperstrip": 5},
                ):
                    values = RNG.integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)
                    planar = {} if len(shape) == 2 else {"planarconfig": "contig"}
                    try:
                        data = tiff(
                            values,
                            photometric=photometric,
                            byteorder=order,
                            **planar,
                            **({"extrasamples": extra} if extra else {}),
                            **options,
                        )
                    except (ValueError, NotImplementedError):  # tifffile writes no such combination
                        continue
                    seen += read_pages(data, "x").header(data, 0, "x").by_pillow
                    top, colour = np.iinfo(dtype).max, photometric == "rgb"
                    expected = (
                        values[..., :3] >> (8 * (dtype == np.uint16)) if colour else values[..., 0] if len(shape) == 3 else values
                    )
                    if colour:
                        np.testing.assert_array_equal(
                            decode_image(data, channels=3, dtype="uint8"), expected, str((dtype, shape, order, options))
                        )
                    else:
                        expected = 1 - expected / top if photometric == "miniswhite" else expected / top
                        np.testing.assert_allclose(gray(data), expected, atol=1e-6, err_msg=str((dtype, shape, order, options)))
    assert seen > 60


def test_without_the_extra_the_line_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tifffile", None)
    with pytest.raises(ImageDependencyError, match=r"pip install 'medzoo\[tiff\]'"):
        gray(bits_tiff(RAMP, 10))
    np.testing.assert_allclose(gray(bits_tiff(RAMP, 12)), RAMP / 4095, atol=1e-6)  # Pillow alone
