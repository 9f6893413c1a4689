"""Section `small`: an epoch of MedMNIST's size at 28 pixels, beside the design of its published results and beside a bare loop.

Everybody trains the same network from the same weights on the same file. medzoo trains without augmentation, as the
published design does, where loss curves are compared; and with its default policy, where it does more.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.generated_images import medmnist_file
from benchmarks.gpu_ceilings import synchronise, table
from benchmarks.published_medmnist import Published, curves
from benchmarks.timed_loops import INPUTS, first_batch, make_trainer, ready_loops, time_in_turns, time_input

if TYPE_CHECKING:
    from benchmarks.gpu import Call

HEAD = [
    "",
    "training pass, s",
    "whole epoch, s",
    "spread",
    "published over it: training pass",
    "whole epoch",
    "input alone, share of the pass",
]
BASE = "published, 0 workers"


class Small:
    """What the section has so far.

    Attributes:
        runs: Name → seconds of training passes and of whole epochs, losses, and seconds of the input alone.
        ready: Name → timing on ready tensors.
    """

    def __init__(self, call: Call, folder: Path, keep: Callable[[str, Any], None]) -> None:
        self.call, self.folder, self.keep = call, folder, keep
        self.runs: dict[str, dict[str, Any]] = {}
        self.ready: dict[str, Any] = {}
        self.slowest = 10.0
        with np.load(medmnist_file(folder, call.options.small_images)) as archive:
            self.arrays = dict(archive)

    def trainer(self, name: str, *, augment: str = "none", input_by: str = "loader") -> Any:
        options = self.call.options
        settings = [
            "experiment=medmnist_resnet18_28", "data.set=pneumoniamnist", f"data.root={self.folder}", "data.verify=false",
            f"model.backbone={options.small_backbone}", f"trainer.epochs={options.small_epochs}", f"trainer.augment={augment}",
            f"trainer.batch_size={options.small_batch}",
            f"device={options.device}", "evaluate=false",
        ]  # fmt: skip
        return make_trainer(settings, self.folder / name.replace(" ", "-"), input_by=input_by)[0]

    def step(self, what: str, run: Callable[[], None]) -> None:
        if not self.call.has(self.slowest, what):
            return
        start = time.monotonic()
        self.call.attempt(what, run)
        self.slowest = max(self.slowest, time.monotonic() - start)
        gc.collect()
        self.keep(self.show(), {"runs": self.runs, "ready": {name: timing.seconds for name, timing in self.ready.items()}})
        print(f"{what}: {time.monotonic() - start:.0f} s", flush=True)

    def published(self, workers: int) -> None:
        name = f"published, {workers} workers"
        network = deepcopy(self.trainer(f"of {name}").task.model)
        options = self.call.options
        design = Published(network, self.arrays, self.call.device, workers, options.small_epochs, options.small_batch)
        for _ in range(options.small_epochs):
            design.epoch()
            if self.call.over(name):
                break
        found = {key: [line[key] for line in design.history] for key in design.history[0]}
        self.runs[name] = {"pass": found["train_seconds"], "epoch": found["seconds"], **found, "input": None}

    def medzoo(self, name: str, augment: str, input_by: str) -> None:
        """Train to the end, as `Trainer.fit` does, with a clock at both ends of a training pass."""
        trainer = self.trainer(name, augment=augment, input_by=input_by)
        passes, epochs = list[float](), list[float]()
        while not trainer.progress.finished:
            synchronise(self.call.device)
            start = time.perf_counter()
            trainer._train_epoch()
            synchronise(self.call.device)
            passes.append(time.perf_counter() - start)
            trainer._end_epoch()
            epochs.append(time.perf_counter() - start)
            if self.call.over(name):
                break
        history = trainer.progress.history
        losses = {key: [row[key] for row in history] for key in ("train_loss", "val_loss", "val_auroc")}
        self.runs[name] = {"pass": passes, "epoch": epochs, **losses, "input": min(time_input(trainer) for _ in range(2))}

    def overhead(self) -> None:
        """Time the trainer's steps and bare ones on one ready batch, in turns."""
        trainer = self.trainer("ready")
        batch, options = first_batch(trainer), self.call.options
        loops = ready_loops(trainer, batch)
        # On a processor one takes seconds, on a GPU a few milliseconds.
        steps = min(options.steps, 3) if self.call.device.type == "cpu" else 4 * options.steps
        self.ready = time_in_turns(loops, steps, options.rounds + 2, len(batch["index"]), self.call.device)

    def show(self) -> str:
        """Return the tables."""
        base = self.runs.get(BASE)
        rows = []
        for name, run in self.runs.items():
            of_pass, of_epoch = _middle(run["pass"]), _middle(run["epoch"])
            kept = run["pass"][1:]
            spread = f"{(max(kept) - min(kept)) / of_pass:.1%}" if len(kept) > 1 else "one epoch"
            rows.append(
                [
                    name, f"{of_pass:.3f}", f"{of_epoch:.3f}", spread,
                    "" if base is None else f"{_middle(base['pass']) / of_pass:.2f}",
                    "" if base is None else f"{_middle(base['epoch']) / of_epoch:.2f}",
                    "" if run["input"] is None else f"{run['input'] / of_pass:.1%}",
                ]
            )  # fmt: skip
        parts = [table(HEAD, rows)]
        if self.ready:
            ours = self.ready["medzoo"].seconds
            for name, timing in self.ready.items():
                if name == "medzoo":
                    continue
                ratios = [mine / theirs for mine, theirs in zip(ours, timing.seconds, strict=True)]
                each = ", ".join(f"{ratio:.3f}" for ratio in ratios)
                parts.append(
                    f"On one ready batch: medzoo's step takes {median(ratios):.3f} times that of `{name}` (turns: {each})."
                )
        heads, columns = ["epoch"], {}
        for name, run in self.runs.items():
            for key in ("train_loss", "val_loss"):
                heads.append(f"{name}: {key.replace('_', ' ')}")
                columns[heads[-1]] = run[key]
        return "\n\n".join([*parts, table(heads, curves(columns))])


def _middle(values: list[float]) -> float:
    """Return the median without the first, in which memory, threads and kernels warm up."""
    return median(values[1:] or values)


def run(call: Call, keep: Callable[[str, Any], None]) -> str:
    """Train both designs."""
    with tempfile.TemporaryDirectory(prefix="medzoo-small-", ignore_cleanup_errors=True) as temporary:
        small = Small(call, Path(temporary), keep)
        ways = [
            (f"medzoo, {said}, input={by}", augment, by)
            for augment, said in (("none", "no augmentation"), ("auto", "default augmentation"))
            for by in INPUTS
        ]
        small.step("ready tensors", small.overhead)
        small.step(BASE, lambda: small.published(0))
        for name, augment, input_by in ways:
            small.step(name, lambda n=name, a=augment, i=input_by: small.medzoo(n, a, i))  # type: ignore[misc]
        small.step("published, 4 workers", lambda: small.published(4))
        return small.show() if small.runs else ""
