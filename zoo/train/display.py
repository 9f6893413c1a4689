"""What long work shows: a bar on a terminal, plain lines elsewhere. Without torch: data are looked through by it too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Display:
    """Shows work on rank 0 and nothing elsewhere.

    Attributes:
        console: Where lines go; a plain stream when it is not a terminal.
    """

    def __init__(self, main: bool = True) -> None:
        self.console = Console(quiet=not main, highlight=False, soft_wrap=True)

    @contextmanager
    def bar(self, label: str, total: int | None, done: int = 0) -> Iterator[Callable[..., None]]:
        """Yield a function that moves the bar: `advance=` by so many, `description=` to say something else.

        `label` stands before it; `total` is how much there is, None where nobody knows yet; `done` is done already.
        """
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        shown = self.console.is_terminal and not self.console.quiet
        progress = Progress(*columns, console=self.console, transient=True, disable=not shown)
        with progress if shown else nullcontext():  # rich before 15 ends a bar that is not shown with an empty line
            yield partial(progress.update, progress.add_task(label, total=total, completed=done))

    @contextmanager
    def epoch(self, label: str, total: int, done: int) -> Iterator[Any]:
        """Yield a function to call after each batch with the current loss."""
        with self.bar(label, total, done) as move:
            yield lambda loss: move(advance=1, description=f"{label} loss {loss:.4f}")

    def say(self, text: str) -> None:
        """Print one line."""
        self.console.print(text, markup=False)
