"""What ships: deployable graph, ONNX, proof, runtime. Imports zoo and data.

Importing this module imports neither torch nor onnxruntime; its names load what they need when they are used. All that imports
onnxruntime lies below it, and finds its telemetry switched off.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medzoo.export.graph.onnx_file import export_onnx
    from medzoo.export.runtime.model import OnnxModel

# Without it, ONNX Runtime (1.32) gives the machine a number and keeps that and a file of events in the home folder.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = ["OnnxModel", "export_onnx"]
_HOMES = {"OnnxModel": "medzoo.export.runtime.model", "export_onnx": "medzoo.export.graph.onnx_file"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
