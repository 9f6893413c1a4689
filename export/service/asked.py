"""What a request to `/predict` asks for, in the three forms it may have; everything unknown in it is refused by name."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from medzoo.data.text.prompts import DEFAULT_TEMPLATES
from medzoo.export.service.limits import Limits, RefusedError, too_many

FORM, JSON = "multipart/form-data", "application/json"
IMAGE = "image"
"""Name of a form's parts that are images."""
RAW = ("application/dicom", "application/octet-stream", "image/*")
"""Kinds of content whose body is one image, whatever they say it is: its first bytes decide."""
LONGEST_NAME, MOST_CLASSES, LONGEST_TEXT, MOST_PROMPTS = 100, 100, 200, 512


@dataclass(frozen=True)
class Asked:
    """A request, checked for its form but not against a model.

    Attributes:
        images: Name and encoded bytes.
        model: Name of the model; None: the only one.
        concepts: Concept → the value it is corrected to, in all images.
        classes: Names, for a file with open classes.
        templates: Texts with one {} for the class's name.
        map: Whether the answer shall have the map.
        preview: Whether it shall have a small picture of what the model got.
    """

    images: tuple[tuple[str, bytes], ...]
    model: str | None = None
    concepts: Mapping[str, float] | None = None
    classes: tuple[str, ...] | None = None
    templates: tuple[str, ...] = field(default=tuple(DEFAULT_TEMPLATES))
    map: bool = False
    preview: bool = False


OPTIONS = tuple(part.name for part in fields(Asked) if part.name != "images")


async def read_asked(request: Request, limits: Limits) -> Asked:
    """Read a request's body and options.

    Args:
        request: Its body was not read yet.
        limits: Of the service.

    Raises:
        RefusedError: One line: what is wrong with it.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    given: dict[str, Any] = {}
    for key, text in request.query_params.multi_items():
        _put(given, key, _worded(key, text))
    images: list[tuple[str, bytes]] = []
    if kind == FORM:
        await _read_form(request, limits, given, images)
    elif kind == JSON:
        _read_json(await request.body(), given, images)
    elif kind.startswith("image/") or kind in RAW:
        images.append((safe_name(None, 0), await request.body()))
    else:
        raise RefusedError(415, f"content of type {kind or 'none'} is not taken; send {FORM}, {JSON} or one of {', '.join(RAW)}")
    if not images:
        raise RefusedError(422, "no image is in the request; send files as parts of a form, or images in JSON")
    if len(images) > limits.images:
        raise too_many(len(images), limits.images)
    asked = Asked(tuple(images), **{key: _checked(key, value) for key, value in given.items()})
    prompts = len(asked.classes or ()) * len(asked.templates)
    if prompts > MOST_PROMPTS:
        raise RefusedError(422, f"{prompts} texts of classes and templates are more than {MOST_PROMPTS}; leave some out")
    return asked


async def _read_form(request: Request, limits: Limits, given: dict[str, Any], images: list[tuple[str, bytes]]) -> None:
    try:
        form = await request.form(max_files=limits.images, max_fields=len(OPTIONS), max_part_size=1 << 16)
    except HTTPException as error:
        many = "too many files" in str(error.detail).lower()
        raise RefusedError(413 if many else 400, f"the form cannot be read: {error.detail}") from None
    except (ValueError, KeyError, UnicodeError) as error:
        raise RefusedError(400, f"the form cannot be read: {error}") from None
    try:
        for key, value in form.multi_items():
            if not isinstance(value, UploadFile):
                _put(given, key, _worded(key, value))
            elif key != IMAGE:
                raise RefusedError(422, f"a file is in the part {key[:LONGEST_NAME]!r}; images are parts named {IMAGE}")
            else:
                images.append((safe_name(value.filename, len(images)), await value.read()))
    finally:
        await form.close()  # large files lie on the disk


def _read_json(body: bytes, given: dict[str, Any], images: list[tuple[str, bytes]]) -> None:
    asked = json_object(body)
    listed = asked.pop("images", None)
    if not isinstance(listed, list):
        raise RefusedError(422, "images is no list of {name, data} with the file's bytes in base64")
    for place, entry in enumerate(listed):
        if not isinstance(entry, dict) or not {*entry} <= {"name", "data"} or not isinstance(entry.get("data"), str):
            raise RefusedError(422, f"images[{place}] is no {{name, data}} with the file's bytes in base64")
        name = entry.get("name")
        if name is not None and not isinstance(name, str):
            raise RefusedError(422, f"images[{place}].name is no text")
        images.append((safe_name(name, place), from_base64(entry["data"], f"images[{place}].data")))
    for key, value in asked.items():
        _put(given, key, value)


def json_object(body: bytes) -> dict[str, Any]:
    """Return a body's JSON object; RefusedError (400) if it is none."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, f"the body is no JSON ({' '.join(str(error).split())[:100]})") from None
    if not isinstance(found, dict):
        raise RefusedError(422, "the body is no JSON object")
    return found


def from_base64(text: str, where: str) -> bytes:
    """Return the bytes that base64 says, strictly; RefusedError (422) with the place if it is none."""
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise RefusedError(422, f"{where} is no base64 ({error})") from None


def safe_name(given: str | None, place: int) -> str:
    """Return what an image is called in answers: the last part of its file's name, of characters that show; else its place."""
    last = (given or "").replace("\\", "/").rpartition("/")[2]
    shown = "".join(letter for letter in last if letter.isprintable()).strip()[:LONGEST_NAME]
    return shown if shown.strip(".") else f"image {place}"


def _put(given: dict[str, Any], key: str, value: Any) -> None:
    if key not in OPTIONS:
        raise RefusedError(422, f"unknown option {key[:LONGEST_NAME]!r}; known: {', '.join(OPTIONS)}")
    if key in given:
        raise RefusedError(422, f"option {key} is given twice")
    given[key] = value


def _worded(key: str, text: str) -> Any:
    """Return an option's value from text: JSON, but for the model's name."""
    if key in ("model",) or key not in OPTIONS:
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise RefusedError(422, f"option {key} is no JSON, such as {_EXAMPLES[key]}") from None


_EXAMPLES = {
    "model": '"model"', "concepts": '{"lesion": 1}', "classes": '["cyst", "tumour"]', "templates": '["a photo of {}"]',
    "map": "true", "preview": "true",
}  # fmt: skip


def _checked(key: str, value: Any) -> Any:
    if key == "model":
        right = isinstance(value, str)
    elif key == "concepts":
        right = isinstance(value, dict) and all(_is_number(number) for number in value.values())
    elif key == "classes":
        right = _is_texts(value, 2) and len(set(value)) == len(value)
    elif key == "templates":
        right = _is_texts(value, 1) and all(text.count("{}") == 1 for text in value)
    else:
        right = isinstance(value, bool)
    if not right:
        raise RefusedError(422, f"option {key} is not such as {_EXAMPLES[key]}")
    return tuple(value) if isinstance(value, list) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _is_texts(value: Any, least: int) -> bool:
    if not isinstance(value, list) or not least <= len(value) <= MOST_CLASSES:
        return False
    return all(isinstance(text, str) and len(text.strip()) > 0 and len(text) <= LONGEST_TEXT for text in value)
