"""From a spec to its task, and from a checkpoint folder to a task with its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from medzoo.models.trained import require_finished
from medzoo.store.checkpoint import SPEC, WEIGHTS, load_weights, read_assets, tensors_from_file
from medzoo.store.spec import ModelSpec
from medzoo.tasks.registry import task_class
from medzoo.tasks.task import Task


def task_from_spec(spec: ModelSpec, assets: Mapping[str, bytes] | None = None) -> Task:
    """Rebuild a task without its weights; CheckpointError if this medzoo has no such task, or assets are missing.

    `assets` are what its checkpoint holds beside weights and spec, by file name.
    """
    return task_class(spec).from_spec(spec, assets or {})


def load_checkpoint(folder: Path, *, unfinished: bool = False) -> Task:
    """Rebuild a task with its weights, in evaluation mode, on the CPU.

    Args:
        folder: See `find_checkpoint`.
        unfinished: Take a checkpoint whose training was interrupted before its last step.

    Raises:
        CheckpointError: If a file is missing or damaged, the weights are not the spec's, or training was interrupted before its
            last step.
    """
    task = task_from_spec(ModelSpec.read(folder / SPEC), read_assets(folder))
    load_weights(task.model, tensors_from_file(folder / WEIGHTS), folder)
    if not unfinished:
        require_finished(task.model, folder)
    return task.eval()
