"""From a row to a sample, from samples to a batch. The names below are the room's face; each loads what it needs when used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medzoo.data.samples.prepared import require_prepared
    from medzoo.data.samples.sample_dataset import Sample, SampleDataset, collate

__all__ = ["Sample", "SampleDataset", "collate", "require_prepared"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    home = "prepared" if name == "require_prepared" else "sample_dataset"
    return getattr(import_module(f"medzoo.data.samples.{home}"), name)
