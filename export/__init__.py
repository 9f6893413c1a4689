"""What ships: deployable graph, ONNX, proof, runtime. Imports zoo and data.

Importing this module imports neither torch nor onnxruntime; its names load what they need when they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medzoo.export.graph.onnx_file import export_onnx
    from medzoo.export.runtime.model import OnnxModel

__all__ = ["OnnxModel", "export_onnx"]


def __getattr__(name: str) -> Any:
    if name == "OnnxModel":
        from medzoo.export.runtime.model import OnnxModel

        return OnnxModel
    if name == "export_onnx":
        from medzoo.export.graph.onnx_file import export_onnx

        return export_onnx
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
