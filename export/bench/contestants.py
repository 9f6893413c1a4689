"""The engines `medzoo bench` compares. Each takes one NumPy batch and returns when NumPy outputs are in host memory.

That is what a server pays on every device, and it makes a GPU's work count: copying the answer back waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from medzoo.data.errors import MedzooError, MissingDependencyError, ProviderError
from medzoo.export.bench.subjects import Subject
from medzoo.export.files.integrity import check
from medzoo.export.graph.calibrated import RAW
from medzoo.export.runtime.batch_session import BatchSession, cut_batch, images_per_piece
from medzoo.export.runtime.cores import available_cores
from medzoo.export.runtime.providers import SessionSettings, one_line

ENGINES = ("torch", "compile", "onnxruntime", "openvino")
REFERENCE = "torch eager"

Run = Callable[[NDArray[Any]], NDArray[Any]]
"""A batch → the first output, or the model's own logits where the file calibrates them; all outputs computed."""


@dataclass(frozen=True)
class Contestant:
    """One engine on one graph.

    Attributes:
        name: As shown.
        precision: fp32, fp16, int8 or int8_dynamic.
        build: Makes its run; raises a MedzooError that says why it cannot.
    """

    name: str
    precision: str
    build: Callable[[], Run]


def list_contestants(
    subject: Subject, engines: Sequence[str], settings: SessionSettings, *, whole: bool = False
) -> list[Contestant]:
    """Return what takes part, the reference first.

    Args:
        subject: The graph and its files; a checksum that they bear is verified.
        engines: Of `ENGINES`; torch eager takes part in any case, the ratios are to it.
        settings: Where ONNX Runtime runs; its threads are everybody's, torch uses the GPU where it does.
        whole: ONNX Runtime and OpenVINO a second time, with batches uncut.
    """
    ways = {"": settings, **({", whole": replace(settings, split_batches=False)} if whole else {})}
    device = f"cuda:{settings.device_id}" if settings.on_gpu else "cpu"
    piece = images_per_piece(subject.batch(1).shape[1:-1])
    found = [Contestant(REFERENCE, "fp32", partial(_torch, subject.graph, device))]
    if "compile" in engines:
        found.append(Contestant("torch.compile", "fp32", partial(_torch, subject.graph, device, compiled=True)))
    for precision, path in subject.files.items():
        if "onnxruntime" in engines:
            for way, chosen in ways.items():
                build = partial(_onnxruntime, path, chosen, piece, subject.sealed)
                found.append(Contestant(f"ONNX Runtime {precision}{way}", precision, build))
    for precision, path in subject.files.items():
        if "openvino" in engines and precision != "fp16":  # its CPU plugin computes fp16 files in float32
            for way, chosen in ways.items():
                found.append(Contestant(f"OpenVINO {precision}{way}", precision, partial(_openvino, path, chosen, piece)))
    return found


def _torch(graph: nn.Module, device: str, *, compiled: bool = False) -> Run:
    # A graph that was exported lies on the CPU; the exporter needs it there again, so a GPU gets it for good only once.
    graph = graph.to(device).eval()
    engine = torch.compile(graph, dynamic=False) if compiled else graph
    defaults = [value.to(device) for value in getattr(graph, "optional_inputs", {}).values()]

    # Compiled: no_grad, since an inference tensor of another contestant's would compile the graph a second time.
    guard: Callable[[], AbstractContextManager[None]] = torch.no_grad if compiled else torch.inference_mode

    def run(batch: NDArray[Any]) -> NDArray[Any]:
        # float32 means float32: torch's convolutions on a GPU would be TF32, ONNX Runtime is told not to.
        plain = torch.backends.cudnn.flags(enabled=True, benchmark=torch.backends.cudnn.benchmark, allow_tf32=False)
        with guard(), plain:
            return np.asarray(engine(torch.from_numpy(batch).to(device), *defaults)[0].cpu().numpy())

    return run


