"""`trainer.profile`: a trace of a few steps, and in one line what they wait for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile, record_function

from medzoo.tasks.task import Batch

WARM, TAKEN = 3, 20
"""Steps before the trace, which are slower than the others, and steps in it; it ends with the epoch at the latest."""
WAITING, STEP = "medzoo: waiting for data", "medzoo: step"

Spans = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Shares:
    """Where the time of some steps goes; of sum 1.

    Attributes:
        computing: The device works.
        data: No batch is there. On a CPU, which prepares and computes, also while it does.
        launches: The rest: Python, and operations on their way to the device.
    """

    computing: float
    data: float
    launches: float

    @property
    def verdict(self) -> str:
        """What takes the most, and what could be done about it."""
        found = {
            "computing": "computing: a smaller model or image, or a precision that is faster here, shortens it",
            "data": "waiting for data: more trainer.workers, trainer.input=device or medzoo prepare shorten it",
            "launches": "waiting for launches: a larger trainer.batch_size or trainer.compile=true shortens it",
        }
        return found[max(found, key=lambda name: getattr(self, name))]


class Profile:
    """Follows a training's steps until it has traced some.

    Args:
        path: Where the trace goes; None: nothing is followed, and nothing costs anything.
        say: Takes the line.
    """

    def __init__(self, path: Path | None, say: Callable[[str], None]) -> None:
        self.path, self.say = path, say
        self._seen, self._steps = 0, 0
        self._trace: profile | None = None

    def followed(self, batches: Iterable[Batch]) -> Iterable[Batch]:
        """Return an epoch's batches as they are."""
        return batches if self.path is None else self._marked(iter(batches))

    def _marked(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        end = object()
        while self.path is not None:
            if self._trace is None and self._seen >= WARM:
                os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it tells of its own start on standard error
                self._trace = profile(activities=_activities())
                self._trace.start()
            with record_function(WAITING):
                batch: Any = next(batches, end)
            if batch is end:
                self.close()
                return
            with record_function(STEP):
                yield batch
            self._seen += 1
            self._steps += self._trace is not None
            if self._steps == TAKEN:
                self.close()
        yield from batches

    def close(self) -> None:
        """Write the trace, if there is any, and say what it tells."""
        if self._trace is None or self.path is None or not self._steps:
            return
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self._trace.stop()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._trace.export_chrome_trace(str(self.path))
        found = shares_of(self._trace.events() or [])  # type: ignore[no-untyped-call]
        self.say(
            f"profile of {self._steps} passes: computing {found.computing:.0%}, waiting for data {found.data:.0%}, for launches "
            f"{found.launches:.0%}; most is {found.verdict}; the trace is {self.path} (ui.perfetto.dev opens it)"
        )
        self.path = self._trace = None

    def missed(self) -> None:
        """Say so where a training had too few steps."""
        if self.path is not None:
            self.say(f"note: trainer.profile traces an epoch's steps after the first {WARM}, and there were none")


def shares_of(events: Iterable[Any]) -> Shares:
    """Return where the time went, from a trace's events.

    A GPU computes while Python waits for data: what counts then is what the GPU waits for. A CPU does one thing at a time.
    """
    waiting, whole, host, device = (list[tuple[float, float]]() for _ in range(4))
    for event in events:
        span = (float(event.time_range.start), float(event.time_range.end))
        if event.device_type != DeviceType.CPU:
            if not event.is_user_annotation:  # torch repeats the host's marks there
                device.append(span)
        elif event.name in (WAITING, STEP):
            whole.append(span)
            if event.name == WAITING:
                waiting.append(span)
        elif event.name.startswith("aten::"):
            host.append(span)
    total = length(whole) or 1.0
    if device:
        computing = common(device, whole)
        data = length(waiting) - common(device, waiting)
    else:
        data = length(waiting)
        computing = common(host, whole) - common(host, waiting)
    return Shares(computing / total, data / total, 1 - (computing + data) / total)


def merged(spans: Spans) -> list[tuple[float, float]]:
    """Return spans in order, those joined that overlap."""
    found: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def length(spans: Spans) -> float:
    """Return how long spans are together, overlaps once."""
    return sum(end - start for start, end in merged(spans))


def common(one: Spans, other: Spans) -> float:
    """Return how long both are under way."""
    return length(one) + length(other) - length([*one, *other])


def _activities() -> list[ProfilerActivity]:
    return [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
