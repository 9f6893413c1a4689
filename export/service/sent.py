"""A request to `/predict` as it came, in the three forms it may have: options, and what is to be answered, by name."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message

from medzoo.data.images.given import INPUTS
from medzoo.data.strict_json import strict_json
from medzoo.export.service.limits import Limits, RefusedError

FORM, JSON = "multipart/form-data", "application/json"
IMAGE, IMAGES, SAMPLE = "image", "images", "sample"
"""Name of a form's parts that are images; keys of JSON: images, or a sample of several things by name."""
RAW = ("application/dicom", "application/octet-stream", "image/*")
"""Kinds of content whose body is one image, whatever they say it is: its first bytes decide."""
LONGEST_NAME, LONGEST_FIELD, MOST_FIELDS = 100, 1 << 16, 64
"""Characters of a name; bytes of a form's field that is no file, and how many there may be."""
FILE = "{name, data} with the file's bytes in base64"


@dataclass(frozen=True)
class Upload:
    """One file of a request.

    Attributes:
        name: What answers call it.
        data: Its bytes; or an array, of the open inference protocol.
    """

    name: str
    data: Any


@dataclass
class Sent:
    """What stands in a request, sorted but not checked.

    Attributes:
        options: By name; of a form and a query as text.
        worded: Options that are text, of which the value is JSON.
        given: Name → files, or a text, or what JSON holds.
    """

    options: dict[str, Any] = field(default_factory=dict)
    worded: set[str] = field(default_factory=set)
    given: dict[str, Any] = field(default_factory=dict)

    def put(self, key: str, value: Any, *, worded: bool = False) -> None:
        """Take an option; RefusedError if it is given twice."""
        if key in self.options:
            raise RefusedError(422, f"option {key} is given twice")
        self.options[key] = value
        if worded:
            self.worded.add(key)


