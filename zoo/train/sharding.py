"""A network shared out among the processes that train it: each keeps a share of every parameter, gradient and optimizer state.

Whole parameters exist while they are computed with, a block of the network at a time: FSDP (Zhao et al. 2023,
https://arxiv.org/abs/2304.11277) by torch's `fully_shard`. accelerate 1.15 calls the same function, but on accelerators
alone; called from here, gloo and NCCL take one path, which is tested on a CPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from timm.utils import ModelEmaV3
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from medzoo.data.errors import ConfigError
from medzoo.settings.schema import TrainerConfig
from medzoo.tasks.task import Task

OPTIMIZERS = ("sgd", "momentum", "adam", "adamw", "nadamw", "lion")
"""Whose step of a share is that share of the step; others look at a parameter as a whole."""
SMALLEST_BLOCK = 10_000
"""Parameters of a block that is gathered by itself: fewer go with what surrounds them."""


def check_sharding(config: TrainerConfig, task: Task, cached: bool) -> None:
    """Refuse what does not go together with `trainer.fsdp`.

    Args:
        config: The trainer's settings.
        task: What is trained.
        cached: Whether features are computed once.

    Raises:
        ConfigError: With what to change.
    """
    if config.optimizer not in OPTIMIZERS:
        raise ConfigError(
            f"trainer.fsdp goes with an optimizer that does not look at a parameter as a whole ({', '.join(OPTIMIZERS)}), not "
            f"with {config.optimizer}"
        )
    if config.compile:
        raise ConfigError("trainer.fsdp and trainer.compile do not go together; leave one of them false")
    if config.precision == "fp16":
        raise ConfigError("trainer.fsdp goes with trainer.precision=bf16 or no, not with fp16, whose scale is of all gradients")
    if cached:
        raise ConfigError("trainer.fsdp shares out what learns, and of features that are computed once only a head does")
    if task.kept_whole is not None:
        raise ConfigError(f"trainer.fsdp cannot be: {task.kept_whole}")


def share_out(
    task: Task, config: TrainerConfig, accelerator: Accelerator, cached: bool
) -> tuple[ModelEmaV3 | None, list[nn.Parameter], str | None]:
    """Copy what is to be averaged, and share a task and its average out where that is asked for, in place.

    Args:
        task: On the device, its frozen parameters marked.
        config: The trainer's settings.
        accelerator: Devices and precision.
        cached: Whether features are computed once.

    Returns:
        The moving average, the parameters that stay whole (see `shard`), and what is to be said.

    Raises:
        ConfigError: If they cannot be.
    """
    if config.fsdp:
        check_sharding(config, task, cached)
    shares = config.fsdp and accelerator.num_processes > 1
    # Of shares one by one: those of one list are to be all shared, or none.
    average = None if config.ema is None else ModelEmaV3(task, decay=config.ema, use_warmup=True, foreach=not shares)
    if not shares:
        said = "trainer.fsdp shares a network out among processes, and there is one: it is kept whole"
        return average, [], said if config.fsdp else None
    if average is not None:
        shard(average.module, accelerator.device)
    return average, shard(task, accelerator.device), None


def shard(task: Task, device: torch.device) -> list[nn.Parameter]:
    """Let this process keep its share of a task's parameters alone, in place; names stay.

    Blocks that repeat (of a transformer, of a stage) are gathered one by one, the rest together. What a guide has that does not
    learn, a teacher, stays whole.

    Args:
        task: On the device; the same in all processes.
        device: Of this process.

    Returns:
        The parameters that learn and stay whole, for they are single numbers: see `average_gradients`.
    """
    mesh = init_device_mesh(device.type, (distributed.get_world_size(),))
    for parameter in task.parameters():
        parameter.data = parameter.data.contiguous()  # of another order none is taken
    teachers = set() if task.guide is None else {p for p in task.guide.parameters() if not p.requires_grad}
    single = {p for p in task.parameters() if not p.ndim} - teachers
    for block in repeated_blocks(task.model):
        fully_shard(block, mesh=mesh, ignored_params=single & set(block.parameters()))
    fully_shard(task, mesh=mesh, ignored_params=single | teachers)
    return [p for p in task.parameters() if p in single and p.requires_grad]


def repeated_blocks(model: nn.Module) -> list[nn.Module]:
    """Return the blocks that repeat in a network, the innermost ones."""
    rows = [module for module in model.modules() if isinstance(module, nn.Sequential | nn.ModuleList) and _repeats(module)]
    inner = [row for row in rows if not any(other is not row and other in rows for other in row.modules())]
    blocks = {id(block): block for row in inner for block in row}
    return [block for block in blocks.values() if sum(p.numel() for p in block.parameters()) >= SMALLEST_BLOCK]


def _repeats(row: nn.Sequential | nn.ModuleList) -> bool:
    return len(row) > 1 and len({type(child) for child in row}) == 1 and any(True for _ in row[0].children())


def is_sharded(module: nn.Module) -> bool:
    """Whether `shard` was called on it."""
    return isinstance(module, FSDPModule)


@contextmanager
def gathered(module: nn.Module) -> Iterator[None]:
    """Within, each process holds all parameters, and none waits for another: shares of a split need not be equal.

    Nothing is learnt within. What was not sharded is left as it is.
    """
    parts = [part for part in module.modules() if isinstance(part, FSDPModule)]
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
    for part in parts:
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            # As `fully_shard` leaves it: what comes last on the way out is first on the way back.
            part.set_reshard_after_forward(part is not module, recurse=False)
            part.reshard()


def whole(tensors: Mapping[str, Tensor], keep: bool) -> dict[str, Tensor]:
    """Return shared tensors put together, one after the other, on the CPU; others as they are.

    All processes call it together.

    Args:
        tensors: By name, the same names in all processes.
        keep: Whether this process wants them; else it only helps, and gets nothing of what was shared.
    """
    found = {}
    for name, tensor in tensors.items():
        if isinstance(tensor, DTensor):
            full = tensor.full_tensor()
            if keep:
                found[name] = full.cpu()
        else:
            found[name] = tensor
    return found


def spread(tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return whole tensors shared out as those of the same names are; others as they are."""
    return {name: shared_like(tensor, like[name]) if name in like else tensor for name, tensor in tensors.items()}


