"""Volumes as stacks of planes: an exported graph's 3D layers written as 2D layers that give the same numbers.

ONNX Runtime's blocked layout for convolutions on CPUs (NCHWc, https://onnxruntime.ai/docs/performance/model-optimizations)
covers 2D alone. Here activations (N, C, D, H, W) live as (N·D, C, H, W) from the first convolution to the global pooling, and
a convolution of kernel (k, h, w) is one 2D convolution of planes stacked as channels:

- where it is 3 planes deep and of stride 1, tiles of depth are turned by constant matrices into fewer products than planes
  (`medzoo.export.graph.planes.depth_window.MinimalFilter`), each product a group of channels;
- else each output plane gets the k input planes it is made of as k·C channels. Taps that reach only padding are left out.

The rewriting works on the finished ONNX graph: it needs no knowledge of modules, changes nothing in torch, and comes after the
exporter has folded batch norms. It is all or nothing: an operation it does not know leaves the graph as it was, and the report
says which. It needs the depth inside the network to be fixed, which `medzoo.data.samples.preprocess.fit` sees to; that of the
input stays dynamic.

Measured at batch 1 on one thread: 3D DenseNet-121 at 64×64×64 118 → 54 ms, 3D ResNet-18 449 → 253 ms and at 32×32×32 59 → 34 ms
(48 without minimal filtering, whose weights take 4/3 or twice the place), as int8 83 → 16 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

from medzoo.export.graph.planes.depth_window import CONSTANT_TERM, DepthWindow, MinimalFilter
from medzoo.export.graph.planes.tensors import VOLUME, Attributes, Floats, PlaneGraph, UnknownError

POINTWISE = frozenset(
    {"Relu", "LeakyRelu", "Elu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Softplus", "Mish", "Gelu", "Identity", "Clip"}
)
"""Operations on each value alone; further inputs must be single constants."""
ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div"})
"""Operations on two tensors of one shape, or on a tensor and a single constant."""
BLOCK = 16
"""Channels a group must be a multiple of: ONNX Runtime's largest block (AVX-512); other groups fall back to a slow kernel."""


