"""`medzoo export`: a run's checkpoint as one verified ONNX file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medzoo.data.dataset import Dataset
from medzoo.data.errors import ConfigError, ExportError, MedzooError
from medzoo.data.registry import PLACES
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.export.commands.export_clip import export_clip
from medzoo.export.commands.proof import format_proof, format_reduced
from medzoo.export.files.integrity import read_metadata
from medzoo.export.graph.onnx_file import ProvenGraph, prove_graph, write_graph
from medzoo.export.precision.judges import ImageJudge
from medzoo.export.precision.reduce import Reduced, check_settings, reduce_graph, reduction_of
from medzoo.export.precision.validation import drawn, validation_of
from medzoo.export.settings import PRECISIONS, ExportConfig
from medzoo.inference.predict import run_dataset
from medzoo.store.checkpoint import find_checkpoint, weights_checksum
from medzoo.store.directory import RunDirectory
from medzoo.store.storage import write_file
from medzoo.tasks.load import load_checkpoint
from medzoo.tasks.task import Task
from medzoo.train.state import training_left

SAMPLES = 4
"""Flat 8-bit validation images saved as PNG, to try the file on."""
RESERVED = ("spec", "metrics", "config", "history")
"""Names of a run's own JSON files, which the report beside `<name>.onnx` would replace."""
MACHINE = (*PLACES, "download")
"""Dataset options that say where the data lie and not what they are."""


def main(config: ExportConfig) -> None:
    """Run the command."""
    if config.run is None:
        raise ConfigError("say which run to export: run=<run directory>")
    check_settings(config)
    run = RunDirectory.open(Path(config.run))
    folder = find_checkpoint(run.path, config.checkpoint)
    task, weights = load_checkpoint(folder), weights_checksum(folder)
    towers = task.embedder
    if towers is None:  # an image–text model's output is a folder
        if config.output is not None:
            _check_name(Path(config.output), config.precision)
        if config.prompts is not None:
            raise ConfigError(f"prompts={config.prompts} has no effect: the run is no image–text model; leave it out")
    dataset = run_dataset(run, config.data, task.spec, other_data=config.other_data)
    further = {"checkpoint": config.checkpoint, "weights": weights, "dataset_differs": _dataset_differs(task, dataset)}
    if left := training_left(run):
        further["training"] = left
        print(f"note: {left}")
    samples = SampleDataset(dataset, "val", task.spec.preprocess)
    count = min(config.images, len(samples))
    images = [samples.pixels(index) for index in range(count)]
    targets = None if samples.targets is None else samples.targets[:count]
    if towers is not None:
        export_clip(towers, dataset, run, images, targets, config, further)
        _name_older(run.path, weights)
        return
    name = "model.onnx" if config.precision == "fp32" else f"model.{config.precision}.onnx"
    path = run.path / name if config.output is None else Path(config.output)
    # int8 loses much more on the volume networks' fastest float32 form than on the next one.
    proven = prove_graph(task.deploy(), images, targets, minimal=config.precision == "fp32")
    if config.precision == "fp32":
        report, lines = write_graph(proven, path, further=further), []
    else:
        try:
            reduced = _reduced(task, proven, dataset, samples, config)
        except ExportError as error:
            if path.exists():
                raise ExportError(f"{error}; {path} of an older export still stands there") from error
            raise
        report = write_graph(proven, path, reduced.model, {**further, **reduced.report})
        lines = format_reduced(report, reduced.gates)
    write_file(path.with_suffix(".json"), json.dumps(report, indent=2, allow_nan=False).encode("utf-8"))
    (run.path / "samples").mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(images[:SAMPLES]):
        if image.dtype == np.uint8 and image.ndim == 3:
            Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(run.path / "samples" / f"val-{index}.png")
    print("\n".join([f"wrote {path} ({report['megabytes']} MB)", *lines, *format_proof(report)]))
    if (left := report.get("planes", {}).get("left")) is not None:
        print(f"note: the 3D convolutions stay as they are, which is slower: {left}")
    _name_older(run.path, weights)


def _name_older(folder: Path, weights: str) -> None:
    """Say which other files of a run are of other weights: those of an earlier export, before more training."""
    for file in sorted(folder.glob("*.onnx")):
        try:
            of = json.loads(read_metadata(file, "medzoo.report") or "{}").get("weights", weights)
        except (MedzooError, ValueError):
            continue
        if of != weights:
            print(f"note: {file.name} is of an earlier export, of other weights: export it again, or remove it")


def _check_name(path: Path, precision: str) -> None:
    """Raise ConfigError for a name that a file of its own cannot have."""
    if path.suffix != ".onnx":
        raise ConfigError(f"output={path} must end in .onnx")
    if path.stem.lower() in RESERVED:
        raise ConfigError(f"output={path}: its report {path.stem}.json would replace a run's own file; choose another name")
    if precision != "fp32" and path.name == "model.onnx":
        raise ConfigError(f"output={path} is the name of a float32 file; call it model.{precision}.onnx")
    if any(path.name.endswith(f".{other}.onnx") for other in PRECISIONS if other != precision):
        raise ConfigError(f"output={path} is the name of a file of another precision; this one is {precision}")


def _dataset_differs(task: Task, dataset: Dataset) -> dict[str, Any]:
    """Return and print what the dataset was made with differently for the model: option → both values."""
    trained, given = (json.loads(json.dumps(options, default=str)) for options in
                      (task.spec.data.get("options", {}), dataset.options))  # fmt: skip
    differs = {
        name: {"model": trained.get(name), "export": given.get(name)}
        for name in sorted({*trained, *given} - {*MACHINE})
        if trained.get(name) != given.get(name)
    }
    if differs:
        said = ", ".join(f"{name} {pair['export']} instead of {pair['model']}" for name, pair in differs.items())
        print(f"note: the dataset is not as the model was trained on: {said}")
    return differs


def _reduced(task: Task, proven: ProvenGraph, dataset: Dataset, samples: SampleDataset, config: ExportConfig) -> Reduced:
    """Return the graph at the precision asked for; raises ExportError if it is not offered or fails its gate."""
    task.prepare(samples, dataset)
    validation = validation_of(samples, task.spec.concepts, config.gate.images, config.gate.seed)
    training = SampleDataset(dataset, "train", task.spec.preprocess)
    calibration = drawn(training, config.calibration.images, config.calibration.seed)
    judge = ImageJudge(proven, validation, config.gate)
    reduction = reduction_of(config.precision, proven.model, judge.calibration(calibration), config.calibration.method)
    return reduce_graph(proven, reduction, judge, config, calibrated_on=len(calibration))
