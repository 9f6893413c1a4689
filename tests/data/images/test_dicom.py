"""Everything that says what a DICOM value means, held against pydicom's own functions and the standard's formulas."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medzoo.data.errors import ImageError
from medzoo.data.images.decode import decode_image
from medzoo.data.images.dicom.decode import range_of, unpixelled
from tests.data.images.makers import RAMP, bomb, dicom, dicom_data, encoded, item, lossless, replaced, written

pydicom = pytest.importorskip("pydicom")
PLACES = np.arange(256, dtype=np.uint8).reshape(16, 16)
HU = {"RescaleSlope": 1, "RescaleIntercept": -1024}


def gray(data: bytes, **options: Any) -> NDArray[Any]:
    return decode_image(data, channels=1, dtype="float32", **options)[..., 0]


def rgb(data: bytes) -> NDArray[Any]:
    return decode_image(data, channels=3, dtype="uint8")


def line(data: bytes, **options: Any) -> str:
    with pytest.raises(ImageError) as error:
        gray(data, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def theirs(data: Any) -> NDArray[Any]:
    """pydicom's modality and VOI of a data set, scaled to 0..1 by the range that it puts out."""
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    values = apply_voi_lut(apply_modality_lut(data.pixel_array, data), data).astype(np.float64)
    slope, intercept = float(data.get("RescaleSlope", 1)), float(data.get("RescaleIntercept", 0))
    ends = np.array([0, 2**data.BitsStored - 1]) * slope + intercept
    return (values - ends.min()) / (ends.max() - ends.min())


# 03: palettes


def palette(bits: int, entries: int = 256, first: int = 0, step: int = 1, **tags: Any) -> dict[str, Any]:
    colours = [np.arange(entries), np.arange(entries)[::-1], np.full(entries, 128)]
    for name, values in zip(("Red", "Green", "Blue"), colours, strict=True):
        raw = (values % 256).astype(np.uint8).tobytes() if bits == 8 else (values * step % 65536).astype("<u2").tobytes()
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [entries % 65536, first, bits]
        tags[f"{name}PaletteColorLookupTableData"] = raw + b"\0" * (len(raw) % 2)
    return {"PhotometricInterpretation": "PALETTE COLOR", **tags}


@pytest.mark.parametrize(("bits", "step"), [(8, 1), (16, 257)], ids=["8-bit table", "16-bit table"])
def test_a_palette_is_as_pydicom_applies_it(bits: int, step: int) -> None:
    from pydicom.pixels import apply_color_lut

    data = dicom_data(PLACES, **palette(bits, step=step))
    expected = apply_color_lut(data.pixel_array, data) >> (bits - 8)
    np.testing.assert_array_equal(rgb(written(data)), expected)
    assert rgb(written(data))[0, 0].tolist() == [0, 255, 128]


def test_a_palette_described_as_16_bits_and_filled_as_8_is_not_black() -> None:
    assert rgb(dicom(PLACES, **palette(16)))[-1, -1].tolist() == [255, 0, 128]


@pytest.mark.parametrize("step", [256, 257], ids=["in the upper byte", "in both bytes"])
def test_a_palette_described_as_8_bits_in_words_of_16_does_not_wrap(step: int) -> None:
    tags = palette(16, step=step)
    for name in ("Red", "Green", "Blue"):
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 8]
    found = rgb(dicom(PLACES, **tags))
    assert found[0, 0].tolist() == [0, 255, 128]
    assert found[-1, -1].tolist() == [255, 0, 128]


def test_each_colour_of_a_palette_has_the_bits_of_its_own_description() -> None:
    tags = palette(16, step=257) | {
        key: value for key, value in palette(8).items() if key.startswith("Green")
    }  # red and blue of 16 bits, green of 8
    assert rgb(dicom(PLACES, **tags))[0, 0].tolist() == [0, 255, 128]


def test_an_8_bit_palette_of_more_entries_than_256_does_not_wrap() -> None:
    wide = np.array([[0, 255], [256, 299]], np.uint16)
    red = rgb(dicom(wide, **palette(8, entries=300)))[..., 0]
    assert red.tolist() == [[0, 255], [0, 43]]


