"""The batcher by itself: what shares a batch, what is refused, who is not waited for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from medzoo.export.service.batcher import Batcher, Job
from medzoo.export.service.limits import RefusedError


class Held:
    """A run that notes its batches and waits to be let go on."""

    def __init__(self, *, held: bool = False) -> None:
        self.batches: list[list[Any]] = []
        self.go, self.began = threading.Event(), threading.Event()
        if not held:
            self.go.set()

    def __call__(self, jobs: Sequence[Job]) -> list[Any]:
        self.batches.append([job.given for job in jobs])
        self.began.set()
        assert self.go.wait(20)
        if "bad" in self.batches[-1]:
            raise ValueError("bad is among them")
        return [f"{job.given}!" for job in jobs]


def driven(work: Callable[[Batcher], Awaitable[None]], run: Held, **options: Any) -> None:
    async def drive() -> None:
        batcher = Batcher(run, **{"batch": 3, "wait": 0.02, "queue": 10, **options})
        batcher.start()
        try:
            await work(batcher)
        finally:
            run.go.set()
            await batcher.stop()

    asyncio.run(drive())


async def begun(run: Held) -> None:
    await asyncio.to_thread(run.began.wait, 20)
    run.began.clear()


def test_no_batch_has_more_than_its_most_and_the_order_is_kept() -> None:
    run = Held(held=True)

    async def work(batcher: Batcher) -> None:
        first = batcher.put("a", 0)
        await begun(run)
        rest = [batcher.put("a", place) for place in range(1, 8)]
        run.go.set()
        assert await asyncio.gather(first, *rest) == [f"{place}!" for place in range(8)]

    driven(work, run)
    assert run.batches == [[0], [1, 2, 3], [4, 5, 6], [7]]


def test_those_of_another_key_run_apart_and_the_oldest_first() -> None:
    run = Held(held=True)

    async def work(batcher: Batcher) -> None:
        first = batcher.put("a", "first")
        await begun(run)
        rest = [batcher.put(key, f"{key}{place}") for place, key in enumerate("babab")]
        run.go.set()
        await asyncio.gather(first, *rest)

    driven(work, run)
    assert run.batches == [["first"], ["b0", "b2", "b4"], ["a1", "a3"]]


def test_a_full_queue_refuses_at_once_and_takes_again_when_there_is_room() -> None:
    run = Held(held=True)

    async def work(batcher: Batcher) -> None:
        jobs = [batcher.put("a", 0)]
        await begun(run)
        jobs += [batcher.put("a", place) for place in (1, 2)]
        with pytest.raises(RefusedError) as caught:
            batcher.put("a", 3)
        assert (caught.value.status, caught.value.headers) == (503, {"Retry-After": "1"})
        run.go.set()
        await asyncio.gather(*jobs)
        assert await batcher.put("a", 4) == "4!"

    driven(work, run, queue=2)


def test_whoever_has_gone_is_not_worked_for() -> None:
    run = Held(held=True)

    async def work(batcher: Batcher) -> None:
        first = batcher.put("a", 0)
        await begun(run)
        gone, stays = batcher.put("a", "gone"), batcher.put("a", "stays")
        gone.cancel()
        run.go.set()
        assert [await first, await stays] == ["0!", "stays!"]

    driven(work, run)
    assert run.batches == [[0], ["stays"]]


def test_one_that_fails_takes_no_other_with_it() -> None:
    run = Held(held=True)

    async def work(batcher: Batcher) -> None:
        first = batcher.put("a", 0)
        await begun(run)
        bad, good = batcher.put("a", "bad"), batcher.put("a", "good")
        run.go.set()
        with pytest.raises(ValueError, match="bad is among them"):
            await bad
        assert [await first, await good] == ["0!", "good!"]

    driven(work, run)
    assert run.batches == [[0], ["bad", "good"], ["bad"], ["good"]]


def test_what_waits_when_it_ends_is_refused_and_not_left() -> None:
    run = Held(held=True)
    left: list[asyncio.Future[Any]] = []

    async def drive() -> None:
        batcher = Batcher(run, batch=3, wait=0.02, queue=10)
        batcher.start()
        batcher.put("a", 0).add_done_callback(lambda done: done.exception() if not done.cancelled() else None)
        await begun(run)
        left.append(batcher.put("a", 1))
        run.go.set()
        await batcher.stop()
        with pytest.raises(RefusedError, match="going down"):
            await left[0]

    asyncio.run(drive())
