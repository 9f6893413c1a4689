"""What `medzoo bench` measures: the graphs and files of a run, or of a backbone by name with random weights."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from medzoo.data.errors import ConfigError, ExportError, MedzooError, OnnxFileError, UnknownNameError
from medzoo.export.files.integrity import check, read_metadata
from medzoo.export.graph.clip_graphs import DEFAULT_TEXTS, TextTower
from medzoo.export.graph.onnx_file import export_graph, export_text_tower, prove_graph, write_graph
from medzoo.export.precision.reduce import reduction_of
from medzoo.export.settings import PRECISIONS, BenchConfig
from medzoo.store.checkpoint import find_checkpoint, weights_checksum
from medzoo.store.directory import RunDirectory
from medzoo.tasks.load import load_checkpoint
from medzoo.tasks.setup.random import random_task
from medzoo.tasks.task import Task

PARTS = ("image", "text")
"""Towers of an image–text model."""
PROOF = 7
"""Random images that an export of random weights is proven on: the largest batch of `medzoo.export.graph.parity`."""
CALIBRATION = 16
"""Random images that int8 is calibrated on, for its speed alone."""


@dataclass(frozen=True)
class Subject:
    """One graph to be measured.

    Attributes:
        name: As shown.
        graph: The deployable form in torch.
        files: Precision → ONNX file.
        absent: Precision → one line why it has no file.
        batch: Number of inputs → one batch, images or tokens.
        sealed: Whether the files bear medzoo's checksum.
    """

    name: str
    graph: nn.Module
    files: dict[str, Path]
    absent: dict[str, str]
    batch: Callable[[int], NDArray[Any]]
    sealed: bool


def run_subjects(path: Path, config: BenchConfig) -> list[Subject]:
    """Return the graphs of a run directory with the ONNX files that `medzoo export` wrote into it.

    Raises:
        CheckpointError: If there is no run.
        UnknownNameError: If a part does not exist.
        ConfigError: If it has no ONNX file, or parts are asked for that it does not have.
        OnnxFileError: If a file is of another precision than its name says, or of another checkpoint.
    """
    run = RunDirectory.open(path)
    folder = find_checkpoint(run.path, config.checkpoint)
    task, weights = load_checkpoint(folder).eval(), weights_checksum(folder)
    if task.bag_input is not None:
        raise ConfigError(f"{path} is a model of bags, and what is timed are single images; time its backbone with backbone=...")
    found = []
    for part in _parts(task, config.parts):
        files, absent, stem = {}, {}, part or "model"
        for precision in config.precisions or PRECISIONS:
            file = run.path / (f"{stem}.onnx" if precision == "fp32" else f"{stem}.{precision}.onnx")
            if file.is_file():
                _require_made_of(file, precision, config.checkpoint, weights)
                files[precision] = file
            elif config.precisions is not None:
                absent[precision] = f"no {file.name} in the run; medzoo export run={path} precision={precision} writes it"
        graph = TextTower(task.embedder) if task.embedder is not None and part == "text" else task.deploy()
        found.append(Subject(f"{path.name} {part}".strip(), graph, files, absent, _batches(task, part, config.seed), True))
    if not any(subject.files for subject in found):
        missing = next((reason for subject in found for reason in subject.absent.values()), None)
        raise ConfigError(missing or f"there is no ONNX file in {path}; medzoo export run={path} writes it")
    return found


def _require_made_of(file: Path, precision: str, checkpoint: str, weights: str) -> None:
    """Refuse a file that is not what its name says, or whose answers are those of another checkpoint or of earlier weights."""
    check(file)
    said = json.loads(read_metadata(file, "medzoo.report") or "{}")
    if said.get("precision") != precision:
        raise OnnxFileError(f"{file} is {said.get('precision', 'not of medzoo')}, its name says {precision}; export it again")
    if said.get("checkpoint", checkpoint) != checkpoint:
        raise OnnxFileError(f"{file} was made of checkpoint={said['checkpoint']}; time it beside that, or export {checkpoint}")
    if said.get("weights", weights) != weights:
        raise OnnxFileError(
            f"{file} was made of other weights than checkpoint={checkpoint} has now: export it again, or remove it"
        )


@contextmanager
def backbone_subjects(
    backbone: str, family: str, size: Any, channels: int, precisions: list[str] | None, seed: int, parts: list[str] | None = None
) -> Iterator[list[Subject]]:
    """Export a backbone with random weights into a temporary folder that lasts as long as the context.

    Args:
        backbone: A name of `medzoo list models`, or of open_clip for family clip.
        family: Of `medzoo.tasks.setup.random.FAMILIES`.
        size: Pixels a side, [H, W] or [D, H, W]; None: the backbone's own, else 224.
        channels: 1 or 3.
        precisions: Of `PRECISIONS`; None: fp32 and int8.
        seed: Of weights and images.
        parts: Of `PARTS`, for family clip; None: both.

    Raises:
        UnknownNameError: If the family or the backbone is not known.
        ExportError: If its export fails.
    """
    task = random_task(backbone, family, size, channels, seed)
    chosen = _parts(task, parts)
    with tempfile.TemporaryDirectory(prefix="medzoo-bench-", ignore_cleanup_errors=True) as folder:
        yield [_exported(task, part, Path(folder), precisions or ["fp32", "int8"], seed) for part in chosen]


def smooth_images(shape: tuple[int, ...], count: int, seed: int) -> NDArray[np.uint8]:
    """Return (count, *shape) random uint8 images of soft blobs, (H, W, C) or (D, H, W, C).

    Noise of single pixels averages out in the first layers, and every image would give the same answer.
    """
    rng = np.random.default_rng(seed)
    *depth, height, width, channels = shape
    coarse = rng.integers(0, 256, (count, *depth, 6, 6, channels), dtype=np.uint8)
    planes = [
        np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BICUBIC))
        for plane in np.moveaxis(coarse, -1, -3).reshape(-1, 6, 6)
    ]
    return np.ascontiguousarray(np.moveaxis(np.stack(planes).reshape(count, *depth, channels, height, width), -3, -1))


def _parts(task: Task, asked: list[str] | None) -> tuple[str, ...]:
    """Return the towers to measure; one without a name for a model that has but one graph."""
    if task.embedder is None:
        if asked is not None:
            raise ConfigError(f"parts={asked} is for image–text models; leave it out")
        return ("",)
    for part in asked or ():
        if part not in PARTS:
            raise UnknownNameError("part", part, PARTS)
    return tuple(asked) if asked else PARTS


def _batches(task: Task, part: str, seed: int) -> Callable[[int], NDArray[Any]]:
    preprocess = task.spec.preprocess
    shape = (*preprocess.size, preprocess.channels)

    def batch(count: int) -> NDArray[Any]:
        if part == "text":
            assert task.embedder is not None
            texts = [f"{DEFAULT_TEXTS[i % len(DEFAULT_TEXTS)]}, number {i}" for i in range(count)]
            return np.asarray(task.embedder.tokenizer(texts))
        images = smooth_images(shape, count, seed)
        return images if preprocess.dtype == "uint8" else images.astype(np.float32) / 255

    return batch


def _exported(task: Task, part: str, folder: Path, precisions: list[str], seed: int) -> Subject:
    batch = _batches(task, part, seed)
    name = f"{task.spec.architecture} {part}".strip()
    path = folder / f"{part or 'model'}.onnx"
    if part == "text":
        assert task.embedder is not None
        graph: nn.Module = TextTower(task.embedder)
        export_text_tower(graph, path, task.embedder.tokenizer, DEFAULT_TEXTS)
    else:
        graph = task.deploy()
        export_graph(graph, path, list(batch(PROOF)))
    files, absent, plain = {}, {}, path
    if part != "text" and len(task.spec.preprocess.size) == 3 and set(precisions) - {"fp32"}:
        # What `medzoo export` reduces: without the minimal filtering that is for float32 alone.
        plain = folder / "plain.onnx"
        write_graph(prove_graph(graph, list(batch(PROOF))), plain)
    for precision in precisions:
        if precision == "fp32":
            files[precision] = path
            continue
        try:
            if precision == "int8" and part == "text":
                raise ExportError("text towers are offered at int8_dynamic, not int8")
            singly = ({"tokens" if part == "text" else "image": values[None]} for values in batch(CALIBRATION))
            target = plain.with_name(f"{plain.stem}.{precision}.onnx")
            onnx.save_model(reduction_of(precision, onnx.load(plain), singly).convert(), str(target))
            files[precision] = target
        except MedzooError as error:
            absent[precision] = str(error)
    return Subject(name, graph, files, absent, batch, False)
