"""Devices, precision and trackers, all by accelerate; and what is said where a device has too little memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.tracking import get_available_trackers
from accelerate.utils import LoggerType

from medzoo.data.errors import ConfigError, MedzooError, MissingDependencyError, UnknownNameError
from medzoo.data.extras import missing
from medzoo.store.directory import RunDirectory

MIXED_PRECISIONS = ("no", "bf16", "fp16")
"""Of training, by accelerate's names; what a file computes in is another matter."""
SMALLER_BATCH = "give a smaller one, which changes no number, or device=cpu"
"""What is done about a prediction that a GPU's memory does not hold."""


def make_accelerator(
    device: str, precision: str = "no", run: RunDirectory | None = None, trackers: list[str] | None = None
) -> Accelerator:
    """Create accelerate's handle on devices and precision.

    Raises:
        ConfigError: If the device or the precision is not known or not there.
        MissingDependencyError: If a tracker is not installed.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device {device!r} is not auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device=cuda, but torch sees no GPU; use device=cpu or install a CUDA driver")
    if precision not in MIXED_PRECISIONS:
        raise ConfigError(f"trainer.precision {precision!r} is not one of {', '.join(MIXED_PRECISIONS)}")
    if precision == "fp16" and (device == "cpu" or not torch.cuda.is_available()):
        raise ConfigError("trainer.precision=fp16 needs a GPU; on a CPU use bf16 or no")
    unknown = sorted(set(trackers or []) - {t.value for t in LoggerType})
    if unknown:
        raise UnknownNameError("tracker", unknown[0], [t.value for t in LoggerType])
    available = {t.value for t in get_available_trackers()}
    for tracker in sorted(set(trackers or []) - available - {"all"}):
        raise MissingDependencyError(f"trainer.trackers=[{tracker}] needs {missing(tracker)}")
    # accelerate keeps one state a process; a sweep, or evaluation in float32 after bf16 training, needs another. The device is
    # in the part below it, which would give the first one that the process was asked for to every later device=... in silence.
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(
        cpu=device == "cpu", mixed_precision=precision, log_with=trackers or None,
        project_dir=str(run.path) if run is not None and trackers else None,
    )  # fmt: skip


@contextmanager
def enough_memory(kind: type[MedzooError], what: str, remedy: str) -> Iterator[None]:
    """Say in one line that a GPU's memory does not hold something, in place of torch's page.

    Args:
        kind: Of the error.
        what: What does not fit: the setting and its value.
        remedy: What to change.

    Raises:
        MedzooError: Of that kind, where torch finds no memory.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise kind(f"the GPU has too little memory for {what}: {remedy}") from error
