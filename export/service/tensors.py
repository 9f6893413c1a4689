"""Tensors as the open inference protocol sends them: JSON, or raw bytes behind it (the binary tensor extension)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.export.service.limits import RefusedError
from medzoo.export.service.sent import from_base64, json_object

LENGTH = "Inference-Header-Content-Length"
"""Header: how many bytes of the body are JSON; raw tensors follow."""
TYPES: Mapping[str, Any] = {"BOOL": np.bool_, "UINT8": np.uint8, "INT64": np.int64, "FP16": np.float16, "FP32": np.float32}
"""The protocol's name → NumPy's; and BYTES, one string an element."""
MOST_DIMENSIONS = 8
LONGEST_TEXT = 4096
"""Bytes of one text of a text tower's request."""
Given = NDArray[Any] | list[bytes] | list[str]
"""Values of an input; of BYTES raw ones, or in JSON texts."""


def type_name(dtype: Any) -> str:
    """Return what the protocol calls a NumPy type."""
    return next(name for name, kind in TYPES.items() if np.dtype(kind) == dtype)


def metadata_of(name: str, kind: str, shape: Sequence[Any]) -> tuple[str, str, tuple[int, ...]]:
    """Return name, datatype and shape, -1 for any number, of a tensor as ONNX Runtime describes it."""
    names = {"tensor(uint8)": "UINT8", "tensor(float)": "FP32", "tensor(float16)": "FP16", "tensor(bool)": "BOOL"}
    return name, names.get(kind, "INT64"), tuple(side if isinstance(side, int) else -1 for side in shape)


def read_request(body: bytes, header: str | None) -> tuple[dict[str, Any], bytes]:
    """Part a request's JSON from the raw tensors behind it.

    Args:
        body: All of it.
        header: What `LENGTH` says; None: all is JSON.

    Raises:
        RefusedError: One line, if it is no request.
    """
    length = len(body)
    if header is not None:
        if not header.isascii() or not header.isdigit() or len(header) > 12 or int(header) > len(body):
            raise RefusedError(400, f"{LENGTH} is no number of bytes of this body")
        length = int(header)
    return json_object(body[:length], nan=True), body[length:]  # NaN: a value of `inputs` that is missing


def read_tensor(given: Any, raw: bytes, start: int) -> tuple[str, Given, int]:
    """Read one input.

    Args:
        given: Its entry in the request's JSON.
        raw: The bytes behind the JSON.
        start: Where in them the next raw tensor begins.

    Returns:
        Its name; its values, of BYTES a list of one entry an element (raw bytes, of JSON its text); where the next raw tensor
        begins.

    Raises:
        RefusedError: One line that names it, if it is not what it says.
    """
    if not isinstance(given, dict) or not isinstance(name := given.get("name"), str):
        raise RefusedError(400, "an input is no object with a name")
    name, shape, kind = name[:100], given.get("shape"), given.get("datatype")
    if not isinstance(shape, list) or not 0 < len(shape) <= MOST_DIMENSIONS or not all(type(n) is int and n > 0 for n in shape):
        raise RefusedError(400, f"input {name!r}: shape is no list of positive whole numbers")
    if kind not in (*TYPES, "BYTES"):
        raise RefusedError(400, f"input {name!r}: datatype is none of {', '.join((*TYPES, 'BYTES'))}")
    parameters, count = given.get("parameters") or {}, math.prod(shape)
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is None:
        values = _listed(name, given.get("data"), kind)
        if len(values) != count:
            raise RefusedError(400, f"input {name!r}: {len(values)} values are not its shape {shape}")
        return name, values if isinstance(values, list) else values.reshape(shape), start
    if type(size) is not int or not 0 <= size <= len(raw) - start:
        raise RefusedError(400, f"input {name!r}: binary_data_size is not of the bytes behind the JSON")
    part = raw[start : start + size]
    if kind == "BYTES":
        strings = _strings(name, part)
        if len(strings) != count:
            raise RefusedError(400, f"input {name!r}: {len(strings)} strings are not its shape {shape}")
        return name, strings, start + size
    if size != count * np.dtype(TYPES[kind]).itemsize:
        raise RefusedError(400, f"input {name!r}: {size} bytes are not shape {shape} of {kind}")
    return name, np.frombuffer(part, TYPES[kind]).reshape(shape), start + size


