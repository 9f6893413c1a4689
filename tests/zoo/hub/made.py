"""Runs of models that were never trained: a directory as training leaves it, in a tenth of a second."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml

from medzoo.data.registry import load_dataset
from medzoo.settings.schema import LossConfig, ModelConfig
from medzoo.store.checkpoint import checkpoint_files
from medzoo.store.directory import RunDirectory
from medzoo.store.storage import write_folder
from medzoo.tasks.setup.families import task_from_config


def untrained_run(path: Path, **model: object) -> RunDirectory:
    """Write a run of the phantom, of a model with random weights."""
    dataset = load_dataset("phantom", size=24, patients=16)
    config = ModelConfig(**model)  # type: ignore[arg-type]
    if config.family in ("clip", "clip_image"):
        config.preprocess.mode = "auto"
    task = task_from_config(config, LossConfig(), dataset, seed=3)
    with torch.no_grad():
        for parameter in task.model.parameters():
            if parameter.std() == 0:  # what starts at nought would prove nothing
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    settings = {"data": {"name": "phantom", "size": 24, "patients": 16, "root": "/somewhere"}, "model": dict(model), "seed": 3}
    text = yaml.safe_dump(settings)
    run = RunDirectory.create(path, text, task.spec, task.assets())
    files = checkpoint_files(task.spec, task.model.state_dict(), text, task.assets())
    write_folder(run.checkpoints, "epoch-0001", files, "best")
    return run
