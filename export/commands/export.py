"""`medzoo export`: a run's checkpoint as one verified ONNX file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medzoo.data.dataset import Dataset
from medzoo.data.errors import ConfigError, ExportError, MedzooError, UnknownNameError
from medzoo.data.images.planes.stack import takes_planes
from medzoo.data.operating_points import OperatingPoints
from medzoo.data.registry import PLACES
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.evaluation.calibration.fitted import Fitted
from medzoo.export.commands.answers import answering_graph, format_answers, left_of_targets
from medzoo.export.commands.export_clip import export_clip
from medzoo.export.commands.proof import format_proof, format_reduced
from medzoo.export.files.integrity import read_metadata
from medzoo.export.graph.bags import prove_bags
from medzoo.export.graph.onnx_file import ProvenGraph, prove_graph, write_graph
from medzoo.export.precision.judges import ImageJudge
from medzoo.export.precision.reduce import Reduced, check_settings, reduce_graph, reduction_of
from medzoo.export.precision.validation import drawn, validation_of
from medzoo.export.runtime.metadata import POINTS
from medzoo.export.service.repository import write_repository
from medzoo.export.settings import PRECISIONS, TARGETS, ExportConfig
from medzoo.inference.predict import run_dataset
from medzoo.store.checkpoint import find_checkpoint, weights_checksum
from medzoo.store.directory import RunDirectory, refuse_bundle
from medzoo.store.operating_points import read_points
from medzoo.store.storage import write_file
from medzoo.tasks.load import load_checkpoint
from medzoo.tasks.task import Task
from medzoo.train.state import training_left

SAMPLES = 4
"""Flat 8-bit validation images saved as PNG, to try the file on."""
RESERVED = ("spec", "metrics", "config", "history")
"""Names of a run's own JSON files, which the report beside `<name>.onnx` would replace."""
OPEN = "zeroshot_open"
"""Begins the name of the file with open classes."""
TRITON = "triton"
"""Folder of the model repository, beside the file."""
MACHINE = (*PLACES, "download")
"""Dataset options that say where the data lie and not what they are."""


def main(config: ExportConfig) -> None:
    """Run the command."""
    if config.run is None:
        raise ConfigError("say which run to export: run=<run directory>")
    check_settings(config)
    if config.target not in TARGETS:
        raise UnknownNameError("target", config.target, TARGETS)
    run = RunDirectory.open_to_write(Path(config.run))  # samples go there wherever the file goes
    if config.output is not None:
        refuse_bundle(Path(config.output))
    folder = find_checkpoint(run.path, config.checkpoint)
    task, weights = load_checkpoint(folder), weights_checksum(folder)
    towers = task.embedder
    for setting in ("calibrated", "conformal", "map"):
        if towers is not None and getattr(config, setting):
            raise ConfigError(f"{setting}=true is not for image–text models, whose classes follow from texts; leave it out")
    for setting in ("calibrated", "conformal"):
        if task.spec.targets and getattr(config, setting):
            raise ConfigError(f"{setting}=true is for models of one target, and this one has several; leave it out")
    if towers is None:  # an image–text model's output is a folder
        if config.output is not None:
            _check_name(Path(config.output), config.precision)
        if config.prompts is not None:
            raise ConfigError(f"prompts={config.prompts} has no effect: the run is no image–text model; leave it out")
    if towers is None and task.spec.labels is None and not task.spec.targets and config.precision != "fp32":
        raise ConfigError(f"precision={config.precision} is judged by a metric of labels, and this model has none: use fp32")
    if task.bag_input is not None and config.precision != "fp32":
        raise ConfigError(f"precision={config.precision} is judged on single images, and this model takes bags: use fp32")
    if config.target == TRITON and (task.bag_input is not None or task.reads_modalities):
        raise ConfigError("target=triton is for one image a request, and this model takes several; use medzoo serve")
    points = _points(run, task, weights, config)
    dataset = run_dataset(run, config.data, task.spec, other_data=config.other_data)
    further: dict[str, Any] = {
        "checkpoint": config.checkpoint,
        "weights": weights,
        "dataset_differs": _dataset_differs(task, dataset),
    }
    if left := training_left(run):
        further["training"] = left
        print(f"note: {left}")
    samples = task.samples(dataset, "val")
    count = min(config.images, len(samples))
    images = [samples.pixels(index) for index in range(count)] if task.bag_input is None else []
    beside = [samples.beside(index) for index in range(count)] if samples.several else None
    unlabelled = towers is None and task.spec.labels is None and not task.spec.targets  # pre-training
    targets = None if samples.targets is None or unlabelled else samples.targets[:count]
    if beside is not None and config.precision == "int8":
        raise ConfigError("precision=int8 is calibrated on one image a sample, and this model takes several modalities: use fp16")
    if towers is not None:
        files = export_clip(towers, dataset, run, images, targets, config, further)
        if config.target == "triton":
            _repository([file for file in files if not file.name.startswith(OPEN)])
            print(f"note: {OPEN} takes class vectors, which Triton cannot batch; medzoo serve takes it")
        _name_older(run.path, weights)
        return
    name = "model.onnx" if config.precision == "fp32" else f"model.{config.precision}.onnx"
    path = run.path / name if config.output is None else Path(config.output)
    graph, answers = answering_graph(task, run, weights, config)
    further |= answers
    # int8 loses much more on the volume networks' fastest float32 form than on the next one.
    if task.bag_input is None:
        proven = prove_graph(graph, images, targets, minimal=config.precision == "fp32", beside=beside)
    else:
        proven = prove_bags(
            graph, task.bag_input, [samples.bag(p) for p in range(count)], targets, [samples.beside(p) for p in range(count)]
        )
    if points is not None:
        proven = replace(proven, further={**proven.further, POINTS: json.dumps(points.to_dict(), ensure_ascii=False)})
        further["operating_points"] = list(points.rules)
    if config.precision == "fp32":
        report, lines = write_graph(proven, path, further=further), []
    else:
        try:
            reduced = _reduced(task, proven, dataset, samples, config, points)
        except ExportError as error:
            if path.exists():
                raise ExportError(f"{error}; {path} of an older export still stands there") from error
            raise
        report = write_graph(proven, path, reduced.model, {**further, **reduced.report})
        lines = format_reduced(report, reduced.gates)
    write_file(path.with_suffix(".json"), json.dumps(report, indent=2, allow_nan=False).encode("utf-8"))
    (run.path / "samples").mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(images[:SAMPLES]):
        if takes_planes(task.spec.data) and image.ndim == 3:
            np.save(run.path / "samples" / f"val-{index}.npy", np.moveaxis(image, -1, 0), allow_pickle=False)
        elif image.dtype == np.uint8 and image.ndim == 3 and image.shape[-1] in (1, 3):
            Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(run.path / "samples" / f"val-{index}.png")
    print("\n".join([f"wrote {path} ({report['megabytes']} MB)", *lines, *format_proof(report), *format_answers(report, run)]))
    if (note := left_of_targets(run, task.spec.targets)) is not None:
        print(note)
    if points is not None:
        print(f"operating points in the file: {', '.join(points.rules)}")
    if (left := report.get("planes", {}).get("left")) is not None:
        print(f"note: the 3D convolutions stay as they are, which is slower: {left}")
    if config.target == "triton":
        _repository([path])
    _name_older(run.path, weights)