def shared_like(tensor: Tensor, like: Tensor) -> Tensor:
    """Return this process's share of a whole tensor, where one of the same shape is shared; else the tensor."""
    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)


def is_whole(value: object) -> bool:
    """Whether it is a tensor that is not shared."""
    return isinstance(value, Tensor) and not isinstance(value, DTensor)


def own(tensor: Tensor) -> Tensor:
    """Return what this process holds of a tensor; it shares its memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


@contextmanager
def unsynchronised(module: nn.Module, accelerator: Accelerator, last: bool) -> Iterator[None]:
    """Keep gradients in their process, unless it is the `last` forward pass of a step."""
    if isinstance(module, FSDPModule):
        module.set_requires_gradient_sync(last)
        yield
    elif last:
        yield
    else:
        with accelerator.no_sync(module):
            yield


def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Give every process the mean of all processes' gradients of parameters that none shares."""
    for parameter in parameters:
        if parameter.grad is not None:
            distributed.all_reduce(parameter.grad)
            parameter.grad /= distributed.get_world_size()


def clip_gradients(module: nn.Module, parameters: Sequence[nn.Parameter], limit: float, accelerator: Accelerator) -> None:
    """Clip the norm of all gradients, as `torch.nn.utils.clip_grad_norm_` does; also of those of which each process holds shares.

    Args:
        module: Whose they are.
        parameters: All that learn; what is not shared counts once.
        limit: The largest norm.
        accelerator: Devices and precision.
    """
    if not is_sharded(module):
        accelerator.clip_grad_norm_(parameters, limit)
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    first = distributed.get_rank() == 0
    counted = [own(g) for g in gradients if first or isinstance(g, DTensor)]
    norms = torch._foreach_norm(counted)
    device = gradients[0].device
    total = torch.stack(norms).square().sum() if norms else torch.zeros((), device=device)
    distributed.all_reduce(total)
    factor = (limit / (total.sqrt() + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_([own(g) for g in gradients], factor)


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names of floating point tensors of which any process holds a value that is not finite."""
    bad = [n for n, t in tensors.items() if t.is_floating_point() and not torch.isfinite(own(t)).all()]
    return sorted(set(gather_object(bad))) if any(isinstance(t, DTensor) for t in tensors.values()) else bad
