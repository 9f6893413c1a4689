"""What a user gives an exported model, held against what its graph takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.decode import pixel_count
from medzoo.data.errors import ImageError, OnnxFileError


def require_several(images: Any, dimensions: int) -> None:
    """Refuse a single image, whose rows or characters would be taken for images.

    Args:
        images: What was given for a list of images, or an array of them.
        dimensions: 2 for a model of images, 3 of volumes.

    Raises:
        ImageError: If it is one.
    """
    if isinstance(images, str | Path | bytes):
        raise ImageError("this is one image, not several; put it into a list")
    if isinstance(images, np.ndarray):
        channels_last = images.ndim == dimensions + 1 and images.shape[-1] in (1, 3, 4)
        if images.ndim <= dimensions or channels_last:
            raise ImageError(
                f"an array of shape {list(images.shape)} is one image, not several; put it into a list (many gray "
                "ones so narrow: give them a last axis of 1)"
            )


def pixel_bytes(image: Any, preprocess: Mapping[str, Any]) -> int | None:
    """Return what a file's pixels will take once decoded for a model; None where its header does not tell.

    Args:
        image: A path or encoded bytes.
        preprocess: The model's, from its spec.
    """
    count = pixel_count(image)
    return None if count is None else count * int(preprocess["channels"]) * np.dtype(preprocess["dtype"]).itemsize


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
