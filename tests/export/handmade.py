"""A sealed model made by hand: the mean colour of an image through one matrix, so that NumPy says what it must answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from medzoo.data.labels import LabelSpace
from medzoo.export.files.integrity import KEY, PLACEHOLDER
from medzoo.export.files.model_files import write_model

WEIGHT = np.random.default_rng(0).normal(size=(3, 400)).astype(np.float32) / 50
"""400 columns: 4,800 bytes, above the size that stays in the graph when weights leave it."""
CLASSES = ("benign", "malignant")


def build(scale: float = 1.0) -> onnx.ModelProto:
    """Return a described, unsealed model: uint8 (N, H, W, 3) → float32 `logits` (times `scale`) and `probabilities` (N, 2)."""
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["colour"], keepdims=0),
        helper.make_node("MatMul", ["colour", "weight"], ["wide"]),
        helper.make_node("Reshape", ["wide", "halves"], ["parts"]),
        helper.make_node("ReduceMean", ["parts", "last"], ["logits"], keepdims=0),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    constants = {"axes": np.array([1, 2]), "halves": np.array([0, 2, 200]), "last": np.array([2])}
    constants["weight"] = WEIGHT * np.float32(scale)
    graph = helper.make_graph(
        nodes,
        "handmade",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", "h", "w", 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in ("logits", "probabilities")],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    spec = {"preprocess": {"size": [8, 8], "channels": 3, "dtype": "uint8"}, "data": {}}
    entries: dict[str, Any] = {
        "medzoo.format": "1",
        "medzoo.spec": json.dumps(spec),
        "medzoo.labels": json.dumps(LabelSpace("multiclass", CLASSES).to_dict()),
        "medzoo.outputs": json.dumps(["logits", "probabilities"]),
        KEY: PLACEHOLDER,
    }
    for key, value in entries.items():
        model.metadata_props.add(key=key, value=value)
    return model


def write(path: Path, *, external: bool = False, scale: float = 1.0) -> Path:
    """Seal the model and write it; `external`: its weight into a file beside it."""
    write_model(build(scale), path, limit=0 if external else None)
    return path


def expected_logits(images: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Return what the model must say, by NumPy alone."""
    colours = np.stack([image.reshape(-1, 3).mean(axis=0) for image in images])
    return (colours @ WEIGHT.astype(np.float64)).reshape(-1, 2, 200).mean(axis=2).astype(np.float32)
