"""The layers of an exported graph: what a reduced precision may change, what must stay float32, and what to call them.

A layer is a Conv, MatMul or Gemm whose second input is a constant: the weights. Products of two activations (attention) are no
layers here. What stays float32 is found from the graph itself, so that every family follows one rule:

- what comes before the first layer: grey levels up to 255, resize weights, mean and standard deviation;
- the last layers before `logits` and `concepts`, and what follows the last layer of anything: a class layer, a similarity with
  class vectors, softmax, sigmoid, an embedding's length. They cost little, and nothing after them evens their errors out;
- what follows an input that may be left out or that brings class vectors: corrected concepts and given classes count exactly.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property

import onnx

OPERATORS = ("Conv", "Gemm", "MatMul")
JUDGED = ("logits", "concepts")
"""Outputs whose last layers stay float32; of several targets each one's, `<target>.logits`."""

_SCOPES = "pkg.torch.onnx.name_scopes"


@dataclass(frozen=True)
class Layer:
    """One layer with constant weights.

    Attributes:
        node: Name of the ONNX node, unique in the graph.
        name: Where it stands in the torch model, such as `layer1.0.conv2`; the node's name where the graph does not say.
        operator: Conv, Gemm or MatMul.
        weights: Number of weights.
    """

    node: str
    name: str
    operator: str
    weights: int


class GraphLayers:
    """The layers of one graph.

    Args:
        model: An exported graph; not changed.

    Attributes:
        layers: Those that may be reduced, in graph order.
        fixed: Those that stay float32 whatever is asked.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        self._image = model.graph.input[0].name
        sizes = {tensor.name: math.prod(tensor.dims) for tensor in model.graph.initializer}
        given = {value.name for value in model.graph.input}
        every = [
            node for node in model.graph.node
            if node.op_type in OPERATORS and node.input[1] in sizes and node.input[1] not in given
        ]  # fmt: skip
        nodes = {node.name for node in every}
        tail = self._upstream((value.name for value in model.graph.output if value.name.rpartition(".")[2] in JUDGED), nodes)
        held = (tail | self._downstream(self._further_inputs)) & nodes
        found = [Layer(node.name, _name(node), node.op_type, sizes[node.input[1]]) for node in every]
        self.layers = tuple(layer for layer in found if layer.node not in held)
        self.fixed = tuple(layer for layer in found if layer.node in held)

    @cached_property
    def float_nodes(self) -> tuple[str, ...]:
        """Names of all nodes, layers or not, that stay float32."""
        kept = {layer.node for layer in self.fixed}
        kept |= self._downstream(self._outputs_of(kept)) | self._downstream(self._further_inputs)
        every = {layer.node for layer in (*self.layers, *self.fixed)}
        read = {name for node in self._graph.node if node.name in every for name in node.input}
        kept |= {node.name for node in self._graph.node} - every - self._upstream(read)
        if self._image == "image":  # tokens have no preprocessing, and their table of vectors is most of the file
            first = {layer.node for layer in self.layers}
            kept |= {node.name for node in self._graph.node} - first - self._downstream(self._outputs_of(first))
        return tuple(node.name for node in self._graph.node if node.name in kept)

    def _outputs_of(self, nodes: set[str]) -> set[str]:
        return {name for node in self._graph.node if node.name in nodes for name in node.output}

    @property
    def _further_inputs(self) -> set[str]:
        return {value.name for value in self._graph.input if value.name != self._image}

    def _downstream(self, tensors: Iterable[str]) -> set[str]:
        """Return the names of all nodes that depend on the values of any of some tensors.

        Not on their shape: the batch size of a class token may be read from any input.
        """
        reached, found = set(tensors), set()
        for node in self._graph.node:  # in topological order, as ONNX demands
            if node.op_type not in ("Shape", "Size") and any(name in reached for name in node.input):
                found.add(node.name)
                reached.update(node.output)
        return found

    def _upstream(self, tensors: Iterable[str], ends: Collection[str] = ()) -> set[str]:
        """Return the names of all nodes that any of some tensors depends on, without passing one of `ends`."""
        wanted, found = set(tensors), set()
        for node in reversed(self._graph.node):
            if any(name in wanted for name in node.output):
                found.add(node.name)
                if node.name not in ends:
                    wanted.update(node.input)
        return found


def _name(node: onnx.NodeProto) -> str:
    """Return the torch module a node comes from: that of its weights, which outlives a batch norm folded into them."""
    if not node.input[1].startswith("val_"):  # the exporter's name for what it has folded
        return str(node.input[1]).removesuffix(".weight").removeprefix("model.")
    return scope_name(node)


def scope_name(node: onnx.NodeProto) -> str:
    """Return the torch module that a node of any kind was traced in; the node's own name where the graph does not say."""
    for entry in node.metadata_props:
        if entry.key == _SCOPES:
            scopes = re.findall(r"'([^']*)'", entry.value)
            if len(scopes) > 1 and scopes[-2]:
                return str(scopes[-2]).removeprefix("model.")
    return str(node.name)
