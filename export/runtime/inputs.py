"""What a user gives an exported model, held against what its graph takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ConfigError, OnnxFileError
from medzoo.data.images.decode import pixel_count
from medzoo.export.runtime.bags import ROWS


def pixel_bytes(image: Any, preprocess: Mapping[str, Any]) -> int | None:
    """Return the bytes of a file's or encoded bytes' pixels as a spec's `preprocess` has them; None where no header tells."""
    count = pixel_count(image) if len(preprocess["size"]) == 2 else None  # of a volume the header of a plane does not tell
    return None if count is None else count * int(preprocess["channels"]) * np.dtype(preprocess["dtype"]).itemsize


def check_class_embeddings(vectors: NDArray[Any], width: Any) -> NDArray[np.float32]:
    """Return (K, E) class vectors as a graph takes them; OnnxFileError if they are not K unit vectors of its `width`."""
    found = np.ascontiguousarray(vectors, np.float32)
    if found.ndim != 2 or not len(found) or (isinstance(width, int) and found.shape[1] != width):
        raise OnnxFileError(f"class_embeddings has shape {list(found.shape)}, not [classes, {width}]")
    if not (np.abs(np.linalg.norm(found, axis=1) - 1) < 1e-3).all():
        raise OnnxFileError("class_embeddings are not unit vectors; make them with OnnxModel.class_embeddings")
    return found


def no_rows(session: Any, output: str) -> NDArray[np.float32]:
    """Return what a session's output is of no image."""
    shape = next(found.shape for found in session.get_outputs() if found.name == output)
    return np.zeros((0, *(side if isinstance(side, int) else 0 for side in shape[1:])), np.float32)


def class_vectors(session: Any, vectors: NDArray[Any] | None) -> dict[str, NDArray[np.float32]]:
    """Return the class vectors that every batch takes beside its images; OnnxFileError if a file takes none, or wants some."""
    shapes = {given.name: given.shape for given in session.get_inputs()}
    if ROWS in shapes:
        raise OnnxFileError("this file takes bags of feature rows, not images; use predict_cases")
    if "image" not in shapes:
        raise OnnxFileError("this file takes text, not images; use embed_texts")
    if ("class_embeddings" in shapes) != (vectors is not None):
        wants = "needs" if vectors is None else "does not take"
        raise OnnxFileError(f"this file {wants} class_embeddings; see OnnxModel.class_embeddings of the text tower's file")
    return {} if vectors is None else {"class_embeddings": check_class_embeddings(vectors, shapes["class_embeddings"][1])}


def embedded(texts: Sequence[str], batch_size: int, run: Callable[[Sequence[str]], NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return (N, E) embeddings of texts, a batch at a time; ConfigError if there is no text, or the batch size is below 1."""
    if isinstance(texts, str) or not len(texts):
        raise ConfigError("embed_texts takes a list of at least one text")
    if batch_size < 1:
        raise ConfigError(f"batch_size {batch_size} must be at least 1")
    return np.concatenate([run(list(texts[start : start + batch_size])) for start in range(0, len(texts), batch_size)])


def unit_means(groups: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return (K, E) class vectors: the unit mean of each group of (n, E) unit embeddings, n at least 1; ConfigError if none."""
    if not groups:
        raise ConfigError("class_embeddings takes at least one class with its prompts")
    means = [group.mean(axis=0) for group in groups]
    return np.stack([mean / np.linalg.norm(mean) for mean in means], dtype=np.float32)