def test_a_palette_of_an_odd_number_of_entries_with_a_first_value_is_read() -> None:
    red = rgb(dicom(np.array([[0, 100], [101, 400]], np.uint16), **palette(8, entries=101, first=100)))[..., 0]
    assert red.tolist() == [[0, 0], [1, 100]]


def test_a_palette_in_segments_is_expanded() -> None:
    tags = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name in ("Red", "Green", "Blue"):
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        # one discrete entry of 0, then a line of 255 entries up to 65535
        tags[f"Segmented{name}PaletteColorLookupTableData"] = np.array([0, 1, 0, 1, 255, 65535], "<u2").tobytes()
    np.testing.assert_array_equal(rgb(dicom(PLACES, **tags))[..., 0], PLACES)


def test_a_missing_palette_is_one_line() -> None:
    assert "RedPaletteColorLookupTableDescriptor" in line(dicom(PLACES, PhotometricInterpretation="PALETTE COLOR"))


# 04: functional groups


def groups(**tags: Any) -> Any:
    change = {k: v for k, v in tags.items() if k.startswith("Rescale")}
    window = {k: v for k, v in tags.items() if k not in change}
    made = item()
    if change:
        made.PixelValueTransformationSequence = [item(**change)]
    if window:
        made.FrameVOILUTSequence = [item(**window)]
    return made


SEEN = {**HU, "WindowCenter": -600, "WindowWidth": 1500}


