"""Graphs of reduced precision: fp16 for GPUs, static int8, and int8 with activations scaled as they come.

Each is made by onnxruntime's own tools from the float32 graph that was proven against torch. What stays float32 is decided in
`layers`; further layers can be left in float32 by name, which is what `sensitivity` searches for.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Protocol

import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_dynamic
from onnxruntime.quantization.calibrate import CalibrationDataReader, create_calibrator
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.quant_utils import save_and_reload_model_with_shape_infer
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from medzoo.data.errors import ExportError
from medzoo.export.precision.layers import OPERATORS, GraphLayers, Layer
from medzoo.quiet import quiet_library

METHODS = {
    "minmax": CalibrationMethod.MinMax, "entropy": CalibrationMethod.Entropy, "percentile": CalibrationMethod.Percentile,
}  # fmt: skip
"""How the range of an activation is chosen: all of it; by least relative entropy (Migacz 2017); the middle 99.999%."""

Feed = Mapping[str, NDArray[Any]]


class NotOfferedError(ExportError):
    """A precision that makes no sense for a model; the message says which does."""


class Reduction(Protocol):
    """What makes a reduced graph of one float32 graph.

    Attributes:
        precision: fp16, int8 or int8_dynamic.
        layers: Layers that can be reduced or left in float32.
        fixed: Layers that always stay float32.
    """

    precision: str
    layers: tuple[Layer, ...]
    fixed: tuple[Layer, ...]

    def convert(self, kept: Iterable[str] = ()) -> onnx.ModelProto:
        """Return the reduced graph, the layers of the node names `kept` in float32."""
        ...


class Half:
    """fp16 weights and activations; inputs, outputs, preprocessing and the last layers stay float32. For GPUs: on CPU no faster.

    Args:
        model: The float32 graph; not changed.
    """

    precision = "fp16"

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        found = GraphLayers(model)
        self.layers, self.fixed = found.layers, found.fixed
        self._float_nodes = found.float_nodes
        # onnxruntime 1.31 dies (segmentation fault in NchwcTransformer) loading an fp16 Gelu in a graph without convolutions.
        alone = all(node.op_type != "Conv" for node in model.graph.node)
        self._float_operators = [*DEFAULT_OP_BLOCK_LIST, "Gelu"] if alone else DEFAULT_OP_BLOCK_LIST

    def half_nodes(self, kept: Iterable[str] = ()) -> set[str]:
        """Return the names of all nodes that become fp16, the layers of the node names `kept` left in float32."""
        float32 = {*self._float_nodes, *kept}
        return {n.name for n in self._model.graph.node if n.op_type not in self._float_operators and n.name not in float32}

    def convert(self, kept: Iterable[str] = ()) -> onnx.ModelProto:
        """Return the fp16 graph, the layers of the node names `kept` in float32."""
        copy = deepcopy(self._model)
        held = {node.name for node in copy.graph.node if node.op_type in self._float_operators}
        _own_constants(copy, {*self._float_nodes, *held, *kept})
        with quiet_library(output=True):
            half = convert_float_to_float16(
                copy, keep_io_types=True, op_block_list=self._float_operators, node_block_list=[*self._float_nodes, *kept]
            )
        return _described_like(_tidied(half), self._model)


class DynamicInt8:
    """int8 weights per channel of MatMul and Gemm, activations scaled to uint8 anew for every input; no calibration.

    Args:
        model: The float32 graph; not changed.

    Raises:
        NotOfferedError: If most weights are in convolutions, which this precision leaves in float32.
    """

    precision = "int8_dynamic"

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = deepcopy(model)
        # The quantiser knows MatMul alone; the stored shapes of intermediates contradict those it infers.
        ONNXModel(self._model).replace_gemm_with_matmul()
        del self._model.graph.value_info[:]
        found = GraphLayers(self._model)
        self.layers = tuple(layer for layer in found.layers if layer.operator != "Conv")
        self.fixed = found.fixed + tuple(layer for layer in found.layers if layer.operator == "Conv")
        inside, whole = (sum(layer.weights for layer in layers) for layers in (self.layers, found.layers))
        if 2 * inside < whole or not self.layers:
            raise NotOfferedError(
                f"precision=int8_dynamic is not offered for this model: it reduces MatMul and Gemm layers, and "
                f"{1 - inside / max(whole, 1):.0%} of the weights are in convolutions; use precision=int8"
            )

    def convert(self, kept: Iterable[str] = ()) -> onnx.ModelProto:
        """Return the int8 graph, the layers of the node names `kept` in float32."""
        chosen = _chosen(self.layers, kept)
        with tempfile.TemporaryDirectory() as folder, quiet_library(output=True):
            path = Path(folder) / "dynamic.onnx"
            quantize_dynamic(
                self._model, path, op_types_to_quantize=["MatMul"], per_channel=True, reduce_range=True,
                weight_type=QuantType.QInt8, nodes_to_quantize=chosen, use_external_data_format=True,
            )  # fmt: skip
            return _described_like(onnx.load(path), self._model)


class StaticInt8:
    """int8 weights per channel, uint8 activations of ranges seen on training images, in Quantize/Dequantize form.

    Weights use 7 of their 8 bits: processors without VNNI add pairs of products in 16 bits, which 8 would overflow
    (onnxruntime's `reduce_range`).

    Args:
        model: The float32 graph; not changed.
        batches: Inputs to calibrate on; run one after the other, no activation outlives its batch.
        method: One of `METHODS`.

    Raises:
        NotOfferedError: If the graph has no layer to reduce.
    """

    precision = "int8"

    def __init__(self, model: onnx.ModelProto, batches: Iterable[Feed], method: str = "minmax") -> None:
        found = GraphLayers(model)
        self.layers, self.fixed = found.layers, found.fixed
        if not self.layers:
            raise NotOfferedError(
                "precision=int8 is not offered for this model: it has no layer but the last; use precision=fp32"
            )
        with quiet_library(output=True):
            self._model = save_and_reload_model_with_shape_infer(model)
            self._ranges = _calibrate(self._model, batches, method)

    def convert(self, kept: Iterable[str] = ()) -> onnx.ModelProto:
        """Return the int8 graph, the layers of the node names `kept` in float32."""
        chosen = _chosen(self.layers, kept)
        kinds = (QuantType.QInt8, QuantType.QUInt8)
        with quiet_library(output=True):
            quantizer = QDQQuantizer(deepcopy(self._model), True, True, *kinds, self._ranges, chosen, [], list(OPERATORS), {})
            quantizer.quantize_model()
        return _described_like(quantizer.model.model, self._model)


class _Batch(CalibrationDataReader):  # type: ignore[misc]
    """One batch as the calibrator wants it."""

    def __init__(self, feed: Feed) -> None:
        self._left: list[Feed] = [feed]

    def get_next(self) -> Any:
        """Return the batch, then None."""
        return self._left.pop() if self._left else None


def _calibrate(model: onnx.ModelProto, batches: Iterable[Feed], method: str) -> Any:
    """Return the range of every activation that a layer reads or writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float.onnx"
        copy = deepcopy(model)  # saving weights beside the file empties the graph that is saved
        # An input that may be left out becomes the constant it then is: the calibrator's session would warn of each, on stderr.
        constants = {tensor.name for tensor in copy.graph.initializer}
        given = [value for value in copy.graph.input if value.name not in constants]
        del copy.graph.input[:]
        copy.graph.input.extend(given)
        onnx.save_model(copy, str(path), save_as_external_data=True, location="float.data")
        calibrator = create_calibrator(
            path, list(OPERATORS), augmented_model_path=str(Path(folder) / "augmented.onnx"), calibrate_method=METHODS[method],
            use_external_data_format=True,
        )  # fmt: skip
        for feed in batches:
            # One call a batch: a call keeps what its batches gave until its end.
            calibrator.collect_data(_Batch(feed))
        return calibrator.compute_data()


def _chosen(layers: Iterable[Layer], kept: Iterable[str]) -> list[str]:
    left = set(kept)
    chosen = [layer.node for layer in layers if layer.node not in left]
    assert chosen, "an empty list would mean every layer to onnxruntime"
    return chosen


def _own_constants(model: onnx.ModelProto, float_nodes: set[str]) -> None:
    """Give float32 nodes their own copy of a constant that fp16 nodes read too: the converter makes it fp16 for both."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    shared = {name for node in model.graph.node if node.name not in float_nodes for name in node.input if name in constants}
    copied: set[str] = set()
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if node.name in float_nodes and name in shared:
                node.input[place] = f"{name}_float32"
                if name not in copied:
                    copied.add(name)
                    twin = model.graph.initializer.add()
                    twin.CopyFrom(constants[name])
                    twin.name = f"{name}_float32"


def _tidied(model: onnx.ModelProto) -> onnx.ModelProto:
    """Mend the casts of the converter: one for each consumer under the same name, at the end, and back and forth.

    float32 → fp16 → float32 between nodes that both stay float32 would cost the digits they were kept for.
    """
    nodes = {node.output[0]: node for node in model.graph.node}  # a cast that stands there twice is the same cast
    halved = {name: node.input[0] for name, node in nodes.items() if _casts_to(node, onnx.TensorProto.FLOAT16)}
    for node in nodes.values():
        if _casts_to(node, onnx.TensorProto.FLOAT) and node.input[0] in halved:
            node.op_type, node.input[0] = "Identity", halved[node.input[0]]
            del node.attribute[:]
    kept = list(nodes.values())
    del model.graph.node[:]
    model.graph.node.extend(kept)
    OnnxModel.graph_topological_sort(model.graph)
    return model


def _casts_to(node: onnx.NodeProto, kind: int) -> bool:
    return node.op_type == "Cast" and any(entry.name == "to" and entry.i == kind for entry in node.attribute)


def _described_like(model: onnx.ModelProto, original: onnx.ModelProto) -> onnx.ModelProto:
    """Drop what the quantiser leaves behind: shapes of tensors that are no more, and its own metadata."""
    del model.graph.value_info[:]
    del model.metadata_props[:]
    model.metadata_props.extend(original.metadata_props)
    return model
