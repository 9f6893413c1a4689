"""Several images of one case: what a network says of each, averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from medzoo.data.samples.sample_dataset import Batch
from medzoo.data.samples.send import sent


def over_views(step: Callable[[Tensor], Tensor], batch: Batch) -> Tensor:
    """Apply a network to a batch's images; of several views, average what it says over those that are there.

    Absent views never reach the network, so that they count in no batch statistics. Under a linear head the mean of logits is
    the logit of mean features: the exported graph of one image is then exact for cases too, its logits averaged.

    Args:
        step: (M, C, H, W) → (M, K).
        batch: `image` (N, C, H, W); or (N, V, C, H, W) with `view_mask` (N, V), on the host: nobody waits for a device then.

    Returns:
        (N, K).
    """
    images = batch["image"]
    if "view_mask" not in batch:
        return step(images)
    mask = batch["view_mask"]
    outputs = step(those_there(images, mask))
    case = torch.arange(len(mask), device=mask.device).repeat_interleave(mask.sum(dim=1))
    total = outputs.new_zeros(len(mask), outputs.shape[1]).index_add_(0, sent(case, outputs.device), outputs)
    mean: Tensor = total / sent(mask.sum(dim=1, keepdim=True), outputs.device)
    return mean


def those_there(members: Tensor, mask: Tensor) -> Tensor:
    """Return (M, ...) of (N, V, ...) what a mask (N, V) says is there, sample after sample."""
    rows = mask.flatten().nonzero()[:, 0]
    return members.flatten(0, 1).index_select(0, sent(rows, members.device))


def case_means(values: NDArray[Any], counts: Sequence[int]) -> Tensor:
    """Return the mean of each run of rows: (N images, K) and images a case → (N cases, K)."""
    parts = torch.split(torch.from_numpy(values), list(counts))  # type: ignore[no-untyped-call]
    return torch.stack([part.mean(dim=0) for part in parts])
