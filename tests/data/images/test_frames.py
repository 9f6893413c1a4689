"""Files of several frames: each frame is what the library of its kind gives for it, as an image and as a plane of a volume."""

from __future__ import annotations

import io
import struct
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from medzoo.data.errors import ImageError
from medzoo.data.images.decode import decode_frames, decode_image, read_image
from medzoo.data.images.dicom.decode import range_of, unpixelled
from medzoo.data.images.frames import Frame, count_frames, frames_of
from medzoo.data.images.pixels import SeveralFramesError
from tests.data.images.makers import RAMP, animation, dicom_data, encoded, film, film_data, item, tiff, written

FILM = np.stack([np.roll(RAMP, 3 * n, axis=n % 2) for n in range(5)])
"""Five frames of 12 bits, no two alike."""
SMALL = np.random.default_rng(0).integers(0, 256, (4, 9, 7), dtype=np.uint8)
COLOURS = np.random.default_rng(1).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)


def grays(source: bytes | Path, **options: Any) -> NDArray[Any]:
    """Every frame, one by one, as gray."""
    return np.stack([decode_image(f, channels=1, dtype="float32", **options)[..., 0] for f in frames_of(source)])


def colours(source: bytes | Path) -> NDArray[Any]:
    return np.stack([decode_image(frame, channels=3, dtype="uint8") for frame in frames_of(source)])


def volume(source: bytes | Path, **options: Any) -> NDArray[Any]:
    return decode_frames(source, channels=1, dtype="float32", **options)[..., 0]


def line(source: bytes | Path | Frame) -> str:
    """What is said of a file that cannot be read as frames, and as a volume alike."""
    with pytest.raises(ImageError) as error:
        decode_image(source if isinstance(source, Frame) else Frame(source, 0), channels=1, dtype="uint8")
    if not isinstance(source, Frame):
        for read in (frames_of, volume):
            with pytest.raises(ImageError) as other:
                read(source)
            assert str(other.value) == str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


def voi(data: Any, stored: NDArray[Any], **said: Any) -> NDArray[Any]:
    """pydicom's own pixels of one frame with what its functional groups say, spread over the range that it puts out."""
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    one = dicom_data(stored, **{k: v for k, v in said.items() if v is not None})
    shown = apply_voi_lut(apply_modality_lut(stored, one), one).astype(np.float64)
    ends = np.array([0, 2.0 ** int(data.BitsStored) - 1]) * float(said.get("RescaleSlope", 1)) + float(said["RescaleIntercept"])
    return (shown - ends[0]) / (ends[1] - ends[0])


def group(slope: float, intercept: float, centre: float, width: float) -> Any:
    return item(
        PixelValueTransformationSequence=[item(RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="US")],
        FrameVOILUTSequence=[item(WindowCenter=centre, WindowWidth=width)],
    )


def test_each_frame_is_rescaled_and_windowed_by_its_own_functional_groups() -> None:
    pydicom = pytest.importorskip("pydicom")
    said = [(1 + n, -100.0 * n, 900.0 + 200 * n, 1200.0 + 300 * n) for n in range(len(FILM))]
    own = [group(*numbers) for numbers in said]
    data = written(film_data(FILM, PerFrameFunctionalGroupsSequence=own, SharedFunctionalGroupsSequence=[group(9, 9, 9, 9)]))
    stored = pydicom.dcmread(io.BytesIO(data)).pixel_array
    np.testing.assert_array_equal(stored, FILM)
    names = ("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth")
    theirs = [
        voi(film_data(FILM), one, **dict(zip(names, numbers, strict=True))) for one, numbers in zip(stored, said, strict=True)
    ]
    np.testing.assert_allclose(grays(data), np.stack(theirs), atol=1e-6)
    np.testing.assert_array_equal(volume(data), grays(data))
    window = (0.0, 5000.0)
    rescaled = np.stack([FILM[n].astype(np.float64) * s + i for n, (s, i, _, _) in enumerate(said)])
    np.testing.assert_allclose(grays(data, window=window), np.clip(rescaled / 5000, 0, 1), atol=1e-6)
    np.testing.assert_array_equal(volume(data, window=window), grays(data, window=window))


