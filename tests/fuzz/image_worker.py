"""Decodes spoilt image files in a process of its own, within bounded memory: `python -m tests.fuzz.image_worker`.

An input is a function of (format, seed) alone, so that what failed can be made again: `spoilt("DICOM", 17)`.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medzoo.data.errors import MedzooError
from medzoo.data.images.decode import decode_frames, decode_image, read_image
from medzoo.data.images.frames import count_frames, frames_of
from medzoo.data.images.listing import find_images
from tests.data.images.makers import (
    RAMP,
    animation,
    dicom,
    dicom_data,
    encoded,
    film,
    film_data,
    item,
    lossless,
    nifti,
    tiff,
    written,
)
from tests.fuzz.memory import peak_megabytes

FORMATS = ("PNG", "JPEG", "TIFF", "DICOM", "NIFTI", "NPZ", "FRAMES")
# CharLS 2.4 looks for the end of a damaged JPEG-LS scan for up to 8 s (DICOM seed 105498).
MEMORY = 4 << 30
EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
RGB = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
DEEP = np.random.default_rng(1).integers(0, 65536, (9, 7)).astype(np.uint16)


@cache
def seeds(form: str) -> tuple[bytes, ...]:
    """The tiny intact files of a format."""
    makers = {"PNG": _png, "JPEG": _jpeg, "TIFF": _tiff, "DICOM": _dicom, "NIFTI": _nifti, "NPZ": _npz, "FRAMES": _frames}
    return tuple(makers[form]())


def _png() -> list[bytes]:
    modes = [Image.fromarray(RGB).convert(mode) for mode in ("L", "P", "RGBA", "1")]
    return [encoded(RGB), encoded(DEEP), *(encoded(image) for image in modes)]


def _jpeg() -> list[bytes]:
    inks = Image.fromarray(RGB).convert("CMYK")
    return [encoded(RGB, "JPEG"), encoded(RGB[..., 0], "JPEG"), encoded(RGB, "JPEG", progressive=True), encoded(inks, "JPEG")]


def _tiff() -> list[bytes]:
    planes = np.moveaxis(RGB.astype(np.uint16) * 257, -1, 0)
    return [
        tiff(DEEP),
        tiff(DEEP, photometric="miniswhite", compression="zlib"),
        tiff(RGB, photometric="rgb", compression="lzw"),
        tiff(planes, photometric="rgb", planarconfig="separate"),
        tiff(DEEP.astype(np.float64)),
        tiff(DEEP, bigtiff=True, byteorder=">"),
        tiff(RGB, photometric="rgb", tile=(16, 16)),
        tiff(RGB[..., 0] & 1 > 0),
        animation([Image.fromarray(RGB)] * 2, "TIFF"),
    ]


def _dicom() -> list[bytes]:
    seen = {"RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": -600, "WindowWidth": 1500}
    table = item(LUTDescriptor=[16, 0, 16], LUTData=np.arange(16, dtype="<u2").tobytes())
    table["LUTData"].VR = "OW"
    palette: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name in ("Red", "Green", "Blue"):
        palette[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 8]
        palette[f"{name}PaletteColorLookupTableData"] = bytes(range(256))
    segments = {k: v for k, v in palette.items() if not k.endswith("Data")}
    for name in ("Red", "Green", "Blue"):
        segments[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        segments[f"Segmented{name}PaletteColorLookupTableData"] = np.array([0, 1, 0, 1, 255, 65535], "<u2").tobytes()
    small = np.arange(64, dtype=np.uint8).reshape(8, 8)
    packed = [dicom_data(np.kron(RAMP, np.ones((4, 4), np.uint16)), **seen) for _ in range(3)]
    for data, syntax in zip(packed, ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5"), strict=True):
        data.compress(syntax)
    packed.append(lossless(np.kron(RAMP, np.ones((4, 4), np.uint16)), **seen))
    group = item(
        FrameVOILUTSequence=[item(WindowCenter=1, WindowWidth=9)], PixelValueTransformationSequence=[item(RescaleSlope=2)]
    )
    return [
        dicom(**seen),
        dicom(small, **palette),
        dicom(small, **segments),
        dicom(small, VOILUTSequence=[table]),
        dicom(RGB),
        dicom(small, ModalityLUTSequence=[table]),
        dicom(small, SharedFunctionalGroupsSequence=[group]),
        written(dicom_data(small), preamble=False),
        written(dicom_data(small, syntax="1.2.840.10008.1.2.1.99")),
        *(written(data) for data in packed),
    ]


def _nifti() -> list[bytes]:
    voxels = np.arange(120).reshape(4, 5, 6)
    return [
        nifti(voxels.astype(np.uint8)),
        nifti(voxels.astype(np.int16).reshape(4, 5, 6, 1)),
        nifti(voxels.astype(np.uint8), packed=False),
        nifti(voxels.astype(np.float64), packed=False),
        nifti(voxels.astype(np.int16), slope=2.0, inter=1.0, packed=False),
    ]


def _npz() -> list[bytes]:
    out, packed = BytesIO(), BytesIO()
    np.savez(out, images=np.stack([RGB] * 2))
    np.savez_compressed(packed, test_images=np.stack([DEEP.astype(np.float32) / 65535] * 2), labels=np.zeros(2))
    return [out.getvalue(), packed.getvalue()]


def _frames() -> list[bytes]:
    small = np.stack([np.kron(RAMP, np.ones((2, 2), np.uint16)) // (n + 1) for n in range(3)])
    own = [item(FrameVOILUTSequence=[item(WindowCenter=900 * n, WindowWidth=900)]) for n in range(3)]
    packed = [film_data(small, PerFrameFunctionalGroupsSequence=own) for _ in range(2)]
    for data, syntax in zip(packed, ("1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80"), strict=True):
        data.compress(syntax)
    bits = film_data(np.stack([RGB[..., 0] & 1] * 4), BitsAllocated=1, BitsStored=1, HighBit=0)
    bits.PixelData = bytes(np.arange(32, dtype=np.uint8))
    pictures = [Image.fromarray(np.roll(RGB, n, 0)) for n in range(3)]
    shades = [picture.convert("P") for picture in pictures]
    return [
        film(small, PerFrameFunctionalGroupsSequence=own), film(np.stack([RGB] * 3)), written(bits), *map(written, packed),
        animation(pictures, "TIFF"), tiff(small, photometric="minisblack", byteorder=">"), animation(shades, "GIF"),
        animation(pictures, "WEBP"), animation(pictures, "PNG"),
    ]  # fmt: skip


def spoilt(form: str, seed: int) -> bytes:
    """Return one spoilt file: bytes flipped, cut, overwritten or doubled, numbers of the header replaced by extreme ones."""
    rng = np.random.default_rng([FORMATS.index(form), seed])
    bases = seeds(form)
    data = bytearray(bases[int(rng.integers(len(bases)))])
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(data))) if len(data) else 0
        match int(rng.integers(6)):
            case 0:
                for place in rng.integers(0, max(1, len(data)), int(rng.integers(1, 9))):
                    data[int(place) : int(place) + 1] = bytes([int(rng.integers(256))])
            case 1:
                del data[at:]
            case 2 | 3:  # the header, of which most is in the first and of TIFFs in the last bytes
                size, near = int(rng.choice([1, 2, 4])), min(len(data), 512)
                place = int(rng.integers(max(1, near)))
                place = place if rng.random() < 0.7 else max(0, len(data) - 1 - place)
                value = EXTREMES[int(rng.integers(len(EXTREMES)))] & (256**size - 1)
                data[place : place + size] = value.to_bytes(size, str(rng.choice(["little", "big"])))  # type: ignore[arg-type]
            case 4:
                data[at : at + 32] = bytes([int(rng.choice([0, 255]))]) * min(32, len(data) - at)
            case _:
                data[at:at] = data[at : at + int(rng.integers(1, 64))]
    return bytes(data)


def failure(form: str, data: bytes, folder: Path) -> str | None:
    """Decode one file in every way that its format is read; returns what is wrong with the outcome, or None."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for pixels in _decoded(form, data, folder):
                if pixels.dtype not in (np.uint8, np.float32) or not pixels.size:
                    return f"pixels of {pixels.dtype} and shape {pixels.shape}"
                if pixels.dtype == np.float32 and not (pixels.min() >= 0 and pixels.max() <= 1):
                    return f"pixels of {pixels.min()}..{pixels.max()}"
    except MedzooError as error:
        if "\n" in str(error) or not str(error):
            return f"not one line: {error!r}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"[:300]
    return None