@pytest.mark.parametrize("place", ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"])
def test_functional_groups_count_as_the_top_level(place: str) -> None:
    np.testing.assert_array_equal(gray(dicom(**{place: [groups(**SEEN)]})), gray(dicom(**SEEN)))
    np.testing.assert_allclose(gray(dicom(**{place: [groups(**SEEN)]})), theirs(dicom_data(**SEEN)), atol=1e-6)


def test_a_frames_own_group_stands_over_the_shared_one_and_that_over_the_top() -> None:
    both = {"SharedFunctionalGroupsSequence": [groups(**HU, WindowCenter=0, WindowWidth=2)], "WindowCenter": 1, "WindowWidth": 1}
    own = [groups(WindowCenter=-600, WindowWidth=1500)]
    np.testing.assert_array_equal(gray(dicom(**both, PerFrameFunctionalGroupsSequence=own)), gray(dicom(**SEEN)))


def test_a_window_of_the_users_is_in_units_of_the_functional_groups() -> None:
    grouped = dicom(SharedFunctionalGroupsSequence=[groups(**HU)])
    np.testing.assert_array_equal(gray(grouped, window=(-1000, 400)), gray(dicom(**HU), window=(-1000, 400)))


def test_real_world_values_count_for_a_users_window_where_nothing_else_is_said() -> None:
    mapping = [item(RealWorldValueSlope=0.5, RealWorldValueIntercept=-100.0)]
    for data in (
        dicom(RealWorldValueMappingSequence=mapping),
        dicom(SharedFunctionalGroupsSequence=[item(RealWorldValueMappingSequence=mapping)]),
    ):
        np.testing.assert_array_equal(
            gray(data, window=(0, 500)), gray(dicom(RescaleSlope=0.5, RescaleIntercept=-100), window=(0, 500))
        )
    beside = dicom(RealWorldValueMappingSequence=mapping, **HU)
    np.testing.assert_array_equal(gray(beside, window=(0, 500)), gray(dicom(**HU), window=(0, 500)))


def test_the_dose_of_a_dose_image_is_what_a_window_is_in() -> None:
    np.testing.assert_allclose(gray(dicom(Modality="RTDOSE", DoseGridScaling=0.01), window=(0, 40.8)), RAMP / 4080, atol=1e-6)


# 05: no window


def test_without_a_window_a_ct_has_a_stated_range_and_others_that_of_their_bits() -> None:
    signed = (RAMP.astype(np.int16) - 1024).astype(np.int16)
    wide = {"BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1}
    ct = dicom(signed, **wide, Modality="CT", RescaleSlope=1, RescaleIntercept=0)
    np.testing.assert_allclose(gray(ct), np.clip((signed + 1024.0) / 4095, 0, 1), atol=1e-6)
    assert range_of(unpixelled(ct, "x"), "x") == "-1024..3071, a CT's Hounsfield units"
    assert range_of(unpixelled(dicom(signed, **wide), "x"), "x") == "-32768..32767, all 16 stored bits"
    assert (
        range_of(unpixelled(dicom(PLACES, Modality="CT", **{**HU, "RescaleIntercept": 0}), "x"), "x")
        == "0..255, all 8 stored bits"
    )
    assert range_of(unpixelled(dicom(**SEEN), "x"), "x") is None
    assert range_of(unpixelled(dicom(PLACES, **palette(8)), "x"), "x") is None


# 06, 07, 08: what is empty or impossible


@pytest.mark.parametrize("function", ["", " ", None, "LINEAR", "linear "])
def test_an_empty_voi_function_is_linear(function: str | None) -> None:
    tags = {} if function is None else {"VOILUTFunction": function}
    np.testing.assert_allclose(gray(dicom(**SEEN, **tags)), theirs(dicom_data(**SEEN)), atol=1e-6)


@pytest.mark.parametrize("function", ["SIGMOID", "LINEAR_EXACT"])
def test_the_other_functions_are_pydicoms(function: str) -> None:
    tags = {**SEEN, "VOILUTFunction": function}
    np.testing.assert_allclose(gray(dicom(**tags)), theirs(dicom_data(**tags)), atol=1e-6)


def test_an_unknown_voi_function_is_named() -> None:
    assert "VOILUTFunction (0028,1056) 'CUBIC'" in line(dicom(**SEEN, VOILUTFunction="CUBIC"))


@pytest.mark.parametrize("width", [0, 0.5, -3, [0, 0]])
def test_an_impossible_width_is_as_no_window(width: Any) -> None:
    centre = [5, 5] if isinstance(width, list) else 5
    np.testing.assert_array_equal(gray(dicom(WindowCenter=centre, WindowWidth=width)), gray(dicom()))
    assert "all 12 stored bits" in str(range_of(unpixelled(dicom(WindowCenter=centre, WindowWidth=width), "x"), "x"))


def test_the_first_possible_window_of_several_counts_and_half_a_window_does_not() -> None:
    several = dicom(WindowCenter=[5, 2000, 9], WindowWidth=[0, 1000, 1])
    np.testing.assert_array_equal(gray(several), gray(dicom(WindowCenter=2000, WindowWidth=1000)))
    np.testing.assert_array_equal(gray(dicom(WindowCenter=2000)), gray(dicom()))


def test_windows_are_paired_by_their_places() -> None:
    whole = gray(dicom(WindowCenter=2000, WindowWidth=1000))
    np.testing.assert_array_equal(gray(dicom(WindowCenter=["", 2000], WindowWidth=[80, 1000])), whole)
    np.testing.assert_array_equal(gray(dicom(WindowCenter=[40, 2000], WindowWidth=["", 1000])), whole)
    np.testing.assert_array_equal(gray(dicom(WindowCenter=["", 2000], WindowWidth=[80, ""])), gray(dicom()))


def test_a_width_of_1_is_a_threshold() -> None:
    np.testing.assert_array_equal(gray(dicom(WindowCenter=2048.5, WindowWidth=1)), (RAMP > 2048).astype(np.float32))


@pytest.mark.parametrize(
    "tags",
    [
        {"RescaleSlope": "", "RescaleIntercept": ""},
        {"RescaleSlope": ""},
        {"RescaleIntercept": ""},
        {"ModalityLUTSequence": []},
        {"VOILUTSequence": []},
        {"WindowCenter": "", "WindowWidth": ""},
        {"NumberOfFrames": ""},
        {"NumberOfFrames": 0},
        {"SharedFunctionalGroupsSequence": []},
        {"PerFrameFunctionalGroupsSequence": [item()]},
        {"SharedFunctionalGroupsSequence": [groups(RescaleSlope="", RescaleIntercept="")]},
        {"PresentationLUTShape": ""},
    ],
)
def test_what_is_empty_says_nothing(tags: dict[str, Any]) -> None:
    np.testing.assert_array_equal(gray(dicom(**tags)), gray(dicom()))


def test_a_rescale_of_which_one_half_is_there_keeps_it() -> None:
    np.testing.assert_array_equal(gray(dicom(RescaleIntercept=-1024), window=(-1024, 3071)), gray(dicom(**HU)))


# 09: impossible headers


@pytest.mark.parametrize("tag", ["NumberOfFrames (0028,0008)", "RescaleSlope (0028,1053)", "WindowCenter (0028,1050)"])
def test_a_number_that_is_none_is_named_with_its_file(tag: str) -> None:
    keyword = tag.split()[0]
    tags = {keyword: 88, **({"WindowWidth": 100} if keyword == "WindowCenter" else {})}
    old = b"88" if keyword == "NumberOfFrames" else b"88.0"
    data = replaced(
        dicom(**tags), b"S" + len(old).to_bytes(2, "little") + old, b"S" + len(old).to_bytes(2, "little") + b"1A  "[: len(old)]
    )
    assert re.search(re.escape(f"its {tag} is ") + r".*1A", line(data))


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"Rows": 0}, "Rows (0028,0010) 0"),
        ({"Columns": 0}, "leave no pixels"),
        ({"Rows": None}, "Rows (0028,0010) is missing"),
        ({"Rows": 65535, "Columns": 65535}, "65535 x 65535 pixels are more than the limit"),
        ({"BitsStored": 40}, "BitsStored (0028,0101) 40"),
        ({"BitsAllocated": 13}, "BitsAllocated (0028,0100) 13"),
        ({"BitsAllocated": 0, "BitsStored": 0}, "not possible"),
        ({"PixelRepresentation": 7}, "PixelRepresentation (0028,0103) is 7"),
        ({"SamplesPerPixel": 4}, "SamplesPerPixel (0028,0002) is 4"),
        ({"SamplesPerPixel": 3}, "MONOCHROME2 has 1"),
        ({"PhotometricInterpretation": "HSV"}, "'HSV' is not read"),
        ({"NumberOfFrames": 12}, "holds 12 frames"),
        ({"NumberOfFrames": -1}, "NumberOfFrames (0028,0008) is -1"),
        ({"RescaleSlope": 0, "RescaleIntercept": 0}, "RescaleSlope (0028,1053)"),
        ({"PixelData": None}, "holds no pixels"),
        ({"RescaleSlope": "1e308", "RescaleIntercept": 0}, "beyond all numbers"),
        ({"RescaleSlope": 1, "RescaleIntercept": "1e30"}, "RescaleIntercept (0028,1052) 1e+30 make all its values one"),
        ({"Rows": 300}, "cannot be decoded"),
        ({"VOILUTSequence": [item(LUTDescriptor=[9, 0, 16], LUTData=b"\1\0\2\0")]}, "look-up table (LUTDescriptor, LUTData)"),
        ({"ModalityLUTSequence": [item(LUTDescriptor=[2, 0, 16])]}, "look-up table"),
    ],
)
def test_an_impossible_header_is_one_line_that_names_the_element(tags: dict[str, Any], said: str) -> None:
    assert said in line(dicom(**tags))


