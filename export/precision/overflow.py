"""Whether the values inside a float32 graph fit into fp16: what running the fp16 graph on a CPU cannot show.

ONNX Runtime's CPU provider computes many fp16 operators (convolutions among them) in float32, where nothing overflows; a GPU
gives infinity beyond 65504, the largest number of IEEE 754 binary16. So the float32 graph is asked how large its values become.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from medzoo.data.errors import ExportError
from medzoo.export.files.model_files import open_model
from medzoo.export.precision.layers import scope_name

LARGEST = 65504 / 2
"""Largest value allowed: half of fp16's range, since other images than these will go further (the project's own margin)."""
INPUTS = 64
"""Inputs looked at, at most."""
BATCH = 8
"""Inputs a run."""

MASK = 1e30
"""Values beyond it are masks of attention, infinite or, as transformers writes them, the lowest float32: fp16 has those too."""

_SMALL = 10_000
_PREFIX = "medzoo_largest_"


def check_overflow(
    model: onnx.ModelProto, half: Collection[str], feeds: Iterable[Mapping[str, NDArray[Any]]], name: str = ""
) -> dict[str, Any]:
    """Run a float32 graph and look at every value that fp16 nodes would read or write.

    Args:
        model: The float32 graph; not changed.
        half: Names of the nodes that become fp16.
        feeds: Batches of real inputs.
        name: Of the graph, for the message.

    Returns:
        JSON-ready: `provider`, `inputs` and `tensors` looked at, the `largest` value, its `layer` and the `limit`. Values beyond
        `MASK` are left out.

    Raises:
        ExportError: If a value is beyond `LARGEST`; the message names the layer and the value.
    """
    makers = {output: node for node in model.graph.node for output in node.output}
    tensors = _float_tensors(model, half)
    session = open_model(_watched(model, tensors))
    largest, count = np.zeros(len(tensors)), 0
    for feed in feeds:
        if tensors:
            largest = np.maximum(largest, session.run([_PREFIX + tensor for tensor in tensors], dict(feed)))
        count += len(next(iter(feed.values())))
    value, layer = 0.0, None
    if tensors:
        worst = tensors[int(largest.argmax())]
        value, layer = float(largest.max()), scope_name(makers[worst]) if worst in makers else worst
    if not value <= LARGEST:  # so that NaN is refused too
        raise ExportError(
            f"{name}precision=fp16 is refused: layer {layer} reaches {value:.4g} on {count} validation inputs, beyond half of "
            f"fp16's range (limit {LARGEST:g}); no file was written; use precision=fp32 or int8"
        )
    found = {"inputs": count, "tensors": len(tensors), "largest": value, "layer": layer, "limit": LARGEST}
    return {"provider": "CPUExecutionProvider", **found}


def _float_tensors(model: onnx.ModelProto, half: Collection[str]) -> list[str]:
    """Return the float32 activations that the nodes read or write, in graph order."""
    skeleton = deepcopy(model)
    for tensor in skeleton.graph.initializer:
        if len(tensor.raw_data) > _SMALL:  # types need no weights, and inference takes 2 GiB at most
            tensor.ClearField("raw_data")
    inferred = onnx.shape_inference.infer_shapes(skeleton).graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*inferred.value_info, *inferred.input, *inferred.output)}
    constants = {tensor.name for tensor in model.graph.initializer}
    seen = (tensor for node in model.graph.node if node.name in half for tensor in (*node.input, *node.output))
    return [tensor for tensor in dict.fromkeys(seen) if kinds.get(tensor) == TensorProto.FLOAT and tensor not in constants]


def _watched(model: onnx.ModelProto, tensors: Iterable[str]) -> onnx.ModelProto:
    """Return the graph with the largest absolute value of each tensor, masks left out, as a further output."""
    copy = deepcopy(model)
    zero, mask = f"{_PREFIX}zero", f"{_PREFIX}mask"
    for name, constant in ((zero, 0.0), (mask, MASK)):
        copy.graph.initializer.append(numpy_helper.from_array(np.array(constant, np.float32), name))
    for tensor in tensors:
        size, masked, value, out = (f"{_PREFIX}{part}{tensor}" for part in ("size_", "masked_", "value_", ""))
        nodes = [
            helper.make_node("Abs", [tensor], [size], name=size),
            helper.make_node("Greater", [size, mask], [masked], name=masked),
            helper.make_node("Where", [masked, zero, size], [value], name=value),
            helper.make_node("ReduceMax", [value], [out], name=out, keepdims=0),
        ]
        copy.graph.node.extend(nodes)
        copy.graph.output.append(helper.make_tensor_value_info(out, TensorProto.FLOAT, []))
    return copy
