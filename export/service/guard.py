"""In front of every request: who may ask, how much may be sent, how long it may take; and what every answer carries."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from medzoo.export.service.limits import Held, Limits, RefusedError, Room, full
from medzoo.export.service.measures import Measures

OPEN = (
    "/", "/page.css", "/page.js", "/answer.js", "/sample.js", "/healthz", "/readyz", "/openapi.json", "/v2/health/live",
    "/v2/health/ready",
)  # fmt: skip
"""Paths that need no key: they tell nothing of a patient or a model."""
DISCARD_SECONDS = 2.0
"""How long the rest of a refused request is read for."""
ROUTES = ("predict", "dicomweb", "model", "models", "metrics", "healthz", "readyz", "openapi.json", "v2")
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """ASGI middleware; see above.

    Args:
        app: What answers.
        limits: Of the service.
        memory: What bodies take of it.
        measures: Where requests are counted.
        key: What a request must carry as `Authorization: Bearer KEY`; None: nothing.
        hosts: Names by which the service may be called (`Host`), against pages of others that have their name point here;
            None: any.

    Attributes:
        open: Whether requests are taken; False while the service goes down.
        room: Requests that are read or answered.
    """

    def __init__(
        self, app: ASGIApp, limits: Limits, memory: Room, measures: Measures, key: str | None, hosts: Collection[str] | None
    ) -> None:
        self._app, self._limits, self._memory, self._measures = app, limits, memory, measures
        self._key = None if key is None else key.encode()
        self._hosts = None if hosts is None else {host.lower() for host in hosts}
        self.open = True
        self.room = Room("requests", limits.requests)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await self._app(scope, receive, send)
            return
        began, status, ended = time.perf_counter(), 0, False

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if status >= 400 and status != 408 and not ended:
                    await _discard(receive, 4 * self._limits.body)
                have = {name.lower() for name, _ in message.get("headers", [])}
                own = [(name.encode(), value.encode()) for name, value in _HEADERS.items() if name.encode() not in have]
                message = {**message, "headers": [*message.get("headers", []), *own]}
            await send(message)

        def arrived() -> None:
            nonlocal ended
            ended = True

        try:
            self._admit(scope)
            with self.room.held(1), self._memory.held(_declared(scope, self._limits)) as held:
                async with asyncio.timeout(self._limits.seconds):
                    await self._app(scope, _counted(scope, receive, self._limits, held, arrived), answer)
        except RefusedError as error:
            await _refuse(error, answer)
        except TimeoutError:
            if status:  # the answer had begun
                raise
            slow = not ended and scope["method"] == "POST"
            said = "the request came more slowly" if slow else "the answer took longer"
            await _refuse(RefusedError(408 if slow else 504, f"{said} than {self._limits.seconds:g} s"), answer)
        finally:
            route = _route(scope["path"])
            self._measures.requests.labels(route, str(status)).inc()
            self._measures.seconds.labels(route).observe(time.perf_counter() - began)
            if status >= 400:
                self._measures.refused.labels(str(status)).inc()

    def _admit(self, scope: Scope) -> None:
        headers: Mapping[bytes, bytes] = dict(scope["headers"])
        if self._hosts is not None and _host(headers.get(b"host", b"")) not in self._hosts:
            raise RefusedError(421, "this service is called by another name; add it with --allow-host NAME")
        if not self.open and scope["path"] not in OPEN:
            raise full("the service is going down")
        if self._key is not None and scope["path"] not in OPEN:
            kind, _, given = headers.get(b"authorization", b"").partition(b" ")
            if kind.lower() != b"bearer" or not hmac.compare_digest(given.strip(), self._key):
                raise RefusedError(
                    401, "the key is missing or wrong; send Authorization: Bearer KEY", {"WWW-Authenticate": "Bearer"}
                )


async def _refuse(error: RefusedError, send: Send) -> None:
    body = json.dumps({"error": str(error)}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), **error.headers}
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


async def _discard(receive: Receive, most: int) -> None:
    """Read the rest of a refused request and forget it: a client that still sends would find a broken line, and no answer."""
    with suppress(TimeoutError):
        async with asyncio.timeout(DISCARD_SECONDS):
            while most > 0:
                message = await receive()
                most -= len(message.get("body", b"")) or 1
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return


def _declared(scope: Scope, limits: Limits) -> int:
    """Return the bytes that a request says it has; 0 where it does not say. RefusedError (413) if they are too many."""
    text = dict(scope["headers"]).get(b"content-length", b"0")
    count = int(text) if text.isdigit() and len(text) < 20 else limits.body + 1
    if count > limits.body:
        raise _too_large(limits)
    return count


def _too_large(limits: Limits) -> RefusedError:
    return RefusedError(413, f"the request has more than the {limits.body:,} bytes that are taken; send fewer or smaller images")


def _counted(scope: Scope, receive: Receive, limits: Limits, held: Held, arrived: Any) -> Receive:
    """Return what gives a request's body and refuses what is too much of it, said or not."""
    said, came = _declared(scope, limits), 0

    async def counted() -> Message:
        nonlocal came
        message = await receive()
        if message["type"] == "http.request":
            came += len(message.get("body", b""))
            if came > limits.body:
                raise _too_large(limits)
            if not said:
                held.take(len(message.get("body", b"")))
            if not message.get("more_body", False):
                arrived()
        return message

    return counted


def _host(given: bytes) -> str:
    """Return a `Host` without its port."""
    text = given.decode("latin-1").lower()
    return text[: text.find("]") + 1] if text.startswith("[") else text.partition(":")[0]


def _route(path: str) -> str:
    """Return what a path is counted as; there are few, whatever is asked for."""
    first = path.split("/")[1] if path.startswith("/") else ""
    return f"/{first}" if first in ROUTES or not first else "other"
