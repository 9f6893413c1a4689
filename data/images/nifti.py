"""NIfTI volumes to voxels, in one orientation. Needs nibabel (extra `nifti`), imported when first used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ImageDependencyError, ImageError
from medzoo.data.images.kinds import VOLUME_SUFFIXES as SUFFIXES
from medzoo.data.images.kinds import kind_of, unpacked
from medzoo.data.images.pixels import PixelType, as_dtype, refuse_not_finite

__all__ = ["MAX_VOXELS", "SUFFIXES", "decode_nifti", "is_nifti"]

MAX_VOXELS = 512**3
"""Voxels above which nothing is read: 512 MiB of float32."""
_BEST_PACKING = 1032
"""Bytes that one byte of gzip can hold at most."""


def decode_nifti(
    source: Path | bytes, *, dtype: PixelType, window: tuple[float, float] | None = None, max_voxels: int = MAX_VOXELS,
    channels: int | None = None
) -> NDArray[Any]:  # fmt: skip
    """Read one volume.

    The axes are brought to the closest canonical orientation (nibabel's RAS+) and returned as depth (towards the head), height
    (towards the back, so that row 0 is the front) and width (towards the patient's left), as radiologists look at slices.
    Voxel sizes are not resampled.

    Args:
        source: A `.nii` or `.nii.gz` file of three dimensions (further ones of 1 are dropped), or its bytes.
        dtype: `uint8` (0..255) or `float32` (0..1).
        window: (low, high), the scaled values that become 0 and 1; what lies outside is clipped. Needed unless the file
            stores unscaled 8-bit values.
        max_voxels: Number of voxels above which nothing is read.
        channels: How many volumes the file's fourth dimension holds, or its fifth, as channels; None: it has none.

    Returns:
        (D, H, W) of the type asked for, contiguous; with `channels` (D, H, W, channels).

    Raises:
        ImageError: If the file is missing, damaged, not three-dimensional or too large, or needs a window.
        ImageDependencyError: If nibabel is not installed.
    """
    name = f"image bytes ({len(source)} bytes)" if isinstance(source, bytes) else str(source)
    try:
        import nibabel
    except ImportError:
        raise ImageDependencyError(f"{name}: reading NIfTI needs nibabel; pip install 'medzoo[nifti]'") from None
    try:
        source = source.read_bytes() if isinstance(source, Path) and _is_misnamed(source) else source
        image: Any = _from_bytes(source) if isinstance(source, bytes) else nibabel.load(source)
        shape = tuple(image.shape)
        stored = image.get_data_dtype()
        held = int(np.prod(shape[3:]))
        if len(shape) < 3 or 0 in shape or (channels is None and held != 1):
            raise ImageError(f"{name}: has {list(shape)} voxels; a volume of three dimensions is needed")
        if channels is not None and (held != channels or len(shape) - shape[3:].count(1) > 4):
            raise ImageError(f"{name}: has {list(shape)} voxels, {held} channels, and {channels} are asked for (data.channels)")
        if stored.kind not in "biuf":
            raise ImageError(f"{name}: holds {stored} values, not gray ones; save one channel of it")
        if int(np.prod(shape)) > max_voxels:
            raise ImageError(f"{name}: {'x'.join(map(str, shape))} voxels are more than {max_voxels}; resample it first")
        _refuse_short(image, source, int(np.prod(shape)) * stored.itemsize, name)
        plain = stored == np.uint8 and getattr(image.dataobj, "slope", 1) in (None, 1) and not getattr(image.dataobj, "inter", 0)
        if window is None and not plain:
            raise ImageError(
                f"{name}: holds {stored} values, not plain 8-bit ones; say which become black and white "
                "with data.window=[low,high] when training (a model keeps it)"
            )
        if len(shape) > 3 and channels is None:
            image = image.slicer[(..., *[0] * (len(shape) - 3))]
        canonical: Any = nibabel.as_closest_canonical(image)  # type: ignore[no-untyped-call]
        values = np.asarray(canonical.dataobj)
        values = values if channels is None else values.reshape(*values.shape[:3], channels)
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError(f"{name}: no such file") from None
    except Exception as error:  # nibabel's readers raise many things on damaged bytes
        raise ImageError(f"{name}: cannot be read as NIfTI ({error or type(error).__name__})") from None
    # RAS+ runs to the right, the front and up; slices are shown with the front on top and the patient's right on the left.
    turned = np.ascontiguousarray(np.swapaxes(values, 0, 2)[:, ::-1, ::-1])
    if window is None:
        return as_dtype(turned, dtype)
    low, high = window
    refuse_not_finite(turned, name)
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.clip((turned.astype(np.float32) - low) / (high - low), 0, 1).astype(np.float32)
    return as_dtype(scaled, dtype)


@dataclass(frozen=True)
class Place:
    """Where a volume lies, in the closest canonical orientation.

    Attributes:
        affine: (4, 4), from voxels to millimetres.
        shape: Voxels along the three axes.
        sides: (3,) of a voxel, in millimetres.
        known: Whether the header says where: a code of its sform or qform is not 0.
    """

    affine: NDArray[np.float64]
    shape: tuple[int, ...]
    sides: NDArray[np.float64]
    known: bool


def nifti_place(path: Path) -> Place | None:
    """Return what a file's header says of where its voxels lie; None where it cannot be read, which `decode_nifti` says."""
    try:
        import nibabel

        opened: Any = _from_bytes(path.read_bytes()) if _is_misnamed(path) else nibabel.load(path)
        shape = tuple(opened.shape[:3])
        turns: Any = nibabel.io_orientation(opened.affine)  # type: ignore[no-untyped-call]
        back: Any = nibabel.orientations.inv_ornt_aff(turns, shape)  # type: ignore[no-untyped-call]
        affine = np.asarray(opened.affine @ back, dtype=np.float64)
        known = any(int(opened.header[name]) for name in ("sform_code", "qform_code"))
        turned = [0] * 3
        for axis, (place, _) in enumerate(turns):
            turned[int(place)] = int(shape[axis])
    except Exception:  # nibabel's readers raise many things on damaged bytes
        return None
    return Place(affine, tuple(turned), np.linalg.norm(affine[:3, :3], axis=0), known)


def is_nifti(source: str | Path | bytes, head: bytes) -> bool:
    """Whether a file is a NIfTI volume: by its ending, else by its first bytes.

    Args:
        source: Its path, or its bytes.
        head: Its first bytes; see `medzoo.data.images.kinds.kind_of`.
    """
    named = not isinstance(source, bytes) and str(source).lower().endswith(SUFFIXES)
    return named or kind_of(head) == "NIFTI"


def _is_misnamed(path: Path) -> bool:
    """Whether a file is packed and its name does not say so, or the other way round: nibabel goes by names."""
    name = path.name.lower()
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return name.endswith(SUFFIXES) and packed != name.endswith(".gz")


def _from_bytes(data: bytes) -> Any:
    import nibabel

    if data[:2] == b"\x1f\x8b":
        packed, data = data, unpacked(data, 600)
        data = _voxels_unpacked(packed, data)
    version = nibabel.Nifti2Image if data[4:8] == b"n+2\0" else nibabel.Nifti1Image
    return version.from_bytes(data)  # type: ignore[no-untyped-call]


def _voxels_unpacked(packed: bytes, head: bytes) -> bytes:
    """Return a gzip file's bytes, no more than its own header says it has."""
    import nibabel

    version = nibabel.Nifti2Header if head[4:8] == b"n+2\0" else nibabel.Nifti1Header
    header: Any = version(head[: version.template_dtype.itemsize], check=False)  # type: ignore[no-untyped-call]
    voxels = int(np.prod([int(side) for side in header.get_data_shape()]))
    size = int(header["vox_offset"]) + voxels * header.get_data_dtype().itemsize
    if voxels > MAX_VOXELS or size > _BEST_PACKING * len(packed):
        raise ImageError(f"image bytes ({len(packed)} bytes): its header says {voxels} voxels, more than it can hold or is read")
    return unpacked(packed, max(size, len(head)))


def _refuse_short(image: Any, source: Path | bytes, wanted: int, name: str) -> None:
    """Refuse a file that cannot hold what its header says, before anything is allocated for it."""
    if isinstance(source, bytes):
        return
    places = image.file_map.get("image")
    path = Path(source if places is None or places.filename is None else places.filename)
    size = path.stat().st_size
    with path.open("rb") as file:
        size *= _BEST_PACKING if file.read(2) == b"\x1f\x8b" else 1 if path.suffix.lower() in (".nii", ".img") else _BEST_PACKING
    if wanted > size:
        raise ImageError(f"{name}: cut short: its header says {wanted:,} bytes of voxels, which it cannot hold")