async def read_sent(request: Request, limits: Limits, options: Collection[str]) -> Sent:
    """Read a request's body and query.

    Args:
        request: Its body was not read yet.
        limits: Of the service.
        options: Their names; in the query there is nothing else.

    Raises:
        RefusedError: One line: what is wrong with it.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if (packed := request.headers.get("content-encoding", "identity").strip().lower()) not in ("", "identity"):
        raise RefusedError(415, f"a body packed by {packed[:LONGEST_NAME]!r} (Content-Encoding) is not taken; send it as it is")
    sent = Sent()
    for key, text in request.query_params.multi_items():
        require_option(key, options)
        sent.put(key, text, worded=True)
    if kind == FORM:
        await _read_form(request, limits, sent, options)
    elif kind == JSON:
        await asyncio.to_thread(_read_json, await request.body(), sent, options)
    elif kind.startswith("image/") or kind in RAW:
        sent.given[IMAGE] = [Upload(safe_name(None, 0), await request.body())]
    else:
        raise RefusedError(415, f"content of type {kind or 'none'} is not taken; send {FORM}, {JSON} or one of {', '.join(RAW)}")
    return sent


def require_option(key: str, options: Collection[str]) -> None:
    """Raise RefusedError if a name is no option."""
    if key not in options:
        raise RefusedError(422, f"unknown option {key[:LONGEST_NAME]!r}; known: {', '.join(options)}")


async def _read_form(request: Request, limits: Limits, sent: Sent, options: Collection[str]) -> None:
    end = _End(request.headers["content-type"])

    async def watched() -> Message:
        message = await request.receive()
        end.see(message.get("body", b""))
        return message

    try:
        form = await Request(request.scope, watched).form(
            max_files=limits.images, max_fields=MOST_FIELDS, max_part_size=LONGEST_FIELD
        )
    except HTTPException as error:
        many = "too many files" in str(error.detail).lower()
        raise RefusedError(413 if many else 400, f"the form cannot be read: {error.detail}") from None
    except (ValueError, KeyError, UnicodeError) as error:
        raise RefusedError(400, f"the form cannot be read: {error}") from None
    count = 0
    try:
        if not end.seen:
            raise RefusedError(400, "the form is cut short: the boundary that ends it is missing; send it whole")
        for key, value in form.multi_items():
            if isinstance(value, UploadFile):
                files = sent.given.setdefault(key, [])
                if not isinstance(files, list):
                    raise RefusedError(422, f"part {key[:LONGEST_NAME]!r} is a text and a file")
                files.append(Upload(safe_name(value.filename, count), await value.read()))
                count += 1
            elif key in options:
                sent.put(key, value, worded=True)
            elif key in sent.given:
                raise RefusedError(422, f"part {key[:LONGEST_NAME]!r} is given twice")
            else:
                sent.given[key] = value
    finally:
        await form.close()  # large files lie on the disk


class _End:
    """Looks for what ends a form, without which parts of it may be missing: its parser gives those that came whole."""

    def __init__(self, kind: str) -> None:
        self._mark = b"--" + parse_options_header(kind)[1].get(b"boundary", b"") + b"--"
        self._tail = b""
        self.seen = False

    def see(self, piece: bytes) -> None:
        """Look at the next bytes."""
        if not self.seen:
            self.seen = self._mark in self._tail + piece
            self._tail = (self._tail + piece)[1 - len(self._mark) :]


def _read_json(body: bytes, sent: Sent, options: Collection[str]) -> None:
    asked = json_object(body)
    if SAMPLE in asked and IMAGES in asked:
        raise RefusedError(422, f"{IMAGES} and {SAMPLE} are both given; give one")
    sample = asked.pop(SAMPLE, None)
    if sample is None:
        listed = asked.pop(IMAGES, None)
        if not isinstance(listed, list):
            raise RefusedError(422, f"{IMAGES} is no list of {FILE}")
        sent.given[IMAGE] = [_file(entry, f"{IMAGES}[{place}]", place) for place, entry in enumerate(listed)]
    elif not isinstance(sample, dict):
        raise RefusedError(422, f"{SAMPLE} is no object of images, texts and {INPUTS} by name")
    else:
        count = 0
        for name, value in sample.items():
            found = _of_sample(name, value, count)
            count += len(found) if isinstance(found, list) else 0
            if found is not None:
                sent.given[name] = found
    for key, value in asked.items():
        require_option(key, options)
        sent.put(key, value)


def _of_sample(name: str, value: Any, count: int) -> Any:
    """Return files where a value of a sample is one, or a list of them, else the value."""
    where = f"{SAMPLE}.{name[:LONGEST_NAME]}"
    if name == INPUTS:
        return value
    if isinstance(value, dict):
        return [_file(value, where, count)]
    if isinstance(value, list) and (not value or any(isinstance(one, dict) for one in value)):
        if not value:
            raise RefusedError(422, f"{where} is an empty list; leave it out where it is missing")
        return [_file(one, f"{where}[{place}]", count + place) for place, one in enumerate(value)]
    return value


def _file(entry: Any, where: str, place: int) -> Upload:
    if not isinstance(entry, dict) or not {*entry} <= {"name", "data"} or not isinstance(entry.get("data"), str):
        raise RefusedError(422, f"{where} is no {FILE}")
    name = entry.get("name")
    if name is not None and not isinstance(name, str):
        raise RefusedError(422, f"{where}.name is no text")
    return Upload(safe_name(name, place), from_base64(entry["data"], f"{where}.data"))


def json_object(body: bytes, *, nan: bool = False) -> dict[str, Any]:
    """Return a body's JSON object, NaN in it only where that is asked for; RefusedError (400) if it is none."""
    try:
        found = strict_json(body, nan=nan)
    except ValueError as error:
        raise RefusedError(400, f"the body is no JSON ({str(error)[:150]})") from None
    if not isinstance(found, dict):
        raise RefusedError(422, "the body is no JSON object")
    return found


def from_base64(text: str, where: str) -> bytes:
    """Return the bytes that base64 says, strictly; RefusedError (422) with the place if it is none."""
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        remedy = f"leave out {text.partition(',')[0][:LONGEST_NAME]!r} and the comma" if text[:5].lower() == "data:" else error
        raise RefusedError(422, f"{where} is no base64 ({remedy})") from None


def safe_name(given: str | None, place: int) -> str:
    """Return what an image is called in answers: the last part of its file's name, of characters that show; else its place."""
    last = (given or "").replace("\\", "/").rpartition("/")[2]
    shown = "".join(letter for letter in last if letter.isprintable()).strip()[:LONGEST_NAME]
    return shown if shown.strip(".") else f"image {place}"
