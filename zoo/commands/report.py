"""`medzoo report`: one HTML page of an evaluated run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medzoo.data.dataset import Dataset
from medzoo.data.errors import ConfigError, MedzooError
from medzoo.data.images.laid import blended
from medzoo.evaluation.predictions import Predictions
from medzoo.inference.maps.of_run import MappedRun
from medzoo.inference.predict import run_dataset
from medzoo.report.cases import Look
from medzoo.report.document import report_page
from medzoo.settings.verbs import ReportConfig
from medzoo.store.checkpoint import find_checkpoint
from medzoo.store.directory import RunDirectory, refuse_bundle
from medzoo.store.spec import ModelSpec
from medzoo.store.storage import write_file
from medzoo.tasks.load import load_checkpoint


def main(config: ReportConfig) -> None:
    """Run the command.

    Raises:
        ConfigError: If no run is named, or a setting is out of range.
        EvaluationError: If the run is not evaluated.
    """
    if config.run is None:
        raise ConfigError("say which run to report: run=<run directory>")
    if config.cases < 0:
        raise ConfigError(f"cases={config.cases} must be at least 0 (0: none)")
    run = RunDirectory(Path(config.run))
    if run.whole is run:
        run = RunDirectory.open(run.path)
    output = Path(config.output) if config.output is not None else run.path / "report.html"
    refuse_bundle(output)
    dataset = _dataset(run, config)
    command = ["medzoo", "report", f"run={run.path.name}", f"split={config.split}", f"cases={config.cases}"]
    look = None if dataset is None or not config.overlays else _look(run, dataset)
    command += ["overlays=true"] * config.overlays
    page = report_page(run, split=config.split, each=config.cases, dataset=dataset, command=command, look=look)
    write_file(output, page.encode("utf-8"))
    print(f"wrote {output} ({len(page.encode('utf-8')) / 1e6:.1f} MB)")


def _look(run: RunDirectory, dataset: Dataset) -> Look:
    """Return what lays the maps of the model that the predictions are of over its images."""
    checkpoint = Predictions.read(run.predictions).details.get("checkpoint", "best")
    task = load_checkpoint(find_checkpoint(run.whole.path, str(checkpoint)))
    mapped = MappedRun.of_task(run, task, dataset, "auto", "labels")

    def of(name: str) -> NDArray[np.uint8] | None:
        samples, index = mapped.sample(name)
        pixels = samples.pixels(index)
        try:
            found = mapped.explainer.map(pixels, mapped.strongest(mapped.explainer.outputs(pixels)))
        except ConfigError as error:
            print(f"note: no map of {name}: {error}")
            return None
        return blended(pixels, found.image)

    return Look(of, f"a map by {mapped.explainer.method} ({mapped.explainer.why})")


def _dataset(run: RunDirectory, config: ReportConfig) -> Dataset | None:
    """Return the run's dataset, for its images; None where it is not at hand, unless the user said where it is."""
    if not config.cases:
        return None
    try:
        dataset = run_dataset(run.whole, config.data, ModelSpec.read(run.whole.spec))
        return dataset if run.whole is run else dataset.of_target(run.path.resolve().name)
    except (MedzooError, OSError) as error:
        if config.data:
            raise
        print(f"note: without images: {error}")
        return None
