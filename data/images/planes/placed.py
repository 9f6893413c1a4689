"""Where the volumes that are to be the channels of one lie in the patient: voxels that are stacked must show one place."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ImageError
from medzoo.data.images.nifti import SUFFIXES, nifti_place

APART = 0.5
"""Share of the smallest voxel side by which a corner may lie elsewhere: headers round, and some are written by other programs."""


def refuse_apart(sources: Sequence[tuple[str, Any]]) -> None:
    """Refuse channels whose NIfTI headers place their voxels elsewhere in the patient.

    Others say nothing of it here and are passed over: sources that are no files of that name, headers without a place (sform and
    qform codes of 0), of which the voxel sizes alone are compared, and damaged ones, which reading names.

    Args:
        sources: What each channel is called, and its file.

    Raises:
        ImageError: Names the channel, by how much it is apart, and the remedy.
    """
    volumes = [(name, Path(s)) for name, s in sources if isinstance(s, str | Path) and str(s).lower().endswith(SUFFIXES)]
    places = [(name, found) for name, path in volumes if (found := nifti_place(path)) is not None]
    for name, other in places[1:]:
        first, one = places[0]
        if one.shape != other.shape:  # which joining them says
            continue
        smallest = float(min(one.sides.min(), other.sides.min()))
        if one.known and other.known:
            apart = float(np.abs(_corners(one.affine, one.shape) - _corners(other.affine, other.shape)).max())
            said = f"lies up to {apart:.3g} mm from"
        else:
            apart = float((np.abs(one.sides - other.sides) * one.shape).max())
            said = f"has voxels of {_mm(other.sides)} mm, not {_mm(one.sides)}, as"
        if apart > APART * smallest:
            raise ImageError(
                f"channel {name!r} {said} channel {first!r}, voxel for voxel: they do not show one place; resample them to "
                "one grid"
            )


def _corners(affine: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    ends = np.array([(*corner, 1.0) for corner in product(*((0.0, side - 1.0) for side in shape))])
    return ends @ affine.T[:, :3]


def _mm(sides: NDArray[np.float64]) -> str:
    return " x ".join(f"{side:.3g}" for side in sides)
