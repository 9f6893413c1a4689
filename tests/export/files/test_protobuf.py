"""The reader of ONNX files sees what onnx's own sees, and survives any bytes."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from medzoo.data.errors import OnnxFileError
from medzoo.export.files.integrity import check
from medzoo.export.files.protobuf import MAX_DEPTH, MESSAGES, MalformedError, encode, read_model
from tests.export.handmade import build


def test_every_message_that_leads_to_a_tensor_or_a_node_is_walked() -> None:
    """Held against onnx's own description of the format, so that a new field of a new onnx is noticed."""
    goals = {"TensorProto", "NodeProto"}

    def leads(message: object, seen: frozenset[str] = frozenset()) -> bool:
        name = message.name  # type: ignore[attr-defined]
        inner = [f.message_type for f in message.fields if f.message_type is not None]  # type: ignore[attr-defined]
        return name in goals or any(leads(m, seen | {name}) for m in inner if m.name not in seen)

    waiting, known = [onnx.ModelProto.DESCRIPTOR], set()
    while waiting:
        message = waiting.pop()
        if message.name in known or message.name == "TensorProto":
            continue
        known.add(message.name)
        walked = MESSAGES[message.name]
        for field in message.fields:
            if field.message_type is not None and leads(field.message_type):
                assert walked.get(field.number) == field.message_type.name, f"{message.name}.{field.name}"
                waiting.append(field.message_type)
    assert known == set(MESSAGES) - {"TensorProto"}
    by_name = {f.name: f.number for f in TensorProto.DESCRIPTOR.fields}
    assert MESSAGES["TensorProto"] == {by_name["external_data"]: "ExternalEntry"}
    assert onnx.NodeProto.DESCRIPTOR.fields_by_name["op_type"].number == 4
    assert onnx.ModelProto.DESCRIPTOR.fields_by_name["metadata_props"].number == 14


def test_metadata_and_operators_are_read_as_onnx_reads_them(exported: Path) -> None:
    content, model = exported.read_bytes(), onnx.load(str(exported))
    found = read_model(content)
    assert {k: content[a:b].decode() for k, (a, b) in found.metadata.items()} == {p.key: p.value for p in model.metadata_props}
    assert found.operators == {node.op_type for node in model.graph.node}
    assert found.locations == set()


def test_bytes_of_any_kind_end_in_one_error(tmp_path: Path) -> None:
    content = build().SerializeToString()
    for cut in range(len(content) - 1):
        part = content[:cut]
        try:
            read_model(part)
        except MalformedError:
            continue
        onnx.load_from_string(part)  # what is accepted is a whole number of fields
    rng = np.random.default_rng(0)
    for _ in range(500):
        spoiled = bytearray(content)
        for place in rng.integers(0, len(content), 3):
            spoiled[place] = rng.integers(0, 256)
        with contextlib.suppress(MalformedError):
            read_model(bytes(spoiled))
    nested = b""
    for _ in range(MAX_DEPTH + 2):  # graph → node → attribute → graph ...
        nested = encode((1, encode((5, encode((6, nested))))))
    with pytest.raises(MalformedError, match="deep"):
        read_model(encode((7, nested)))
    for hostile in (b"\xff" * 11, b"\x3a\xff\xff\xff\xff\x0f", b"\x3b", b"\x00\x00", b"\xba\x80\x80\x80\x10\x00"):
        with pytest.raises(MalformedError):
            read_model(hostile)
    path = tmp_path / "m.onnx"
    path.write_bytes(b"")
    with pytest.raises(OnnxFileError):
        check(path)


def test_more_fields_than_a_model_has_are_not_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    from medzoo.export.files import protobuf

    monkeypatch.setattr(protobuf, "MAX_FIELDS", 1000)
    with pytest.raises(MalformedError, match="1,000 fields"):
        read_model(encode(*[(1, 8)] * 2000))
