"""Several processes that are one program, as torchrun starts them: what all of them would say is said once."""

from __future__ import annotations

import hashlib
import os
from datetime import timedelta


def world() -> int:
    """Return how many processes this one was started with, itself among them."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def first_to_say(line: str, by_all: bool = False) -> bool:
    """Whether no other process has said this already; True where they cannot be asked.

    `by_all` says that every process comes to this line, so that the first of them says it and nobody need be asked.
    """
    if world() == 1:
        return True
    if by_all:
        return int(os.environ.get("RANK") or 0) == 0
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    key = hashlib.sha256(line.encode("utf-8")).hexdigest()
    try:
        # torchrun's own store, which outlives every process that it starts; other launchers' ends with their first process.
        store = TCPStore(
            os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False, wait_for_workers=False,
            timeout=timedelta(seconds=5),
        )  # fmt: skip
        return store.add(f"medzoo/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/{key}", 1) == 1
    except (KeyError, ValueError, RuntimeError):
        return True


def leave() -> None:
    """Take leave of the other processes, if there are any, at the end of a program that came to it."""
    if world() > 1:
        from torch import distributed

        if distributed.is_initialized():
            distributed.destroy_process_group()