def test_a_range_is_taken_for_the_frames_that_say_none() -> None:
    pytest.importorskip("pydicom")
    own = [group(1, 0, 5, 10), item(), item()]
    data = film(FILM[:3], PerFrameFunctionalGroupsSequence=own)
    taken = "0..4095, all 12 stored bits"
    assert [range_of(unpixelled(data, "x"), "x", n) for n in (0, 1, 2, None)] == [None, taken, taken, taken]


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"])
def test_native_frames_are_pydicoms(syntax: str, tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    out = io.BytesIO()
    data = film_data(FILM)
    data.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(out, data, enforce_file_format=True)
    (tmp_path / "x").write_bytes(out.getvalue())
    theirs = pydicom.dcmread(tmp_path / "x").pixel_array / 4095
    np.testing.assert_allclose(grays(tmp_path / "x"), theirs, atol=1e-6)
    np.testing.assert_array_equal(volume(tmp_path / "x"), grays(tmp_path / "x"))
    assert count_frames(tmp_path / "x") == 5
    if syntax == "1.2.840.10008.1.2.1":
        (tmp_path / "bare").write_bytes(written(film_data(FILM), preamble=False))
        np.testing.assert_array_equal(grays(tmp_path / "bare"), grays(tmp_path / "x"))
        assert count_frames(tmp_path / "bare") == 5


@pytest.mark.parametrize("offsets", [True, False])
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"])
def test_compressed_frames_are_pydicoms(syntax: str, offsets: bool, tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    pytest.importorskip("jpeg_ls")
    pytest.importorskip("openjpeg")
    from pydicom.encaps import encapsulate, generate_frames

    data = film_data(FILM.repeat(4, axis=1).repeat(4, axis=2))
    data.compress(syntax)
    data.PixelData = encapsulate(list(generate_frames(data.PixelData, number_of_frames=5)), has_bot=offsets)
    (tmp_path / "x.dcm").write_bytes(written(data))
    theirs = pydicom.dcmread(tmp_path / "x.dcm").pixel_array / 4095
    np.testing.assert_allclose(grays(tmp_path / "x.dcm"), theirs, atol=1e-6)
    np.testing.assert_array_equal(volume(tmp_path / "x.dcm"), grays(tmp_path / "x.dcm"))
    assert count_frames(tmp_path / "x.dcm") == 5


def test_frames_of_an_extended_offset_table_are_found() -> None:
    pydicom = pytest.importorskip("pydicom")
    from pydicom.encaps import encapsulate_extended, generate_frames

    data = film_data(FILM)
    data.compress("1.2.840.10008.1.2.5")
    frames = list(generate_frames(data.PixelData, number_of_frames=5))
    data.PixelData, data.ExtendedOffsetTable, data.ExtendedOffsetTableLengths = encapsulate_extended(frames)
    theirs = pydicom.dcmread(io.BytesIO(written(data))).pixel_array / 4095
    np.testing.assert_allclose(grays(written(data)), theirs, atol=1e-6)


def test_colours_palettes_and_single_bits_are_pydicoms() -> None:
    pytest.importorskip("pydicom")
    from pydicom.pixels import apply_color_lut

    np.testing.assert_array_equal(colours(film(COLOURS)), COLOURS)
    tags: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for place, name in enumerate(("Red", "Green", "Blue")):
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 8]
        tags[f"{name}PaletteColorLookupTableData"] = np.roll(np.arange(256, dtype=np.uint8), place).tobytes()
    data = film_data(np.resize(SMALL, (4, 10, 8)), **tags)
    np.testing.assert_array_equal(colours(written(data)), apply_color_lut(data.pixel_array, data))
    bits = SMALL & 1
    data = film_data(SMALL, BitsAllocated=1, BitsStored=1, HighBit=0)
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()  # 63 pixels a frame: none but the first begins with a byte
    data.PixelData = packed + b"\0" * (len(packed) % 2)
    np.testing.assert_array_equal(data.pixel_array, bits)
    np.testing.assert_array_equal(grays(written(data)), bits)
    np.testing.assert_array_equal(volume(written(data)), bits)


def test_values_in_the_upper_bits_stay_so_from_frame_to_frame() -> None:
    pytest.importorskip("pydicom")
    data = film(FILM << 4, HighBit=15)
    np.testing.assert_allclose(grays(data), FILM / 4095, atol=1e-6)
    np.testing.assert_array_equal(volume(data), grays(data))


def test_frames_are_the_same_in_any_order_by_path_and_bytes_and_from_several_threads(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    for name, data in {"a.dcm": film(FILM), "b.dcm": film(FILM[::-1]), "c.gif": animation(pictures(), "GIF")}.items():
        (tmp_path / name).write_bytes(data)
    frames = [frame for name in ("a.dcm", "b.dcm", "c.gif") for frame in frames_of(tmp_path / name)]
    assert [str(frame) for frame in frames[:2]] == [f"{tmp_path / 'a.dcm'}[{n}]" for n in range(2)]

    def read(frame: Frame) -> NDArray[Any]:
        return decode_image(frame, channels=1, dtype="float32")

    alone = [read(Frame(Path(str(frame.source)).read_bytes(), frame.number)) for frame in frames]
    order = np.random.default_rng(0).permutation(len(frames) * 4) % len(frames)
    with ThreadPoolExecutor(3) as pool:
        for place, pixels in zip(order, pool.map(lambda place: read(frames[place]), order), strict=True):
            np.testing.assert_array_equal(pixels, alone[place])


def test_a_file_written_anew_is_not_taken_for_the_one_that_was_open(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    path.write_bytes(tiff(SMALL, photometric="minisblack"))
    np.testing.assert_array_equal(colours(path)[..., 0], SMALL)
    path.write_bytes(tiff(255 - SMALL[:3], photometric="minisblack"))
    np.testing.assert_array_equal(colours(path)[..., 0], 255 - SMALL[:3])


# Pages and pictures


@pytest.mark.parametrize(
    ("pages", "options"),
    [
        (SMALL, {}),
        (SMALL.astype(np.uint16) * 257, {}),
        (SMALL.astype(np.uint16) * 257, {"byteorder": ">", "bigtiff": True}),
        (SMALL, {"compression": "lzw"}),
        (SMALL, {"photometric": "miniswhite"}),
    ],
)
def test_the_pages_of_a_tiff_are_tifffiles(pages: NDArray[Any], options: dict[str, Any], tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    data = tiff(pages, **{"photometric": "minisblack", **options})
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        theirs = np.stack([page.asarray() for page in file.pages]) / np.iinfo(pages.dtype).max
    theirs = 1 - theirs if options.get("photometric") == "miniswhite" else theirs
    np.testing.assert_allclose(grays(data), theirs, atol=1e-6)
    np.testing.assert_array_equal(volume(data), grays(data))
    (tmp_path / "x.tif").write_bytes(data)
    assert count_frames(tmp_path / "x.tif") == len(pages)


def test_pages_of_several_sizes_kinds_and_turns_are_images_and_no_volume() -> None:
    tifffile = pytest.importorskip("tifffile")
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as file:
        file.write(SMALL[0], metadata=None)
        file.write(SMALL[1][:5, :3], metadata=None, subfiletype=1)  # a smaller copy
        file.write(COLOURS[0], metadata=None, photometric="rgb")
        file.write(SMALL[2].astype(np.uint16) * 257, metadata=None, extratags=[(274, "H", 1, 6, True)])
        file.write(SMALL[3].astype(np.float16) / 255, metadata=None)
    data = out.getvalue()
    found = [
        decode_image(frame, channels=3, dtype="float32", window=(0, 1) if n == 3 else None)
        for n, frame in enumerate(frames_of(data))
    ]
    np.testing.assert_allclose(found[0][..., 0], SMALL[0] / 255, atol=1e-6)
    np.testing.assert_allclose(found[1], COLOURS[0] / 255, atol=1e-6)
    np.testing.assert_allclose(found[2][..., 0], np.rot90(SMALL[2], -1) / 255, atol=1e-6)
    np.testing.assert_allclose(found[3][..., 0], SMALL[3] / 255, atol=1e-3)
    with pytest.raises(ImageError, match=r"\[1\]: 16 x 16 pixels, the first of its volume has 7 x 9"):
        volume(data)


def pictures(count: int = 4) -> list[Image.Image]:
    """Pictures of few colours, so that a palette holds them, each with a part that moves."""
    made = []
    for number in range(count):
        picture = np.zeros((20, 24, 3), np.uint8)
        picture[:, :, 0] = 200
        picture[2 * number : 2 * number + 6, 3 * number : 3 * number + 8] = (0, 40 * number, 255)
        made.append(Image.fromarray(picture))
    return made


@pytest.mark.parametrize(("form", "options"), [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {})])
def test_the_pictures_of_an_animation_are_as_they_are_shown(form: str, options: dict[str, Any], tmp_path: Path) -> None:
    data = animation(pictures(), form, **options)
    found = colours(data)
    np.testing.assert_array_equal(found, np.stack([np.asarray(picture) for picture in pictures()]))
    with Image.open(io.BytesIO(data)) as opened:
        theirs = [np.asarray(picture.convert("RGB")) for picture in ImageSequence.Iterator(opened)]
    np.testing.assert_array_equal(found, np.stack(theirs))
    planes = decode_frames(data, channels=3, dtype="uint8")
    np.testing.assert_array_equal(planes, found)
    (tmp_path / "x").write_bytes(data)
    assert count_frames(tmp_path / "x") == 4


# What is refused


@pytest.mark.parametrize("count", [6, 99, 99_999, 2_147_483_647])
@pytest.mark.parametrize("packed", [False, True])
def test_frames_that_a_file_says_and_does_not_hold_are_one_line_and_no_memory(count: int, packed: bool, tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    data = film_data(FILM)
    if packed:
        data.compress("1.2.840.10008.1.2.5")
    data.NumberOfFrames = count
    path = tmp_path / "x.dcm"
    path.write_bytes(written(data))
    line(path)  # what is imported once
    tracemalloc.start()
    try:
        said = line(path)
        assert count_frames(path) <= 99_999
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert f"NumberOfFrames (0028,0008) is {count}" in said
    assert "there are pixels for 5" in said or "more than the 100,000" in said
    assert peak < 2**20
    if not packed or count > 99_999:
        assert count_frames(path) == 1


def test_a_film_in_mpeg_is_refused_by_its_compression() -> None:
    pytest.importorskip("pydicom")
    from pydicom.encaps import encapsulate

    data = film_data(FILM)
    data.PixelData, data.file_meta.TransferSyntaxUID = encapsulate([b"\0" * 64]), "1.2.840.10008.1.2.4.102"
    assert "MPEG-4 AVC/H.264 High Profile / Level 4.1 is not read" in line(written(data))


def test_functional_groups_of_another_number_of_frames_are_refused() -> None:
    pytest.importorskip("pydicom")
    data = film(FILM, PerFrameFunctionalGroupsSequence=[group(1, 0, 5, 10)] * 4)
    assert "PerFrameFunctionalGroupsSequence (5200,9230) describes 4" in line(data)


def test_an_animated_png_that_says_more_pictures_than_it_holds_is_refused(tmp_path: Path) -> None:
    data = animation(pictures(), "PNG")
    place = data.index(b"acTL")
    import zlib

    chunk = b"acTL" + struct.pack(">II", 2**31 - 1, 0)
    (tmp_path / "x.png").write_bytes(data[:place] + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[place + 16 :])
    assert "it says 2147483647 pictures, and holds 4" in line(tmp_path / "x.png")
    assert count_frames(tmp_path / "x.png") == 1


def test_a_chain_of_pages_that_does_not_end_is_refused() -> None:
    pytest.importorskip("tifffile")
    data = bytearray(tiff(SMALL, photometric="minisblack"))
    (place,) = struct.unpack_from("<I", data, 4)
    starts = []
    while place:
        starts.append(place)
        (tags,) = struct.unpack_from("<H", data, place)
        end = place + 2 + 12 * tags
        (place,) = struct.unpack_from("<I", data, end)
    for target, said in ((starts[1], "ends in a loop"), (len(data) + 2, "ends in one outside the file")):
        struct.pack_into("<I", data, end, target)
        assert said in line(bytes(data))


def test_a_file_of_one_frame_is_that_frame_and_no_volume(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(encoded(SMALL[0]))
    (tmp_path / "cut.png").write_bytes(encoded(SMALL[0])[:40])
    assert [count_frames(tmp_path / name) for name in ("x.png", "cut.png", "absent.png", "x\0.png")] == [1] * 4
    np.testing.assert_array_equal(colours(tmp_path / "x.png")[0, ..., 0], SMALL[0])
    with pytest.raises(ImageError, match=r"x\.png: holds one frame, and a volume is read from several"):
        volume(tmp_path / "x.png")
    assert "absent.png: there is no such file" in line(tmp_path / "absent.png")


def test_a_frame_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tif").write_bytes(animation(pictures(), "TIFF"))
    for number in (4, -1):
        assert line(Frame(tmp_path / "x.tif", number)).endswith(f"x.tif: holds 4 pages, and none is number {number} (from 0)")
    assert "number 1" in line(Frame(encoded(SMALL[0]), 1))


@pytest.mark.parametrize("form", ["DICOM", "TIFF", "GIF"])
def test_without_a_word_several_frames_are_refused_and_the_line_says_what_to_say(form: str) -> None:
    if form == "DICOM":
        pytest.importorskip("pydicom")
    data = film(FILM) if form == "DICOM" else animation(pictures(), form)
    with pytest.raises(SeveralFramesError, match=r"holds [45] (frames|pages); take each as an image .* frames_of\(file\)"):
        decode_image(data, channels=1, dtype="uint8")
    with pytest.raises(SeveralFramesError, match=r"; say so$") as error:
        read_image(data, channels=1, dtype="uint8", remedy="say so")
    assert error.value.count == len(frames_of(data))


def test_too_many_voxels_and_too_large_frames_are_refused_before_they_are_decoded() -> None:
    data = animation(pictures(), "TIFF")
    with pytest.raises(ImageError, match=r"4 pages of 24 x 20 pixels are more than 1,919 voxels"):
        volume(data, max_voxels=4 * 20 * 24 - 1)
    assert volume(data, max_voxels=4 * 20 * 24).shape == (4, 20, 24)
    for frame in frames_of(data):
        with pytest.raises(ImageError, match=r"24 x 20 pixels are more than the limit of 479; save .*, or tiles"):
            decode_image(frame, channels=1, dtype="uint8", max_pixels=20 * 24 - 1)


def test_a_model_of_volumes_takes_frames_where_it_was_trained_on_them() -> None:
    data = animation(pictures(), "TIFF")
    taken = read_image(data, channels=1, dtype="float32", dimensions=3, frames="volume")
    np.testing.assert_array_equal(taken[..., 0], volume(data))
    with pytest.raises(ImageError, match=r"trained with data\.frames=volume"):
        read_image(data, channels=1, dtype="float32", dimensions=3)
    with pytest.raises(ImageError, match="takes volumes; give files of several frames"):
        read_image(Frame(data, 0), channels=1, dtype="float32", dimensions=3, frames="volume")