def _decoded(form: str, data: bytes, folder: Path) -> list[NDArray[Any]]:
    if form == "NPZ":
        (folder / "x.npz").write_bytes(data)
        found = find_images([folder / "x.npz"]).found
        return [read_image(image, channels=1, dtype="uint8") for _, image in found[:4]]
    if form == "NIFTI":
        path = folder / ("x.nii.gz" if data[:2] == b"\x1f\x8b" else "x.nii")
        path.write_bytes(data)
        results: list[NDArray[Any]] = []
        errors: list[MedzooError] = []
        for source in (path, data):
            try:
                results.append(read_image(source, channels=1, dtype="float32", dimensions=3, window=(0, 200)))
            except MedzooError as error:
                errors.append(error)
        if errors:
            raise errors[-1]
        return results
    (folder / "x").write_bytes(data)
    count_frames(folder / "x")
    reads: list[Callable[[], list[NDArray[Any]]]] = [
        lambda: [decode_image(data, channels=1, dtype="uint8")],
        lambda: [decode_image(data, channels=3, dtype="float32", window=(0.0, 1000.0))],
        lambda: [decode_image(frame, channels=1, dtype="uint8") for frame in frames_of(data)[:4]],
        lambda: [decode_frames(data, channels=1, dtype="float32", window=(0.0, 1000.0))],
    ]
    found: list[NDArray[Any]] = []
    said: list[MedzooError] = []
    for read in reads:
        try:
            found += read()
        except MedzooError as error:
            said.append(error)
    wrong = [error for error in said if "\n" in str(error) or not str(error)]
    if wrong or not found:
        raise (wrong or said)[0]
    return found


def main() -> int:
    """Decode `count` inputs of a format from a seed on; prints each seed before it, and at the end the failures as JSON."""
    import resource

    form, first, count, progress = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    seeds(form)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    found, read, slowest = {}, 0, 0.0
    with tempfile.TemporaryDirectory() as folder, progress.open("w") as at:
        for seed in range(first, first + count):
            at.seek(0)
            at.write(f"{seed:<12}")
            at.flush()
            start = time.monotonic()
            wrong = failure(form, spoilt(form, seed), Path(folder))
            slowest = max(slowest, time.monotonic() - start)
            if wrong is not None:
                found[seed] = wrong
            read += 1
    print(json.dumps({"read": read, "failures": found, "megabytes": peak_megabytes(), "slowest": round(slowest, 2)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
