"""A map of what a network saw, laid over the image that its input was made of: NumPy alone, in training and deployed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

OPACITY = 0.65
"""Of the strongest evidence."""
COLOURS = "57106e 71196e 8a226a a32c61 bc3754 d24644 e45a31 f1731d f98e09 fcac11 f9cb35 f2ea69 fcffa4"
"""From little evidence to much: the upper three quarters of matplotlib's inferno, in steps between which colours are mixed."""


def frame_of(
    h: Any, w: Any, height: int, width: int, mode: str, most: Callable[..., Any] = max, least: Callable[..., Any] = min
) -> tuple[Any, Any, Any, Any]:
    """Return the part of an image of (h, w) pixels that a target of (height, width) shows: top, left, height and width of it.

    With `pad` it is larger than the image, top and left are then at most 0; with `crop` smaller; with `stretch` the image. `most`
    and `least` are what a graph has for `max` and `min`.
    """
    if mode == "stretch":
        return 0, 0, h, w
    if mode == "pad":
        # Not -(-a // b): a graph divides towards zero, so the ceiling must be written without negative numbers.
        new_h = most(h, (w * height + width - 1) // width)
        new_w = most(w, (h * width + height - 1) // height)
        return -((new_h - h) // 2), -((new_w - w) // 2), new_h, new_w
    new_h = most(1, least(h, w * height // width))
    new_w = most(1, least(w, h * width // height))
    return (h - new_h) // 2, (w - new_w) // 2, new_h, new_w


def onto_image(cells: NDArray[Any], seen: Sequence[int], mode: str, size: tuple[int, ...]) -> NDArray[np.float32]:
    """Lay a map that covers a model's input evenly onto the image that the input was made of.

    Args:
        cells: (h, w), or (d, h, w) for volumes; of any resolution.
        seen: (H, W) or (D, H, W) of the model's input, as in its `Preprocess`.
        mode: How the image was brought to it, likewise.
        size: (H, W) or (D, H, W) of the image.

    Returns:
        float32 of that size, interpolated linearly; NaN where `crop` cut the image off, which the network never saw.
    """
    top, left, height, width = frame_of(size[-2], size[-1], seen[-2], seen[-1], mode)
    wide = np.asarray(cells, np.float32)
    for axis, side in enumerate((*size[:-2], height, width)):
        wide = _wider(wide, axis, side)
    found = np.full(size, np.nan, dtype=np.float32)
    # The frame's part that is image: all of it with `crop`, all but the borders with `pad`.
    rows = slice(max(top, 0), min(top + height, size[-2]))
    columns = slice(max(left, 0), min(left + width, size[-1]))
    found[..., rows, columns] = wide[..., rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return found


def blended(pixels: NDArray[Any], image_map: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return an image with what speaks for the output laid over it, (H, W, 3); of a volume the slice with the most evidence.

    Warmer where more speaks for the output, darker where the network saw nothing.

    Args:
        pixels: (H, W, C) or (D, H, W, C), uint8 or float32 in 0..1; of other than 1 or 3 channels the first is drawn.
        image_map: (H, W) or (D, H, W); what is below 0 is not drawn, what is NaN darkened.
    """
    pixels, image_map = most_telling(pixels, image_map)
    levels = pixels.astype(np.float64) / (255 if pixels.dtype == np.uint8 else 1)
    background = np.repeat(levels[..., :1], 3, axis=2) if levels.shape[2] != 3 else levels
    strength = np.clip(np.nan_to_num(image_map.astype(np.float64)), 0, None)
    strength /= strength.max() or 1.0
    alpha = OPACITY * strength[..., None]
    drawn = (1 - alpha) * background + alpha * _coloured(strength)
    drawn[np.isnan(image_map)] *= 0.4
    picture: NDArray[np.uint8] = np.round(np.clip(drawn, 0, 1) * 255).astype(np.uint8)
    return picture


def most_telling(pixels: NDArray[Any], image_map: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Return an image and its map; of a volume the slice in which the map is highest."""
    if image_map.ndim == 2:
        return pixels, image_map
    place = int(np.nan_to_num(image_map, nan=-np.inf).reshape(len(image_map), -1).max(axis=1).argmax())
    return pixels[place], image_map[place]


def _wider(values: NDArray[np.float32], axis: int, side: int) -> NDArray[np.float32]:
    """Interpolate linearly along an axis between the middles of its cells; beyond the outermost they stay as these are."""
    last = values.shape[axis] - 1
    middle = np.clip((np.arange(side) + 0.5) * ((last + 1) / side) - 0.5, 0, last)
    lower = np.minimum(middle.astype(np.int64), max(last - 1, 0))
    share = (middle - lower).astype(np.float32).reshape([-1 if other == axis else 1 for other in range(values.ndim)])
    upper = np.minimum(lower + 1, last)
    wide: NDArray[np.float32] = values.take(lower, axis) * (1 - share) + values.take(upper, axis) * share
    return wide


def _coloured(strength: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (..., 3) colours, 0..1, of evidence in 0..1."""
    steps = np.array([list(bytes.fromhex(colour)) for colour in COLOURS.split()]) / 255
    places = np.linspace(0, 1, len(steps))
    return np.stack([np.interp(strength, places, channel) for channel in steps.T], axis=-1)