def _repository(files: list[Path]) -> None:
    folder = files[0].parent / TRITON
    names = write_repository(files, folder)
    print(f"wrote {folder}: {', '.join(names)}; tritonserver --model-repository={folder}")


def _points(run: RunDirectory, task: Task, weights: str, config: ExportConfig) -> OperatingPoints | None:
    """Return the operating points that travel in the file; ExportError if the run's are of another model than is exported."""
    if not config.operating_points:
        return None
    if task.embedder is not None:  # whose classes follow from prompts, which the files may have others of
        if run.operating_points.exists():
            print("note: operating points do not travel in an image–text model's files")
        return None
    points = read_points(run.path, task.spec.labels)
    calibration = Fitted.read(run.calibration).calibrator.identity if config.calibrated else None
    if points is not None and (other := points.not_of(task.spec.hash, weights, calibration=calibration)):
        raise ExportError(
            f"{run.operating_points} does not fit what is exported: {other}; choose them again with medzoo evaluate "
            f"checkpoint={config.checkpoint} evaluation.operating_points=[...], or leave them out with operating_points=false "
            "(what was chosen behind a calibrator is exported with calibrated=true)"
        )
    return points


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


def _reduced(
    task: Task,
    proven: ProvenGraph,
    dataset: Dataset,
    samples: SampleDataset,
    config: ExportConfig,
    points: OperatingPoints | None,
) -> Reduced:
    """Return the graph at the precision asked for; raises ExportError if it is not offered or fails its gate."""
    task.prepare(samples, dataset)
    validation = validation_of(samples, task.spec.concepts, config.gate.images, config.gate.seed)
    training = task.samples(dataset, "train")
    calibration = drawn(training, config.calibration.images, config.calibration.seed)
    judge = ImageJudge(proven, validation, config.gate)
    reduction = reduction_of(config.precision, proven.model, judge.calibration(calibration), config.calibration.method)
    reduced = reduce_graph(proven, reduction, judge, config, calibrated_on=len(calibration))
    if points is not None:
        reduced.report["calls"] = judge.changed_calls(reduced.model, points)
    return reduced
