"""Section `train`: medzoo's Trainer fed from packed images, on a ready batch, and a bare PyTorch loop on the same batch."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.generated_images import prepared_table
from benchmarks.gpu_ceilings import bf16_ceiling, table
from benchmarks.timed_loops import (
    INPUTS,
    Timing,
    first_batch,
    flops_an_image,
    make_trainer,
    ready_loops,
    time_epoch,
    time_in_turns,
    time_input,
)

if TYPE_CHECKING:
    from benchmarks.gpu import Call


@dataclass(frozen=True)
class Entry:
    """A model of the list: its settings, its batch sizes, and its input's size where that is fixed."""

    family: str
    backbone: str
    batches: tuple[int, ...] = (128,)
    size: int | None = None
    settings: tuple[str, ...] = ()


_CLIP = ("model.preprocess.mode=stretch", "model.preprocess.interpolation=bilinear", "model.captions=column")
MODELS = {
    "resnet50": Entry("cnn", "resnet50", (128, 256)),
    "vit_b16": Entry("vit", "vit_base_patch16_224", settings=("trainer.learning_rate=1e-4",)),
    "clip_b16": Entry("clip", "ViT-B-16", size=224, settings=("trainer.learning_rate=1e-5", *_CLIP)),
    "tiny": Entry("cnn", "test_resnet", (8,)),
    "clip_tiny": Entry("clip", "clip_tiny", (8,), size=64, settings=_CLIP),
}
DEFAULT = ["resnet50", "vit_b16", "clip_b16"]
SLOW = 8
"""Without workers the loader gets an epoch so many times shorter: it is about so many times slower."""
HEAD = ["model", "batch", "what", "images/s", "spread", "input alone", "TFLOP/s", "of the bf16 ceiling"]


@dataclass
class Model:
    """One model at one batch size on its way through the section; `rows` are its results so far."""

    name: str
    entry: Entry
    batch: int
    call: Call
    folder: Path
    data: list[str]
    rows: list[dict[str, Any]]
    flops: float | None = None
    slowest: float = 10.0
    made: int = 0

    def trainer(self, *, workers: int = 0, input_by: str = "loader", compiled: bool = False) -> Any:
        """Return a new trainer; without workers the epoch of a loader is shorter."""
        options = self.call.options
        self.made += 1
        settings = [
            *self.data, f"model={self.entry.family}", f"model.backbone={self.entry.backbone}", f"trainer.batch_size={self.batch}",
            f"trainer.precision={options.precision}", f"trainer.workers={workers}", f"trainer.compile={str(compiled).lower()}",
            f"device={options.device}", "evaluate=false", "trainer.epochs=1000", *self.entry.settings,
        ]  # fmt: skip
        if workers == 0 and input_by == "loader" and options.epoch >= 2 * SLOW * self.batch:
            settings.append(f"data.fraction={1 / SLOW}")
        return make_trainer(settings, self.folder / f"{self.name}-{self.batch}-{self.made}", input_by=input_by)[0]

    def add(self, what: str, timing: Timing, input_rate: float | None = None) -> None:
        work = None if self.flops is None else timing.rate * self.flops / 1e12
        self.rows.append(
            {
                "model": self.name, "batch": self.batch, "what": what, "rate": timing.rate, "spread": timing.spread,
                "input_rate": input_rate, "tflops": work, "seconds": timing.seconds,
            }
        )  # fmt: skip

    def step(self, what: str, run: Callable[[], None]) -> None:
        """Run one part if there is time for it: the longest before it is what it may take."""
        if not self.call.has(self.slowest, f"{self.name} at {self.batch}, {what}"):
            return
        start = time.monotonic()
        self.call.attempt(f"{self.name} at {self.batch}, {what}", run)
        self.slowest = max(self.slowest, time.monotonic() - start)
        gc.collect()  # a trainer and its optimizer know each other
        if self.call.device.type == "cuda":
            torch.cuda.empty_cache()


def on_ready_tensors(model: Model, *, compiled: bool = False) -> None:
    """Time the trainer and the bare loop on one and the same batch, in turns."""
    trainer, options = model.trainer(compiled=compiled), model.call.options
    batch = first_batch(trainer)
    if model.flops is None:
        model.flops = flops_an_image(trainer.task, batch)
    runs = ready_loops(trainer, batch, compiled=compiled)
    suffix = ", compiled" if compiled else ""
    timings = time_in_turns(runs, options.steps, options.rounds, model.batch, model.call.device)
    for name, timing in timings.items():
        model.add(("b: medzoo, ready batch" if name == "medzoo" else f"c: {name} loop") + suffix, timing)


