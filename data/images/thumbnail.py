"""A small picture of a sample, to stand in a page."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def thumbnail(pixels: NDArray[Any], side: int) -> str:
    """Return (C, H, W) or (C, D, H, W) pixels, of a volume the middle slice, as a PNG of at most `side` pixels in base64.

    uint8 in 0..255 or float32 in 0..1. Three channels are shown as colours, of any other number the first.
    """
    flat = pixels[:, pixels.shape[1] // 2] if pixels.ndim == 4 else pixels
    levels = np.round(flat * 255).astype(np.uint8) if flat.dtype == np.float32 else flat
    image = Image.fromarray(levels[0] if levels.shape[0] != 3 else np.ascontiguousarray(np.moveaxis(levels, 0, -1)))
    image.thumbnail((side, side))
    content = BytesIO()
    image.save(content, format="PNG")
    return base64.b64encode(content.getvalue()).decode("ascii")
