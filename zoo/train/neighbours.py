"""Filling the memory of a k-nearest-neighbour model: its whole training."""

from __future__ import annotations

import numpy as np
import torch
from accelerate import Accelerator

from medzoo.data.dataset import Dataset
from medzoo.data.samples import SampleDataset
from medzoo.inference.run import compute_features
from medzoo.models.neighbours import NeighbourNetwork
from medzoo.store.checkpoint import checkpoint_files
from medzoo.store.directory import RunDirectory
from medzoo.store.storage import write_folder
from medzoo.tasks.classify import Classify


def fit_neighbours(
    task: Classify, dataset: Dataset, run: RunDirectory, yaml: str, accelerator: Accelerator, *, batch_size: int, workers: int
) -> None:
    """Compute the training split's features, remember them with their targets, and save the checkpoint `best`."""
    network = task.model
    assert isinstance(network, NeighbourNetwork)
    samples = SampleDataset(dataset, "train", task.spec.preprocess)
    assert samples.targets is not None
    task.to(accelerator.device).eval()
    features = compute_features(task, samples, batch_size=batch_size, workers=workers, accelerator=accelerator)
    labelled = ~np.isnan(samples.targets).all(axis=1)  # what has no label has no vote, and takes no other's place
    targets = torch.from_numpy(samples.targets[labelled])
    network.remember(features[torch.from_numpy(labelled)].to(accelerator.device), targets.to(accelerator.device))
    if accelerator.is_main_process:
        files = checkpoint_files(task.spec, network.state_dict(), yaml)
        write_folder(run.checkpoints, "memory", files, "best")
    accelerator.wait_for_everyone()