def from_packed(model: Model, workers: int, input_by: str, *, compiled: bool = False) -> None:
    """Time whole training epochs over the packed images, augmented by the modality's policy, and the input alone."""
    trainer = model.trainer(workers=workers, input_by=input_by, compiled=compiled)
    time_epoch(trainer)
    images = len(trainer.train)
    timing = Timing(images, tuple(time_epoch(trainer) for _ in range(max(2, model.call.options.rounds))))
    what = f"a: medzoo, packed, input={input_by}" + (f", {workers} workers" if input_by == "loader" else "")
    model.add(what + (", compiled" if compiled else ""), timing, images / time_input(trainer))


def show(rows: list[dict[str, Any]], flops: dict[str, float], ceiling: float) -> str:
    """Return the table and the ratios a/b and b/c of each model."""
    lines = [
        [
            row["model"], str(row["batch"]), row["what"], f"{row['rate']:,.0f}", f"{row['spread']:.1%}",
            "" if row["input_rate"] is None else f"{row['input_rate']:,.0f}",
            "" if row["tflops"] is None else f"{row['tflops']:.3g}",
            "" if row["tflops"] is None else f"{row['tflops'] / ceiling:.1%}",
        ]
        for row in rows
    ]  # fmt: skip
    said = [f"bf16 ceiling: {ceiling:.4g} TFLOP/s on random data; images/s of `input alone` when nobody trains"]
    said += [f"{name}: {value / 1e9:.1f} GFLOP an image, forward and backward" for name, value in flops.items()]
    for name, batch in dict.fromkeys((row["model"], row["batch"]) for row in rows):
        for suffix in ("", ", compiled"):
            of = {
                row["what"].removesuffix(", compiled"): row["rate"]
                for row in rows
                if (row["model"], row["batch"]) == (name, batch) and row["what"].endswith(", compiled") == bool(suffix)
            }
            ready = of.get("b: medzoo, ready batch")
            if ready is None:
                continue
            parts = [f"{what} / b = {rate / ready:.2f}" for what, rate in of.items() if what.startswith("a:")]
            parts += [f"b / {what} = {ready / rate:.3f}" for what, rate in of.items() if what.startswith("c:")]
            said.append(f"{name} at {batch}{suffix}: " + "; ".join(parts))
    return table(HEAD, lines) + "\n\n" + "\n".join(f"- {line}" for line in said)


def run(call: Call, keep: Callable[[str, Any], None]) -> str:
    """Train each model each way."""
    options = call.options
    ceiling = bf16_ceiling(call.device)
    rows: list[dict[str, Any]] = []
    flops: dict[str, float] = {}
    markdown = ""
    with tempfile.TemporaryDirectory(prefix="medzoo-gpu-", ignore_cleanup_errors=True) as temporary:
        prepared: dict[int, list[str]] = {}
        for name in options.models:
            entry = MODELS[name]
            size = entry.size or options.size
            if size not in prepared:
                images, epoch = min(options.images, options.epoch), options.epoch
                prepared[size] = prepared_table(
                    Path(temporary) / f"data-{size}", images=images, rows=epoch, size=size, modality=options.modality
                )
            for batch in options.batch or entry.batches:
                model = Model(name, entry, batch, call, Path(temporary), prepared[size], rows)
                model.step("ready tensors", lambda model=model: on_ready_tensors(model))  # type: ignore[misc]
                ways = [("device", 0), *(("loader", workers) for workers in sorted(options.workers, reverse=True))]
                for input_by, workers in ways:
                    if input_by in INPUTS:
                        what = f"input={input_by}" + (f", {workers} workers" if input_by == "loader" else "")
                        model.step(what, lambda m=model, w=workers, i=input_by: from_packed(m, w, i))  # type: ignore[misc]
                if options.compile:
                    model.step("ready tensors, compiled", lambda model=model: on_ready_tensors(model, compiled=True))  # type: ignore[misc]
                    best = ("device", 0) if "device" in INPUTS else ("loader", max(options.workers))
                    model.step("packed, compiled", lambda m=model, b=best: from_packed(m, b[1], b[0], compiled=True))  # type: ignore[misc]
                if model.flops is not None:
                    flops[name] = model.flops
                markdown = show(rows, flops, ceiling)
                keep(markdown, {"rows": rows, "flops an image": flops, "ceiling": ceiling, "size": size})
                print(f"{name} at {batch}: {len(rows)} rows so far", flush=True)
    return markdown
