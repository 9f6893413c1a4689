"""A map beside and over its image, as a figure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.images.laid import blended, most_telling
from medzoo.store.figures import figure_png


def plot_map(pixels: NDArray[Any], image_map: NDArray[np.float32], title: str) -> bytes:
    """Draw the image and, beside it, the image with its map; PNG."""
    from matplotlib.figure import Figure

    flat, _ = most_telling(pixels, image_map)
    figure = Figure(figsize=(7, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.imshow(flat if flat.shape[2] == 3 else flat[..., 0], cmap="gray")
    right.imshow(blended(pixels, image_map))
    for axes in (left, right):
        axes.set_axis_off()
    figure.suptitle(title, fontsize=9)
    return figure_png(figure)
