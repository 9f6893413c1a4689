"""An archive that speaks DICOMweb: images are fetched from it (WADO-RS), and reports of them stored in it (STOW-RS).

DICOM PS3.18, sections 10.4 (retrieve) and 10.5 (store). The archive's address is told when the service starts; a request names
an image in it by three UIDs and nothing else, so that nobody can make the service ask another host.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from medzoo.data.errors import ConfigError, MedzooError
from medzoo.export.service.limits import Held, Limits, RefusedError, Room, refused
from medzoo.export.service.sent import Upload, json_object
from medzoo.export.service.served import Answer, Served

if TYPE_CHECKING:
    from medzoo.export.runtime.dicom_report import DicomReports

DICOM = "application/dicom"
KEYS = ("study", "series", "instance")
_TAGS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_UID = re.compile(r"[0-9]+(\.[0-9]+)*", re.ASCII)
LONGEST_UID, CHUNK = 64, 1 << 16
_RELATED = f'multipart/related; type="{DICOM}"'


class _NoRedirects(HTTPRedirectHandler):
    """Follows no address that the archive gives: the key would go with it."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Archive:
    """One archive.

    Args:
        address: Of its DICOMweb service, before `/studies`.
        limits: Of the service: bytes of an image, seconds of a call.
        key: What it is asked with, as `Authorization: Bearer KEY`; None: nothing.

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

    def fetch(self, study: str, series: str, instance: str, held: Held) -> bytes:
        """Return the file of one instance.

        Args:
            study: Its UID, checked by `uids_of`; likewise the others.
            series: Of the study.
            instance: Of the series.
            held: What the request holds of the memory; the file is taken from it as it comes.

        Raises:
            RefusedError: If the archive has none, does not answer in time, or answers with something else or too much.
        """
        url = f"{self.address}/studies/{study}/series/{series}/instances/{instance}"
        kind, body = self._call(Request(url, headers={**self._headers, "Accept": f"{_RELATED}; transfer-syntax=*"}), held)
        return body if kind.partition(";")[0].strip().lower() == DICOM else part_of(kind, body)

    def store(self, study: str, report: Any, held: Held) -> None:
        """Store a dataset in a study; RefusedError if the archive does not take it."""
        file, mark = BytesIO(), uuid.uuid4().hex
        report.save_as(file, enforce_file_format=True)
        start = f"--{mark}\r\nContent-Type: {DICOM}\r\n\r\n".encode()
        body = start + file.getvalue() + f"\r\n--{mark}--\r\n".encode()
        kind = {"Content-Type": f"{_RELATED}; boundary={mark}", "Accept": "application/dicom+json"}
        request = Request(f"{self.address}/studies/{study}", body, {**self._headers, **kind}, method="POST")
        require_stored(self._call(request, held)[1])

    def _call(self, request: Request, held: Held) -> tuple[str, bytes]:
        """Return the type and the body of an answer."""
        until, body = time.monotonic() + self._limits.seconds, bytearray()
        try:
            with self._opener.open(request, timeout=self._limits.seconds) as answer:
                while part := answer.read1(CHUNK):
                    held.take(len(part))
                    body += part
                    if len(body) > self._limits.body:
                        raise RefusedError(413, f"the archive sends more than the {self._limits.body:,} bytes that are taken")
                    if time.monotonic() > until:
                        raise TimeoutError
                return answer.headers.get("Content-Type", ""), bytes(body)
        except HTTPError as error:
            error.close()
            if error.code == 404 and request.data is None:
                raise RefusedError(404, "the archive has no such instance") from None
            raise RefusedError(502, f"the archive answers {error.code}") from None
        except TimeoutError:
            raise RefusedError(504, f"the archive takes longer than {self._limits.seconds:g} s") from None
        except (URLError, OSError, HTTPException) as error:
            if isinstance(getattr(error, "reason", None), TimeoutError):
                raise RefusedError(504, f"the archive takes longer than {self._limits.seconds:g} s") from None
            raise RefusedError(502, f"the archive cannot be reached ({' '.join(str(error).split())[:100]})") from None


@dataclass(frozen=True)
class Named:
    """A request that names an image in the archive.

    Attributes:
        uids: Of study, series and instance.
        model: Name of the model; None: the only one.
        store: Whether a report of the answer is stored in the study.
    """

    uids: tuple[str, str, str]
    model: str | None
    store: bool


def read_named(body: bytes) -> Named:
    """Return what a request's JSON names; RefusedError (400, 422) if it is not so."""
    asked = json_object(body)
    if unknown := sorted({*asked} - {*KEYS, "model", "store"}):
        raise RefusedError(422, f"unknown option {unknown[0][:100]!r}; known: {', '.join(KEYS)}, model, store")
    model, store = asked.get("model"), asked.get("store", False)
    if not isinstance(model, str | None) or not isinstance(store, bool):
        raise RefusedError(422, "model is no name, or store is neither true nor false")
    return Named(uids_of(asked), model, store)