def write_response(told: Mapping[str, Any], outputs: Sequence[tuple[str, NDArray[Any], bool]]) -> tuple[bytes, int | None]:
    """Write a response.

    Args:
        told: Its JSON but for the outputs.
        outputs: Name, values, and whether they go raw.

    Returns:
        The body; how many of its bytes are JSON, None where all are.
    """
    entries, raw = [], []
    for name, values, binary in outputs:
        entry: dict[str, Any] = {"name": name, "shape": list(values.shape), "datatype": type_name(values.dtype)}
        if binary:
            raw.append(np.ascontiguousarray(values).tobytes())
            entry["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            plain = values.ravel().tolist()
            # JSON has no NaN, which calls hold where there is no threshold.
            entry["data"] = [None if isinstance(v, float) and math.isnan(v) else v for v in plain]
        entries.append(entry)
    head = json.dumps({**told, "outputs": entries}, allow_nan=False).encode()
    return b"".join([head, *raw]), len(head) if raw else None


def _listed(name: str, data: Any, kind: str) -> NDArray[Any] | list[str]:
    if not isinstance(data, list):
        raise RefusedError(400, f"input {name!r}: neither data nor binary_data_size")
    if kind == "BYTES":
        if not all(isinstance(text, str) for text in data):
            raise RefusedError(400, f"input {name!r}: BYTES in JSON are a flat list of texts, files in base64")
        return data
    if not _is_of_numbers(data, kind):  # NumPy would make room for a list of texts by its longest
        raise RefusedError(400, f"input {name!r}: data are no numbers of {kind}, in rows of one length")
    try:
        found = np.array(data).ravel()
    except (ValueError, RecursionError, OverflowError):
        raise RefusedError(400, f"input {name!r}: data are no numbers in rows of one length") from None
    wanted = np.dtype(TYPES[kind])
    allowed = {"b": "b", "u": "iu", "i": "iu", "f": "iuf"}[wanted.kind]
    if found.dtype.kind not in allowed or not len(found):
        raise RefusedError(400, f"input {name!r}: data are no numbers of {kind}")
    if wanted.kind in "ui" and (found.min() < np.iinfo(wanted).min or found.max() > np.iinfo(wanted).max):
        raise RefusedError(400, f"input {name!r}: data lie outside {kind}")
    with np.errstate(over="ignore"):  # infinities are refused where pixels are read
        return found.astype(wanted)


def _is_of_numbers(data: list[Any], kind: str) -> bool:
    """Whether a list, or lists in it, hold numbers, of BOOL booleans, and nothing else: to NumPy true beside numbers is 1."""
    level = data
    for _ in range(MOST_DIMENSIONS):
        if not all(type(one) is list for one in level):
            break
        level = [one for row in level for one in row]
    allowed = (bool,) if kind == "BOOL" else (int, float)
    return all(type(one) in allowed for one in level)


def image_of(name: str, value: Any) -> Any:
    """Return an element's pixels, or a file's bytes: raw, or in JSON base64; RefusedError (422) if it is none."""
    return from_base64(value, f"input {name!r}") if isinstance(value, str) else value


def text_of(name: str, value: bytes | str) -> str:
    """Return a text of an element of BYTES: raw UTF-8, or in JSON as it is; RefusedError (422) if it is none, or too long."""
    try:
        text = value if isinstance(value, str) else value.decode("utf-8")
        size = len(text.encode("utf-8"))  # half of a surrogate pair, which JSON can say, is none
    except UnicodeError:
        raise RefusedError(422, f"input {name!r} is not all UTF-8") from None
    if size > LONGEST_TEXT:
        raise RefusedError(413, f"input {name!r} has a text of {size:,} bytes, more than {LONGEST_TEXT:,}")
    return text


def _strings(name: str, raw: bytes) -> list[bytes]:
    """Return the strings of a raw BYTES tensor: four bytes of length before each."""
    found, place = [], 0
    while place < len(raw):
        length = int.from_bytes(raw[place : place + 4], "little")
        if place + 4 + length > len(raw):
            raise RefusedError(400, f"input {name!r}: a string is longer than its tensor")
        found.append(raw[place + 4 : place + 4 + length])
        place += 4 + length
    return found
