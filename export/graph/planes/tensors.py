"""A graph whose volumes turn into planes node by node: the bookkeeping under `medzoo.export.graph.planes.rewrite`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper

Floats = NDArray[np.float32]
Attributes = Mapping[str, Any]
"""Of a node, by name."""
VOLUME = 5
"""Dimensions of (N, C, D, H, W)."""


class UnknownError(Exception):
    """Something that cannot be written on planes; the message names it."""


class PlaneGraph:
    """Nodes and constants of a graph in the making, beside the graph it is made from.

    A volume (N, C, D, H, W) of the original graph is held under its name as planes (N·D, C, H, W); all its sizes but N are fixed.

    Args:
        model: The original graph, with the shapes of its intermediates; not changed.

    Attributes:
        original: That graph.
        constants: Its initialisers, by name, without those that can be overridden as inputs.
        held: Names of its volumes that live as planes.
        nodes: What has been written so far.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.original = model
        given = {value.name for value in model.graph.input}
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer if tensor.name not in given}
        self.held: set[str] = set()
        self.nodes: list[NodeProto] = []
        self._shapes = {
            value.name: tuple(d.dim_value if d.HasField("dim_value") else d.dim_param for d in value.type.tensor_type.shape.dim)
            for value in (*model.graph.value_info, *model.graph.input, *model.graph.output)
        }
        self._turned: dict[str, str] = {}
        self._reshapes: set[str] = set()
        self._new: dict[str, onnx.TensorProto] = {}

    def finished(self) -> onnx.ModelProto:
        """Return the new graph; raises `UnknownError` where an output of the original is held as planes."""
        for value in self.original.graph.output:
            if value.name in self.held:
                raise UnknownError(f"the output {value.name} is a volume")
        written = deepcopy(self.original)
        graph = written.graph
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(self.nodes)
        read = {name for node in self.nodes for name in node.input} | {value.name for value in graph.input}
        kept = [tensor for tensor in self.original.graph.initializer if tensor.name in read and tensor.name not in self._new]
        graph.initializer.extend([*kept, *self._new.values()])
        changed = {*self.held, *self._new}  # weights too have shapes there
        graph.value_info.extend(value for value in self.original.graph.value_info if value.name not in changed)
        return written

    def shape(self, name: str) -> tuple[int, int, int, int]:
        """Return the fixed (C, D, H, W) of a volume of the original graph; raises `UnknownError` where one is not fixed."""
        sides = [side for side in self._shapes.get(name, ())[1:] if isinstance(side, int)]
        if len(sides) != VOLUME - 1 or len(self._shapes[name]) != VOLUME:
            raise UnknownError(f"{name} has no fixed channels, depth, height and width")
        channels, depth, height, width = sides
        return channels, depth, height, width

    def same_shape(self, name: str, other: str) -> bool:
        """Whether two volumes of the original graph have one shape, batch included; constants have none."""
        return name in self._shapes and name not in self.constants and self._shapes[name] == self._shapes.get(other)

    def planes(self, name: str) -> str:
        """Return a volume of the original graph as planes; one that is none yet is turned."""
        if name in self.held:
            return name
        if name not in self._turned:
            channels, _, height, width = self.shape(name)
            turned = self.emit("Transpose", [name], f"{name}_turned", perm=[0, 2, 1, 3, 4])
            self._turned[name] = self.reshape(turned, (-1, channels, height, width), f"{name}_planes")
        return self._turned[name]

    def over_depth(self, matrix: Floats, rows: str, result: str) -> None:
        """Multiply (outputs, R) with (N, R, C·H·W) and hold the result as planes."""
        self.hold(self.emit("MatMul", [self.constant(matrix), rows], f"{result}_volume"), result)

    def hold(self, volume: str, result: str) -> None:
        """Hold (N, D, ...) as planes of the original graph's volume `result`."""
        channels, _, height, width = self.shape(result)
        self.reshape(volume, (-1, channels, height, width), result)
        self.held.add(result)

    def keep(self, node: NodeProto, names: Sequence[str]) -> None:
        """Keep an operation that does the same on planes."""
        copy = deepcopy(node)
        del copy.input[:]
        copy.input.extend(names)
        self.nodes.append(copy)
        self.held.add(node.output[0])

    def reshape(self, name: str, shape: tuple[int, ...], result: str | None = None) -> str:
        """Write a tensor in another shape, once for all branches that read it so; return the new name."""
        if result is None:
            result = f"{name}_by_{'_'.join(map(str, shape[1:]))}"
            if result in self._reshapes:
                return result
            self._reshapes.add(result)
        return self.emit("Reshape", [name, self.constant(np.array(shape))], result)

    def emit(self, operation: str, inputs: Sequence[str], result: str, **attributes: Any) -> str:
        """Write a node of one output; return the output's name."""
        self.nodes.append(helper.make_node(operation, inputs, [result], name=f"planes_{result}", **attributes))
        return result

    def convolution_2d(
        self, node: NodeProto, planes: str, weight: Floats, bias: Floats | None, flat: Attributes, result: str
    ) -> str:
        """Write a convolution as 2D under its own name, its weights under theirs: reports name layers by them; return `result`.

        Args:
            node: The 3D convolution.
            planes: What it reads, (M, C, H, W).
            weight: (O, C / groups, h, w).
            bias: (O), or None.
            flat: Attributes of the 2D operation.
            result: Name of the output, (M, O, H', W').
        """
        alone = sum(node.input[1] in other.input for other in self.original.graph.node) == 1
        own = node.input[1] if alone else f"{node.input[1]}_{node.name}"
        self._new[own] = numpy_helper.from_array(np.ascontiguousarray(weight), own)
        inputs = [planes, own]
        if bias is not None:
            self._new[f"{own}_planes_bias"] = numpy_helper.from_array(np.ascontiguousarray(bias), f"{own}_planes_bias")
            inputs.append(f"{own}_planes_bias")
        copy = helper.make_node("Conv", inputs, [result], name=node.name, **flat)
        copy.metadata_props.extend(node.metadata_props)
        self.nodes.append(copy)
        return result

    def constant(self, values: NDArray[Any]) -> str:
        """Return the name of a constant, one for all its uses."""
        values = values.astype(np.int64) if values.dtype.kind == "i" else values
        tensor = numpy_helper.from_array(np.ascontiguousarray(values))
        for name, other in self._new.items():
            if other.data_type == tensor.data_type and other.dims == tensor.dims and other.raw_data == tensor.raw_data:
                return name
        tensor.name = f"planes_constant_{len(self._new)}"
        self._new[tensor.name] = tensor
        return tensor.name
