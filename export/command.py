"""`medzoo export`: a run's checkpoint as one verified ONNX file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from medzoo.checkpoint import find_checkpoint, load_checkpoint
from medzoo.config import ExportConfig
from medzoo.data.errors import ConfigError, ExportError
from medzoo.data.samples import SampleDataset
from medzoo.evaluation.command import run_dataset
from medzoo.export.clip_command import export_clip
from medzoo.export.onnx_file import export_onnx, format_parity
from medzoo.tasks.contrast import Contrast
from medzoo.train.run import RunDirectory
from medzoo.train.storage import write_file

PRECISIONS = ("fp32",)
SAMPLES = 4


def main(config: ExportConfig) -> None:
    """Run the command."""
    if config.run is None:
        raise ConfigError("say which run to export: run=<run directory>")
    if config.precision not in PRECISIONS:
        raise ExportError(f"precision {config.precision!r} is not offered; choose {', '.join(PRECISIONS)}")
    run = RunDirectory.open(Path(config.run))
    task = load_checkpoint(find_checkpoint(run.path, config.checkpoint))
    dataset = run_dataset(run, config.data)
    samples = SampleDataset(dataset, "val", task.spec.preprocess)
    count = min(config.images, len(samples))
    images = [samples.pixels(index) for index in range(count)]
    if isinstance(task, Contrast):
        export_clip(task, dataset, run, images, None if samples.targets is None else samples.targets[:count], config)
        return
    path = Path(config.output) if config.output is not None else run.onnx
    report = export_onnx(task, path, images, None if samples.targets is None else samples.targets[:count])
    write_file(path.with_suffix(".json"), json.dumps(report, indent=2).encode("utf-8"))
    _write_samples(run.path / "samples", images)
    print(f"wrote {path} ({report['megabytes']} MB)")
    print(format_parity(report["parity"]))
    metric = report["metric"]
    if metric is not None and metric["torch"] is not None:
        print(f"{metric['name']} on {count} validation images: torch {metric['torch']:.4f}, ONNX {metric['onnx']:.4f}")


def _write_samples(folder: Path, images: list[np.ndarray]) -> None:  # type: ignore[type-arg]
    """Save a few flat 8-bit validation images as PNG, to try the file on."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(images[:SAMPLES]):
        if image.dtype == np.uint8 and image.ndim == 3:
            Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(folder / f"val-{index}.png")
