"""Under load and at the edges: full is said at once, late is cut off, the end waits for the last answer, a key is a key."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from medzoo.export.service.app import Service
from medzoo.export.service.batcher import Job
from medzoo.export.service.limits import Limits
from tests.export.service.models import bottleneck
from tests.export.service.served import running, service
from tests.export.service.test_predict import png


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bottleneck(tmp_path_factory.mktemp("guard") / "levels.onnx")


@contextlib.contextmanager
def slowed(served: Service) -> Iterator[threading.Event]:
    """Let no batch be answered before the event is set."""
    batcher, go = served.models["levels"].batcher, threading.Event()
    run = batcher._run

    def wait(jobs: Sequence[Job]) -> list[Any]:
        assert go.wait(30)
        return run(jobs)

    batcher._run = wait
    try:
        yield go
    finally:
        go.set()


def ask(address: str, level: int = 1, count: int = 1) -> httpx.Response:
    return httpx.post(f"{address}/predict", files=[("image", png(level))] * count, timeout=60)


def waiting(address: str) -> float:
    text = httpx.get(f"{address}/metrics").text
    return float(next(line for line in text.splitlines() if line.startswith("medzoo_waiting_images")).split()[-1])


def until(true: Any) -> None:
    for _ in range(3000):
        if true():
            return
        time.sleep(0.01)
    pytest.fail("it never came")


def test_beyond_what_it_holds_it_says_so_at_once_and_recovers(file: Path) -> None:
    served = service(file, limits=Limits(queue=4, images=2, batch=2))
    with running(served) as address, ThreadPoolExecutor(4) as pool:
        with slowed(served) as go:
            held = [pool.submit(ask, address, level) for level in range(4)]
            until(lambda: waiting(address) == 4)
            refused = ask(address)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert refused.json()["error"] == "busy: 4 of 4 places for images of levels are taken; try again"
            assert httpx.get(f"{address}/healthz").status_code == 200
            go.set()
            assert [one.result().status_code for one in held] == [200] * 4
        assert ask(address, count=2).status_code == 200
        assert waiting(address) == 0
        assert 'medzoo_refused_total{status="503"} 1.0' in httpx.get(f"{address}/metrics").text


def test_an_answer_that_takes_too_long_is_cut_off_and_leaves_nothing_behind(file: Path) -> None:
    served = service(file, limits=Limits(seconds=0.3))
    with running(served) as address:
        with slowed(served):
            found = ask(address)
            assert (found.status_code, "longer than 0.3 s" in found.json()["error"]) == (504, True)
        until(lambda: waiting(address) == 0)
        assert ask(address).status_code == 200


def test_a_body_that_does_not_come_is_given_up(file: Path) -> None:
    with running(service(file, limits=Limits(seconds=0.3))) as address:
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as plug:
            plug.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: 500\r\n\r\nxx")
            answer = plug.recv(4096)
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert b"more slowly than 0.3 s" in answer + plug.recv(4096)


def test_bodies_have_one_memory_together(file: Path) -> None:
    served = service(file, limits=Limits(body=4000, memory=5000))
    with running(served) as address, ThreadPoolExecutor(1) as pool, slowed(served) as go:
        body = png(1) + bytes(3000)
        first = pool.submit(httpx.post, f"{address}/predict", content=body, headers={"content-type": "image/png"}, timeout=60)
        until(lambda: waiting(address) == 1)
        second = httpx.post(f"{address}/predict", content=body, headers={"content-type": "image/png"})
        assert (second.status_code, "bytes of memory" in second.json()["error"]) == (503, True)
        go.set()
        assert first.result().status_code == 200


def test_without_the_key_nothing_but_the_page_and_health(file: Path) -> None:
    with running(service(file, key="correct-horse-battery")) as address:
        for path in ("/models", "/model", "/metrics", "/v2", "/v2/models/levels", "/nothing"):
            for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "correct-horse-battery"}):
                found = httpx.get(f"{address}{path}", headers=headers)
                assert (found.status_code, found.headers["www-authenticate"]) == (401, "Bearer")
        assert ask(address).status_code == 401
        for path in ("/", "/page.js", "/page.css", "/healthz", "/readyz", "/openapi.json", "/v2/health/live"):
            assert httpx.get(f"{address}{path}").status_code == 200
        right = {"authorization": "Bearer correct-horse-battery"}
        assert httpx.get(f"{address}/models", headers=right).status_code == 200
        assert httpx.get(f"{address}/openapi.json").json()["security"] == [{"key": []}]


def test_counts_stay_few_whatever_is_asked_for(file: Path) -> None:
    with running(service(file)) as address:
        for path in ("/a", "/b/c", "/v2/models/x", "/predict"):
            httpx.get(f"{address}{path}")
        text = httpx.get(f"{address}/metrics").text
        assert 'medzoo_requests_total{route="other",status="404"} 2.0' in text
        assert 'medzoo_requests_total{route="/predict",status="405"} 1.0' in text


def test_every_answer_forbids_what_the_page_does_not_need(file: Path) -> None:
    with running(service(file)) as address:
        for path in ("/", "/model", "/nothing"):
            found = httpx.get(f"{address}{path}")
            assert found.headers["content-security-policy"].startswith("default-src 'none'")
            assert "unsafe" not in found.headers["content-security-policy"]
            assert found.headers["x-content-type-options"] == "nosniff"


SHORT = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}


def test_the_command_serves_without_torch_and_ends_when_it_is_told(file: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "torch"
    blocked.mkdir()
    (blocked / "__init__.py").write_text("raise ImportError('torch is not here')")
    environment = {**SHORT, "PYTHONPATH": f"{tmp_path}{os.pathsep}{SHORT['PYTHONPATH']}"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "medzoo", "serve", str(file), "--port", str(port), "--threads", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(f"levels: {file} sha256:")
        assert process.stdout.readline().startswith(f"open http://127.0.0.1:{port}/ ")
        until(lambda: _alive(port))
        assert ask(f"http://127.0.0.1:{port}").status_code == 200
        busy = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert busy.returncode == 2
        assert f"medzoo: cannot listen on 127.0.0.1:{port}" in busy.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.communicate()


def _alive(port: int) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    return False


def test_the_end_waits_for_the_last_answer(file: Path) -> None:
    served = service(file)
    with ThreadPoolExecutor(1) as pool, slowed(served) as go:
        with running(served) as address:
            last = pool.submit(ask, address)
            until(lambda: waiting(address) == 1)
            threading.Timer(0.3, go.set).start()
        assert last.result().status_code == 200
        assert last.result().json()["results"][0]["class"]
