"""`medzoo export`: a run's checkpoint as one verified ONNX file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from medzoo.checkpoint import find_checkpoint, load_checkpoint
from medzoo.data.dataset import Dataset
from medzoo.data.errors import ConfigError
from medzoo.data.samples import SampleDataset
from medzoo.evaluation.command import run_dataset
from medzoo.export.clip_command import export_clip
from medzoo.export.onnx_file import ProvenGraph, prove_graph, write_graph
from medzoo.export.precision.judges import ImageJudge
from medzoo.export.precision.reduce import Reduced, check_settings, reduce_graph, reduction_of
from medzoo.export.precision.validation import drawn, validation_of
from medzoo.export.report import format_parity, format_reduced
from medzoo.tasks.bottleneck import Bottleneck
from medzoo.tasks.bottleneck_setup import concept_truth
from medzoo.tasks.contrast import Contrast
from medzoo.tasks.task import Task
from medzoo.train.run import RunDirectory
from medzoo.train.storage import write_file
from medzoo.verb_config import ExportConfig

SAMPLES = 4


def main(config: ExportConfig) -> None:
    """Run the command."""
    if config.run is None:
        raise ConfigError("say which run to export: run=<run directory>")
    check_settings(config)
    run = RunDirectory.open(Path(config.run))
    task = load_checkpoint(find_checkpoint(run.path, config.checkpoint))
    dataset = run_dataset(run, config.data)
    samples = SampleDataset(dataset, "val", task.spec.preprocess)
    count = min(config.images, len(samples))
    images = [samples.pixels(index) for index in range(count)]
    if isinstance(task, Contrast):
        export_clip(task, dataset, run, images, None if samples.targets is None else samples.targets[:count], config)
        return
    reduced_name = "model.onnx" if config.precision == "fp32" else f"model.{config.precision}.onnx"
    path = run.path / reduced_name if config.output is None else Path(config.output)
    targets = None if samples.targets is None else samples.targets[:count]
    # int8 loses much more on the volume networks' fastest float32 form than on the next one.
    proven = prove_graph(task.deploy(), images, targets, minimal=config.precision == "fp32")
    if config.precision == "fp32":
        report, lines = write_graph(proven, path), []
    else:
        reduced = _reduced(task, proven, dataset, samples, config)
        report = write_graph(proven, path, reduced.model, reduced.report)
        lines = format_reduced(report, reduced.gates)
    write_file(path.with_suffix(".json"), json.dumps(report, indent=2).encode("utf-8"))
    _write_samples(run.path / "samples", images)
    print(f"wrote {path} ({report['megabytes']} MB)")
    print(format_parity(report["parity"]))
    metric = report["metric"]
    if metric is not None and metric["torch"] is not None:
        print(f"{metric['name']} on {count} validation images: torch {metric['torch']:.4f}, ONNX {metric['onnx']:.4f}")
    if (left := report.get("planes", {}).get("left")) is not None:
        print(f"note: the 3D convolutions stay as they are, which is slower: {left}")
    for line in lines:
        print(line)


def _reduced(task: Task, proven: ProvenGraph, dataset: Dataset, samples: SampleDataset, config: ExportConfig) -> Reduced:
    """Return the graph at the precision asked for; raises ExportError if it is not offered or fails its gate."""
    truth = concept_truth(task.spec, samples, dataset) if isinstance(task, Bottleneck) else None
    validation = validation_of(samples, task.spec.concepts, truth, config.gate.images, config.gate.seed)
    training = SampleDataset(dataset, "train", task.spec.preprocess)
    calibration = drawn(training, config.calibration.images, config.calibration.seed)
    judge = ImageJudge(proven, validation, config.gate)
    reduction = reduction_of(config.precision, proven, judge, calibration, config.calibration)
    return reduce_graph(proven, reduction, judge, sensitivity=config.sensitivity)


def _write_samples(folder: Path, images: list[np.ndarray]) -> None:  # type: ignore[type-arg]
    """Save a few flat 8-bit validation images as PNG, to try the file on."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(images[:SAMPLES]):
        if image.dtype == np.uint8 and image.ndim == 3:
            Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(folder / f"val-{index}.png")
