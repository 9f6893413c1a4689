"""The crop box of augmentation: where it lies, and its pixels at the new size.

What is cut out becomes what `medzoo.data.samples.preprocess.fit` makes of it, to one grey level at most: for the millions of
boxes of a training, bytes are resized by kernels that round once or in fixed point, 5 to 20 times as fast. Evaluation
and the exported graph, which must agree with one another to the last bit that can be had, call `fit` itself.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from medzoo.data.samples.preprocess import Preprocess, fit, to_aspect
from medzoo.data.seeding import Draws

Box = tuple[int, int, int, int]


def crop_box(
    rng: np.random.Generator | Draws, height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> Box:
    """Draw a crop box: its share of the area uniform in `scale`, its change of proportions log-uniform in `ratio`.

    As Inception's box (Szegedy et al. 2015), but with proportions relative to the image's own, because evaluation shows
    the model the whole image stretched to its size, whatever its proportions; and with no rejected draws.

    Args:
        rng: Four numbers are drawn from it.
        height: Of the image, in pixels.
        width: Of the image, in pixels.
        scale: Smallest and largest share of the area.
        ratio: Smallest and largest factor on width:height.

    Returns:
        top, left, height, width in pixels; within the image.
    """
    area = rng.uniform(*scale)
    stretch = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
    box_height = min(height, max(1, round(height * math.sqrt(area / stretch))))
    box_width = min(width, max(1, round(width * math.sqrt(area * stretch))))
    top = int(rng.integers(height - box_height + 1))
    left = int(rng.integers(width - box_width + 1))
    return top, left, box_height, box_width


def cut_out(image: Tensor, box: Box, preprocess: Preprocess, size: tuple[int, ...]) -> NDArray[Any]:
    """Return what a box shows of an image, at a new size.

    Args:
        image: (C, H, W), uint8 or float32 in 0..1.
        box: Within the image.
        preprocess: Of the model; its mode and interpolation count.
        size: The new height and width.

    Returns:
        The same type, channels last as OpenCV takes it: (H, W, 3), or (H, W) for one channel. It may share the image's memory.
    """
    top, left, height, width = box
    image = image[:, top : top + height, left : left + width]
    target = (size[1], size[0])
    if preprocess.mode == "stretch" and preprocess.interpolation == "bilinear" and height <= size[0] and width <= size[1]:
        # Enlarging, which antialiasing changes nothing about.
        pixels = channels_last(image)
        return pixels if (width, height) == target else cv2.resize(pixels, target, interpolation=cv2.INTER_LINEAR)
    if image.dtype == torch.uint8 and preprocess.interpolation != "nearest":
        dense = torch.from_numpy(channels_last(image)).view(height, width, -1).movedim(-1, 0)[None]
        framed = to_aspect(dense, size[0], size[1], preprocess)
        image = F.interpolate(framed, size=size, mode=preprocess.interpolation, antialias=True, align_corners=False)[0]
    else:
        image = fit(image[None], preprocess, size)[0]
    return channels_last(image)


def channels_last(image: Tensor) -> NDArray[Any]:
    """Return a (C, H, W) image as (H, W, C), or (H, W) of one channel, dense in each pixel; copied only where it is not."""
    planes = image.numpy()
    if len(planes) == 1:
        return planes[0]  # type: ignore[no-any-return]
    last = np.moveaxis(planes, 0, -1)
    return last if last.strides[1:] == (len(planes) * last.itemsize, last.itemsize) else cv2.merge(list(planes))
