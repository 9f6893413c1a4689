"""The open inference protocol, asked by NVIDIA's own client and by hand."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from medzoo.export.runtime.model import OnnxModel
from tests.export.service.models import bottleneck, open_classes, text_tower
from tests.export.service.served import running, service
from tests.export.service.test_predict import png


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("v2")
    bottleneck(found / "levels.onnx")
    open_classes(found / "colours.onnx")
    text_tower(found / "text.onnx")
    return found


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with running(service(*sorted(folder.glob("*.onnx")))) as found:
        yield found


@pytest.fixture
def client(address: str) -> Iterator[Any]:
    with triton.InferenceServerClient(address.removeprefix("http://")) as found:
        yield found


def tensor(name: str, values: np.ndarray, kind: str, *, binary: bool = True) -> Any:
    given = triton.InferInput(name, list(values.shape), kind)
    given.set_data_from_numpy(values, binary_data=binary)
    return given


def test_the_server_and_its_models_are_described(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("levels")
    assert client.is_model_ready("levels", "1")
    assert not client.is_model_ready("none")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    told = client.get_model_metadata("levels")
    assert told["inputs"] == [
        {"name": "image", "datatype": "UINT8", "shape": [-1, -1, -1, 1]},
        {"name": "concept_values", "datatype": "FP32", "shape": [-1, 2]},
        {"name": "concept_mask", "datatype": "FP32", "shape": [-1, 2]},
    ]
    assert {"name": "calls", "datatype": "FP32", "shape": [-1, 1, 3]} in told["outputs"]
    assert {"name": "map", "datatype": "FP32", "shape": [-1, 2, 2, 2]} in told["outputs"]


@pytest.mark.parametrize("binary", [True, False])
def test_tensors_are_answered_as_the_runtime_answers(client: Any, folder: Path, binary: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 9, 7, 1), dtype=np.uint8)
    outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("logits", "map", "prediction_set")]
    found = client.infer("levels", [tensor("image", pixels, "UINT8", binary=binary)], outputs=outputs, request_id="7")
    wanted = OnnxModel(folder / "levels.onnx").predict(pixels)
    assert found.get_response()["id"] == "7"
    assert found.as_numpy("probabilities") is None  # not asked for
    for name in ("logits", "map", "prediction_set"):
        assert found.as_numpy(name).dtype == (np.bool_ if name == "prediction_set" else np.float32)
        assert np.array_equal(found.as_numpy(name), wanted[name])


def test_all_outputs_come_raw_where_none_is_named_and_corrections_are_taken(client: Any, folder: Path) -> None:
    pixels = np.full((2, 8, 8, 1), 40, np.uint8)
    values, mask = np.array([[1, 0], [0, 0.5]], np.float32), np.array([[1, 0], [0, 1]], np.float32)
    given = [tensor("image", pixels, "UINT8"), tensor("concept_values", values, "FP32"), tensor("concept_mask", mask, "FP32")]
    found = client.infer("levels", given)
    wanted = OnnxModel(folder / "levels.onnx").predict(pixels, concept_values=values, concept_mask=mask)
    for name, value in wanted.items():
        assert np.array_equal(found.as_numpy(name), value, equal_nan=True)


def test_files_go_as_strings_and_are_decoded_by_the_models_own_preprocessing(client: Any, folder: Path) -> None:
    files = np.array([png(10), png(99, side=30)], dtype=np.object_)
    found = client.infer("levels", [tensor("image", files, "BYTES")])
    wanted = OnnxModel(folder / "levels.onnx").predict(list(files))
    assert np.array_equal(found.as_numpy("logits"), wanted["logits"])


def test_texts_and_class_vectors(client: Any, folder: Path) -> None:
    texts = np.array([b"red", b"green blue"], dtype=np.object_)
    vectors = client.infer("text", [tensor("text", texts, "BYTES")]).as_numpy("text_embedding")
    assert np.array_equal(vectors, OnnxModel(folder / "text.onnx").embed_texts(["red", "green blue"]))
    words = triton.InferInput("text", [2], "BYTES")  # in JSON, as texts: not as base64, which such a word may look like
    words.set_data_from_numpy(np.array([b"red", b"bWFzcw=="], dtype=np.object_), binary_data=False)
    plain = client.infer("text", [words]).as_numpy("text_embedding")
    assert np.array_equal(plain, OnnxModel(folder / "text.onnx").embed_texts(["red", "bWFzcw=="]))
    pixels = np.full((1, 4, 4, 3), (9, 0, 0), np.uint8)
    found = client.infer("colours", [tensor("image", pixels, "UINT8"), tensor("class_embeddings", vectors, "FP32")])
    wanted = OnnxModel(folder / "colours.onnx").predict(pixels, class_embeddings=vectors)
    assert np.array_equal(found.as_numpy("probabilities"), wanted["probabilities"])


def test_what_is_wrong_is_said_by_the_client_in_one_line(client: Any) -> None:
    pixels = np.zeros((1, 4, 4, 1), np.uint8)
    for model, given, said in (
        ("none", [tensor("image", pixels, "UINT8")], "no model 'none'"),
        ("levels", [tensor("picture", pixels, "UINT8")], "unknown input 'picture'; levels takes image"),
        ("levels", [tensor("image", pixels.astype(np.float32), "FP32")], "no UINT8 of 4 dimensions"),
        ("levels", [tensor("image", np.zeros((17, 2, 2, 1), np.uint8), "UINT8")], "17 images are more than the 16"),
        ("levels", [tensor("image", np.zeros((1, 2, 2, 2, 1), np.uint8), "UINT8")], "no UINT8 of 4 dimensions"),
        ("levels", [tensor("image", pixels, "UINT8"), tensor("concept_values", np.ones((1, 2), np.float32), "FP32")], "together"),
        ("colours", [tensor("image", np.zeros((1, 4, 4, 3), np.uint8), "UINT8")], "'class_embeddings' is missing"),
        ("text", [tensor("text", np.array([b"\xff"], dtype=np.object_), "BYTES")], "not all UTF-8"),
        ("text", [tensor("text", np.array([b"red " * 2000], dtype=np.object_), "BYTES")], "8,000 bytes, more than 4,096"),
    ):
        with pytest.raises(InferenceServerException, match=said.replace("(", r"\(")) as caught:
            client.infer(model, given)
        assert caught.value.status().startswith("4")
        assert "\n" not in caught.value.message()


GOOD = {"name": "image", "shape": [1, 1, 1, 1], "datatype": "UINT8", "data": [7]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shape": [1, 1, 1, 2]}, "1 values are not its shape"),
        ({"shape": [1, 0, 1, 1]}, "positive whole numbers"),
        ({"shape": [True, 1, 1, 1]}, "positive whole numbers"),
        ({"shape": [10**30, 10**30]}, "values are not its shape"),
        ({"datatype": "FP64"}, "datatype is none of"),
        ({"data": [256]}, "outside UINT8"),
        ({"data": [1.5]}, "no numbers of UINT8"),
        ({"data": ["7"]}, "no numbers of UINT8"),
        ({"data": [7, True], "shape": [1, 1, 2, 1]}, "no numbers of UINT8"),
        ({"data": [7, 1], "shape": [1, 1, 2, 1], "datatype": "BOOL"}, "no numbers of BOOL"),
        ({"data": ["a" * 1_000_000] + ["b"] * 2000}, "no numbers of UINT8"),
        ({"data": [[[7]], 7]}, "no numbers of UINT8"),
        ({"data": [[1], [2, 3]]}, "rows of one length"),
        ({"data": [10**40]}, "no numbers of UINT8"),
        ({"data": None}, "neither data nor binary_data_size"),
        ({"parameters": {"binary_data_size": 9}}, "not of the bytes behind the JSON"),
        ({"parameters": {"binary_data_size": -1}}, "not of the bytes behind the JSON"),
        ({"datatype": "BYTES", "data": ["*"], "shape": [1]}, "no base64"),
        ({"datatype": "BYTES", "data": [base64.b64encode(b"no image").decode()], "shape": [1]}, "image 0: not a PNG"),
        ({"name": 5}, "no object with a name"),
    ],
)
def test_json_that_is_no_tensor_is_refused(address: str, change: dict[str, Any], said: str) -> None:
    found = httpx.post(f"{address}/v2/models/levels/infer", json={"inputs": [{**GOOD, **change}]})
    assert 400 <= found.status_code < 500
    assert said in found.json()["error"]


@pytest.mark.parametrize(
    ("body", "header", "said"),
    [
        (b"{}", "5", "Inference-Header-Content-Length"), (b"{}", "-1", "Inference-Header-Content-Length"),
        (b"{}x", "2", "inputs is no list"), (b"[" * 100_000, None, "the body is no JSON"), (b"[]", None, "no JSON object"),
        (json.dumps({"inputs": [GOOD]}).encode() + b"xx", str(len(json.dumps({"inputs": [GOOD]}))), "belong to no input"),
        (json.dumps({"inputs": [GOOD, GOOD]}).encode(), None, "given twice"),
        (json.dumps({"inputs": [GOOD], "outputs": [{"name": "x"}]}).encode(), None, "unknown output 'x'"),
        (json.dumps({"inputs": [GOOD], "outputs": [{"name": "map"}] * 2}).encode(), None, "asked for twice"),
    ],
)  # fmt: skip
def test_bodies_that_are_no_requests_are_refused(address: str, body: bytes, header: str | None, said: str) -> None:
    headers = {} if header is None else {"Inference-Header-Content-Length": header}
    found = httpx.post(f"{address}/v2/models/levels/infer", content=body, headers=headers)
    assert 400 <= found.status_code < 500
    assert said in found.json()["error"]
