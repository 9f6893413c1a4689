"""Triton's own schema reads what is written, and the graph gives what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from medzoo.cli import main
from medzoo.data.errors import OnnxFileError
from medzoo.export.files.integrity import check
from medzoo.export.service.repository import write_repository
from tests.export.service.models import CLASSES, bottleneck, open_classes, text_tower

DTYPES = {"TYPE_UINT8": np.uint8, "TYPE_FP32": np.float32, "TYPE_INT64": np.int64, "TYPE_BOOL": np.bool_}


def parsed(folder: Path) -> Any:
    return text_format.Parse((folder / "config.pbtxt").read_text(encoding="utf-8"), model_config_pb2.ModelConfig())


def type_of(tensor: Any) -> Any:
    return DTYPES[model_config_pb2.DataType.Name(tensor.data_type)]


def test_two_models_of_a_file_whose_graph_takes_and_gives_what_they_say(tmp_path: Path) -> None:
    file = bottleneck(tmp_path / "model.int8.onnx")
    folder = tmp_path / "triton"
    assert write_repository([file], folder) == ["model_int8", "model_int8_fixed"]
    for name, sides in (("model_int8", [-1, -1]), ("model_int8_fixed", [8, 8])):
        told = parsed(folder / name)
        assert (told.name, told.platform, told.max_batch_size) == (name, "onnxruntime_onnx", 16)
        assert list(told.input[0].dims) == [*sides, 1]
        assert [(one.name, one.optional) for one in told.input] == [
            ("image", False), ("concept_values", True), ("concept_mask", True),
        ]  # fmt: skip
        assert told.dynamic_batching.max_queue_delay_microseconds == 2000
        assert told.dynamic_batching.default_queue_policy.max_queue_size == 128
        assert model_config_pb2.ModelInstanceGroup.Kind.Name(told.instance_group[0].kind) == "KIND_CPU"
        assert (folder / name / "labels.txt").read_text().split() == list(CLASSES)
        graph = folder / name / "1" / told.default_model_filename
        check(graph)  # sealed, and whole
        session = onnxruntime.InferenceSession(graph)
        for warm in told.model_warmup:
            feed = {key: np.zeros((warm.batch_size, *one.dims), type_of(one)) for key, one in warm.inputs.items()}
            found = dict(zip([one.name for one in session.get_outputs()], session.run(None, feed), strict=True))
            assert set(found) == {one.name for one in told.output}
            for one in told.output:
                assert found[one.name].dtype == type_of(one)
                assert all(wanted in (-1, side) for wanted, side in zip(one.dims, found[one.name].shape[1:], strict=True))
        assert {one.name: one.label_filename for one in told.output}["probabilities"] == "labels.txt"
        assert told.parameters["medzoo.sha256"].string_value.startswith("sha256:")
    assert [warm.batch_size for warm in told.model_warmup] == [1, 16]
    assert write_repository([file], folder, gpu=True) == ["model_int8", "model_int8_fixed"]  # again, in place
    assert model_config_pb2.ModelInstanceGroup.Kind.Name(parsed(folder / "model_int8").instance_group[0].kind) == "KIND_GPU"


def test_a_text_tower_is_one_model_and_open_classes_are_none(tmp_path: Path) -> None:
    assert write_repository([text_tower(tmp_path / "text.onnx")], tmp_path / "triton") == ["text"]
    told = parsed(tmp_path / "triton" / "text")
    assert [(one.name, list(one.dims), type_of(one)) for one in told.input] == [("tokens", [4], np.int64)]
    with pytest.raises(OnnxFileError, match="class vectors, which Triton cannot batch"):
        write_repository([open_classes(tmp_path / "open.onnx")], tmp_path / "triton")


def test_the_command_writes_it_beside_the_file(trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["export", f"run={trained_run}", "images=4", f"output={tmp_path / 'small.onnx'}"]
    assert main([*command, "target=triton"]) == 0
    assert f"wrote {tmp_path / 'triton'}: small, small_fixed; tritonserver" in capsys.readouterr().out
    assert list(parsed(tmp_path / "triton" / "small_fixed").input[0].dims) == [32, 32, 1]
    assert main([*command, "target=tritn"]) == 2
    assert "unknown target 'tritn'; did you mean 'triton'?" in capsys.readouterr().err
