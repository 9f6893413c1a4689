"""A run directory: where everything of one training lives. docs/run-directory.md says what each file is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from medzoo.data.errors import CheckpointError, ConfigError
from medzoo.store.spec import ModelSpec
from medzoo.store.storage import write_file


@dataclass(frozen=True)
class RunDirectory:
    """Paths of one run.

    Attributes:
        path: The directory.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The composed configuration, YAML."""
        return self.path / "config.yaml"

    @property
    def spec(self) -> Path:
        """The model's spec, frozen when training started."""
        return self.path / "spec.json"

    @property
    def checkpoints(self) -> Path:
        """Checkpoint folders and the pointer files `best` and `last`."""
        return self.path / "checkpoints"

    @property
    def state(self) -> Path:
        """Resumable training states and the pointer file `latest`."""
        return self.path / "state"

    @property
    def history(self) -> Path:
        """One row an epoch: rates, losses, the monitored metric."""
        return self.path / "history.csv"

    @property
    def predictions(self) -> Path:
        """Targets, logits and probabilities of the evaluated splits."""
        return self.path / "predictions.parquet"

    @property
    def embeddings(self) -> Path:
        """Image and text embeddings of the evaluated splits, of image–text models."""
        return self.path / "embeddings.parquet"

    @property
    def metrics(self) -> Path:
        """Every metric with its interval."""
        return self.path / "metrics.json"

    @property
    def plots(self) -> Path:
        """Learning curves, calibration and ROC curves, PNG."""
        return self.path / "plots"

    @property
    def onnx(self) -> Path:
        """Where `medzoo export` writes unless told otherwise."""
        return self.path / "model.onnx"

    def require_empty(self) -> None:
        """Check that nothing would be written over.

        Raises:
            ConfigError: If something is there already.
        """
        path = self.path
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise ConfigError(f"run directory {path} is not empty; give another run=..., or go on with resume={path}")

    @classmethod
    def create(cls, path: Path, config: str, spec: ModelSpec, assets: Mapping[str, bytes] | None = None) -> RunDirectory:
        """Start a run directory with its configuration, spec and the task's assets.

        Raises:
            ConfigError: If something is there already.
        """
        run = cls(path)
        run.require_empty()
        write_file(run.config, config.encode("utf-8"))
        write_file(run.spec, spec.to_json().encode("utf-8"))
        for name, content in (assets or {}).items():
            write_file(path / "assets" / name, content)
        return run

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """Open a run directory.

        Raises:
            CheckpointError: If it is not one.
        """
        run = cls(path)
        if not run.config.is_file() or not run.spec.is_file():
            raise CheckpointError(f"{path} is not a run directory (no config.yaml and spec.json)")
        return run


def default_run_path(dataset: str, backbone: str) -> Path:
    """Return runs/<dataset>-<backbone>-<date>-<time>."""
    name = f"{dataset}-{backbone}".replace("/", "-")
    return Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
