"""A checkpoint folder as a task with its weights."""

from __future__ import annotations

from pathlib import Path

from medzoo.data.errors import CheckpointError
from medzoo.store.checkpoint import SPEC, WEIGHTS, load_weights, read_assets, tensors_from_file
from medzoo.store.spec import ModelSpec
from medzoo.tasks.bottleneck import Bottleneck
from medzoo.tasks.registry import TrainableTask, task_from_spec


def load_checkpoint(folder: Path, *, unfinished: bool = False) -> TrainableTask:
    """Rebuild a task with its weights, in evaluation mode, on the CPU.

    Args:
        folder: See `find_checkpoint`.
        unfinished: Take a concept bottleneck whose training was interrupted: its class layer may not be fitted yet.

    Raises:
        CheckpointError: If a file is missing or damaged, the weights are not the spec's, or training was interrupted before the
            last step of a concept bottleneck.
    """
    task = task_from_spec(ModelSpec.read(folder / SPEC), read_assets(folder))
    load_weights(task.model, tensors_from_file(folder / WEIGHTS), folder)
    if isinstance(task, Bottleneck) and not (task.model.finished or unfinished):
        raise CheckpointError(
            f"{folder}: training was interrupted before its last step, which fits the class layer to the concepts; go on with "
            "medzoo train resume=<run directory>"
        )
    task.eval()
    return task