def _onnxruntime(path: Path, settings: SessionSettings, piece: int, sealed: bool) -> Run:
    if sealed:
        check(path)
    batches = BatchSession(path, settings)
    name = next(given.name for given in batches.session.get_inputs() if given.name in ("image", "tokens"))
    outputs = [given.name for given in batches.session.get_outputs()]

    def run(batch: NDArray[Any]) -> NDArray[Any]:
        return batches.run(outputs, {name: batch}, [name], piece)[outputs[_place(outputs)]]

    return run


def _place(outputs: Sequence[str]) -> int:
    """Return which output of a file torch's graph, which has no calibrator, is held against."""
    return outputs.index(RAW) if RAW in outputs else 0


def _openvino(path: Path, settings: SessionSettings, piece: int) -> Run:
    if settings.on_gpu:
        raise ProviderError(f"OpenVINO has no NVIDIA device; it takes part with provider=cpu, not {settings.provider}")
    try:
        import openvino  # type: ignore[import-not-found,unused-ignore]
    except ModuleNotFoundError:
        raise MissingDependencyError("openvino is not installed; pip install openvino") from None
    threads = settings.threads or available_cores()
    options = {
        "INFERENCE_NUM_THREADS": threads,
        # Without it, processors that have bf16 compute in it: 3 digits, and another task than the others'.
        "INFERENCE_PRECISION_HINT": "f32",
    }
    core = openvino.Core()

    def compiled(hint: str, streams: int) -> Any:
        try:
            return core.compile_model(str(path), "CPU", {**options, "PERFORMANCE_HINT": hint, "NUM_STREAMS": streams})
        except Exception as error:  # RuntimeError, and whatever the frontend raises
            raise MissingDependencyError(f"OpenVINO cannot load {path.name}: {one_line(error)}") from error

    model = compiled("LATENCY", 1)  # all threads on one batch
    request, own = model.create_infer_request(), _place([output.get_any_name() for output in model.outputs])

    @cache
    def streams() -> Any:
        return openvino.AsyncInferQueue(compiled("THROUGHPUT", threads), threads)

    def run(batch: NDArray[Any]) -> NDArray[Any]:
        # The batch is cut as medzoo's own runtime cuts it: both engines are given what serves them.
        pieces, rest = cut_batch(len(batch), threads, piece) if settings.split_batches else ([], slice(0, len(batch)))
        found: dict[int, NDArray[Any]] = {}
        if pieces:
            queue = streams()
            queue.set_callback(lambda finished, start: found.update({start: np.array(finished.get_output_tensor(own).data)}))
            for part in pieces:
                queue.start_async({0: batch[part]}, part.start)
            queue.wait_all()
        if rest.start < rest.stop:
            request.infer({0: batch[rest]})
            # A copy: the tensor is the engine's own memory, written again by the next run.
            found[rest.start] = np.array(request.get_output_tensor(own).data)
        return np.concatenate([found[start] for start in sorted(found)])

    return run


def build(contestants: list[Contestant]) -> tuple[dict[str, Run], dict[str, str]]:
    """Return name → run of those that can be built, and name → one line why not of the others; MedzooError for the reference."""
    runs, absent = {}, {}
    for contestant in contestants:
        try:
            runs[contestant.name] = contestant.build()
        except MedzooError as error:
            if contestant.name == REFERENCE:
                raise
            absent[contestant.name] = str(error)
    return runs, absent


def warm_up(runs: Mapping[str, Run], batch: NDArray[Any], times: int) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Run each contestant a few times, since the first run compiles, allocates and packs weights.

    Return name → the first output of those that run, and name → one line why not of those that do not.
    """
    outputs, failed = {}, {}
    for name, run in runs.items():
        try:
            for _ in range(times):
                outputs[name] = run(batch)
        except Exception as error:  # a missing compiler, an operator without a kernel, no memory: each engine has its own errors
            if name == REFERENCE:
                raise
            outputs.pop(name, None)
            failed[name] = f"{type(error).__name__}: {one_line(error)}"
    return outputs, failed
