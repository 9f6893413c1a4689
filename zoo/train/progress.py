"""What a training tells of its progress: history.csv, learning curves, experiment trackers."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from omegaconf import OmegaConf

from medzoo.data.errors import ConfigError
from medzoo.store.directory import RunDirectory
from medzoo.store.figures import figure_png
from medzoo.store.storage import write_file


def write_history(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write one CSV row an epoch; no clock times, so that equal runs have equal files. An undefined value is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: "" if v is None else repr(v) if isinstance(v, float) else v for k, v in row.items()})
    write_file(path, text.getvalue().encode("utf-8"))


def plot_history(path: Path, rows: Sequence[dict[str, Any]], monitor: str, best_epoch: int) -> None:
    """Draw losses and the monitored metric against epochs as a PNG; the chosen epoch is marked."""
    from matplotlib.figure import Figure

    epochs = [row["epoch"] for row in rows]
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, label in (("train_loss", "training"), ("val_loss", "validation")):
        left.plot(epochs, [float("nan") if row[name] is None else row[name] for row in rows], label=label)
    left.set(xlabel="epoch", ylabel="loss")
    left.legend(frameon=False)
    key = f"val_{monitor}"
    right.plot(epochs, [float("nan") if row[key] is None else row[key] for row in rows], color="tab:green")
    right.set(xlabel="epoch", ylabel=f"validation {monitor}")
    if best_epoch:
        right.axvline(best_epoch, color="grey", linestyle=":", label=f"best: epoch {best_epoch}")
        right.legend(frameon=False)
    write_file(path, figure_png(figure))


def start_trackers(accelerator: Accelerator, trackers: Sequence[str], yaml: str, run: RunDirectory) -> None:
    """Open the trackers that an accelerator was made with, with the run's configuration, one flat entry a setting.

    Trackers that keep many runs hear its name. ConfigError if one does not start: no login, no server, a store of another kind.
    """
    settings = OmegaConf.to_container(OmegaConf.create(yaml))
    assert isinstance(settings, dict)
    flat = {key: value if isinstance(value, int | float | str | bool) else str(value) for key, value in _flat(settings)}
    # Each tracker's own words for the run's name.
    named = {"wandb": {"name": run.path.name, "dir": str(run.path)}, "mlflow": {"run_name": run.path.name}}
    # TensorBoard takes the name for a folder; the others for the project.
    project = "tensorboard" if list(trackers) == ["tensorboard"] else "medzoo"
    try:
        accelerator.init_trackers(project, config=flat, init_kwargs={k: named[k] for k in trackers if k in named})
    except Exception as error:  # each tracker has errors of its own
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ConfigError(
            f"trainer.trackers={list(trackers)} cannot start ({reason}); mend that and go on with resume={run.path}, or train "
            "without it into another run=..."
        ) from error


def _flat(settings: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
