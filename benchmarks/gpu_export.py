"""Section `export`: ONNX Runtime on the GPU beside torch eager and torch.compile, float32 and fp16, by `medzoo bench` itself."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.gpu_ceilings import table
from medzoo.cli import main as medzoo
from medzoo.data.errors import MedzooError
from medzoo.export.bench.report import markdown_table
from medzoo.export.bench.rounds import interleave, speedups
from medzoo.export.bench.subjects import run_subjects
from medzoo.export.commands.bench import bench
from medzoo.export.runtime.providers import prove
from medzoo.export.settings import BenchConfig

if TYPE_CHECKING:
    from benchmarks.gpu import Call

EAGER = "torch eager"


def trained(backbone: str, call: Call, folder: Path) -> Path:
    """Return a run of one epoch on phantom's images: fp16 is judged by a metric, so it takes a model that has one."""
    run = folder / backbone
    family = "vit" if "vit" in backbone else "cnn"
    side = 224 if call.device.type == "cuda" else 64
    train = [
        "train", "data=phantom", f"data.size={side}", "data.channels=3", "data.patients=160", f"model={family}",
        f"model.backbone={backbone}",
        f"model.preprocess.size=[{side},{side}]", "trainer.epochs=1", "trainer.batch_size=32", f"device={call.options.device}",
        "trainer.learning_rate=1e-4", "evaluate=false", f"run={run}",
    ]  # fmt: skip
    if medzoo(train) != 0 or medzoo(["export", f"run={run}", "images=16"]) != 0:
        raise RuntimeError("the training or the float32 export failed; its line is above")
    if medzoo(["export", f"run={run}", "precision=fp16", "gate.replicates=50"]) != 0:
        call.trouble(f"{backbone}: no fp16 file; its line is above")
    return run


def half_torch(run: Path, call: Call) -> list[list[str]]:
    """Return rows of torch in fp16, which `medzoo bench` does not time: by autocast, NumPy in and out as there."""
    options, device = call.options, call.device
    subject = run_subjects(run, BenchConfig(run=str(run)))[0]
    graph = subject.graph.to(device).eval()

    def of(engine: Any, half: bool) -> Callable[[NDArray[Any]], NDArray[Any]]:
        def answer(batch: NDArray[Any]) -> NDArray[Any]:
            with (
                torch.no_grad(),
                torch.autocast(device.type, torch.float16 if device.type == "cuda" else torch.bfloat16, enabled=half),
            ):
                return np.asarray(engine(torch.from_numpy(batch).to(device))[0].float().cpu().numpy())

        return answer

    runs = {EAGER: of(graph, False), "torch eager fp16": of(graph, True)}
    if options.compile:
        runs["torch.compile fp16"] = of(torch.compile(graph, dynamic=False), True)
    rows = []
    for size in options.batches:
        batch = subject.batch(size)
        for one in runs.values():
            for _ in range(3):
                one(batch)
        seconds = interleave({name: partial(one, batch) for name, one in runs.items()}, 5, options.min_seconds)
        for name, ratio in speedups(seconds, EAGER).items():
            rows.append([run.name, str(size), name, f"{ratio:.2f}"])
    return rows


def measure(run: Path, provider: str, call: Call) -> list[dict[str, Any]]:
    """Return the reports of one run on one provider."""
    options = call.options
    config = BenchConfig(
        run=str(run), engines=["torch", *(["compile"] if options.compile and provider != "tensorrt" else []), "onnxruntime"],
        batch_sizes=options.batches, rounds=5, min_seconds=options.min_seconds, provider=provider, show_rounds=False,
    )  # fmt: skip
    found: list[dict[str, Any]] = bench(config, echo=True)["subjects"]
    return [{**report, "name": f"{report['name']}, {provider}"} for report in found]


def run(call: Call, keep: Callable[[str, Any], None]) -> str:
    """Time every provider that works here."""
    options = call.options
    providers = []
    for provider in options.providers if call.device.type == "cuda" else ["cpu"]:
        try:
            prove(provider)
            providers.append(provider)
        except MedzooError as error:
            call.trouble(f"{provider} is left out: {error}")
    reports: list[dict[str, Any]] = []
    halves: list[list[str]] = []
    markdown, slowest = "", 30.0
    with tempfile.TemporaryDirectory(prefix="medzoo-export-", ignore_cleanup_errors=True) as temporary:
        for backbone in options.backbones if providers else []:
            if not call.has(slowest, backbone):
                continue
            start = time.monotonic()
            made = call.attempt(backbone, lambda backbone=backbone: trained(backbone, call, Path(temporary)))  # type: ignore[misc]
            if made is None:
                continue
            for provider in providers:
                reports += call.attempt(f"{backbone}, {provider}", lambda m=made, p=provider: measure(m, p, call)) or []  # type: ignore[misc]
            halves += call.attempt(f"{backbone}, torch in fp16", lambda m=made: half_torch(m, call)) or []  # type: ignore[misc]
            slowest = max(slowest, time.monotonic() - start)
            markdown = (
                (markdown_table(reports) if reports else "")
                + "\n\n"
                + table(["run", "batch", "torch", "over torch eager"], halves)
            )
            keep(markdown, {"subjects": reports, "torch in fp16": halves})
    return markdown
