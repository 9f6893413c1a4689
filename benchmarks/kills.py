"""A training that is killed at random moments, also while it saves, and gone on with: are the bits those of one that was not?

Run: python -m benchmarks.kills [--kills 20] [--seed 0] [--output FOLDER]

Every second kill comes at a random moment of the training's processor time (a timer whose signal nobody handles), the others are
SIGKILL in the middle of a file that is being written, a random one of those that the training writes. Each is a training of its
own: killed once, gone on with, and compared with the one that nobody killed, file by file. One process imports torch and forks
the trainings, on a CPU.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

OPTIONS = [
    "data=phantom", "data.size=16", "data.patients=24", "model.backbone=test_resnet", "+model.arguments.drop_rate=0.2",
    "device=cpu",
    "trainer.epochs=3", "trainer.batch_size=8", "trainer.ema=0.99", "trainer.save_every=2", "trainer.trackers=[]",
    "evaluation.replicates=5",
]  # fmt: skip


def forked(words: Sequence[str], before: Callable[[], object] | None = None) -> int:
    """Run the medzoo command in a child; returns its process number."""
    child = os.fork()
    if child:
        return child
    status = 70
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        if before is not None:
            before()
        from medzoo.cli import main

        status = main(words)
    finally:
        os._exit(status)


def ended(child: int) -> tuple[int, float]:
    """Wait for a child; returns its status, negative for a signal, and the seconds of processor time that it took."""
    _, status, used = os.wait4(child, 0)
    return os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime


def die_while_writing(call: int) -> Callable[[], None]:
    """Return what makes this process kill itself half way through the file that it writes as number `call`."""

    def prepare() -> None:
        from medzoo.store import storage

        write, calls = storage._write_synced, 0

        def half(path: Path, content: bytes) -> None:
            nonlocal calls
            calls += 1
            if calls == call:
                path.write_bytes(content[: len(content) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            write(path, content)

        storage._write_synced = half

    return prepare


def count_files(told: Path) -> Callable[[], None]:
    """Return what makes this process keep the number of files that it has written in a file of its own."""

    def prepare() -> None:
        from medzoo.store import storage

        write, calls = storage._write_synced, 0

        def counted(path: Path, content: bytes) -> None:
            nonlocal calls
            calls += 1
            write(path, content)
            told.write_text(str(calls))

        storage._write_synced = counted

    return prepare


def fingerprint(run: Path) -> dict[str, str]:
    """Return checksums of what a training leaves that can be compared: weights, state, history, predictions, metrics."""
    names = ["history.csv", "predictions.parquet", "metrics.json"]
    for folder, pointer in (("checkpoints", "best"), ("checkpoints", "last"), ("state", "latest")):
        place = Path(folder) / (run / folder / pointer).read_text().strip()
        names += [str(path.relative_to(run)) for path in (run / place).rglob("*") if path.is_file()]
    return {name: hashlib.sha256(_told(run / name, run)).hexdigest() for name in names}


def _told(path: Path, run: Path) -> bytes:
    return path.read_bytes().replace(str(run).encode(), b"RUN")


def position(run: Path) -> str:
    """Return where the last state of a run stands."""
    pointer = run / "state" / "latest"
    if not pointer.is_file():
        return "before the first state"
    progress = json.loads((run / "state" / pointer.read_text().strip() / "state.json").read_text())["progress"]
    if progress["finished"]:
        return "training done, report open"
    return f"epoch {progress['epoch'] + 1}, batch {progress['batch']}, step {progress['step']}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=None)
    given = parser.parse_args(arguments)
    os.environ["OMP_NUM_THREADS"] = "1"

    with tempfile.TemporaryDirectory() as scratch:
        folder = given.output or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        status, seconds = ended(forked(["train", *OPTIONS, f"run={folder / 'whole'}"], count_files(folder / "files")))
        assert status == 0
        files = int((folder / "files").read_text())
        wanted = fingerprint(folder / "whole")
        print(f"uninterrupted: {seconds:.1f} s, {files} files written, {len(wanted)} files compared")
        draw, failed = random.Random(given.seed), 0
        print("| kill | when | last state | files that differ after going on |\n|---|---|---|---|")
        for number in range(1, given.kills + 1):
            run = folder / f"killed-{number}"
            words = ["train", *OPTIONS, f"run={run}"]
            if number % 2:
                moment = draw.uniform(0, seconds)
                child = forked(words, partial(signal.setitimer, signal.ITIMER_PROF, moment))
                when = f"after {moment:.2f} s"
            else:
                call = draw.randint(1, files)
                child, when = forked(words, die_while_writing(call)), f"while writing file {call}"
            if ended(child)[0] == 0:
                when += ", which was after its end"
            where = position(run)
            again = [f"resume={run}"] if (run / "state" / "latest").is_file() else [*OPTIONS, f"run={run}-anew"]
            assert ended(forked(["train", *again]))[0] == 0
            found = fingerprint(run if again[0].startswith("resume") else Path(f"{run}-anew"))
            differ = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
            failed += bool(differ)
            print(f"| {number} | {when} | {where} | {', '.join(differ) or 'none'} |", flush=True)
        print(f"{given.kills - failed} of {given.kills} end with the bits of the uninterrupted training")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
