"""medzoo's own Trainer, timed; and the loop a careful user would write by hand, on the same ready tensors."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu_ceilings import synchronise
from medzoo.data.dataset import Dataset
from medzoo.data.registry import load_dataset
from medzoo.data.samples.feed import to_device
from medzoo.inference.devices import make_accelerator
from medzoo.models.clip.model import encode_image, encode_text
from medzoo.settings.compose import compose_config, typed
from medzoo.settings.schema import TrainConfig, TrainerConfig
from medzoo.store.directory import RunDirectory
from medzoo.tasks.setup.families import task_from_config
from medzoo.tasks.task import Batch, Task
from medzoo.train.loop import Trainer

INPUTS = ("loader", "device") if any(field.name == "input" for field in fields(TrainerConfig)) else ("loader",)
"""Where images are augmented, as `trainer.input` says; the loader alone in a medzoo without that setting."""


@dataclass(frozen=True)
class Timing:
    """Seconds of several equal runs over so many images."""

    images: int
    seconds: tuple[float, ...]

    @property
    def rate(self) -> float:
        return self.images / median(self.seconds)

    @property
    def spread(self) -> float:
        """How far the slowest run lies from the fastest, of the median."""
        return (max(self.seconds) - min(self.seconds)) / median(self.seconds)


def make_trainer(overrides: Sequence[str], folder: Path, *, input_by: str = "loader") -> tuple[Trainer, Dataset]:
    """Return what `medzoo train` with these settings would train by, and its dataset."""
    chosen = [f"trainer.input={input_by}"] if len(INPUTS) > 1 else []
    config = compose_config("train", [*overrides, *chosen])
    settings = typed(TrainConfig, config)
    dataset = load_dataset(**settings.data)
    task = task_from_config(settings.model, settings.loss, dataset, settings.seed)
    text = OmegaConf.to_yaml(config, resolve=True)
    run = RunDirectory.create(folder, text, task.spec, task.assets())
    accelerator = make_accelerator(settings.device, settings.trainer.precision)
    return Trainer(task, dataset, settings, text, run, False, accelerator), dataset


def time_epoch(trainer: Trainer) -> float:
    """Return the seconds of one training epoch, without validation; the trainer then stands before the next."""
    device = trainer.accelerator.device
    synchronise(device)
    start = time.perf_counter()
    trainer._train_epoch()
    synchronise(device)
    taken = time.perf_counter() - start
    progress = trainer.progress
    progress.epoch, progress.batch, progress.loss_sum, progress.loss_count = progress.epoch + 1, 0, 0.0, 0.0
    return taken


def time_input(trainer: Trainer) -> float:
    """Return the seconds of an epoch's batches alone: nobody trains on them."""
    device = trainer.accelerator.device
    trainer.batches.set_epoch(trainer.progress.epoch)
    synchronise(device)
    start = time.perf_counter()
    for batch in trainer.loader:
        to_device(batch, device)
    synchronise(device)
    return time.perf_counter() - start


def first_batch(trainer: Trainer) -> Batch:
    """Return the batch that an epoch begins with, on the device."""
    trainer.batches.set_epoch(trainer.progress.epoch)
    return to_device(next(iter(trainer.loader)), trainer.accelerator.device)


def loss_of(
    task: Task, batch: Batch, count: int | None = None, memory_format: torch.memory_format = torch.contiguous_format
) -> Callable[[nn.Module], Tensor]:
    """Return what a careful user computes: the plain loss of a network on the first `count` of a batch, all of it made ready.

    Images are normalised and captions are tokens before the clock starts.
    """
    images = task.input(batch["image"][:count]).detach().contiguous(memory_format=memory_format)
    if task.embedder is None:
        targets = batch["target"][:count].argmax(dim=1)
        return lambda network: F.cross_entropy(network(images), targets)
    tokens = torch.from_numpy(task.embedder.tokenizer(batch["text"][:count])).to(images.device)
    pairs = torch.arange(len(images), device=images.device)

    def contrast(network: Any) -> Tensor:
        logits = network.logit_scale.exp() * encode_image(network, images) @ encode_text(network, tokens).T
        return (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2

    return contrast


def bare_loop(
    network: nn.Module, loss: Callable[[nn.Module], Tensor], config: TrainerConfig, device: torch.device
) -> Callable[[int], None]:
    """Return a plain PyTorch training loop: so many steps of forward, loss, backward, clipping and the optimizer."""
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[config.optimizer]
    optimizer = kind(network.parameters(), lr=1e-4, weight_decay=config.weight_decay, fused=device.type == "cuda" or None)
    network.train()

    def steps(count: int) -> None:
        for _ in range(count):
            with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"):
                value = loss(network)
            value.backward()
            if config.clip is not None:
                nn.utils.clip_grad_norm_(network.parameters(), config.clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return steps


def ready_loops(trainer: Trainer, batch: Batch, *, compiled: bool = False) -> dict[str, Callable[[int], object]]:
    """Return name → so many steps on one ready batch: medzoo's trainer, and the bare loop on copies of its network."""
    device, task = trainer.accelerator.device, trainer.task

    def ours(steps: int) -> None:
        most = len(trainer.batches)  # of an epoch; more steps are several
        for done in range(0, steps, most):
            trainer.loader = [batch] * min(most, steps - done)  # type: ignore[assignment]
            time_epoch(trainer)

    found: dict[str, Callable[[int], object]] = {"medzoo": ours}
    formats = {"bare": torch.contiguous_format}
    if any(isinstance(module, nn.Conv2d) and module.kernel_size != module.stride for module in task.model.modules()):
        formats["bare, channels last"] = torch.channels_last  # what such a user tries for a convolutional network
    for name, memory_format in formats.items():
        network = deepcopy(task.model).to(memory_format=memory_format)  # a copy is not compiled
        loss = loss_of(task, batch, memory_format=memory_format)
        found[name] = bare_loop(network, torch.compile(loss) if compiled else loss, trainer.config, device)
    return found


def time_in_turns(
    runs: dict[str, Callable[[int], object]], steps: int, rounds: int, images: int, device: torch.device
) -> dict[str, Timing]:
    """Time several loops of so many steps in turns, so that what else the machine does meets all; a first turn is not counted."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            synchronise(device)
            start = time.perf_counter()
            run(steps if turn else max(2, steps // 4))
            synchronise(device)
            if turn:
                found[name].append(time.perf_counter() - start)
    return {name: Timing(images * steps, tuple(values)) for name, values in found.items()}


def flops_an_image(task: Task, batch: Batch) -> float:
    """Return the operations of products and convolutions that one image takes, forward and backward.

    Counted on a few images with attention written out as products, which every counter knows.
    """
    count = min(4, len(batch["image"]))
    network = deepcopy(task.model).train()
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        loss_of(task, batch, count)(network).backward()
    return counter.get_total_flops() / count
