"""How much of the grey range images use, and which range was taken where their files say none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

ENOUGH = 0.1
"""Share of the grey range below which an image is said to use too little of it."""
LISTED = 3
"""Ranges that a line names."""


def share_used(pixels: NDArray[Any]) -> float:
    """Return how much of the range between black and white lies between an image's darkest and brightest value, 0..1.

    Args:
        pixels: Of any shape; uint8, or float32 in 0..1.
    """
    span = float(pixels.max()) - float(pixels.min())
    return span / 255 if pixels.dtype == np.uint8 else span


def warning_lines(images: Mapping[str, Any]) -> list[str]:
    """Return what `medzoo verify` warns of.

    Args:
        images: Of the report: `checked`, `ranges` (range in words → images it was taken for) and `narrow` (`count`, and of one
            such image `sample_id`, `levels` of 256).
    """
    found = []
    ranges, narrow = images["ranges"], images["narrow"]
    if ranges:
        ordered = sorted(ranges.items(), key=lambda pair: (-pair[1], pair[0]))
        named = "; ".join(f"range {words} was taken" + f" for {count}" * (len(ranges) > 1) for words, count in ordered[:LISTED])
        more = f"; {len(ranges) - LISTED} others" if len(ranges) > LISTED else ""
        found.append(f"{sum(ranges.values())} images have no window: {named}{more}; say it with data.window=[low,high]")
    if narrow["count"]:
        found.append(
            f"{narrow['count']} of {images['checked']} images use less than a tenth of the grey range, such as "
            f"{narrow['sample_id']}: {narrow['levels']} of 256 grey levels; if they are no blank ones, say what becomes black "
            "and white with data.window=[low,high]"
        )
    return found
