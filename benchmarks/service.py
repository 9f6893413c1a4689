"""`medzoo serve` under load: what one client gets, and 64; what happens beyond capacity; what 20,000 requests leave behind.

    python -m benchmarks.service [--backbone resnet50] [--model FILE] [--seconds 60] [--clients 64] [--requests 20000]

The service is a process of its own, as users start it; clients are here, over loopback, with one open connection each, and send
one PNG of `--side` pixels a request. They share the machine's cores with it, so that the ratio to the bare session, which has
them to itself, says what reading requests, decoding, batching and answering cost, and what the clients take. The bare session
runs the same pixels, decoded, at the batch size that is fastest here. One JSON object is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.serving import draw
from medzoo.export.bench.machine import OtherLoad, describe_machine
from medzoo.export.bench.subjects import smooth_images
from medzoo.export.graph.onnx_file import export_onnx
from medzoo.export.runtime.cores import available_cores
from medzoo.export.runtime.model import OnnxModel
from medzoo.tasks.setup.random import random_task

BATCHES = (1, 2, 4, 8, 16, 32)
FULL_QUEUE = 16
"""Places of the service that is driven beyond its capacity."""


@dataclass
class Seen:
    """What clients saw: how often each status, and the seconds of answers of status 200 and of others."""

    statuses: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)

    def told(self, wall: float) -> dict[str, Any]:
        found: dict[str, Any] = {"statuses": dict(self.statuses), "per_second": round(len(self.seconds) / wall, 2)}
        for name, seconds in (("ms", self.seconds), ("refused_ms", self.refused)):
            if seconds:
                p50, p99 = np.percentile(seconds, [50, 99]) * 1000
                found[name] = {"p50": round(p50, 1), "p99": round(p99, 1), "most": round(1000 * max(seconds), 1)}
        return found


def request_of(data: bytes) -> bytes:
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


async def client(port: int, requests: list[bytes], seen: Seen, more: Any) -> None:
    """Ask as long as `more()`; a connection that breaks is counted and opened again."""
    reader = writer = None
    place = 0
    while more():
        began = time.perf_counter()
        try:
            if writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(requests[place % len(requests)])
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            status = head.split(b" ")[1].decode()
        except (OSError, EOFError, IndexError) as error:
            status, writer = type(error).__name__, None
        took, place = time.perf_counter() - began, place + 1
        seen.statuses[status] += 1
        (seen.seconds if status == "200" else seen.refused).append(took)
        if status == "503":
            await asyncio.sleep(0.05)  # sooner than Retry-After: clients that do not listen
    if writer is not None:
        writer.close()


async def drive(port: int, requests: list[bytes], clients: int, *, seconds: float = 0, count: int = 0) -> tuple[Seen, float]:
    """Let clients ask for some seconds, or a number of times together."""
    seen, began = Seen(), time.perf_counter()
    left = count

    def more() -> bool:
        nonlocal left
        left -= 1
        return left >= 0 if count else time.perf_counter() - began < seconds

    shifted = [requests[place % len(requests) :] + requests[: place % len(requests)] for place in range(clients)]
    await asyncio.gather(*(client(port, own, seen, more) for own in shifted))
    return seen, time.perf_counter() - began


@contextmanager
def service(path: Path, *options: str) -> Any:
    """Run `medzoo serve`; gives its port and process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "medzoo", "serve", str(path), "--port", str(port), *options])
    try:
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            assert process.poll() is None, "the service has ended"
            time.sleep(0.1)
        yield port, process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def megabytes(process: Any) -> float:
    text = Path(f"/proc/{process.pid}/status").read_text()
    return round(int(text.split("VmRSS:")[1].split()[0]) / 1024, 1)


def bare_rates(path: Path, files: list[bytes], threads: int) -> dict[int, float]:
    model = OnnxModel(path, threads=threads)
    pixels = np.stack([model.read(file) for file in files])
    found = {}
    for batch in BATCHES:
        part = np.resize(pixels, (batch, *pixels.shape[1:]))
        model.answer(part)
        began, runs = time.perf_counter(), 0
        while time.perf_counter() - began < 3 or runs < 3:
            model.answer(part)
            runs += 1
        found[batch] = round(batch * runs / (time.perf_counter() - began), 2)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--model", type=Path, help="a file of medzoo export, in place of an untrained backbone")
    parser.add_argument("--side", type=int, default=256, help="pixels of the files")
    parser.add_argument("--seconds", type=float, default=60, help="of each load")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--requests", type=int, default=20_000, help="over which memory is watched; 0: it is not")
    parser.add_argument("--threads", type=int, default=available_cores())
    given = parser.parse_args()
    files = draw(16, given.side)
    requests, load = [request_of(file) for file in files], OtherLoad()
    told: dict[str, Any] = {"machine": describe_machine(given.threads), "clients": given.clients, "seconds": given.seconds}
    with tempfile.TemporaryDirectory() as folder:
        path = given.model or Path(folder) / "model.onnx"
        if given.model is None:
            export_onnx(random_task(given.backbone, "cnn", 224, 3, seed=0), path, list(smooth_images((256, 256, 3), 7, seed=1)))
        told["bare_per_second"] = bare = bare_rates(path, files, given.threads)
        threads = ("--threads", str(given.threads))
        with service(path, *threads) as (port, process):
            seen, wall = asyncio.run(drive(port, requests, 1, seconds=given.seconds))
            told["one_client"] = one = seen.told(wall)
            seen, wall = asyncio.run(drive(port, requests, given.clients, seconds=given.seconds))
            told["many_clients"] = many = seen.told(wall)
            told["many_over_one"] = round(many["per_second"] / one["per_second"], 2)
            told["many_over_bare"] = round(many["per_second"] / max(bare.values()), 3)
            if given.requests:
                asyncio.run(drive(port, requests, given.clients, count=given.requests // 10))
                before = megabytes(process)
                seen, wall = asyncio.run(drive(port, requests, given.clients, count=given.requests))
                told["memory"] = {**seen.told(wall), "mb_before": before, "mb_after": megabytes(process)}
        with service(path, *threads, "--queue", str(FULL_QUEUE)) as (port, _):
            seen, wall = asyncio.run(drive(port, requests, given.clients, seconds=given.seconds / 4))
            told["beyond_capacity"] = seen.told(wall)
            seen, wall = asyncio.run(drive(port, requests, 1, seconds=given.seconds / 8))
            told["after_it"] = seen.told(wall)
    told["others_share_of_the_machine"] = load.share()
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
