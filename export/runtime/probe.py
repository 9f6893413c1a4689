"""A graph of one convolution, made without the `onnx` package, to see whether a provider truly computes.

A convolution, because it needs every library of a GPU: cuDNN is loaded when the first one runs, not when a session opens.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.export.files.protobuf import encode

SIDE = 3
PROBE_RESULT: NDArray[np.float32] = np.full((1, 1, 1, 1), SIDE * SIDE, dtype=np.float32)
"""Nine ones under a kernel of nine ones; exact in every precision a provider may choose."""


def probe_inputs() -> dict[str, NDArray[Any]]:
    """Return the inputs `image` and `kernel`, float32 (1, 1, 3, 3) of ones."""
    ones = np.ones((1, 1, SIDE, SIDE), dtype=np.float32)
    return {"image": ones, "kernel": ones}


def _value(name: bytes, shape: tuple[int, ...]) -> bytes:
    """Return a ValueInfoProto: name (1), type (2) → tensor_type (1) → elem_type (1) = FLOAT, shape (2) → dim (1) → value (1)."""
    dims = encode(*((1, encode((1, side))) for side in shape))
    return encode((1, name), (2, encode((1, encode((1, 1), (2, dims))))))


def _build() -> bytes:
    """Return a ModelProto of IR version 8, opset 13 (onnx.proto3): what every ONNX Runtime since 1.10 reads."""
    node = encode((1, b"image"), (1, b"kernel"), (2, b"sum"), (4, b"Conv"))  # input (1), output (2), op_type (4)
    shape = (1, 1, SIDE, SIDE)
    graph = encode(
        (1, node), (2, b"probe"), (11, _value(b"image", shape)), (11, _value(b"kernel", shape)),
        (12, _value(b"sum", (1, 1, 1, 1))),
    )  # fmt: skip
    return encode((1, 8), (7, graph), (8, encode((1, b""), (2, 13))))  # ir_version (1), graph (7), opset_import (8)


PROBE = _build()
"""The serialised model."""