# 10: no preamble, other names


def test_a_file_without_a_preamble_is_read() -> None:
    np.testing.assert_array_equal(gray(written(dicom_data(**SEEN), preamble=False)), gray(dicom(**SEEN)))
    for syntax in ("1.2.840.10008.1.2", "1.2.840.10008.1.2.2"):  # implicit, and big endian
        pixels = RAMP if syntax.endswith(".2.2") is False else RAMP.astype(">u2")
        data = dicom_data(pixels, syntax=syntax, **SEEN)
        del data.file_meta
        out = io.BytesIO()
        pydicom.dcmwrite(
            out, data, implicit_vr=syntax.endswith("1.2"), little_endian=not syntax.endswith(".2.2"), enforce_file_format=False
        )
        np.testing.assert_array_equal(gray(out.getvalue().removeprefix(b"\0" * 128 + b"DICM")), gray(dicom(**SEEN)))


def test_what_an_old_file_does_not_say_is_what_it_meant() -> None:
    old = dicom_data(
        PhotometricInterpretation=None, SamplesPerPixel=None, PixelRepresentation=None, BitsStored=None, HighBit=None
    )
    np.testing.assert_allclose(gray(written(old, preamble=False)), RAMP / 65535, atol=1e-7)


def test_colours_that_do_not_say_how_they_lie_do_so_pixel_by_pixel() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    data = dicom_data(colours, PlanarConfiguration=None)
    np.testing.assert_array_equal(rgb(written(data)), colours)


