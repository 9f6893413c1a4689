"""A service in a thread of its own, on a port that is free, as a client on the network sees it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from medzoo.export.runtime.model import OnnxModel
from medzoo.export.service.app import Service
from medzoo.export.service.limits import Limits


def service(*paths: Path, limits: Limits | None = None, **options: Any) -> Service:
    return Service({path.stem: (path, OnnxModel(path, threads=1)) for path in paths}, limits, **options)


@contextmanager
def running(served: Service) -> Iterator[str]:
    """Serve; gives the address without its slash. What still asks when this ends is answered first."""
    server = uvicorn.Server(uvicorn.Config(served.app, port=0, log_level="error", http="h11", ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the service did not start"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive(), "the service did not end"
