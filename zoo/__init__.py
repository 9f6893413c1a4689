"""medzoo: a multimodal medical-imaging model zoo.

Importing it costs next to nothing; each name below loads what it needs when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medzoo.moved import keep_old_addresses

if TYPE_CHECKING:
    from medzoo.api import TrainedModel, load
    from medzoo.data.registry import list_datasets, load_dataset
    from medzoo.models.registry import create_model, list_models

__all__ = ["TrainedModel", "create_model", "list_datasets", "list_models", "load", "load_dataset"]

_HOMES = {
    "TrainedModel": "medzoo.api",
    "create_model": "medzoo.models.registry",
    "list_datasets": "medzoo.data.registry",
    "list_models": "medzoo.models.registry",
    "load": "medzoo.api",
    "load_dataset": "medzoo.data.registry",
}

keep_old_addresses()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
