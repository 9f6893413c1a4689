"""Weights beside the graph: what is sealed loads, and nothing else is ever read."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from medzoo.data.errors import OnnxFileError
from medzoo.export.integrity import KEY, PLACEHOLDER, check, seal
from medzoo.export.model_files import write_model
from medzoo.export.protobuf import MAX_DEPTH, MESSAGES, MalformedError, encode, read_model
from medzoo.export.runtime import OnnxModel
from tests.export.handmade import WEIGHT, build, expected_logits, write

NAMES = {"MetadataEntry": "StringStringEntryProto", "ExternalEntry": "StringStringEntryProto", "OperatorName": None}


def forge(path: Path, change: Callable[[onnx.ModelProto], None]) -> Path:
    """Do what a hostile author can: change the graph, then seal it anew."""
    model = onnx.load(str(path), load_external_data=False)
    change(model)
    for entry in model.metadata_props:
        if entry.key == KEY:
            entry.value = PLACEHOLDER
    path.write_bytes(seal(model.SerializeToString()))
    return path


def relocate(location: str) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = location
        for prop in model.metadata_props:
            prop.value = prop.value.replace("m.onnx.data", location.replace("\\", "\\\\"))

    return change


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    return write(tmp_path / "folder" / "m.onnx", external=True)


def refused(path: Path) -> str:
    with pytest.raises(OnnxFileError) as error:
        OnnxModel(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_pair_says_what_one_file_says(pair: Path, tmp_path: Path) -> None:
    images = [np.random.default_rng(i).integers(0, 256, (9, 7, 3), dtype=np.uint8) for i in range(5)]
    ours = OnnxModel(pair).predict(images)["logits"]
    np.testing.assert_allclose(ours, expected_logits(images), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(ours, OnnxModel(write(tmp_path / "one.onnx")).predict(images)["logits"])
    data = pair.with_name("m.onnx.data").read_bytes()
    assert data == WEIGHT.tobytes()
    assert WEIGHT.tobytes() not in pair.read_bytes()
    onnx.checker.check_model(str(pair), full_check=True)
    loaded = onnx.load(str(pair))  # onnx's own reader finds the same weights
    weight = next(t for t in loaded.graph.initializer if t.name == "weight")
    np.testing.assert_array_equal(numpy_helper.to_array(weight), WEIGHT)


def test_the_pair_may_be_renamed_and_moved(pair: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    pair.rename(tmp_path / "other" / "renamed.onnx")
    pair.with_name("m.onnx.data").rename(tmp_path / "other" / "m.onnx.data")
    OnnxModel(tmp_path / "other" / "renamed.onnx")


@pytest.mark.parametrize(
    "location",
    ["../secret", "/etc/passwd", "sub/secret", "..", ".", "", "..\\secret", "C:secret", "*/_ORT_MEM_ADDR_/*", "a\0b", "x" * 300],
)
def test_a_location_that_is_no_plain_name_is_refused(pair: Path, location: str) -> None:
    pair.parent.with_name("secret").write_bytes(WEIGHT.tobytes())
    assert "plain file name" in refused(forge(pair, relocate(location)))


def test_a_link_that_leads_out_is_refused(pair: Path, tmp_path: Path) -> None:
    data = pair.with_name("m.onnx.data")
    outside = tmp_path / "secret"
    data.rename(outside)
    data.symlink_to(outside)
    assert "leads out of its folder" in refused(pair)
    data.unlink()
    outside.rename(pair.with_name("elsewhere"))
    data.symlink_to("elsewhere")  # inside the folder it may point
    OnnxModel(pair)


@pytest.mark.parametrize(
    ("damage", "words"),
    [("missing", "missing"), ("truncated", "bytes, not the"), ("longer", "bytes, not the"), ("altered", "SHA-256"),
     ("folder", "not a regular file"), ("loop", "cannot read"), ("pipe", "not a regular file")],
)  # fmt: skip
def test_data_that_is_not_what_was_sealed_is_refused(pair: Path, damage: str, words: str) -> None:
    data = pair.with_name("m.onnx.data")
    content = data.read_bytes()
    data.unlink()
    if damage == "truncated":
        data.write_bytes(content[:-1])
    elif damage == "longer":
        data.write_bytes(content + b"\0")
    elif damage == "altered":
        data.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    elif damage == "folder":
        data.mkdir()
    elif damage == "pipe":
        os.mkfifo(data)
    elif damage == "loop":
        data.symlink_to(data.name)
    assert words in refused(pair)


def test_a_file_in_the_folder_that_the_seal_does_not_name_is_refused(pair: Path) -> None:
    pair.with_name("other").write_bytes(WEIGHT.tobytes())

    def change(model: onnx.ModelProto) -> None:
        relocate("other")(model)
        for prop in model.metadata_props:
            if prop.key == "medzoo.external":
                prop.value = prop.value.replace("other", "m.onnx.data")

    assert "do not name the same external files" in refused(forge(pair, change))

    def unlisted(model: onnx.ModelProto) -> None:
        del model.metadata_props[[p.key for p in model.metadata_props].index("medzoo.external")]

    assert "do not name the same" in refused(forge(write(pair, external=True), unlisted))


@pytest.mark.parametrize("listed", ["[]", "{", '{"m.onnx.data": 3}', '{"m.onnx.data": {"bytes": "x", "sha256": ""}}'])
def test_a_list_of_files_that_cannot_be_read_is_refused(pair: Path, listed: str) -> None:
    def change(model: onnx.ModelProto) -> None:
        next(p for p in model.metadata_props if p.key == "medzoo.external").value = listed

    refused(forge(pair, change))


def secret_tensor() -> onnx.TensorProto:
    tensor = TensorProto(name="stolen", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../secret")
    return tensor


def in_attribute(model: onnx.ModelProto) -> None:
    model.graph.node.add(op_type="Constant", output=["c"]).attribute.add(name="value", type=4).t.CopyFrom(secret_tensor())


def in_branch(model: onnx.ModelProto) -> None:
    branch = helper.make_graph([], "then", [], [], [secret_tensor()])
    model.graph.node.append(helper.make_node("If", ["image"], ["c"], then_branch=branch, else_branch=branch))


def in_sparse(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.add().indices.CopyFrom(secret_tensor())


def in_function(model: onnx.ModelProto) -> None:
    node = model.functions.add(name="f", domain="d").node.add(op_type="Constant", output=["c"])
    node.attribute.add(name="value", type=4).t.CopyFrom(secret_tensor())


def in_training(model: onnx.ModelProto) -> None:
    model.training_info.add().initialization.initializer.append(secret_tensor())


def without_a_flag(model: onnx.ModelProto) -> None:
    tensor = secret_tensor()
    tensor.ClearField("data_location")  # which a second occurrence of the field could set
    model.graph.initializer.append(tensor)


@pytest.mark.parametrize("hide", [in_attribute, in_branch, in_sparse, in_function, in_training, without_a_flag])
def test_a_location_is_found_wherever_it_hides(tmp_path: Path, hide: Callable[[onnx.ModelProto], None]) -> None:
    path = forge(write(tmp_path / "m.onnx"), hide)
    assert "plain file name" in refused(path)


def test_a_second_graph_that_protobuf_would_merge_is_seen(tmp_path: Path) -> None:
    graph = helper.make_graph([], "g", [], [], [secret_tensor()]).SerializeToString()
    content = build().SerializeToString() + encode((7, graph))
    assert onnx.load_from_string(content).graph.initializer[-1].name == "stolen"  # protobuf merges the two
    path = tmp_path / "m.onnx"
    path.write_bytes(seal(content))
    assert "plain file name" in refused(path)


def test_a_compiled_context_is_refused(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node.add(op_type="EPContext", domain="com.microsoft", output=["c"])

    assert "EPContext" in refused(forge(write(tmp_path / "m.onnx"), change))


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
    refused(path)


def test_more_fields_than_a_model_has_are_not_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    from medzoo.export import protobuf

    monkeypatch.setattr(protobuf, "MAX_FIELDS", 1000)
    with pytest.raises(MalformedError, match="1,000 fields"):
        read_model(encode(*[(1, 8)] * 2000))


def test_an_interrupted_pair_does_not_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "m.onnx", external=True)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    changed = build()
    weight = next(t for t in changed.graph.initializer if t.name == "weight")
    weight.raw_data = (WEIGHT + 1).tobytes()

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    from medzoo.export import model_files

    with monkeypatch.context() as patched:
        patched.setattr(model_files, "write_file", full)
        with pytest.raises(Exception, match="No space"):
            write_model(changed, path, limit=0)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before  # nothing new, nothing left over
    original = Path.replace

    def power_cut(self: Path, target: Path) -> Path:
        if str(target) == str(path):
            raise KeyboardInterrupt
        return original(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", power_cut)
        with pytest.raises(KeyboardInterrupt):
            write_model(changed, path, limit=0)
    with pytest.raises(OnnxFileError, match="SHA-256"):  # old graph, new weights
        check(path)
    write_model(changed, path, limit=0)
    check(path)


def test_a_smaller_model_in_its_place_takes_the_weights_file_away(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", external=True)
    write(path)
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]
    check(path)


def test_writing_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    model = build()
    before = model.SerializeToString()
    report = write_model(model, tmp_path / "m.onnx", limit=0)
    assert model.SerializeToString() == before
    assert report["external"] == "m.onnx.data"
    sizes = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert report["megabytes"] == round(sizes / 1e6, 2)


def test_an_export_above_the_limit_is_a_pair(
    trained_run: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medzoo.checkpoint import find_checkpoint, load_checkpoint
    from medzoo.export import export_onnx, model_files

    monkeypatch.setattr(model_files, "LIMIT", 1000)  # the way of a model over 2 GiB, session and checker included
    images = [np.random.default_rng(i).integers(0, 256, (32, 32, 1), dtype=np.uint8) for i in range(4)]
    report = export_onnx(load_checkpoint(find_checkpoint(trained_run)), tmp_path / "m.onnx", images)
    assert report["external"] == "m.onnx.data"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data"]
    assert (tmp_path / "m.onnx").stat().st_size < (tmp_path / "m.onnx.data").stat().st_size
    ours, theirs = OnnxModel(tmp_path / "m.onnx").predict(images), OnnxModel(exported).predict(images)
    np.testing.assert_allclose(ours["logits"], theirs["logits"], atol=1e-6)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_model_over_two_gigabytes_exports_loads_and_runs(trained_run: Path, tmp_path: Path) -> None:
    """A linear layer of 23,000 by 23,500 float32 weights: 2.16 GB, above the 2 GiB that protobuf can serialise."""
    from medzoo.checkpoint import find_checkpoint, load_checkpoint
    from medzoo.export import export_onnx

    class Wide(torch.nn.Module):
        def __init__(self, outputs: int) -> None:
            super().__init__()
            self.narrow = torch.nn.Linear(64, 23_000)
            self.wide = torch.nn.Linear(23_000, 23_500, bias=False)
            self.head = torch.nn.Linear(23_500, outputs)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            small = torch.nn.functional.adaptive_avg_pool2d(image.mean(dim=1, keepdim=True), 8).flatten(1)
            return self.head(torch.relu(self.wide(torch.relu(self.narrow(small)))))

    task = load_checkpoint(find_checkpoint(trained_run))
    assert task.spec.labels is not None
    torch.manual_seed(0)
    task.model = Wide(task.spec.labels.width).eval()
    images = [np.random.default_rng(i).integers(0, 256, (32, 32, 1), dtype=np.uint8) for i in range(4)]
    path = tmp_path / "m.onnx"
    try:
        report = export_onnx(task, path, images)
        assert report["external"] == "m.onnx.data"
        assert path.with_name("m.onnx.data").stat().st_size > 2**31
        with torch.no_grad():
            expected = task.deploy().eval()(torch.from_numpy(np.stack(images)))[0].numpy()
        found = OnnxModel(path).predict(images)["logits"]
        assert np.abs(found - expected).max() <= 1e-3 * expected.std()
        with path.with_name("m.onnx.data").open("r+b") as file:
            file.seek(2**31)
            byte = file.read(1)
            file.seek(2**31)
            file.write(bytes([byte[0] ^ 1]))
        with pytest.raises(OnnxFileError, match="SHA-256"):
            OnnxModel(path)
    finally:
        for file in tmp_path.iterdir():  # pytest keeps three runs' folders
            file.unlink()
