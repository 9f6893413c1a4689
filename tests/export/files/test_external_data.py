"""Weights beside the graph: what is sealed loads, and nothing else is ever read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from medzoo.data.errors import OnnxFileError
from medzoo.export.files.integrity import KEY, PLACEHOLDER, seal
from medzoo.export.files.protobuf import encode
from medzoo.export.runtime.model import OnnxModel
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
