"""Images of strangers in one batch: a bounded queue, a short wait, one thread that computes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from medzoo.export.service.limits import RefusedError, full

Run = Callable[[Sequence["Job"]], list[Any]]
"""Jobs of one key, at most a batch of them → an answer each, or the exception that it failed with; called in a thread."""


@dataclass(frozen=True, eq=False)
class Job:
    """One image that waits for its batch.

    Attributes:
        key: Jobs of one key may share a batch.
        given: What `Run` needs of it.
        answer: Set when it was run.
    """

    key: Hashable
    given: Any
    answer: asyncio.Future[Any]


class Batcher:
    """A queue in front of one thread.

    Every batch holds the job that has waited longest, and others of its key; it waits for those no longer than `wait`, and not at
    all once it is full or a job of another key is there. Jobs that nobody waits for any more are left out.

    Args:
        run: Runs a batch.
        batch: Most jobs of one.
        wait: Seconds.
        queue: Most jobs that wait.
        seen: Told the size of each batch.
    """

    def __init__(self, run: Run, *, batch: int, wait: float, queue: int, seen: Callable[[int], None] = lambda _: None) -> None:
        self._run, self._batch, self._wait, self._seen = run, batch, wait, seen
        self._arrived: asyncio.Queue[Job] = asyncio.Queue(queue)
        self._held: list[Job] = []  # taken from the queue, in its order
        self._room = queue
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="medzoo-serve")
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, in the event loop that runs."""
        self._loop = asyncio.create_task(self._serve())

    async def stop(self) -> None:
        """End; jobs that still wait are refused."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        for job in (*self._held, *(self._arrived.get_nowait() for _ in range(self._arrived.qsize()))):
            if not job.answer.done():
                job.answer.set_exception(RefusedError(503, "the service is going down; try another"))
        self._thread.shutdown(wait=True)

    def put(self, key: Hashable, given: Any) -> asyncio.Future[Any]:
        """Queue a job; returns what its answer will stand in. RefusedError (503) if the queue is full."""
        job = Job(key, given, asyncio.get_running_loop().create_future())
        if len(self._held) + self._arrived.qsize() >= self._room:
            raise full(f"{self._room} images wait")
        self._arrived.put_nowait(job)
        return job.answer

    async def in_thread(self, work: Callable[[], Any]) -> Any:
        """Do other work of the same model, between two batches."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _serve(self) -> None:
        while True:
            jobs = [job for job in await self._gather() if not job.answer.done()]
            if not jobs:
                continue
            self._seen(len(jobs))
            answers = await self.in_thread(lambda jobs=jobs: _run_all(self._run, jobs))  # type: ignore[misc]
            for job, answer in zip(jobs, answers, strict=True):
                if job.answer.done():  # timed out meanwhile
                    continue
                if isinstance(answer, Exception):
                    job.answer.set_exception(answer)
                else:
                    job.answer.set_result(answer)

    async def _gather(self) -> list[Job]:
        if not self._held:
            self._held.append(await self._arrived.get())
        until = asyncio.get_running_loop().time() + self._wait
        while True:
            while not self._arrived.empty():
                self._held.append(self._arrived.get_nowait())
            self._held = [job for job in self._held if not job.answer.done()]
            if not self._held:
                return []
            alike = [job for job in self._held if job.key == self._held[0].key]
            left = until - asyncio.get_running_loop().time()
            if len(alike) >= self._batch or len(alike) < len(self._held) or left <= 0:
                break
            try:
                async with asyncio.timeout(left):
                    self._held.append(await self._arrived.get())
            except TimeoutError:
                until = 0.0  # once more, for what came in the last moment
        chosen = alike[: self._batch]
        self._held = [job for job in self._held if job not in chosen]
        return chosen


def _run_all(run: Run, jobs: Sequence[Job]) -> list[Any]:
    """Run a batch; where it fails, each of its jobs alone, since one may be to blame."""
    try:
        return run(jobs)
    except Exception as error:  # ONNX Runtime's errors have no common base
        if len(jobs) == 1:
            return [error]
        return [answer for job in jobs for answer in _run_all(run, [job])]
