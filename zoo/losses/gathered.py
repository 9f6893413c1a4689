"""Tensors of all processes together, for a loss in which samples are held against each other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, distributed


def processes() -> int:
    """Return how many processes share a batch."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def gathered(parts: Sequence[Tensor]) -> list[Tensor]:
    """Return tensors with the rows of all processes, process by process, with gradients to each one's own rows.

    A gradient is the sum over processes: each of them computes the loss of the whole batch, times its own share of what that is
    over, as open_clip does with `gather_with_grad`. Processes may hold unequal numbers of rows, also none.

    Args:
        parts: Each (N, ...), one N for all; of the same kind on every process.
    """
    if processes() == 1:
        return list(parts)
    own = torch.tensor([len(parts[0])], device=parts[0].device)
    counts = [torch.zeros_like(own) for _ in range(processes())]
    distributed.all_gather(counts, own)
    sizes = [int(count) for count in counts]
    return [_gathered(part, sizes) for part in parts]


def _gathered(part: Tensor, sizes: Sequence[int]) -> Tensor:
    padded = F.pad(part, (0, 0) * (part.ndim - 1) + (0, max(sizes) - len(part)))
    if part.is_floating_point():
        from torch.distributed.nn.functional import all_gather  # the one whose backward sums over processes

        parts = all_gather(padded)  # type: ignore[no-untyped-call]
    else:
        parts = [torch.zeros_like(padded) for _ in sizes]
        distributed.all_gather(parts, padded)
    return torch.cat([one[:size] for one, size in zip(parts, sizes, strict=True)])
