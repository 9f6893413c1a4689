"""Batch normalisation whose statistics are of the batch of all processes together, as a single process would have them.

Written out because torch's `SyncBatchNorm` refuses a CPU, where this is tested; here one path serves gloo and NCCL. Processes may
hold unequal numbers of samples, and one whose sample only stands in counts none. A part of a network that is given some of the
samples alone counts none on a process that has none for it (`counting`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from medzoo.data.errors import ConfigError
from medzoo.models.backbones.recompute import InChunks


@dataclass
class Share:
    """What this process holds of a batch.

    Attributes:
        counts: Whether its samples count; False of one that only stands in.
    """

    counts: bool = True


def share_norms(model: nn.Module) -> Share:
    """Let a network's batch normalisations look at the samples of all processes, in place; names and weights stay.

    Returns:
        What tells them whether the samples of this process count.

    Raises:
        ConfigError: If one is of a kind whose statistics cannot be shared, or is given parts of what a process holds.
    """
    share = Share()
    for name, module in model.named_modules():
        if isinstance(module, InChunks) and module.chunk is not None and _normalises(module.flat):
            raise ConfigError(
                f"{name or type(module).__name__} is given {module.chunk} slices at a time (chunk) and normalises over them, "
                "which several processes with unequal numbers of slices cannot share: leave chunk null, or train in one process"
            )
    for name, module in model.named_modules():
        if not isinstance(module, _BatchNorm):
            continue
        if type(module).forward not in (_BatchNorm.forward, BatchNormAct2d.forward):
            raise ConfigError(
                f"{name} ({type(module).__name__}) normalises in a way of its own, which several processes cannot share: train "
                "in one process"
            )
        kind: Any = _shared(type(module))  # type: ignore[arg-type]
        module.__class__ = kind
        module.share = share  # type: ignore[assignment]
    return share


def share_of(part: nn.Module) -> Share | None:
    """Return the share of a part of a network that normalises by what other processes hold, so that all or none go through it.

    None where it does not.
    """
    return next((module.share for module in part.modules() if isinstance(module, _SharedNorm) and module.training), None)


def counting(part: nn.Module, counts: bool) -> None:
    """Say whether what a part of a network is given next counts in its statistics, as far as this process's samples do."""
    for module in part.modules():
        if isinstance(module, _SharedNorm):
            module.sees = counts


def _normalises(network: nn.Module) -> bool:
    return any(isinstance(module, _BatchNorm) for module in network.modules())


@cache
def _shared(kind: Any) -> Any:
    return type(f"Shared{kind.__name__}", (_SharedNorm, kind), {})


class _SharedNorm(_BatchNorm):
    """A batch normalisation that asks the other processes in training mode, and is its own kind otherwise."""

    share: Share
    sees = True

    @property
    def counts(self) -> bool:
        """Whether what this process holds counts."""
        return self.share.counts and self.sees

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, values: Tensor) -> Tensor:
        if not self.training:
            return super().forward(values)
        self._check_input_dim(values)  # type: ignore[no-untyped-call]
        made: Tensor = _Normalise.apply(values, self.weight, self.bias, self)  # type: ignore[no-untyped-call]
        for after in ("drop", "act"):  # of timm's, which go on after the norm
            if hasattr(self, after):
                made = getattr(self, after)(made)
        return made

    def measured(self, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (C,) float64 means and variances of all processes' values, and how many a channel has; keeps running ones."""
        axes = [axis for axis in range(values.ndim) if axis != 1]
        count = values.numel() // values.shape[1] if self.counts else 0
        spread, mean = (found.double() for found in torch.var_mean(_exact(values), axes, correction=0))
        own = torch.cat([mean, spread, mean.new_full((1,), count)])
        every = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
        distributed.all_gather(every, own)
        table = torch.stack(every)
        counts, (means, spreads) = table[:, -1:], table[:, :-1].chunk(2, dim=1)
        total = counts.sum()
        mean = (counts * means).sum(dim=0) / total
        variance = (counts * (spreads + (means - mean) ** 2)).sum(dim=0) / total
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            assert self.num_batches_tracked is not None
            self.num_batches_tracked.add_(1)
            step = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean.to(self.running_mean), step)
            self.running_var.lerp_((variance * total / (total - 1).clamp(min=1)).to(self.running_var), step)
        return mean, variance, total


class _Normalise(torch.autograd.Function):
    """(x − mean) / spread · weight + bias, whose gradient goes through the statistics of all processes."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor | None, bias: Tensor | None, norm: _SharedNorm) -> Tensor:
        mean, variance, total = norm.measured(values.detach())
        kind, ctx.counts = _exact(values).dtype, norm.counts
        mean, scale = mean.to(kind), (variance + norm.eps).rsqrt().to(kind)
        ctx.save_for_backward(values, weight, mean, scale, total.to(kind))
        made = (_exact(values) - _wide(mean, values)) * _wide(scale if weight is None else scale * weight, values)
        return (made if bias is None else made + _wide(bias, values)).to(values.dtype)

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor | None, ...]:
        values, weight, mean, scale, total = ctx.saved_tensors
        axes = [axis for axis in range(values.ndim) if axis != 1]
        slope = _exact(given[0])
        unit = (_exact(values) - _wide(mean, values)) * _wide(scale, values)
        sums = torch.stack([slope.sum(axes), (slope * unit).sum(axes)])
        of_bias, of_weight = sums.clone()
        distributed.all_reduce(sums)
        if ctx.counts:
            slope = slope - (_wide(sums[0], values) + unit * _wide(sums[1], values)) / total
        found = slope * _wide(scale if weight is None else scale * weight, values)
        wanted = ctx.needs_input_grad
        return found.to(values.dtype), of_weight if wanted[1] else None, of_bias if wanted[2] else None, None


def _exact(values: Tensor) -> Tensor:
    """Return values in float32 at least."""
    return values if values.dtype == torch.float64 else values.float()


def _wide(of_channels: Tensor, values: Tensor) -> Tensor:
    return of_channels.reshape(1, -1, *(1,) * (values.ndim - 2))
