"""What a model's spec says of the data it was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medzoo.data.dataset import Dataset


def data_card(dataset: Dataset, learnt_from: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Return a dataset's card, its options and the size of each split (JSON-ready).

    Args:
        dataset: What the model is trained on.
        learnt_from: Cards of other data that its network has learnt from before; see `medzoo.data.seen_groups`.
    """
    counts = dataset.table["split"].value_counts()
    card = {
        **dataset.info.to_dict(),
        "options": dict(dataset.options),
        "samples": {str(split): int(n) for split, n in sorted(counts.items())},
        "subgroups": list(dataset.subgroups),
        "window": _window(dataset),
        "views": len(dataset.reader.columns) if getattr(dataset.reader, "views", False) else 1,
    }
    earlier = [dict(other) for other in learnt_from if other]
    return {**card, "learnt_from": earlier} if earlier else card


def _window(dataset: Dataset) -> list[float] | None:
    """Return the values that became black and white in training: whoever reads a file for the model later needs them."""
    window = getattr(dataset.reader, "window", None)
    return None if window is None else [float(v) for v in window]
