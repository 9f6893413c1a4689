"""What files and networks do to pixels, by Pillow, slice by slice."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medzoo.data.images.pixels import as_dtype

Floats = NDArray[np.float32]


def jpeg(image: Floats, amount: int, rng: np.random.Generator) -> NDArray[Any]:
    """Compress at a quality. JPEG has 8 bits: finer pixels lose theirs."""
    slices = [_compressed(np.moveaxis(image[:, depth], 0, -1), amount) for depth in range(image.shape[1])]
    return np.stack(slices, axis=1)


def _compressed(pixels: Floats, quality: int) -> NDArray[Any]:
    levels = as_dtype(np.ascontiguousarray(pixels), "uint8")
    content = io.BytesIO()
    Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels).save(content, "JPEG", quality=quality)
    read = np.asarray(Image.open(content), dtype=np.float32) / 255
    return np.moveaxis(read.reshape(pixels.shape), -1, 0)


def pixelate(image: Floats, amount: float, rng: np.random.Generator) -> NDArray[Any]:
    """Shrink both sides to a share of theirs and enlarge again, each by boxes."""
    height, width = image.shape[-2:]
    small = (max(1, int(width * amount)), max(1, int(height * amount)))
    planes = [
        Image.fromarray(plane).resize(small, Image.Resampling.BOX).resize((width, height), Image.Resampling.BOX)
        for plane in image.reshape(-1, height, width)
    ]
    return np.stack([np.asarray(plane) for plane in planes]).reshape(image.shape)
