"""A run directory: where everything of one training lives. docs/run-directory.md says what each file is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from medzoo.data.errors import CheckpointError, ConfigError
from medzoo.store.spec import ModelSpec
from medzoo.store.storage import write_file

EXTERNAL = "external"
"""Folder in a run of what it was tested on beside its own data, a folder each."""
BY = "by"
"""Folder in a run of what groups of its rows say together, a folder a choice of columns."""
TARGETS = "targets"
"""Folder in a run of several targets of the results of each, a folder each."""

PROTOTYPES = "prototypes.csv"
MANIFEST = "medzoo.json"
"""In a bundle of `medzoo push`: names every file of it, so that one written later makes it unreadable."""


@dataclass(frozen=True)
class _Inside:
    """A path in a run directory, by its name there."""

    name: str

    def __get__(self, run: RunDirectory, owner: type[RunDirectory] | None = None) -> Path:
        return run.path / self.name


@dataclass(frozen=True)
class RunDirectory:
    """Paths of one run.

    Attributes:
        path: The directory.
        config: The composed configuration, YAML.
        spec: The model's spec, frozen when training started.
        checkpoints: Checkpoint folders and the pointer files `best` and `last`.
        state: Resumable training states and the pointer file `latest`.
        history: One row an epoch: rates, losses, the monitored metric.
        predictions: Targets, logits and probabilities of the evaluated splits.
        embeddings: Where the model puts each image, and of image–text models each text; of train and the evaluated splits.
        modalities: What a model of several modalities says of test without each, with each alone and with inputs shuffled.
        metrics: Every metric with its interval.
        operating_points: Thresholds chosen on val, where any were asked for.
        calibration: What maps the model's logits to calibrated ones, where one was fitted.
        conformal: Thresholds of prediction sets, where they were fitted.
        robustness: What corruption does to a metric, where that was tried.
        prototypes: Of a bottleneck of prototypes: the training image and place nearest to each, of the best checkpoint.
        plots: Learning curves, calibration and ROC curves, PNG.
        trace: Of the steps that `trainer.profile` followed.
        onnx: Where `medzoo export` writes unless told otherwise.
        zeroshot: Of results by prompts, for which nothing was trained: the settings and the model's spec.
    """

    path: Path

    config = _Inside("config.yaml")
    spec = _Inside("spec.json")
    checkpoints = _Inside("checkpoints")
    state = _Inside("state")
    history = _Inside("history.csv")
    predictions = _Inside("predictions.parquet")
    embeddings = _Inside("embeddings.parquet")
    modalities = _Inside("modalities.parquet")
    metrics = _Inside("metrics.json")
    operating_points = _Inside("operating_points.json")
    calibration = _Inside("calibration.json")
    conformal = _Inside("conformal.json")
    robustness = _Inside("robustness.json")
    prototypes = _Inside(PROTOTYPES)
    plots = _Inside("plots")
    trace = _Inside("profile.json")
    onnx = _Inside("model.onnx")
    zeroshot = _Inside("zeroshot.json")

    def grouped(self, name: str) -> RunDirectory:
        """Return where results of groups of rows lie, by the columns that they share."""
        return RunDirectory(self.path / BY / name)

    def of_target(self, name: str) -> RunDirectory:
        """Return where the results of one of several targets lie, as those of a model of it alone."""
        return RunDirectory(self.path / TARGETS / name)

    @property
    def whole(self) -> RunDirectory:
        """The run that this is one target's results of; of any other directory itself."""
        place = self.path.resolve()
        run = RunDirectory(place.parent.parent)
        return run if place.parent.name == TARGETS and run.config.is_file() and run.spec.is_file() else self

    def require_empty(self) -> None:
        """Check that nothing would be written over; ConfigError if something is there already."""
        path = self.path
        if (bundle := bundle_around(path)) is not None:
            raise ConfigError(f"run={path} lies in the bundle {bundle}, which takes no further file; give another run=...")
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise ConfigError(f"run directory {path} is not empty; give another run=..., or go on with resume={path}")

    @classmethod
    def create(cls, path: Path, config: str, spec: ModelSpec, assets: Mapping[str, bytes] | None = None) -> RunDirectory:
        """Start a run directory with its configuration, spec and the task's assets; ConfigError if something is there."""
        run = cls(path)
        run.require_empty()
        write_file(run.config, config.encode("utf-8"))
        write_file(run.spec, spec.to_json().encode("utf-8"))
        for name, content in (assets or {}).items():
            write_file(path / "assets" / name, content)
        return run

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """Open a run directory; CheckpointError if it is not one."""
        run = cls(path)
        if not run.config.is_file() or not run.spec.is_file():
            raise CheckpointError(f"{path} is not a run directory (no config.yaml and spec.json)")
        return run

    @classmethod
    def open_to_write(cls, path: Path) -> RunDirectory:
        """Open a run directory that results are written into; as `open`, and ConfigError if it is a bundle."""
        refuse_bundle(path)
        return cls.open(path)

    def settings(self) -> dict[str, Any]:
        """Return the configuration; CheckpointError if it is damaged."""
        try:
            found = yaml.safe_load(self.config.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise CheckpointError(f"{self.config} is damaged ({type(error).__name__}); take another copy of the run") from error
        if not isinstance(found, dict) or not isinstance(found.get("data"), dict):
            raise CheckpointError(f"{self.config} is damaged (it names no data); take another copy of the run")
        if isinstance(found.get("trainer"), dict):
            found["trainer"] = {"augmenter": "albumentations", **found["trainer"]}  # what ran the policies before it was named
        return found


def bundle_around(path: Path) -> Path | None:
    """Return the bundle that a path, which need not be there, is or lies in; None if it is in none."""
    place = path.expanduser().resolve()
    # The spec, too: a file that happens to be called as the manifest is makes no bundle of the folders around it.
    of_bundle = (folder for folder in (place, *place.parents) if (folder / MANIFEST).is_file())
    return next((folder for folder in of_bundle if RunDirectory(folder).spec.is_file()), None)


def refuse_bundle(path: Path) -> None:
    """Refuse to write to a path that is a bundle or lies in one; ConfigError."""
    if (bundle := bundle_around(path)) is not None:
        raise ConfigError(
            f"{bundle} is a bundle, which no longer loads once a file is written into it: copy the folder, remove {MANIFEST} "
            "from the copy, and give that"
        )


def default_run_path(dataset: str, backbone: str) -> Path:
    """Return runs/<dataset>-<backbone>-<date>-<time>."""
    name = f"{dataset}-{backbone}".replace("/", "-").replace(":", "-")
    return Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
