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
    rows = _weights(framed[:, 0], framed[:, 2], boxes[:, 0], boxes[:, 2], images.shape[2], size[0], preprocess, images.device)
    columns = _weights(framed[:, 1], framed[:, 3], boxes[:, 1], boxes[:, 3], images.shape[3], size[1], preprocess, images.device)
    if mirrored is not None:
        rows, columns = (_turned(weights, flags) for weights, flags in zip((rows, columns), mirrored, strict=True))
    count, planes, height, width = images.shape
    # Planes beside the columns: two plain batched products, without a copy of the weights for each plane.
    lines = torch.empty((count, height, planes, width), dtype=dtype, device=images.device).copy_(images.permute(0, 2, 1, 3))
    across = torch.bmm(lines.view(count, height * planes, width), columns.transpose(1, 2).to(dtype))
    scaled = rows / 255 if whole else rows
    found = torch.bmm(scaled.to(dtype), across.view(count, height, planes * size[1])).view(count, size[0], planes, size[1])
    if preprocess.mode == "pad" and preprocess.fill:  # the share of an output pixel that lies in no image
        covered = rows.sum(2)[:, :, None] * columns.sum(2)[:, None, :]
        found += ((1 - covered) * (preprocess.fill / 255)).to(dtype)[:, :, None]
    if preprocess.interpolation == "bicubic":  # which overshoots
        found.clamp_(0, 1)
    return found.permute(0, 2, 1, 3)


def _turned(weights: Tensor, flags: Mirrored) -> Tensor:
    given = sent(torch.from_numpy(flags), weights.device)[:, None, None]
    return torch.where(given, weights.flip(1), weights)


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
    frame_start: NDArray[np.int64], frame_length: NDArray[np.int64], box_start: NDArray[np.int64], box_length: NDArray[np.int64],
    source: int, target: int, preprocess: Preprocess, device: torch.device
) -> Tensor:  # fmt: skip
    """Return (N, target, source): how much of each source pixel is in an output pixel, antialiased as torch and Pillow do."""
    first, last = min(0, int(frame_start.min())), max(source, int((frame_start + frame_length).max()))
    spans = np.stack([frame_start, frame_length, box_start, box_length], axis=1).astype(np.float32)
    start, length, inner, inner_length = sent(torch.from_numpy(spans), device).T[..., None, None]
    places = torch.arange(first, last, device=device, dtype=torch.float32)[None, None]
    step = length / target
    centres = start + (torch.arange(target, device=device, dtype=torch.float32)[None, :, None] + 0.5) * step
    if preprocess.interpolation == "nearest":
        weights = (places == (centres + 1e-4).floor()).float()
    else:
        reach = step.clamp(min=1)
        distance = ((places + 0.5) / reach - centres / reach).abs_()
        weights = _triangle(distance) if preprocess.interpolation == "bilinear" else _cubic(distance)
        weights.masked_fill_((places < start) | (places >= start + length), 0)
        weights.div_(weights.sum(2, keepdim=True))
    if preprocess.mode == "pad":  # what lies in the frame and in no image
        weights.masked_fill_((places < inner) | (places >= inner + inner_length), 0)
    found: Tensor = weights[..., -first : source - first]
    return found


def _triangle(distance: Tensor) -> Tensor:
    return distance.neg_().add_(1).clamp_(min=0)


def _cubic(distance: Tensor) -> Tensor:
    """Keys' cubic kernel with a = -0.5 (Keys 1981, equation 15), as Pillow's and torch's antialiased one."""
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return torch.where(distance < 1, near, torch.where(distance < 2, far, torch.zeros_like(distance)))
