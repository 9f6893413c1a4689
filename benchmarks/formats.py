"""How many of pydicom's and nibabel's own test files medzoo reads, and how far its pixels are from those libraries' own.

    python benchmarks/formats.py [--each] [FOLDER ...]

Without folders: the files that lie in the installed packages (nothing is fetched), and of pydicom's of several frames each
frame, with what its functional groups say. Gray DICOM is held against `apply_modality_lut` and `apply_voi_lut`, scaled by the
range they put out (without a window: by the range that medzoo says it took); colour against `pixel_array`, palettes against
`apply_color_lut`, their upper 8 bits; NIfTI against `as_closest_canonical`.
"""

from __future__ import annotations

import argparse
import importlib
import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import MedzooError
from medzoo.data.images.decode import MAX_PIXELS, decode_image
from medzoo.data.images.dicom.gray import has_window, range_without_window
from medzoo.data.images.dicom.header import of_frame, open_header
from medzoo.data.images.frames import Frame, frames_of, open_image
from medzoo.data.images.kinds import VOLUME_SUFFIXES, file_kind
from medzoo.data.images.nifti import decode_nifti

KINDS = {
    "equal": "read, equal",
    "alone": "read, the library refuses",
    "line": "one line",
    "wrong": "WRONG",
    "traceback": "TRACEBACK",
}
LIMIT = 1e-6


@dataclass(frozen=True)
class Outcome:
    """What came of one file.

    Attributes:
        kind: Of `KINDS`.
        difference: Largest difference from the library's pixels, which lie in 0..1.
        said: The line, or what the library said.
    """

    kind: str
    difference: float = 0.0
    said: str = ""


