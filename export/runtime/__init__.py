"""What runs a proven file: numpy, Pillow and ONNX Runtime alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medzoo.export.runtime.model import OnnxModel

__all__ = ["OnnxModel"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("medzoo.export.runtime.model"), name)
