"""Trains by several processes that share a batch, as torchrun starts them, for the price of one import of torch.

Run: python -m tests.zoo.train.ranks.forked PROCESSES WORD... [-- PROCESSES WORD...]...   (1: alone; words as for `medzoo`)
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[4]
DOUBLE, STOP = "MEDZOO_TEST_DOUBLE", "MEDZOO_TEST_STOP"
STOPPED = 75


def run_together(
    *plan: tuple[int, Sequence[str]], double: bool = False, stop: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Run medzoo commands one after the other, each in so many processes; the status is the first that is not 0.

    Trainings that several processes begin are asked to stop after step `stop`, which is no failure: the next command goes on.
    """
    parts = [part for processes, words in plan for part in ("--", str(processes), *words)][1:]
    command = [sys.executable, "-m", "tests.zoo.train.ranks.forked", *parts]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **({DOUBLE: "1"} if double else {})}
    environment |= {} if stop is None else {STOP: str(stop)}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )  # fmt: skip


def in_double() -> None:
    """Let networks learn in float64: one of batch normalisation makes too much of what float32 rounds to be compared."""
    import torch

    from medzoo.data.samples import feed
    from medzoo.tasks import fusion
    from medzoo.tasks.task import Task
    from medzoo.train import loop

    def doubled(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: doubled(part) for name, part in value.items()}
        return value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value

    single, place, prepared, sent = Task.input, loop.place_model, fusion.normalise, feed.to_device
    Task.input = lambda self, images: single(self, images).double()  # type: ignore[method-assign]
    fusion.normalise = lambda images, own: prepared(images, own).double()  # type: ignore[attr-defined]
    feed.to_device = lambda batch, device: doubled(sent(batch, device))
    loop.place_model = lambda task, device: place(task.double(), device)
    torch.Tensor.float = torch.Tensor.double  # type: ignore[assignment]


def stopping(step: int) -> None:
    """Ask each training that several processes begin to stop after a step."""
    from medzoo.train.loop import Trainer

    take = Trainer._step

    def taken(self: Trainer, *given: Any) -> float:
        if self.progress.step == step and not self.resumed and self.accelerator.num_processes > 1:
            self.asked.by = signal.SIGTERM
            given[0][2] = 1.0
        return take(self, *given)

    Trainer._step = taken  # type: ignore[method-assign]


def main(words: Sequence[str]) -> int:
    # Before the fork, so that it happens once.
    import medzoo.commands.evaluate
    import medzoo.commands.train
    from medzoo.cli import main as medzoo

    if os.environ.get(DOUBLE):
        in_double()
    if step := os.environ.get(STOP):
        stopping(int(step))
    for part in "\0".join(words).split("\0--\0"):
        processes, *command = part.split("\0")
        status = together(medzoo, int(processes), command)
        if status and not (STOP in os.environ and status == STOPPED):
            return status
    return 0


def together(medzoo: Callable[[Sequence[str]], int], processes: int, words: Sequence[str]) -> int:
    """Run one command in so many processes, which find one another by a store of this one's, as torchrun's do."""
    from torch.distributed import TCPStore

    started = []
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False) if processes > 1 else None
    for rank in range(processes):
        child = os.fork()
        if not child:
            if processes > 1:
                here = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
                assert store is not None
                where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
                os.environ.update({**{name: str(value) for name, value in here.items()}, **where})
            status = 70
            try:
                status = medzoo(words)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        started.append(child)
    failed = 0
    for _ in started:
        _, status = os.wait()
        code = os.waitstatus_to_exitcode(status)
        if code and not failed:  # as torchrun does: one that ends ends the others
            failed = code
            for child in started:
                try:
                    os.kill(child, signal.SIGTERM)
                except ProcessLookupError:
                    continue
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