async def answer_named(
    named: Named, served: Served, archive: Archive, reports: DicomReports | None, memory: Room
) -> tuple[Answer, str | None]:
    """Fetch an image, answer it, and store the report where that was asked for.

    Args:
        named: What the request says.
        served: The model.
        archive: Where the image is.
        reports: Of the model; None: nothing is stored.
        memory: Of the service.

    Returns:
        The answer, and the UID of the report that was stored.

    Raises:
        RefusedError: If any of it cannot be done: then nothing was stored.
    """
    if served.kind.described()["takes"] not in ("images", "volumes") or served.takes_classes:
        raise RefusedError(422, f"{served.name} takes more than one image; fetch what it takes, and ask /predict")
    if named.store and reports is None:
        raise RefusedError(422, f"reports of {served.name} are not stored; start the service with --dicomweb-store")
    with memory.held() as held:
        data = await asyncio.to_thread(archive.fetch, *named.uids, held)
        await asyncio.to_thread(_check_instance, data, named.uids)
        (answer,) = await served.answer([Upload(named.uids[2], data)])
        if reports is None or not named.store:
            return answer, None
        try:
            report = await asyncio.to_thread(reports.report, data, answer.outputs)
        except MedzooError as error:
            raise refused(error) from None
        await asyncio.to_thread(archive.store, named.uids[0], report, held)
        return answer, str(report.SOPInstanceUID)


def _check_instance(data: bytes, uids: tuple[str, str, str]) -> None:
    """Raise RefusedError (502) if a file is not the one that was asked for: it would be another patient's answer."""
    import pydicom

    try:
        found = pydicom.dcmread(BytesIO(data), specific_tags=list(_TAGS), stop_before_pixels=True)
        told = tuple(str(found.get(tag, "")) for tag in _TAGS)
    except Exception as error:  # a parser fed with hostile bytes may raise anything
        raise RefusedError(502, f"the archive answers with no DICOM file ({' '.join(str(error).split())[:100]})") from None
    if told != uids:
        raise RefusedError(502, "the archive answers with another instance than was asked for")


def uids_of(asked: Any) -> tuple[str, str, str]:
    """Return study, series and instance of a request; RefusedError (422) if one is no UID (DICOM PS3.5, section 9)."""
    for key in KEYS:
        value = asked.get(key)
        if not isinstance(value, str) or len(value) > LONGEST_UID or not _UID.fullmatch(value):
            raise RefusedError(422, f"{key} is no UID of digits and points, at most {LONGEST_UID} characters")
    study, series, instance = (asked[key] for key in KEYS)
    return study, series, instance


def require_stored(body: bytes) -> None:
    """Raise RefusedError (502) if what an archive answers to the storing of one report holds a failure (0008,1198).

    DICOM PS3.18, section 10.5.3: the status alone may be that of success. What is no DICOM JSON says nothing of a failure.
    """
    try:
        told = json.loads(body)
        failed = (told[0] if isinstance(told, list) else told).get("00081198", {}).get("Value", [])
    except (ValueError, RecursionError, LookupError, AttributeError, TypeError):
        return
    if not failed:
        return
    try:
        reason = f"failure reason 0x{int(failed[0]['00081197']['Value'][0]):04X}"
    except (ValueError, OverflowError, LookupError, TypeError):
        reason = "without a reason"
    raise RefusedError(502, f"the archive did not store the report: it names it among those that failed, {reason}")


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
