"""Crop boxes of a whole batch, each image its own, resized to one size on the device where the images are.

A resize along one axis is a matrix: which source pixels an output pixel is the mean of. Each image has two of its own, so that
all boxes of a batch take two batched matrix products, however they differ. What comes out is what
`medzoo.data.samples.crop.cut_out` makes of the same box, before it is rounded to whole grey levels.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medzoo.data.samples.preprocess import Preprocess
from medzoo.data.samples.send import sent

Boxes = NDArray[np.int64]  # (N, 4): top, left, height, width
Mirrored = NDArray[np.bool_]  # (N,)


def crop_boxes(
    numbers: NDArray[np.float64], height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> Boxes:
    """Return the boxes that `medzoo.data.samples.crop.crop_box` draws, for many images of one size.

    Args:
        numbers: (N, 4) uniform in [0, 1), in the order in which `crop_box` draws them.
        height: Of the images, in pixels.
        width: Of the images, in pixels.
        scale: Smallest and largest share of the area.
        ratio: Smallest and largest factor on width:height.

    Returns:
        (N, 4) top, left, height, width in pixels.
    """
    area = scale[0] + (scale[1] - scale[0]) * numbers[:, 0]
    low, high = math.log(ratio[0]), math.log(ratio[1])
    stretch = np.exp(low + (high - low) * numbers[:, 1])
    heights = np.clip(np.rint(height * np.sqrt(area / stretch)), 1, height).astype(np.int64)
    widths = np.clip(np.rint(width * np.sqrt(area * stretch)), 1, width).astype(np.int64)
    tops = (numbers[:, 2] * (height - heights + 1)).astype(np.int64)
    lefts = (numbers[:, 3] * (width - widths + 1)).astype(np.int64)
    return np.stack([tops, lefts, heights, widths], axis=1)


def cut_out_batch(
    images: Tensor, boxes: Boxes, preprocess: Preprocess, size: tuple[int, int], *, dtype: torch.dtype = torch.float32,
    mirrored: tuple[Mirrored, Mirrored] | None = None
) -> Tensor:  # fmt: skip
    """Return what each image's box shows, at one size.

    Args:
        images: (N, P, H, W) uint8, or float32 in 0..1; P are channels, or the slices of each.
        boxes: (N, 4), within the images.
        preprocess: The model's; its mode, interpolation and fill count.
        size: The new height and width.
        dtype: What is computed in, float32 or float16.
        mirrored: Which images are turned upside down, and which left to right; None: none. Costs nothing here.

    Returns:
        (N, P, *size) in 0..1, of that type.
    """
    whole = images.dtype == torch.uint8
    framed = _framed(boxes, size, preprocess.mode)
    count, planes, height, width = images.shape
    places, weights = _weights(framed, boxes, size, mirrored, preprocess, images.device)
    rows, within_rows = _placed(places[:count, : size[0]], weights[:count, : size[0]], height, dtype, 1 / 255 if whole else 1.0)
    columns, within_columns = _placed(places[count:, : size[1]], weights[count:, : size[1]], width, dtype)
    # Planes beside the columns: two plain batched products, without a copy of the weights for each plane.
    lines = torch.empty((count, height, planes, width), dtype=dtype, device=images.device).copy_(images.permute(0, 2, 1, 3))
    across = torch.bmm(lines.view(count, height * planes, width), columns.transpose(1, 2))
    outside = preprocess.fill / 255 if preprocess.mode == "pad" else 0.0  # what an output pixel shows of no image
    top = 255 if whole else 1
    if outside:
        across += ((1 - within_columns) * (outside * top)).to(dtype)[:, None]
    if preprocess.interpolation == "bicubic":  # which overshoots, in each of its two passes
        across.clamp_(0, top)
    found = torch.bmm(rows, across.view(count, height, planes * size[1])).view(count, size[0], planes, size[1])
    if outside:
        found += ((1 - within_rows) * outside).to(dtype)[:, :, None, None]
    if preprocess.interpolation == "bicubic":
        found.clamp_(0, 1)
    return found.permute(0, 2, 1, 3)


def _framed(boxes: Boxes, size: tuple[int, int], mode: str) -> Boxes:
    """Return what is resized: the boxes, or what padding or cropping to the target's proportions makes of them.

    As `medzoo.data.samples.preprocess.to_aspect`; with `pad` a frame may reach beyond the image.
    """
    if mode == "stretch":
        return boxes
    top, left, height, width = boxes.T
    if mode == "pad":
        new_height = np.maximum(height, (width * size[0] + size[1] - 1) // size[1])
        new_width = np.maximum(width, (height * size[1] + size[0] - 1) // size[0])
        return np.stack([top - (new_height - height) // 2, left - (new_width - width) // 2, new_height, new_width], axis=1)
    new_height = np.maximum(1, np.minimum(height, width * size[0] // size[1]))
    new_width = np.maximum(1, np.minimum(width, height * size[1] // size[0]))
    return np.stack([top + (height - new_height) // 2, left + (width - new_width) // 2, new_height, new_width], axis=1)


def _weights(
    framed: Boxes, boxes: Boxes, size: tuple[int, int], mirrored: tuple[Mirrored, Mirrored] | None, preprocess: Preprocess,
    device: torch.device
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return which source pixels each output pixel is made of, and how much of each, antialiased as torch and Pillow do.

    Only the few that count are named: in a matrix of all of them, each step of its making would read and write as much memory
    as the images themselves. Both axes are made together, for on a GPU so small a step costs what its launch costs.

    Args:
        framed: (N, 4) what is resized.
        boxes: (N, 4) what of it lies in an image.
        size: The new height and width.
        mirrored: Which images' output pixels are in reverse order, of rows and of columns; None: none.
        preprocess: The model's.
        device: Of the result.

    Returns:
        (2N, max(size), k) source pixels, whole numbers as float32, some outside of the image; and their weights. First those of
        the rows, then those of the columns, each to be cut to its own length.
    """
    targets = np.repeat(size, len(boxes))
    spans = np.concatenate([np.concatenate([framed[:, axis::2], boxes[:, axis::2]], axis=1) for axis in (0, 1)])
    backwards = np.zeros(len(spans), dtype=bool) if mirrored is None else np.concatenate(mirrored)
    # Output pixel i is the one at first + i * sign.
    signs, firsts = np.where(backwards, -1, 1), np.where(backwards, targets - 1, 0)
    table = np.concatenate([spans, np.stack([targets, signs, firsts], axis=1)], axis=1).astype(np.float32)
    start, length, inner, inner_length, target, sign, first = sent(torch.from_numpy(table), device).T[..., None, None]
    step = length / target
    order = torch.arange(max(size), device=device, dtype=torch.float32)[None, :, None]
    centres = start + (first + order * sign + 0.5) * step
    if preprocess.interpolation == "nearest":
        places = (centres + 1e-4).floor()
        weights = torch.ones_like(places)
    else:
        radius = 1 if preprocess.interpolation == "bilinear" else 2
        reach = step.clamp(min=1)
        widest = max(1.0, float((spans[:, 1] / targets).max()))
        ahead = torch.arange(math.ceil(2 * radius * widest) + 2, device=device, dtype=torch.float32)
        places = (centres - 0.5 - radius * reach).floor() + ahead
        distance = ((places + 0.5) / reach - centres / reach).abs_()
        weights = _triangle(distance) if radius == 1 else _cubic(distance)
        weights.masked_fill_((places < start) | (places >= start + length), 0)
        weights.div_(weights.sum(2, keepdim=True))
    if preprocess.mode == "pad":  # what lies in the frame and in no image
        weights.masked_fill_((places < inner) | (places >= inner + inner_length), 0)
    return places, weights


def _placed(places: Tensor, weights: Tensor, source: int, dtype: torch.dtype, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """Return (N, target, source) matrices of some weights, times a scale, and (N, target) their sums, unscaled."""
    count, target = places.shape[:2]
    # One more column takes what lies in no image, all of it zeros; rows of multiples of eight are what a GPU multiplies fastest.
    wide = torch.zeros((count, target, (source // 8 + 1) * 8), dtype=dtype, device=places.device)
    within = torch.where((places < 0) | (places >= source), source, places).long()
    wide.scatter_(2, within, (weights * scale).to(dtype))
    return wide[..., :source], weights.sum(2)


def _triangle(distance: Tensor) -> Tensor:
    return distance.neg_().add_(1).clamp_(min=0)


def _cubic(distance: Tensor) -> Tensor:
    """Keys' cubic kernel with a = -0.5 (Keys 1981, equation 15), as Pillow's and torch's antialiased one."""
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return torch.where(distance < 1, near, torch.where(distance < 2, far, torch.zeros_like(distance)))