def files_of(package: str, folder: str) -> list[Path]:
    """Return the test files that lie in an installed package, sorted; none where it brings none."""
    root = Path(str(importlib.import_module(package).__file__)).parent / folder
    return sorted(path for path in root.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc"))


def installed() -> dict[str, list[Path | Frame]]:
    """Return library → its own test files; and pydicom's of several frames frame by frame, one that says too many as a whole."""
    dicom = files_of("pydicom", "data/test_files")
    frames: list[Path | Frame] = []
    for path in dicom:
        try:
            if open_image(path, MAX_PIXELS).count > 1:
                frames += frames_of(path)
        except MedzooError as error:
            frames += [Frame(path, 0)] if "there are pixels for" in str(error) else []
    return {"pydicom": [*dicom], "pydicom, frame by frame": frames, "nibabel": [*files_of("nibabel", "tests/data")]}


def compare(source: Path | Frame) -> Outcome:
    """Decode one file, or a frame of one, and hold it against its library."""
    path, frame = (Path(str(source.source)), source.number) if isinstance(source, Frame) else (source, None)
    volume = path.name.lower().endswith(VOLUME_SUFFIXES)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ours = _volume(path) if volume else _image(path, frame)
    except MedzooError as error:
        return Outcome("line", said=str(error))
    except Exception as error:  # what this looks for
        return Outcome("traceback", said=f"{type(error).__name__}: {error}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = _nibabel(path) if volume else _pydicom(path, frame)
    except Exception as error:  # a file that the library's own functions do not take
        return Outcome("alone", said=f"{type(error).__name__}: {error}")
    if theirs is None:
        return Outcome("alone", said="no oracle for this kind")
    if theirs.shape != ours.shape:
        return Outcome("wrong", 1.0, f"{ours.shape}, the library {theirs.shape}")
    difference = float(np.abs(ours - theirs).max())
    return Outcome("equal" if difference <= LIMIT else "wrong", difference)


def _image(path: Path, frame: int | None) -> NDArray[Any]:
    data, source = path.read_bytes(), path if frame is None else Frame(path, frame)
    channels = 3 if file_kind(path) == "DICOM" and _colour(data) else 1
    pixels = decode_image(source, channels=3 if channels == 3 else 1, dtype="float32").astype(np.float64)
    return pixels if channels == 3 else pixels[..., 0]


def _colour(data: bytes) -> bool:
    try:
        return not str(open_header(data, "x", pixels=False).get("PhotometricInterpretation", "")).startswith("MONOCHROME")
    except MedzooError:
        return False


def _pydicom(path: Path, frame: int | None) -> NDArray[Any] | None:
    if file_kind(path) != "DICOM":
        return None
    from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut

    data = open_header(path.read_bytes(), str(path))  # also what pydicom itself would want to be forced to read
    stored, photometric = data.pixel_array, str(data.PhotometricInterpretation)
    if frame is not None:
        stored = stored[frame]
        for groups in (
            (data.get("SharedFunctionalGroupsSequence") or [])[:1],
            (data.get("PerFrameFunctionalGroupsSequence") or [])[frame : frame + 1],
        ):
            for keyword in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
                for element in (element for group in groups for item in group.get(keyword) or [] for element in item):
                    data[element.tag] = element
    if photometric == "PALETTE COLOR":
        colours = apply_color_lut(stored, data)
        return (colours >> (8 * (colours.dtype.itemsize - 1))) / 255.0
    if not photometric.startswith("MONOCHROME"):
        return (stored >> (int(data.BitsStored) - 8)) / 255.0
    values, said = apply_modality_lut(stored, data), of_frame(data, frame or 0, str(path))
    if has_window(data, said, str(path)):
        out = apply_voi_lut(values, data).astype(np.float64)
        if data.get("VOILUTSequence"):
            low, high = 0.0, 2.0 ** data.VOILUTSequence[0].LUTDescriptor[2] - 1
        else:
            bits, signed = int(data.BitsStored), data.PixelRepresentation == 1
            ends = np.array([-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1] if signed else [0, 2.0**bits - 1])
            ends = ends * float(data.get("RescaleSlope") or 1) + float(data.get("RescaleIntercept") or 0)
            low, high = float(ends.min()), float(ends.max())
    else:
        out = values.astype(np.float64) * float(data.get("DoseGridScaling", 1))  # no function of pydicom's applies it
        low, high, _ = range_without_window(data, said, str(path))
    gray = np.clip((out - low) / (high - low), 0, 1)
    return 1 - gray if photometric == "MONOCHROME1" else gray


def _ends(path: Path) -> tuple[float, float]:
    import nibabel

    image: Any = nibabel.load(path)
    values = np.asarray(image.dataobj)
    return float(values.min()), float(values.max()) + (values.min() == values.max())


def _volume(path: Path) -> NDArray[Any]:
    try:
        window = _ends(path)
    except Exception:  # decoding says what is wrong
        window = (0.0, 1.0)
    return decode_nifti(path, dtype="float32", window=window).astype(np.float64)


def _nibabel(path: Path) -> NDArray[Any]:
    import nibabel

    image: Any = nibabel.load(path)
    canonical: Any = nibabel.as_closest_canonical(image)  # type: ignore[no-untyped-call]
    values = np.asarray(canonical.dataobj, dtype=np.float64)
    low, high = _ends(path)
    turned = values.reshape(values.shape[:3]).transpose(2, 1, 0)[:, ::-1, ::-1]
    return np.clip((turned - low) / (high - low), 0, 1)


def table(sets: Mapping[str, Sequence[Path | Frame]], each: bool = False) -> list[str]:
    """Return a Markdown table of counts, one row a set; with `each`, before it a line a file."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    largest: dict[str, float] = defaultdict(float)
    lines = []
    for name, paths in sets.items():
        for path in paths:
            outcome = compare(path)
            counts[name][outcome.kind] += 1
            largest[name] = max(largest[name], outcome.difference)
            if each or outcome.kind in ("wrong", "traceback"):
                lines.append(f"{outcome.kind:<10} {outcome.difference:.1e} {Path(str(path)).name}  {outcome.said[:200]}")
    rows = [
        f"| {name} | {len(paths)} | " + " | ".join(str(counts[name][kind]) for kind in KINDS) + f" | {largest[name]:.0e} |"
        for name, paths in sets.items()
    ]
    head = ["| files of | files | " + " | ".join(KINDS.values()) + " | largest difference |", "|" + "---|" * (len(KINDS) + 3)]
    return [*lines, *head, *rows]


def main() -> None:
    parser = argparse.ArgumentParser(description="Hold medzoo's pixels against pydicom's and nibabel's.")
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--each", action="store_true", help="a line for every file")
    given = parser.parse_args()
    sets = {str(folder): sorted(p for p in folder.rglob("*") if p.is_file()) for folder in given.folders} or installed()
    print("\n".join(table(sets, given.each)))


if __name__ == "__main__":
    main()
