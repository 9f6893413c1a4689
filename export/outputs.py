"""From logits to what they mean, without torch: for one image, and for a case of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import OnnxFileError
from medzoo.data.labels import LabelSpace


def probabilities(logits: NDArray[Any], labels: LabelSpace) -> NDArray[Any]:
    """Turn (N, K) logits into what they mean: softmax, sigmoid, or the values themselves for regression."""
    if labels.kind == "regression":
        return logits
    if labels.kind == "multilabel":
        odds: NDArray[Any] = 1 / (1 + np.exp(-logits))
        return odds
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: NDArray[Any] = shifted / shifted.sum(axis=1, keepdims=True)
    return shares


def mean_of_cases(logits: NDArray[Any], lengths: Sequence[int], labels: LabelSpace) -> dict[str, NDArray[Any]]:
    """Average the logits of each case's images, as training does.

    Args:
        logits: (sum of lengths, K), case after case.
        lengths: Images of each case, at least 1.
        labels: What the columns mean.

    Returns:
        `logits` and `probabilities`, (len(lengths), K).
    """
    starts = np.cumsum([0, *lengths])[:-1]
    mean = np.add.reduceat(logits, starts, axis=0) / np.array(lengths, dtype=np.float32)[:, None] if lengths else logits
    return {"logits": mean, "probabilities": probabilities(mean, labels)}


def mean_of_concepts(concepts: NDArray[Any], lengths: Sequence[int]) -> NDArray[np.float32]:
    """Average predicted concepts over each case's images, as logits, as training does.

    Args:
        concepts: (sum of lengths, M) probabilities, case after case.
        lengths: Images of each case, at least 1.

    Returns:
        (len(lengths), M) probabilities.
    """
    shares = np.clip(concepts.astype(np.float64), 1e-12, 1 - 1e-7)  # float32 has no share between 1 - 6e-8 and 1
    starts = np.cumsum([0, *lengths])[:-1]
    mean = np.add.reduceat(np.log(shares / (1 - shares)), starts, axis=0) / np.array(lengths)[:, None]
    averaged: NDArray[np.float32] = (1 / (1 + np.exp(-mean))).astype(np.float32)
    return averaged


def check_class_embeddings(vectors: NDArray[Any], width: Any) -> NDArray[np.float32]:
    """Return class vectors as a graph takes them.

    Args:
        vectors: (K, E).
        width: E of the graph.

    Raises:
        OnnxFileError: If they are not K unit vectors of that width.
    """
    found = np.ascontiguousarray(vectors, np.float32)
    if found.ndim != 2 or not len(found) or (isinstance(width, int) and found.shape[1] != width):
        raise OnnxFileError(f"class_embeddings has shape {list(found.shape)}, not [classes, {width}]")
    if not (np.abs(np.linalg.norm(found, axis=1) - 1) < 1e-3).all():
        raise OnnxFileError("class_embeddings are not unit vectors; make them with OnnxModel.class_embeddings")
    return found


def check_corrections(count: int, concepts: Sequence[str], values: Any, mask: Any) -> dict[str, NDArray[np.float32]]:
    """Return corrected concepts as a bottleneck's graph takes them; empty if there are none.

    Args:
        count: Images.
        concepts: The model's concepts.
        values: (count, M) in 0..1, or None.
        mask: (count, M), 1 where a concept is corrected, or None.

    Raises:
        OnnxFileError: If the model has no concepts, one of the two is missing, or a shape is wrong.
    """
    if values is None and mask is None:
        return {}
    if not concepts:
        raise OnnxFileError("this file has no concepts to correct")
    if values is None or mask is None:
        raise OnnxFileError("give concept_values and concept_mask together")
    found = {"concept_values": np.asarray(values, np.float32), "concept_mask": np.asarray(mask, np.float32)}
    for name, given in found.items():
        if given.shape != (count, len(concepts)):
            wanted = f"[{count}, {len(concepts)}]: one row an image, one column a concept"
            raise OnnxFileError(f"{name} has shape {list(given.shape)}, not {wanted}")
    values, chosen = found["concept_values"], found["concept_mask"] > 0.5
    if not ((values[chosen] >= 0) & (values[chosen] <= 1)).all():
        raise OnnxFileError("concept_values must be numbers in 0..1 where concept_mask is 1")
    return found
