"""Sealed files made by hand, in a moment: a bottleneck with maps and thresholds, a file with open classes, its text tower."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from medzoo.data.labels import LabelSpace
from medzoo.data.operating_points import OperatingPoint, OperatingPoints
from medzoo.evaluation.calibration.conformal import Conformal
from medzoo.export.files.integrity import KEY, PLACEHOLDER
from medzoo.export.files.model_files import write_model

CLASSES, CONCEPTS = ("dark", "grey", "bright"), ("light", "flat")
LABELS = LabelSpace("multiclass", CLASSES)
POINTS = OperatingPoints(LABELS, (OperatingPoint("youden", (0.0, -1.0, None), ("", "", "none does"), ({}, {}, {})),))
WORDS = {"[UNK]": 0, "red": 1, "green": 2, "blue": 3}


def bottleneck(path: Path, report: dict[str, Any] | None = None) -> Path:
    """Write a model of uint8 (N, H, W, 1): mean → two concepts, which may be corrected → three classes; and a 2×2 map of each."""
    rng = np.random.default_rng(0)
    constants = {
        "axes": np.array([1, 2]), "scale": np.float32(255), "slope": np.array([[4.0, -3.0]], np.float32),
        "offset": np.array([[-2.0, 1.0]], np.float32), "one": np.float32(1), "weight": rng.normal(size=(2, 3)).astype(np.float32),
        "concept_values": np.zeros((1, 2), np.float32), "concept_mask": np.zeros((1, 2), np.float32),
        "least": np.float32(0.3), "cells": np.array([[[[1, 0], [0, -1]]]], np.float32), "last": np.array([2, 3]),
    }  # fmt: skip
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["level"], keepdims=0),
        helper.make_node("Div", ["level", "scale"], ["share"]),
        helper.make_node("Mul", ["share", "slope"], ["sloped"]),
        helper.make_node("Add", ["sloped", "offset"], ["odds"]),
        helper.make_node("Sigmoid", ["odds"], ["concepts"]),
        helper.make_node("Sub", ["one", "concept_mask"], ["left"]),
        helper.make_node("Mul", ["concepts", "left"], ["own"]),
        helper.make_node("Mul", ["concept_values", "concept_mask"], ["given"]),
        helper.make_node("Add", ["own", "given"], ["used"]),
        helper.make_node("MatMul", ["used", "weight"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("GreaterOrEqual", ["probabilities", "least"], ["prediction_set"]),
        helper.make_node("Unsqueeze", ["odds", "last"], ["wide"]),
        helper.make_node("Mul", ["wide", "cells"], ["map"]),
    ]
    outputs = {"logits": ["n", 3], "probabilities": ["n", 3], "concepts": ["n", 2], "map": ["n", 2, 2, 2]}
    outputs["prediction_set"] = ["n", 3]
    inputs = {"image": (TensorProto.UINT8, ["n", "h", "w", 1])}
    inputs |= {name: (TensorProto.FLOAT, ["rows", 2]) for name in ("concept_values", "concept_mask")}
    more = {"medzoo.operating_points": json.dumps(POINTS.to_dict()), "medzoo.report": json.dumps(report or {})}
    more["medzoo.conformal"] = json.dumps(Conformal(LABELS, 0.9, "split", (0.3, 0.3, 0.3)).to_dict())
    spec = {"concepts": {"names": list(CONCEPTS), "groups": {}}, "objective": {}}
    return write_file(path, nodes, constants, inputs, outputs, spec, LABELS, more)


def concept_maps(path: Path) -> Path:
    """Write a model of uint8 (N, H, W, 1): means of what regions leave of it → two concepts → classes."""
    shapes: dict[str, tuple[Any, list[Any]]] = {
        "region": (np.uint8, ["r", "rh", "rw", 1]), "region_mask": (np.float32, ["m", 2]),
        "region_places": (np.float32, ["p", 2, 2, 2]), "concept_values": (np.float32, ["v", 2]),
        "concept_mask": (np.float32, ["w", 2]),
    }  # fmt: skip
    constants: dict[str, Any] = {
        "axes": np.array([1, 2]), "cells": np.array([2, 3]), "scale": np.float32(255), "one": np.float32(1),
        "slope": np.array([[4.0, -3.0]], np.float32), "weight": np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32),
    }  # fmt: skip
    constants |= {name: np.zeros([n if isinstance(n, int) else 1 for n in shape], kind) for name, (kind, shape) in shapes.items()}
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["region"], ["taken"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["pixels", "taken"], ["lost"]),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["level"], keepdims=0),
        helper.make_node("ReduceMean", ["lost", "axes"], ["less"], keepdims=0),
        helper.make_node("Mul", ["less", "region_mask"], ["gone"]),
        helper.make_node("Sub", ["level", "gone"], ["rest"]),
        helper.make_node("Div", ["rest", "scale"], ["share"]),
        helper.make_node("Mul", ["share", "slope"], ["odds"]),
        helper.make_node("ReduceMean", ["region_places", "cells"], ["away"], keepdims=0),
        helper.make_node("Sub", ["one", "away"], ["stays"]),
        helper.make_node("Mul", ["odds", "stays"], ["part"]),
        helper.make_node("Div", ["part", "stays"], ["of"]),  # no number where every place is taken away
        helper.make_node("Sigmoid", ["of"], ["concepts"]),
        helper.make_node("Sub", ["one", "concept_mask"], ["left"]),
        helper.make_node("Mul", ["concepts", "left"], ["own"]),
        helper.make_node("Mul", ["concept_values", "concept_mask"], ["told"]),
        helper.make_node("Add", ["own", "told"], ["used"]),
        helper.make_node("MatMul", ["used", "weight"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    kinds = {np.uint8: TensorProto.UINT8, np.float32: TensorProto.FLOAT}
    inputs = {"image": (TensorProto.UINT8, ["n", "h", "w", 1])} | {
        name: (kinds[kind], shape) for name, (kind, shape) in shapes.items()
    }
    outputs = {"logits": ["n", 3], "probabilities": ["n", 3], "concepts": ["n", 2]}
    spec = {"concepts": {"names": list(CONCEPTS), "groups": {}}, "objective": {}}
    return write_file(path, nodes, constants, inputs, outputs, spec, LABELS, {})


def open_classes(path: Path) -> Path:
    """Write a model of uint8 (N, H, W, 3) and class vectors: ten times the cosine of the mean colour with each."""
    constants = {"axes": np.array([1, 2]), "row": np.array([1]), "ten": np.float32(10), "least": np.float32(1e-6)}
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["colour"], keepdims=0),
        helper.make_node("ReduceL2", ["colour", "row"], ["norm"], keepdims=1),
        helper.make_node("Max", ["norm", "least"], ["length"]),
        helper.make_node("Div", ["colour", "length"], ["image_embedding"]),
        helper.make_node("Transpose", ["class_embeddings"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["image_embedding", "turned"], ["cosine"]),
        helper.make_node("Mul", ["cosine", "ten"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    inputs = {"image": (TensorProto.UINT8, ["n", "h", "w", 3]), "class_embeddings": (TensorProto.FLOAT, ["k", 3])}
    outputs = {"logits": ["n", "k"], "probabilities": ["n", "k"], "image_embedding": ["n", 3]}
    return write_file(path, nodes, constants, inputs, outputs, {"of": "colours"}, None, {}, channels=3)


def text_tower(path: Path) -> Path:
    """Write the tower of `open_classes`: a text's vector is the unit sum of its colours' axes."""
    table = np.concatenate([np.full((1, 3), 0.01), np.eye(3)]).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["rows"]),
        helper.make_node("ReduceSum", ["rows", "one"], ["sum"], keepdims=0),
        helper.make_node("ReduceL2", ["sum", "one"], ["norm"], keepdims=1),
        helper.make_node("Div", ["sum", "norm"], ["text_embedding"]),
    ]
    inputs, outputs = {"tokens": (TensorProto.INT64, ["n", 4])}, {"text_embedding": ["n", 3]}
    constants, more = {"table": table, "one": np.array([1])}, {"medzoo.tokenizer": json.dumps(tokenizer())}
    return write_file(path, nodes, constants, inputs, outputs, {"of": "colours"}, None, more, channels=3)


def tokenizer() -> dict[str, Any]:
    """Return a tokenizer of `WORDS`: four tokens, longer texts are cut."""
    return {
        "format": 1, "kind": "hugging_face", "context_length": 4, "cleaning": "lower", "pad_id": 0, "padding_side": "right",
        "truncation_side": "right", "split_special_tokens": False, "zeroed_id": None,
        "tokenizer": {
            "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
            "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None, "decoder": None,
            "model": {"type": "WordLevel", "vocab": WORDS, "unk_token": "[UNK]"},
        },
    }  # fmt: skip


def _kind(output: str) -> int:
    return TensorProto.BOOL if output == "prediction_set" else TensorProto.FLOAT


def write_file(
    path: Path, nodes: list[Any], constants: dict[str, Any], inputs: dict[str, Any], outputs: dict[str, Any],
    spec: dict[str, Any], labels: LabelSpace | None, more: dict[str, str], channels: int = 1,
) -> Path:  # fmt: skip
    """Seal a graph of float32 outputs, and write it; constants of an input's name are what it is when it is left out."""
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, _kind(name), shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    preprocess = {"size": [8, 8], "mode": "stretch", "channels": channels, "dtype": "uint8"}
    entries = {
        "medzoo.format": "1",
        "medzoo.version": "0",
        "medzoo.spec": json.dumps({"preprocess": preprocess, "data": {"title": "Levels", "notes": []}, **spec}),
        "medzoo.labels": json.dumps(None if labels is None else labels.to_dict()),
        "medzoo.outputs": json.dumps(list(outputs)),
        **more,
        KEY: PLACEHOLDER,
    }
    for key, value in entries.items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model)
    write_model(model, path)
    return path
