"""What an ONNX file says of itself, read from its bytes alone: metadata, external files, names of operators.

The deployment has no `onnx` package, and what a graph wants to read must be known before ONNX Runtime opens it. The reader
follows protobuf's wire format (protobuf.dev/programming-guides/encoding) through the messages of onnx.proto3 from which a
tensor or a node can be reached, and steps over everything else, weights included, without touching it. Where protobuf merges
fields that occur more than once, every occurrence is visited, so that it never sees less than ONNX Runtime's own parser.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field

Content = bytes | bytearray | mmap.mmap

MESSAGES: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 14: "MetadataEntry", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {4: "OperatorName", 5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto", 6: "GraphProto", 10: "TensorProto", 11: "GraphProto", 22: "SparseTensorProto", 23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {13: "ExternalEntry"},
}  # fmt: skip
"""Message → field number → message, for each path that leads to a tensor, a node or the metadata (onnx.proto3, IR version 13)."""

MAX_DEPTH = 64
"""Messages inside one another; ONNX Runtime's protobuf stops at 100, graphs nest two for each If or Loop."""
MAX_FIELDS = 5_000_000
"""Fields visited before a file is refused: seconds of work at most for a hostile file; a ResNet-50 has some thousands."""


class MalformedError(ValueError):
    """Bytes that are no ONNX model."""


@dataclass
class ModelFile:
    """What was found.

    Attributes:
        metadata: Key of `metadata_props` → (start, end) of its value in the bytes.
        locations: Every location of external data that any tensor names.
        operators: Every operator type used.
    """

    metadata: dict[str, tuple[int, int]] = field(default_factory=dict)
    locations: set[str] = field(default_factory=set)
    operators: set[str] = field(default_factory=set)


def read_model(content: Content) -> ModelFile:
    """Walk a serialised ModelProto, a file's bytes or a memory map of them, and return what it says of itself.

    Raises:
        MalformedError: If the bytes are no such message: truncated, nested too deeply, an entry without key or value, or one
            that occurs twice.
    """
    found = ModelFile()
    budget = [MAX_FIELDS]
    open_messages = [("ModelProto", fields(content, 0, len(content), budget))]  # each inside the one before it
    while open_messages:
        kind, parts = open_messages[-1]
        part = next(parts, None)
        if part is None:
            open_messages.pop()
            continue
        number, wire, first, last = part
        inner = MESSAGES[kind].get(number) if wire == 2 else None
        if inner == "OperatorName":
            found.operators.add(_text(content, first, last))
        elif inner == "MetadataEntry":
            key, value = _entry(content, first, last, budget)
            if key in found.metadata:
                raise MalformedError(f"metadata {key[:40]!r} occurs twice")
            found.metadata[key] = value
        elif inner == "ExternalEntry":
            key, value = _entry(content, first, last, budget)
            if key == "location":
                found.locations.add(_text(content, *value))
        elif inner is not None:
            if len(open_messages) > MAX_DEPTH:
                raise MalformedError(f"messages nest more than {MAX_DEPTH} deep")
            open_messages.append((inner, fields(content, first, last, budget)))
    return found


def fields(content: Content, start: int, end: int, budget: list[int] | None = None) -> Iterator[tuple[int, int, int, int]]:
    """Yield (field number, wire type, start, end of its payload) of one message.

    Raises:
        MalformedError: If a field runs past the end, has a wire type that ONNX does not use, or the budget is spent.
    """
    place = start
    while place < end:
        if budget is not None:
            budget[0] -= 1
            if budget[0] < 0:
                raise MalformedError(f"more than {MAX_FIELDS:,} fields")
        tag, place = _varint(content, place, end)
        number, wire = tag >> 3, tag & 7
        if number == 0 or tag > 0xFFFFFFFF:  # some parsers drop the upper bits: they would see a field that is not seen here
            raise MalformedError("a field has number 0, or one above 32 bits")
        first = place
        if wire == 0:
            _, place = _varint(content, place, end)
        elif wire == 1:
            place += 8
        elif wire == 2:
            length, first = _varint(content, place, end)
            place = first + length
        elif wire == 5:
            place += 4
        else:  # 3 and 4, groups: no ONNX field is one, and skipping them rightly is a parser of its own
            raise MalformedError(f"field {number} has wire type {wire}")
        if place > end:
            raise MalformedError(f"field {number} runs past the end of its message")
        yield number, wire, first, place


def encode(*parts: tuple[int, int | bytes]) -> bytes:
    """Return a message of (field number, whole number ≥ 0 or bytes) pairs, in the order given."""
    made = bytearray()
    for number, value in parts:
        if isinstance(value, bytes):
            made += _to_varint(number << 3 | 2) + _to_varint(len(value)) + value
        else:
            made += _to_varint(number << 3) + _to_varint(value)
    return bytes(made)


def _entry(content: Content, start: int, end: int, budget: list[int]) -> tuple[str, tuple[int, int]]:
    """Return the key and the place of the value of a StringStringEntryProto."""
    found: dict[int, tuple[int, int]] = {}
    for number, wire, first, last in fields(content, start, end, budget):
        if number in (1, 2):
            if wire != 2 or number in found:
                raise MalformedError("a key-value entry has two keys or two values, or is no text")
            found[number] = (first, last)
    if 1 not in found:
        raise MalformedError("a key-value entry has no key")
    # An empty value is not written; it is then the empty text at the end of the entry.
    return _text(content, *found[1]), found.get(2, (end, end))


def _text(content: Content, start: int, end: int) -> str:
    try:
        return bytes(content[start:end]).decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedError("a text is not UTF-8") from None


def _varint(content: Content, place: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= end:
            break
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, place
    raise MalformedError("a number is cut off or too long")


def _to_varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)
