"""What a training shows: a bar on a terminal, one plain line an epoch elsewhere; history.csv and learning curves."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from medzoo.train.storage import write_file


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