def test_a_jpeg_named_dcm_is_a_jpeg_and_a_dicom_whose_preamble_is_a_tiffs_is_a_dicom(tmp_path: Any) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(encoded(PLACES, "JPEG"))
    np.testing.assert_array_equal(
        decode_image(path, channels=1, dtype="uint8"), decode_image(encoded(PLACES, "JPEG"), channels=1, dtype="uint8")
    )
    two = b"II*\0" + dicom(**SEEN)[4:]
    np.testing.assert_array_equal(gray(two), gray(dicom(**SEEN)))
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(ImageError, match="HTML") as error:
        decode_image(path, channels=1, dtype="uint8")
    assert "force" not in str(error.value)


# tables, polarity, bits


@pytest.mark.parametrize("kind", ["US", "OW"])
def test_a_voi_table_is_pydicoms_and_stands_before_a_window(kind: str) -> None:
    entries = (np.arange(4096) ** 2 // 4096).astype(np.uint16)
    table = item(LUTDescriptor=[4096, 0, 12], LUTData=entries.tolist() if kind == "US" else entries.tobytes())
    table["LUTData"].VR = kind
    data = dicom_data(VOILUTSequence=[table], WindowCenter=5, WindowWidth=10)
    np.testing.assert_allclose(gray(written(data)), theirs(data), atol=1e-6)
    grouped = item(FrameVOILUTSequence=[item(VOILUTSequence=[table])])
    np.testing.assert_array_equal(gray(dicom(PerFrameFunctionalGroupsSequence=[grouped])), gray(written(data)))


@pytest.mark.parametrize("lowest", [0, 1024], ids=["a pixel below 0 HU", "none"])
@pytest.mark.parametrize("first", [-1024, 64512])
def test_a_voi_table_that_begins_below_zero_does_so_in_every_frame(lowest: int, first: int) -> None:
    """Implicit VR has no SS, so that -1024 is 64512: what the file can hold decides, not what this frame happens to."""
    stored = np.linspace(lowest, 4095, 256).astype(np.uint16).reshape(16, 16)
    table = item(LUTDescriptor=[4096, 0, 16], LUTData=(np.arange(4096) * 16).astype("<u2").tobytes())
    table["LUTDescriptor"].VR = "SS" if first < 0 else "US"
    table.LUTDescriptor = [4096, first, 16]
    table["LUTData"].VR = "OW"
    found = gray(dicom(stored, VOILUTSequence=[table], RescaleSlope=1, RescaleIntercept=-1024))
    np.testing.assert_allclose(found, stored * 16.0 / 65535, atol=1e-6)


def test_a_modality_table_of_8_bits_is_read() -> None:
    table = item(LUTDescriptor=[256, 0, 8], LUTData=np.arange(256)[::-1].astype(np.uint8).tobytes())
    table["LUTData"].VR = "OW"
    np.testing.assert_allclose(gray(dicom(PLACES, ModalityLUTSequence=[table])), PLACES[::-1, ::-1] / 255, atol=1e-6)


@pytest.mark.parametrize(
    "tags",
    [
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"PresentationLUTShape": "INVERSE"},
        {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
    ],
)
def test_an_inverse_is_inverted_once_wherever_it_is_said(tags: dict[str, str]) -> None:
    np.testing.assert_allclose(gray(dicom(**SEEN, **tags)), 1 - gray(dicom(**SEEN)), atol=1e-7)


def test_values_in_the_upper_bits_are_shifted_down() -> None:
    np.testing.assert_array_equal(gray(dicom(RAMP << 4, HighBit=15)), gray(dicom()))


def test_colours_of_16_bits_are_their_upper_8_bits() -> None:
    colours = np.random.default_rng(0).integers(0, 65536, (5, 7, 3)).astype(np.uint16)
    data = dicom(colours, BitsStored=16, HighBit=15)
    np.testing.assert_array_equal(rgb(data), colours >> 8)
    windowed = decode_image(data, channels=3, dtype="float32", window=(1000, 50000))
    np.testing.assert_allclose(windowed, np.clip((colours - 1000.0) / 49000, 0, 1), atol=1e-6)
    eight = dicom((colours >> 8).astype(np.uint8), BitsAllocated=8, BitsStored=8, HighBit=7)
    np.testing.assert_array_equal(decode_image(eight, channels=3, dtype="uint8", window=(1000, 50000)), colours >> 8)


def test_float_pixels_need_a_window_and_finite_values() -> None:
    values = np.linspace(-1, 1, 256, dtype=np.float32).reshape(16, 16)
    data = dicom_data(PixelData=None, BitsAllocated=32, BitsStored=None, HighBit=None)
    data.FloatPixelData = values.tobytes()
    np.testing.assert_allclose(gray(written(data), window=(-1, 1)), (values + 1) / 2, atol=1e-6)
    assert "no declared range" in line(written(data))
    values[0, 0] = np.nan
    data.FloatPixelData = values.tobytes()
    assert "1 of its 256 values are NaN or infinite; save a copy with numbers" in line(written(data), window=(-1, 1))


# compression


@pytest.mark.parametrize(
    ("syntax", "module"),
    [("1.2.840.10008.1.2.4.80", "jpeg_ls"), ("1.2.840.10008.1.2.4.90", "openjpeg"), ("1.2.840.10008.1.2.5", "pydicom")],
)
def test_compressed_values_are_those_that_were_compressed(syntax: str, module: str) -> None:
    pytest.importorskip(module)
    large = np.kron(RAMP, np.ones((8, 8), np.uint16))
    data = dicom_data(large, **SEEN)
    data.compress(syntax)
    np.testing.assert_array_equal(gray(written(data)), gray(dicom(large, **SEEN)))


def test_jpeg_lossless_is_what_was_compressed_and_a_frame_of_another_kind_is_never_given_to_gdcm() -> None:
    pytest.importorskip("imagecodecs")
    pytest.importorskip("gdcm")
    large = np.kron(RAMP, np.ones((4, 4), np.uint16))
    np.testing.assert_array_equal(gray(written(lossless(large, **SEEN))), gray(dicom(large, **SEEN)))
    other = dicom_data(large)
    other.compress("1.2.840.10008.1.2.4.80")
    other.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.70"
    assert "no frame of JPEG lossless of 64 x 64" in line(written(other))


def test_a_missing_decoder_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jpeg_ls")
    data = dicom_data()
    data.compress("1.2.840.10008.1.2.4.80")
    monkeypatch.setattr("pydicom.pixels.decoders.base.Decoder.available_plugins", ())
    assert re.search(r"compressed \(JPEG-LS .*pip install 'medzoo\[dicom\]'", line(written(data)))


def test_a_compressed_frame_larger_than_its_header_says_is_refused_before_it_is_decoded() -> None:
    pytest.importorskip("jpeg_ls")
    data = dicom_data()
    data.compress("1.2.840.10008.1.2.4.80")
    frame = bytes(data.PixelData)
    place = frame.index(b"\xff\xf7") + 5
    data.PixelData = frame[:place] + b"\xff\xff\xff\xff" + frame[place + 4 :]
    assert "65535 x 65535 pixels are more than the limit" in line(written(data))


def test_a_deflated_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dicom_data(syntax="1.2.840.10008.1.2.1.99")
    np.testing.assert_array_equal(gray(written(data)), gray(dicom()))
    monkeypatch.setattr("medzoo.data.images.dicom.header.MAX_INFLATED", 100)
    assert "unpacks to more than 100 bytes" in line(written(data))


@pytest.mark.parametrize("start", [0, 132], ids=["marked", "bare"])
def test_a_deflated_bomb_is_refused_whatever_stands_before_it(monkeypatch: pytest.MonkeyPatch, start: int) -> None:
    """Unpacked at once by pydicom, it would fill the memory."""
    monkeypatch.setattr("medzoo.data.images.dicom.header.MAX_INFLATED", 1 << 20)
    assert "unpacks to more than 1,048,576 bytes" in line(bomb()[start:])
