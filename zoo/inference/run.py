"""Running a task over a split, on one device or several, back in table order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from numpy.typing import NDArray
from torch import Tensor

from medzoo.data.samples.feed import Feed
from medzoo.data.samples.loader import EpochBatches
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.evaluation.predictions import joined as concatenated
from medzoo.tasks.task import Batch, Task

FETCHED = 32
"""Batches whose outputs are fetched together: for each one the device would have to finish what it was given."""


@dataclass(frozen=True)
class Runner:
    """What runs a task over a split.

    Attributes:
        accelerator: Device and precision; gathers the parts of several devices.
        batch_size: Samples a forward pass over all devices together.
        workers: Loader processes.
    """

    accelerator: Accelerator
    batch_size: int = 64
    workers: int = 0

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        device: torch.device = self.accelerator.device
        return device

    def predict(self, task: Task, samples: SampleDataset, *, epoch: int = 0) -> tuple[dict[str, NDArray[Any]], float | None]:
        """Predict every sample of a split.

        Args:
            task: In evaluation mode, on the device.
            samples: The split; augmented only for test-time augmentation.
            epoch: Which of the augmented copies; nothing without augmentation.

        Returns:
            Outputs by name, each (N, ...) float32 in table order, and the mean loss over what is observed (None without
            targets, or when all are missing).
        """
        outputs, loss = self._run(task.validation_step, samples, epoch)
        whole = task.whole_loss(outputs, samples, self.batch_size)
        return outputs, loss if whole is None else whole

    def outputs(self, step: Callable[[Batch], dict[str, Tensor]], samples: SampleDataset) -> dict[str, NDArray[Any]]:
        """Return what a step gives of each batch of a split, by name, each (N, ...) float32 in table order."""
        return self._run(step, samples, 0)[0]

    def features(self, task: Task, samples: SampleDataset) -> Tensor:
        """Return (N, F) float32 pooled features of every sample in table order, on the CPU; arguments as for `predict`."""
        outputs, _ = self._run(lambda batch: {"features": task.features(batch)}, samples, 0)
        return torch.from_numpy(outputs["features"])

    def _run(
        self, step: Callable[[Batch], dict[str, Tensor]], samples: SampleDataset, epoch: int
    ) -> tuple[dict[str, NDArray[Any]], float | None]:
        accelerator = self.accelerator
        batches = EpochBatches(
            len(samples), self.batch_size, seed=0, shuffle=False, rank=accelerator.process_index, world=accelerator.num_processes
        )
        batches.set_epoch(epoch)
        parts: list[tuple[NDArray[Any], dict[str, NDArray[Any]], float, float]] = []
        told: list[tuple[NDArray[Any], dict[str, Tensor]]] = []
        for batch in Feed(samples, batches, accelerator.device, self.workers):
            with accelerator.autocast():
                outputs = step(batch)
            told.append((batch["index"].numpy(), {name: value.float() for name, value in outputs.items()}))
            if len(told) == FETCHED:
                parts += [_fetched(*one) for one in told]
                told = []
        parts += [_fetched(*one) for one in told]
        if accelerator.num_processes > 1:
            parts = gather_object(parts)
        order = np.argsort(np.concatenate([index for index, *_ in parts]), kind="stable")
        joined = {name: concatenated([arrays[name] for _, arrays, *_ in parts])[order] for name in parts[0][1]}
        total = sum(count for *_, count in parts)
        return joined, sum(loss for *_, loss, _ in parts) / total if total else None


def _fetched(index: NDArray[Any], outputs: dict[str, Tensor]) -> tuple[NDArray[Any], dict[str, NDArray[Any]], float, float]:
    """Return a batch's places, its outputs on the host, the sum of its loss and what that is over."""
    count = float(outputs.pop("count")) if "count" in outputs else 0.0
    loss = float(outputs.pop("loss")) * count if "loss" in outputs else 0.0
    return index, {name: value.cpu().numpy() for name, value in outputs.items()}, loss, count
