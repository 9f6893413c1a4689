"""What of a training is no loop: a task that learns at once, and the last step when the loop is done."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from medzoo.data.dataset import Dataset
from medzoo.inference.run import Runner
from medzoo.settings.schema import ModelConfig
from medzoo.store.checkpoint import checkpoint_files, find_checkpoint
from medzoo.store.directory import RunDirectory
from medzoo.store.storage import prune, write_file, write_folder
from medzoo.tasks.load import load_checkpoint
from medzoo.tasks.task import Task
from medzoo.train.progress import write_history


def write_checkpoint(
    run: RunDirectory, task: Task, yaml: str, name: str, pointer: str, weights: dict[str, Tensor] | None = None
) -> None:
    """Write a checkpoint folder of a run, and let a pointer name it; see `medzoo.store.storage.write_folder`.

    Of `best` also what its last step found in the training split, into the run directory. `weights` are those of the network, of
    which this process may hold a share alone.
    """
    weights = task.model.state_dict() if weights is None else weights
    for file, content in task.record().items() if pointer == "best" else ():
        write_file(run.path / file, content)
    write_folder(run.checkpoints, name, checkpoint_files(task.spec, weights, yaml, task.assets()), pointer)


def fit_at_once(
    task: Task, dataset: Dataset, config: ModelConfig, run: RunDirectory, yaml: str, assets: Mapping[str, bytes], runner: Runner
) -> list[str]:
    """Let a task learn that needs no loop, and write the run directory with its one checkpoint, `best`.

    Args:
        task: That does not learn by steps.
        dataset: What it learns from.
        config: The model's settings.
        run: Where it goes; nothing is written before the task has learnt.
        yaml: The run's configuration.
        assets: Of the run, by file name.
        runner: What computes features.

    Returns:
        Lines on what was chosen and left out.
    """
    task, notes = task.fit(dataset, config, runner)
    if runner.accelerator.is_main_process:  # only now: a mistake found above leaves no half-made run directory
        RunDirectory.create(run.path, yaml, task.spec, assets)
        if task.spec.training is not None:
            write_history(run.history, task.spec.training["tried"])
        write_checkpoint(run, task, yaml, "fitted", "best")
    runner.accelerator.wait_for_everyone()
    return notes


def complete_checkpoints(run: RunDirectory, dataset: Dataset, config: ModelConfig, yaml: str, runner: Runner) -> None:
    """Do what only the whole training split allows, for the best and the last checkpoint; again gives the same ones.

    Arguments are those of `fit_at_once`; the loop of the run is done. The training split is predicted without augmentation.
    """
    for pointer in ("best", "last"):
        folder = find_checkpoint(run.path, pointer)
        task = load_checkpoint(folder, unfinished=True)
        task.complete(dataset, config, runner)
        if runner.accelerator.is_main_process:
            write_checkpoint(run, task, yaml, folder.name.removesuffix("-finished") + "-finished", pointer)
        runner.accelerator.wait_for_everyone()
    if runner.accelerator.is_main_process:
        prune(run.checkpoints, ["best", "last"])
