"""NIfTI volumes to voxels, in one orientation. Needs nibabel (extra `nifti`), imported when first used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ImageError, MissingDependencyError
from medzoo.data.images.pixels import PixelType, as_dtype

SUFFIXES = (".nii", ".nii.gz")
MAX_VOXELS = 512**3
"""Voxels above which nothing is read: 512 MiB of float32."""


def decode_nifti(
    path: Path, *, dtype: PixelType, window: tuple[float, float] | None = None, max_voxels: int = MAX_VOXELS
) -> NDArray[Any]:
    """Read one volume.

    The axes are brought to the closest canonical orientation (nibabel's RAS+) and returned as depth (towards the head), height
    (towards the back, so that row 0 is the front) and width (towards the patient's left), as radiologists look at slices.
    Voxel sizes are not resampled.

    Args:
        path: A `.nii` or `.nii.gz` file of three dimensions.
        dtype: `uint8` (0..255) or `float32` (0..1).
        window: (low, high), the scaled values that become 0 and 1; what lies outside is clipped. Needed unless the file
            stores unscaled 8-bit values.
        max_voxels: Number of voxels above which nothing is read.

    Returns:
        (D, H, W) of the type asked for, contiguous.

    Raises:
        ImageError: If the file is missing, damaged, not three-dimensional or too large, or needs a window.
        MissingDependencyError: If nibabel is not installed.
    """
    try:
        import nibabel
    except ImportError:
        raise MissingDependencyError(f"{path}: reading NIfTI needs nibabel; pip install 'medzoo[nifti]'") from None
    try:
        image: Any = nibabel.load(path)
        shape = tuple(image.shape)
        if len(shape) == 4 and shape[3] == 1:
            image, shape = image.slicer[..., 0], shape[:3]
        if len(shape) != 3 or 0 in shape:
            raise ImageError(f"{path}: has {list(shape)} voxels; a volume of three dimensions is needed")
        if int(np.prod(shape)) > max_voxels:
            raise ImageError(f"{path}: {'x'.join(map(str, shape))} voxels are more than {max_voxels}; resample it first")
        plain = image.get_data_dtype() == np.uint8 and image.dataobj.slope in (None, 1) and not image.dataobj.inter
        if window is None and not plain:
            raise ImageError(
                f"{path}: holds {image.get_data_dtype()} values, not plain 8-bit ones; say which become black and white "
                "with data.window=[low,high]"
            )
        canonical: Any = nibabel.as_closest_canonical(image)  # type: ignore[no-untyped-call]
        values = np.asarray(canonical.dataobj)
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file") from None
    except Exception as error:  # nibabel's readers raise many things on damaged bytes
        raise ImageError(f"{path}: cannot be read as NIfTI ({error or type(error).__name__})") from None
    # RAS+ runs to the right, the front and up; slices are shown with the front on top and the patient's right on the left.
    turned = np.ascontiguousarray(values.transpose(2, 1, 0)[:, ::-1, ::-1])
    if window is None:
        return as_dtype(turned, dtype)
    low, high = window
    if not np.isfinite(turned).all():
        raise ImageError(f"{path}: {int((~np.isfinite(turned)).sum())} voxels are not finite")
    scaled = np.clip((turned.astype(np.float32) - low) / (high - low), 0, 1).astype(np.float32)
    return as_dtype(scaled, dtype)
