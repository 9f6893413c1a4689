"""An archive that speaks DICOMweb: images are fetched from it (WADO-RS), and reports of them stored in it (STOW-RS).

DICOM PS3.18, sections 10.4 (retrieve) and 10.5 (store). Its address is told when the service starts.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from http.client import HTTPException, IncompleteRead
from io import BytesIO
from typing import Any, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from medzoo.data.errors import ConfigError
from medzoo.export.service.limits import Held, Limits, RefusedError, Room

DICOM = "application/dicom"
CHUNK = 1 << 16
DUPLICATE = 0x0111
"""Failure reason "Duplicate SOP Instance" (DICOM PS3.7, annex C): what was sent is there."""
CONFLICT = 409
"""Status where nothing of what was sent was stored (PS3.18, section 10.5.3): a report that was there already, too."""
_RELATED = f'multipart/related; type="{DICOM}"'
CALLS, REQUESTS = 8, 32
"""Threads that ask the archive, and requests that may have to do with it at once."""
SHARE = 0.9
"""Of a request's time that the archive may take: what it leaves is for saying what became of a report."""
Result = TypeVar("Result")


class _NoRedirects(HTTPRedirectHandler):
    """Follows no address that the archive gives: the key would go with it."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Archive:
    """One archive, asked by threads of its own: one that is slow keeps nobody from `/predict`.

    Args:
        address: Of its DICOMweb service, before `/studies`.
        limits: Of the service: bytes of an image, seconds of a call.
        key: What it is asked with, as `Authorization: Bearer KEY`; None: nothing.

    Attributes:
        room: Requests that have to do with it.

    Raises:
        ConfigError: If the address is none of HTTP.
    """

    def __init__(self, address: str, limits: Limits, key: str | None = None) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
            raise ConfigError(f"--dicomweb {address} is no address such as https://archive.example/dicom-web")
        self.address = address.rstrip("/")
        self._limits = limits
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._opener = build_opener(_NoRedirects, ProxyHandler({}))
        self._threads = ThreadPoolExecutor(CALLS, thread_name_prefix="medzoo-archive")
        self.room = Room("requests to the archive", REQUESTS)

    async def call(self, work: Callable[..., Result], *given: Any) -> Result:
        """Return what one of its functions returns, called in one of its threads."""
        return await asyncio.wrap_future(self._threads.submit(work, *given))

    def close(self) -> None:
        """Begin no further call."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def until(self) -> float:
        """Return when (`time.monotonic`) the calls of a request that begins now must have ended."""
        return time.monotonic() + SHARE * self._limits.seconds

    def fetch(self, study: str, series: str, instance: str, held: Held, until: float) -> bytes:
        """Return the file of one instance.

        Args:
            study: Its UID, checked by `uids_of`; likewise the others.
            series: Of the study.
            instance: Of the series.
            held: What the request holds of the memory; the file is taken from it as it comes.
            until: When it must be there.

        Raises:
            RefusedError: If the archive has none, does not answer in time, or answers with something else or too much.
        """
        url = f"{self.address}/studies/{study}/series/{series}/instances/{instance}"
        kind, body = self._call(Request(url, headers={**self._headers, "Accept": f"{_RELATED}; transfer-syntax=*"}), held, until)
        return body if kind.partition(";")[0].strip().lower() == DICOM else part_of(kind, body)

    def store(self, study: str, report: Any, held: Held, until: float) -> None:
        """Store a report in a study.

        Args:
            study: Its UID.
            report: A dataset of pydicom's.
            held: As of `fetch`.
            until: When it must be stored.

        Raises:
            RefusedError: If the archive does not take it; 504 if nobody knows whether it has.
        """
        file, mark = BytesIO(), uuid.uuid4().hex
        report.save_as(file, enforce_file_format=True)
        start = f"--{mark}\r\nContent-Type: {DICOM}\r\n\r\n".encode()
        body = start + file.getvalue() + f"\r\n--{mark}--\r\n".encode()
        kind = {"Content-Type": f"{_RELATED}; boundary={mark}", "Accept": "application/dicom+json"}
        request = Request(f"{self.address}/studies/{study}", body, {**self._headers, **kind}, method="POST")
        try:
            require_stored(self._call(request, held, until)[1])
        except RefusedError as error:
            if error.status != 504:
                raise
            asked = f"it may have stored report {report.SOPInstanceUID}; asked once more, the report has the same UID"
            raise RefusedError(504, f"{error}: {asked}") from None

    def _call(self, request: Request, held: Held, until: float) -> tuple[str, bytes]:
        """Return the type and the body of an answer."""
        body, left = bytearray(), until - time.monotonic()
        if left <= 0:
            raise RefusedError(503, "busy: the time of this request is over before the archive is asked; nothing was stored")
        try:
            with self._opener.open(request, timeout=left) as answer:
                while part := answer.read1(CHUNK):
                    held.take(len(part))
                    body += part
                    if len(body) > self._limits.body:
                        raise RefusedError(413, f"the archive sends more than the {self._limits.body:,} bytes that are taken")
                    if time.monotonic() > until:
                        raise TimeoutError
                if answer.length:  # said to come, and did not: a file cut short, or a failure that is not seen
                    raise IncompleteRead(b"", answer.length)
                return answer.headers.get("Content-Type", ""), bytes(body)
        except HTTPError as error:
            with error:
                if error.code == 404 and request.data is None:
                    raise RefusedError(404, "the archive has no such instance") from None
                if error.code == CONFLICT and request.data is not None and _failed(told := _rest_of(error)):
                    return "", told
            raise RefusedError(502, f"the archive answers {error.code}") from None
        except TimeoutError:
            raise self._slow() from None
        except (URLError, OSError, HTTPException) as error:
            if isinstance(getattr(error, "reason", None), TimeoutError):
                raise self._slow() from None
            said = " ".join(str(error).split())[:100]
            if request.data is not None and not isinstance(error, URLError):  # all was sent
                raise RefusedError(504, f"the archive breaks off before it has answered ({said})") from None
            raise RefusedError(502, f"the archive cannot be reached ({said})") from None

    def _slow(self) -> RefusedError:
        return RefusedError(504, f"the archive takes longer than {SHARE * self._limits.seconds:g} s")


