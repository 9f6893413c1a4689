"""Tensors of all processes together, for a loss in which samples are held against each other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, distributed


def processes() -> int:
    """Return how many processes share a batch."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def place() -> int:
    """Return which of the processes this one is, from 0."""
    return distributed.get_rank() if processes() > 1 else 0


def added(value: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes, without gradient; `value` itself stays."""
    total = value.detach().clone()
    if processes() > 1:
        distributed.all_reduce(total)
    return total


def own_draws(rows: int, width: int, seed: int | None) -> Tensor:
    """Return (rows, width) uniform draws for this process's rows of a batch, on the CPU: what a single process draws for them.

    Process r of n has every n-th row of a batch, from the r-th on. All draw as many rows as the one with the most has in all, and
    the draws of a row do not depend on how many follow it.

    Args:
        rows: Of this process.
        width: Draws a row.
        seed: The same for all processes; None: torch's own state, of a single process.
    """
    draws = None if seed is None else torch.Generator().manual_seed(seed)
    return torch.rand(rows * processes(), width, generator=draws)[place() :: processes()]


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
