"""Running a task over a split, on one device or several, back in table order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from numpy.typing import NDArray
from torch import Tensor

from medzoo.data.samples.loader import EpochBatches, make_loader
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.tasks.task import Batch, Task


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Return a batch with its tensors on a device; text and identifiers stay where they are."""
    return {k: v.to(device, non_blocking=True) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}


def predict_samples(
    task: Task, samples: SampleDataset, *, batch_size: int, workers: int, accelerator: Accelerator, epoch: int = 0
) -> tuple[dict[str, NDArray[Any]], float | None]:
    """Predict every sample of a split.

    Args:
        task: In evaluation mode, on the accelerator's device.
        samples: The split; augmented only for test-time augmentation.
        batch_size: Samples a forward pass over all devices together.
        workers: Loader processes.
        accelerator: Gathers the parts of several devices.
        epoch: Which of the augmented copies; nothing without augmentation.

    Returns:
        Outputs by name, each (N, ...) float32 in table order, and the mean loss over what is observed (None without
        targets, or when all are missing).
    """
    return _run(task.validation_step, samples, batch_size, workers, accelerator, epoch)


def compute_features(task: Task, samples: SampleDataset, *, batch_size: int, workers: int, accelerator: Accelerator) -> Tensor:
    """Return (N, F) float32 pooled features of every sample in table order, on the CPU; arguments as `predict_samples`."""

    def step(batch: Batch) -> dict[str, Tensor]:
        return {"features": task.features(batch)}

    outputs, _ = _run(step, samples, batch_size, workers, accelerator, 0)
    return torch.from_numpy(outputs["features"])


def _run(
    step: Callable[[Batch], dict[str, Tensor]],
    samples: SampleDataset,
    batch_size: int,
    workers: int,
    accelerator: Accelerator,
    epoch: int,
) -> tuple[dict[str, NDArray[Any]], float | None]:
    batches = EpochBatches(
        len(samples), batch_size, seed=0, shuffle=False, rank=accelerator.process_index, world=accelerator.num_processes
    )
    batches.set_epoch(epoch)
    loader = make_loader(samples, batches, workers=workers, pin_memory=accelerator.device.type == "cuda")
    parts: list[tuple[NDArray[Any], dict[str, NDArray[Any]], float, float]] = []
    for batch in loader:
        moved = to_device(batch, accelerator.device)
        with accelerator.autocast():
            outputs = step(moved)
        count = float(outputs.pop("count")) if "count" in outputs else 0.0
        loss = float(outputs.pop("loss")) * count if "loss" in outputs else 0.0
        arrays = {name: value.float().cpu().numpy() for name, value in outputs.items()}
        parts.append((batch["index"].numpy(), arrays, loss, count))
    if accelerator.num_processes > 1:
        parts = gather_object(parts)
    order = np.argsort(np.concatenate([index for index, *_ in parts]), kind="stable")
    joined = {name: np.concatenate([arrays[name] for _, arrays, *_ in parts])[order] for name in parts[0][1]}
    total = sum(count for *_, count in parts)
    return joined, sum(loss for *_, loss, _ in parts) / total if total else None