def require_stored(body: bytes) -> None:
    """Raise RefusedError (502) if what an archive answers to the storing of one report holds a failure (0008,1198).

    DICOM PS3.18, section 10.5.3: the status alone may be that of success. What is no DICOM JSON says nothing of a failure, and
    a report that is there from an earlier request (`DUPLICATE`) is stored.
    """
    failed = _failed(body)
    if not failed:
        return
    try:
        number = int(failed[0]["00081197"]["Value"][0])
        if number == DUPLICATE:
            return
        reason = f"failure reason 0x{number:04X}"
    except (ValueError, OverflowError, LookupError, TypeError):
        reason = "without a reason"
    raise RefusedError(502, f"the archive did not store the report: it names it among those that failed, {reason}")


def _failed(body: bytes) -> Any:
    """Return what an archive says it did not store; none where it does not say so in DICOM JSON."""
    try:
        told = json.loads(body)
        return (told[0] if isinstance(told, list) else told).get("00081198", {}).get("Value", [])
    except (ValueError, RecursionError, LookupError, AttributeError, TypeError):
        return []


def _rest_of(error: HTTPError) -> bytes:
    """Return the body of a refusal, its beginning at least; nothing of one that does not come."""
    try:
        return error.read(CHUNK)
    except (OSError, HTTPException):
        return b""


def part_of(kind: str, body: bytes) -> bytes:
    """Return the one part of a multipart answer; RefusedError (502) if there is not one DICOM file in it."""
    header = Message()
    header["content-type"] = kind  # types and names of parameters are read in any case (RFC 2045, sections 5.1 and 5.2)
    mark = header.get_param("boundary")
    if not isinstance(mark, str) or not mark or header.get_content_type() != "multipart/related":
        raise RefusedError(502, f"the archive answers with {kind[:100] or 'nothing'}, not with {DICOM}")
    parts = (b"\r\n" + body).split(b"\r\n--" + mark.encode("latin-1", "replace"))[1:-1]
    if len(parts) != 1 or b"\r\n\r\n" not in parts[0]:
        raise RefusedError(502, f"the archive answers with {len(parts)} parts, and one file was asked for")
    return parts[0].partition(b"\r\n\r\n")[2]
