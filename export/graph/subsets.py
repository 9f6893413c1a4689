"""The proof of a graph of several modalities: with every set of them there, and the others left out, it says what torch says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medzoo.data.errors import ExportError
from medzoo.export.graph.figures import FLOOR, TOLERANCE

Row = Mapping[str, NDArray[Any]]
"""What a graph takes of one sample beside its image, by name."""
MASK, INPUTS = "_mask", "inputs"
SAMPLES = 3
"""Samples that each set of modalities is tried on."""


def rows_of(graph: Any, beside: Sequence[Row]) -> list[torch.Tensor]:
    """Return what a graph takes beside some samples' images, in its own order, samples that can share a batch."""
    defaults = getattr(graph, "optional_inputs", {})
    given = {name: [row.get(name, default[0].numpy()) for row in beside] for name, default in defaults.items()}
    return [torch.from_numpy(np.stack(values)) for values in given.values()]


def logits_of(graph: Any, images: Sequence[NDArray[Any]], beside: Sequence[Row]) -> NDArray[np.float32]:
    """Return torch's (N, K) logits of samples, each run alone."""
    with torch.no_grad():
        found = [
            graph.forward(torch.from_numpy(image[None]), *rows_of(graph, [row]))[0].numpy()
            for image, row in zip(images, beside, strict=True)
        ]
    return np.concatenate(found)


def spread_of(graph: Any, logits: NDArray[Any]) -> NDArray[np.float64]:
    """Return (K,) the spread of outputs that differences are held against: of quantities each one's own."""
    own = graph.spec.labels is not None and graph.spec.labels.kind == "regression"
    values = logits.astype(np.float64)
    spread = values.std(axis=0) if own else np.full(values.shape[1], values.std())
    largest = np.abs(values).max(axis=0 if own else None)
    least = np.maximum(spread, FLOOR * largest)
    return np.where(least > 0, least, 1.0)


def check_subsets(graph: Any, session: Any, images: Sequence[NDArray[Any]], beside: Sequence[Row]) -> dict[str, Any]:
    """Compare a graph with its session for every set of modalities.

    What is left out of a set is not given to the session at all; torch is given it under a mask of 0.

    Args:
        graph: In evaluation mode, on the CPU.
        session: Of its file.
        images: Of real samples.
        beside: What the same samples have beside them.

    Returns:
        JSON-ready: `sets` and `samples` compared, and the largest difference in spreads of the outputs.

    Raises:
        ExportError: If they differ by more than a thousandth of the spread; names the set.
    """
    spread = spread_of(graph, logits_of(graph, images, beside))
    names, worst, count = _modalities(graph, beside[0]), 0.0, 0
    for there in _sets(names):
        for place in _chosen(len(images)):
            for places in ([place], _alike(images, beside, place)):
                ours, theirs = _both(graph, session, [images[p] for p in places], [beside[p] for p in places], there)
                for name, one, other in zip(graph.outputs, ours, theirs, strict=True):
                    limit = spread if name == graph.outputs[0] else np.maximum(1.0, np.abs(one.astype(np.float64)))
                    difference = np.abs(one.astype(np.float64) - other.astype(np.float64)) / limit
                    if one.shape != other.shape or not difference.max() <= TOLERANCE:
                        raise ExportError(
                            f"the graph's {name} with {', '.join(sorted(there))} alone differ from torch's by "
                            f"{difference.max():.2e} (limit {TOLERANCE:g}); no file was written"
                        )
                    worst = max(worst, float(difference.max()) if name == graph.outputs[0] else 0.0)
            count += 1
    return {"sets": len(list(_sets(names))), "compared": count, "relative": worst}


def _modalities(graph: Any, row: Row) -> list[str]:
    masked = [name.removesuffix(MASK) for name in row if name.endswith(MASK)]
    return [*masked, *([INPUTS] if INPUTS in graph.optional_inputs else [])]


def _sets(names: Sequence[str]) -> Iterator[set[str]]:
    for kept in product((True, False), repeat=len(names)):
        if any(kept):
            yield {name for name, here in zip(names, kept, strict=True) if here}


def _chosen(count: int) -> range:
    return range(0, count, max(1, count // SAMPLES))[:SAMPLES]  # type: ignore[return-value]


def _alike(images: Sequence[NDArray[Any]], beside: Sequence[Row], place: int) -> list[int]:
    """Return up to two samples that can share a batch with one."""
    shapes = [(image.shape, *(value.shape for value in row.values())) for image, row in zip(images, beside, strict=True)]
    return [other for other, shape in enumerate(shapes) if shape == shapes[place]][:2]


def _both(
    graph: Any, session: Any, images: Sequence[NDArray[Any]], beside: Sequence[Row], there: set[str]
) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    stacked, rows = np.stack(images), []
    for row in beside:
        kept = {name: value for name, value in row.items() if not name.endswith(MASK) and name != INPUTS}
        kept |= {name: value * (name.removesuffix(MASK) in there) for name, value in row.items() if name.endswith(MASK)}
        if INPUTS in row:
            kept[INPUTS] = row[INPUTS] if INPUTS in there else np.full_like(row[INPUTS], np.nan)
        rows.append(kept)
    with torch.no_grad():
        ours = [found.numpy() for found in graph.forward(torch.from_numpy(stacked), *rows_of(graph, rows))]
    feed = {"image": stacked}
    for name in rows[0]:
        if name.endswith(MASK) or name in there:
            feed[name] = np.stack([row[name] for row in rows])
    return ours, session.run(list(graph.outputs), feed)
