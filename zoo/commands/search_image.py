"""Where a run's model puts an image file, to search its embeddings for what is like it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from medzoo.api import load
from medzoo.data.errors import EvaluationError
from medzoo.evaluation.embeddings import Embeddings
from medzoo.store.checkpoint import find_checkpoint, weights_checksum


def image_vector(image: Path, embeddings: Embeddings, run: Path) -> NDArray[Any]:
    """Return (E,), the features of an image by the model that made the embeddings, on the CPU.

    Args:
        image: A file of any format that the model was trained on.
        embeddings: What shall be searched.
        run: The run directory of the model.

    Raises:
        CheckpointError: If there is no model in it.
        EvaluationError: If it is another model, or has other weights by now.
        ImageError: If the image cannot be read.
    """
    which = str(embeddings.details.get("checkpoint", "best"))
    model = load(run, checkpoint=which)
    weights = weights_checksum(find_checkpoint(run, which))
    if model.spec.hash != embeddings.spec_hash or embeddings.details.get("weights", weights) != weights:
        raise EvaluationError(
            f"the embeddings were made by other weights than {run} has in checkpoint={which}; say --run, or make them again: "
            "medzoo evaluate run=... evaluation.embeddings=true"
        )
    vector: NDArray[Any] = model.features([image])[0]
    return vector
