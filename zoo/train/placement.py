"""How a training is laid out on its device: the order of pixels in memory, where images wait, and what is slow there."""

from __future__ import annotations

import time
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import nn

from medzoo.data.samples.feed import chosen_input, hindrance, leave_to_device
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.tasks.task import Task
from medzoo.train.sharding import is_sharded

_SIDE = 512
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def place_model(model: nn.Module, device: torch.device) -> None:
    """Move a network to a device; on a GPU the weights of 2-D convolutions get the order that its matrix units read in place."""
    model.to(device)
    if device.type == "cuda":
        for parameter in model.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def prepared(task: Task, optimizer: torch.optim.Optimizer, accelerator: Accelerator) -> tuple[Any, Any]:
    """Return a task and its optimizer as one process or several train them: what a batch leaves out has no gradient in either."""
    if is_sharded(task):  # which brings processes together by itself
        return task, accelerator.prepare(optimizer)
    if not task.uses_all:
        accelerator.ddp_handler = DistributedDataParallelKwargs(find_unused_parameters=True)
    wrapped, stepping = accelerator.prepare(task, optimizer)
    return wrapped, stepping


def place_images(asked: str, train: SampleDataset, val: SampleDataset, device: torch.device, workers: int) -> str | None:
    """Decide where images wait and are augmented, and let them; returns what is to be said of it.

    Args:
        asked: `trainer.input`.
        train: The training split, changed in place.
        val: The validation split, changed in place.
        device: Where the network is.
        workers: `trainer.workers`.

    Raises:
        UnknownNameError: If there is no such input.
        ConfigError: If it cannot be; says why.
    """
    if chosen_input(asked, train, device) == "loader":
        if device.type == "cpu" or workers:
            return None
        why = "" if asked == "loader" else f" ({hindrance(train)})"
        return f"images are prepared by this process alone{why}; trainer.workers=8 lets 8 more prepare them"
    said = leave_to_device(train, device)
    leave_to_device(val, device)
    return f"input: {said}, and augmented there in batches (trainer.input)"


def slower_precision(device: torch.device, precision: str) -> str | None:
    """Return what is to be said of a mixed precision that this device is slower in than in float32; None if it is not.

    Both are timed, a matrix product each: what a processor says of itself does not tell.
    """
    if precision not in _DTYPES:
        return None
    plain, mixed = (_seconds(device, dtype) for dtype in (torch.float32, _DTYPES[precision]))
    if mixed <= 1.2 * plain:
        return None
    return (
        f"trainer.precision={precision} takes {mixed / plain:.1f} times as long as float32 on this {device.type} (a matrix "
        "product of each was timed); set it to no"
    )


def _seconds(device: torch.device, dtype: torch.dtype) -> float:
    """Return the least time of some matrix products."""
    one = torch.ones(_SIDE, _SIDE, device=device, dtype=dtype)
    found = []
    for _ in range(4):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        start = time.perf_counter()
        one @ one
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        found.append(time.perf_counter() - start)
    return min(found)
