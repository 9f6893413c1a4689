"""Sealed files made by hand whose samples are several things: images, a text and values by name; bags of images or rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from medzoo.data.labels import LabelSpace
from tests.export.service.models import CLASSES, LABELS, tokenizer, write_file

SHOWN = ("PA", "lateral")
FINDING = LabelSpace("multilabel", ("finding",))
GRAY = {"size": [8, 8], "mode": "stretch", "channels": 1, "dtype": "uint8"}
COLOUR = {**GRAY, "channels": 3}
__all__ = ["CLASSES", "SHOWN", "bags", "modalities", "rows"]


def modalities(path: Path, report: dict[str, Any] | None = None) -> Path:
    """Write a model of `image` (gray, up to two views), `second` (colour), `note` (a text), `age` and `sex`, any missing.

    Means, sums of tokens and values under their masks, and which values are missing, through one matrix → three classes.
    """
    views, nodes, found = {"image": 1, "image_2": 1, "second": 3}, [], []
    constants: dict[str, Any] = {
        "sides": np.array([1, 2]), "last": np.array([1]), "most": np.float32(255), "ten": np.float32(10), "zero": np.float32(0),
        "weight": np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32),
    }  # fmt: skip
    inputs: dict[str, Any] = {}
    for name, channels in views.items():
        inputs[name] = (TensorProto.UINT8, [f"{name}_n", f"{name}_h", f"{name}_w", channels])
        nodes += [
            helper.make_node("Cast", [name], [f"{name}_pixels"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", [f"{name}_pixels", "sides"], [f"{name}_colour"], keepdims=0),
            helper.make_node("ReduceMean", [f"{name}_colour", "last"], [f"{name}_level"], keepdims=1),
            helper.make_node("Div", [f"{name}_level", "most"], [f"{name}_value"]),
        ]
    inputs["note"] = (TensorProto.INT64, ["note_n", 4])
    nodes += [
        helper.make_node("Mul", ["image_value", "zero"], ["nothing"]),  # (N, 1): what is left out has one row in the file
        helper.make_node("Cast", ["note"], ["note_float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["note_float", "last"], ["note_sum"], keepdims=1),
        helper.make_node("Div", ["note_sum", "ten"], ["note_value"]),
    ]
    for name in (*views, "note"):
        inputs[f"{name}_mask"] = (TensorProto.FLOAT, [f"{name}_mask_n", 1])
        nodes.append(helper.make_node("Mul", [f"{name}_value", f"{name}_mask"], [f"{name}_seen"]))
        nodes.append(helper.make_node("Add", [f"{name}_seen", "nothing"], [f"{name}_used"]))
        found.append(f"{name}_used")
    inputs["inputs"] = (TensorProto.FLOAT, ["inputs_n", 2])
    nodes += [
        helper.make_node("IsNaN", ["inputs"], ["absent"]),
        helper.make_node("Where", ["absent", "zero", "inputs"], ["values"]),
        helper.make_node("Cast", ["absent"], ["lacks"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["values", "nothing"], ["given"]),
        helper.make_node("Add", ["lacks", "nothing"], ["lacking"]),
        helper.make_node("Concat", [*found, "given", "lacking"], ["all"], axis=1),
        helper.make_node("MatMul", ["all", "weight"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    types = {TensorProto.UINT8: np.uint8, TensorProto.INT64: np.int64, TensorProto.FLOAT: np.float32}
    for name, (kind, shape) in inputs.items():
        if name != "image":  # what may be left out has a default in the file
            constants[name] = np.zeros([side if isinstance(side, int) else 1 for side in shape], types[kind])
    encoders = {"image": {"preprocess": GRAY, "views": 2}, "second": {"preprocess": COLOUR}}
    space = {"names": ["age", "sex"], "categories": {"sex": ["female", "male"]}}
    spec = {"arguments": {"encoders": encoders, "inputs": space}, "objective": {}}
    more = {"medzoo.tokenizers": json.dumps({"note": tokenizer()}), "medzoo.report": json.dumps(report or {})}
    outputs = {"logits": ["n", 3], "probabilities": ["n", 3]}
    return write_file(path, nodes, constants, inputs, outputs, spec, LABELS, more)


def bags(path: Path) -> Path:
    """Write a model of bags of gray images, which says what each shows: levels weighed by their exponentials → one finding."""
    return _bags(path, of_rows=False)


def rows(path: Path) -> Path:
    """Write a model of bags of rows of three features, whose mean is their level."""
    return _bags(path, of_rows=True)


def _bags(path: Path, *, of_rows: bool) -> Path:
    name = "members" if of_rows else "image"
    constants: dict[str, Any] = {
        "sides": np.array([1] if of_rows else [1, 2, 3]), "most": np.float32(1 if of_rows else 255), "four": np.float32(4),
        "first": np.array(0), "step": np.array(1), "last": np.array([1]), "front": np.array([0]), "tenth": np.float32(0.1),
        "slope": np.array([[6.0]], np.float32), "offset": np.float32(-2),
    }  # fmt: skip
    kind, shape = (TensorProto.FLOAT, ["m", 3]) if of_rows else (TensorProto.UINT8, ["m", "h", "w", 1])
    inputs: dict[str, Any] = {name: (kind, shape), "counts": (TensorProto.INT64, ["n"])}
    nodes = [
        helper.make_node("Cast", [name], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "sides"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "most"], ["plain"]),
    ]
    if not of_rows:
        inputs["views"] = (TensorProto.INT64, ["m"])
        nodes += [
            helper.make_node("Cast", ["views"], ["codes"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["codes", "tenth"], ["shift"]),
            helper.make_node("Add", ["plain", "shift"], ["moved"]),
        ]
    nodes += [
        helper.make_node("Unsqueeze", ["plain" if of_rows else "moved", "last"], ["level"]),
        helper.make_node("Mul", ["level", "four"], ["steep"]),
        helper.make_node("Exp", ["steep"], ["share"]),
        helper.make_node("CumSum", ["counts", "first"], ["ends"]),
        helper.make_node("Sub", ["ends", "counts"], ["starts"]),
        helper.make_node("Unsqueeze", ["ends", "last"], ["end"]),
        helper.make_node("Unsqueeze", ["starts", "last"], ["start"]),
        helper.make_node("Size", ["plain"], ["all"]),
        helper.make_node("Range", ["first", "all", "step"], ["places"]),
        helper.make_node("Unsqueeze", ["places", "front"], ["place"]),
        helper.make_node("GreaterOrEqual", ["place", "start"], ["behind"]),
        helper.make_node("Less", ["place", "end"], ["before"]),
        helper.make_node("And", ["behind", "before"], ["inside"]),
        helper.make_node("Cast", ["inside"], ["member"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["member", "share"], ["sums"]),
        helper.make_node("Transpose", ["member"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["turned", "sums"], ["sum"]),
        helper.make_node("Div", ["share", "sum"], ["weights"]),
        helper.make_node("Squeeze", ["weights", "last"], ["attention"]),
        helper.make_node("Mul", ["weights", "level"], ["weighed"]),
        helper.make_node("MatMul", ["member", "weighed"], ["pooled"]),
        helper.make_node("MatMul", ["pooled", "slope"], ["sloped"]),
        helper.make_node("Add", ["sloped", "offset"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["probabilities"]),
    ]
    outputs = {"logits": ["n", 1], "probabilities": ["n", 1], "attention": ["m"]}
    spec: dict[str, Any] = {"arguments": {"bag": {} if of_rows else {"views": list(SHOWN)}}, "objective": {}}
    if of_rows:
        spec["preprocess"] = {"size": [1, 3], "mode": "stretch", "channels": 1, "dtype": "float32"}
    return write_file(path, nodes, constants, inputs, outputs, spec, FINDING, {})
