"""What a training shows: a bar on a terminal, one plain line an epoch elsewhere; history.csv and learning curves."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from omegaconf import OmegaConf
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from medzoo.data.errors import ConfigError
from medzoo.store.directory import RunDirectory
from medzoo.store.storage import write_file


class Display:
    """Shows a training on rank 0 and nothing elsewhere.

    Attributes:
        console: Where lines go; a plain stream when it is not a terminal.
    """

    def __init__(self, main: bool = True) -> None:
        self.console = Console(quiet=not main, highlight=False, soft_wrap=True)

    @contextmanager
    def epoch(self, label: str, total: int, done: int) -> Iterator[Any]:
        """Yield a function to call after each batch with the current loss."""
        if not self.console.is_terminal or self.console.quiet:
            yield lambda loss: None
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.console, transient=True) as bar:
            item = bar.add_task(label, total=total, completed=done)
            yield lambda loss: bar.update(item, advance=1, description=f"{label} loss {loss:.4f}")

    def say(self, text: str) -> None:
        """Print one line."""
        self.console.print(text, markup=False)


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
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=110, metadata={"Software": None})
    write_file(path, image.getvalue())


def start_trackers(accelerator: Accelerator, trackers: Sequence[str], yaml: str, run: RunDirectory) -> None:
    """Open the trackers of an accelerator with the run's configuration, one flat entry a setting.

    Args:
        accelerator: Made with the same trackers.
        trackers: Names of trackers.
        yaml: The run's configuration.
        run: Names the run in trackers that keep many.

    Raises:
        ConfigError: If one does not start: no login, no server, a store of another kind.
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
