"""A training that is asked to stop (a batch system that takes the machine back) saves where it is, and ends in one line."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from torch import distributed

from medzoo.data.errors import TrainingError
from medzoo.losses.gathered import processes

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name))


class Asked:
    """Whether this process was asked to stop.

    Attributes:
        by: The signal; None: nobody asked.
    """

    by: signal.Signals | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Remember a SIGTERM or SIGUSR1, which batch systems send more than once; one that nobody acted on counts afterwards.

        After an error with several processes they go on being remembered: a launcher ends the others of a job at once, and the
        line that says why is to come first.
        """
        if threading.current_thread() is not threading.main_thread():  # only the main thread may say what a signal does
            yield
            return
        before = {one: signal.signal(one, self._heard) for one in SIGNALS}
        failed = True
        try:
            yield
            failed = False
        finally:
            if not failed or processes() == 1:
                for one, handler in before.items():
                    signal.signal(one, handler)
        if self.by is not None:  # training came to its end first; what follows is not for long work
            signal.raise_signal(self.by)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        self.by = signal.Signals(number)


@contextmanager
def others_alive(run: Path) -> Iterator[None]:
    """Say in one line that another process has ended, in place of the page of a broken connection.

    `run` is the run directory, for the remedy.

    Raises:
        TrainingError: If the connection to another process broke.
    """
    try:
        yield
    except RuntimeError as error:
        if processes() == 1 or not _broken(error):
            raise
        raise TrainingError(
            f"one of the {processes()} processes that train together has ended; if it was killed or its machine failed, medzoo "
            f"train resume={run} goes on from the last saved state, with as many processes as you like"
        ) from error


def _broken(error: RuntimeError) -> bool:
    said = str(error).lower()
    return isinstance(error, distributed.DistError) or any(word in said for word in ("gloo", "nccl", "connection closed"))