@dataclass(frozen=True)
class Planes:
    """What became of a graph's 3D layers.

    Attributes:
        convolutions: How many 3D convolutions the graph had.
        left: Why all of them stayed 3D; None: all became 2D.
    """

    convolutions: int
    left: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description."""
        return asdict(self)


def on_planes(model: onnx.ModelProto, minimal: bool = True) -> tuple[onnx.ModelProto, Planes | None]:
    """Write a graph's 3D layers as 2D layers of the same results, up to the order of sums.

    Args:
        model: An exported graph with the shapes of its intermediates; not changed.
        minimal: Use minimal filtering where it is cheaper. Not for a graph to be reduced: its sums and differences span
            wider ranges than the planes (int8 3D ResNet-18: error 0.26 of the logits' spread, 0.07 without and no slower).

    Returns:
        A new graph and what was done; the same graph and the reason where one operation between the first 3D convolution and
        the global pooling is not known; the same graph and None where there is no 3D convolution.
    """
    rewriting = _Rewriting(model, minimal)
    count = sum(rewriting.is_volume_convolution(node) for node in model.graph.node)
    if not count:
        return model, None
    try:
        return rewriting.run(), Planes(count)
    except UnknownError as reason:
        return model, Planes(count, str(reason))


class _Rewriting(PlaneGraph):
    """One pass over a graph, node by node."""

    def __init__(self, model: onnx.ModelProto, minimal: bool) -> None:
        super().__init__(model)
        self._minimal = minimal
        self._writers: Mapping[str, Callable[[NodeProto], None]] = {
            "Conv": self._convolution, "MaxPool": self._max_pool, "AveragePool": self._average_pool, "Concat": self._concat,
            "BatchNormalization": self._batch_norm, "ReduceMean": self._global_mean, "GlobalAveragePool": self._global_mean,
            **dict.fromkeys(POINTWISE | ARITHMETIC, self._by_value),
        }  # fmt: skip

    def is_volume_convolution(self, node: NodeProto) -> bool:
        """Whether a node is a convolution with constant (O, C, k, h, w) weights."""
        return node.op_type == "Conv" and node.input[1] in self.constants and len(self.constants[node.input[1]].dims) == VOLUME

    def run(self) -> onnx.ModelProto:
        """Return the rewritten graph; raises `UnknownError`."""
        for node in self.original.graph.node:
            if self.is_volume_convolution(node) or any(name in self.held for name in node.input):
                known = self.is_volume_convolution(node) or (node.op_type in self._writers and node.op_type != "Conv")
                if not known or node.domain:
                    raise UnknownError(f"{node.op_type} {node.name} is not known on planes")
                self._writers[node.op_type](node)
            else:
                self.nodes.append(node)
        return self.finished()

    def _convolution(self, node: NodeProto) -> None:
        found = _attributes(node)
        if found.get("group", 1) != 1:
            raise UnknownError(f"Conv {node.name} has {found['group']} groups")
        weight = numpy_helper.to_array(self.constants[node.input[1]])
        if len(node.input) > 2 and node.input[2] and node.input[2] not in self.constants:
            raise UnknownError(f"the bias of Conv {node.name} is no constant")
        bias = numpy_helper.to_array(self.constants[node.input[2]]) if len(node.input) > 2 and node.input[2] else None
        window, flat = self._window(node, found, weight.shape[2:])
        outputs, channels = weight.shape[:2]
        minimal = window.minimal_filter() if self._minimal and not channels % BLOCK and not outputs % BLOCK else None
        if minimal is None:
            self._stacked(node, window, flat, weight, bias)
        else:
            self._filtered(node, minimal, flat, weight, bias)

    def _stacked(self, node: NodeProto, window: DepthWindow, flat: Attributes, weight: Floats, bias: Floats | None) -> None:
        """Write a convolution over the planes each output is made of."""
        used = window.inside.any(axis=0)
        if not used.any():
            raise UnknownError(f"Conv {node.name} reads padding alone")
        places, weight = window.places[:, used], weight[:, :, used]
        outputs, channels, taps = weight.shape[:3]
        planes, (_, _, height, width) = self.planes(node.input[0]), self.shape(node.input[0])
        if places.tolist() != [[plane] for plane in range(window.size)]:
            volume = self.reshape(planes, (-1, window.size, channels, height, width))
            low, high = int(max(0, -places.min())), int(max(0, places.max() + 1 - window.size))
            if low or high:
                amounts, axis = self.constant(np.array([low, high])), self.constant(np.array([1]))
                volume = self.emit("Pad", [volume, amounts, "", axis], f"{node.output[0]}_padded")
            stacked = self.emit("Gather", [volume, self.constant(places + low)], f"{node.output[0]}_stacked", axis=1)
            planes = self.reshape(stacked, (-1, taps * channels, height, width))
        weight = weight.transpose(0, 2, 1, 3, 4).reshape(outputs, taps * channels, *weight.shape[3:])
        self.convolution_2d(node, planes, weight, bias, flat, node.output[0])
        self.held.add(node.output[0])

    def _filtered(self, node: NodeProto, minimal: MinimalFilter, flat: Attributes, weight: Floats, bias: Floats | None) -> None:
        """Write a convolution as products of turned planes: turn, multiply group by group, turn back."""
        result, products = node.output[0], len(minimal.kernel)
        channels, depth, height, width = self.shape(node.input[0])
        rows = self.reshape(self.planes(node.input[0]), (-1, depth, channels * height * width))
        turned = self.emit("MatMul", [self.constant(minimal.into), rows], f"{result}_into")
        planes = self.reshape(turned, (-1, products * channels, height, width))
        # In float64: what is rounded once is as exact as the weights themselves.
        groups = np.einsum("pk,ockhw->pochw", minimal.kernel, weight.astype(np.float64)).astype(np.float32)
        by_product = np.zeros((products, len(groups[0])), np.float32)
        if bias is not None:
            by_product[CONSTANT_TERM] = bias
        biases = None if bias is None else by_product.reshape(-1)
        given = self.convolution_2d(
            node, planes, groups.reshape(-1, *groups.shape[2:]), biases, {**flat, "group": products}, f"{result}_products"
        )
        shape = self.shape(result)
        rows = self.reshape(given, (-1, minimal.tiles * products, shape[0] * shape[2] * shape[3]))
        self.over_depth(minimal.out, rows, result)

    def _max_pool(self, node: NodeProto) -> None:
        found = _attributes(node)
        if len(node.output) > 1 and node.output[1]:
            raise UnknownError(f"MaxPool {node.name} returns positions")
        window, flat = self._window(node, found, found["kernel_shape"])
        result, (channels, _, height, width) = node.output[0], self.shape(node.output[0])
        if not window.inside.any(axis=1).all():
            raise UnknownError(f"MaxPool {node.name} has windows of padding alone")
        pooled = self.emit("MaxPool", [self.planes(node.input[0])], f"{result}_flat", ceil_mode=found.get("ceil_mode", 0), **flat)
        volume = self.reshape(pooled, (-1, window.size, channels, height, width))
        # A maximum does not mind seeing a plane twice: a tap in the padding reads a plane of the same window instead.
        first = np.take_along_axis(window.places, window.inside.argmax(axis=1)[:, None], axis=1)
        places = np.where(window.inside, window.places, first)
        seen = [
            self.emit("Gather", [volume, self.constant(column)], f"{result}_tap{tap}", axis=1)
            for tap, column in enumerate(places.T)
        ]
        self.hold(self.emit("Max", seen, f"{result}_volume"), result)

    def _average_pool(self, node: NodeProto) -> None:
        found = _attributes(node)
        padded = found.get("count_include_pad", 0)
        if found.get("ceil_mode", 0):
            raise UnknownError(f"AveragePool {node.name} rounds its size up")
        window, flat = self._window(node, found, found["kernel_shape"])
        result, (channels, _, height, width) = node.output[0], self.shape(node.output[0])
        pooled = self.emit("AveragePool", [self.planes(node.input[0])], f"{result}_flat", count_include_pad=padded, **flat)
        rows = self.reshape(pooled, (-1, window.size, channels * height * width))
        self.over_depth(window.mean(bool(padded)), rows, result)

    def _global_mean(self, node: NodeProto) -> None:
        found = _attributes(node)
        if node.op_type == "ReduceMean":
            axes = self.constants.get(node.input[1]) if len(node.input) > 1 else None
            if axes is None or sorted(int(a) % VOLUME for a in numpy_helper.to_array(axes)) != [2, 3, 4]:
                raise UnknownError(f"ReduceMean {node.name} is not over depth, height and width")
        result, (channels, depth, _, _) = node.output[0], self.shape(node.input[0])
        by_plane = self.emit("GlobalAveragePool", [self.planes(node.input[0])], f"{result}_planes")
        rows = self.reshape(by_plane, (-1, depth, channels))
        kept, axis = found.get("keepdims", 1), self.constant(np.array([1]))
        mean = self.emit("ReduceMean", [rows, axis], f"{result}_rows" if kept else result, keepdims=0)
        if kept:
            self.reshape(mean, (-1, channels, 1, 1, 1), result)

    def _batch_norm(self, node: NodeProto) -> None:
        if len(node.output) > 1 or any(name in self.held for name in node.input[1:]):
            raise UnknownError(f"BatchNormalization {node.name} is in training mode")
        self.keep(node, [self.planes(node.input[0]), *node.input[1:]])

    def _concat(self, node: NodeProto) -> None:
        if _attributes(node)["axis"] not in (1, -4):
            raise UnknownError(f"Concat {node.name} is not of channels")
        self.keep(node, [self.planes(name) for name in node.input])

    def _by_value(self, node: NodeProto) -> None:
        names = []
        for name in node.input:
            constant = self.constants.get(name)
            single = name == "" or (constant is not None and np.prod(constant.dims) == 1 and len(constant.dims) < VOLUME)
            if not single and not self.same_shape(name, node.output[0]):
                raise UnknownError(f"{node.op_type} {node.name} spreads {name} over a volume")
            names.append(name if single else self.planes(name))
        self.keep(node, names)

    def _window(self, node: NodeProto, found: Attributes, kernel: Sequence[int]) -> tuple[DepthWindow, Attributes]:
        """Return the kernel along depth, and the attributes of the 2D operation in plane."""
        if found.get("auto_pad", b"NOTSET") != b"NOTSET" or found.get("storage_order", 0):
            raise UnknownError(f"{node.op_type} {node.name} has auto_pad or storage_order")
        pads, strides = list(found.get("pads", [0] * 6)), list(found.get("strides", [1] * 3))
        dilations = list(found.get("dilations", [1] * 3))
        sizes = self.shape(node.input[0])[1], self.shape(node.output[0])[1]
        flat = {"kernel_shape": list(kernel[1:]), "pads": [*pads[1:3], *pads[4:]]}
        flat |= {"strides": strides[1:], "dilations": dilations[1:]}
        return DepthWindow(*sizes, kernel[0], strides[0], dilations[0], pads[0]), flat


def _attributes(node: NodeProto) -> Attributes:
    return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
