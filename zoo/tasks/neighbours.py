"""k nearest neighbours on frozen features: the memory is filled once, and that is the whole training."""

from __future__ import annotations

import numpy as np
import torch

from medzoo.data.dataset import Dataset
from medzoo.settings.schema import ModelConfig
from medzoo.tasks.classify import Classify
from medzoo.tasks.task import Runner, Task


class Neighbours(Classify):
    """A classifier whose network is a `medzoo.models.heads.neighbours.NeighbourNetwork`."""

    learns_by_steps = False
    learns_by_guide = False
    trains_nothing = "model.neighbours"
    chosen_by = "no choice: nothing is trained"

    def fit(self, dataset: Dataset, config: ModelConfig, runner: Runner) -> tuple[Task, list[str]]:
        """Compute the training split's features and remember them with their targets; nothing is chosen."""
        samples = self.samples(dataset, "train")
        assert samples.targets is not None
        self.to(runner.device).eval()
        features = runner.features(self, samples)
        self.to("cpu")
        labelled = ~np.isnan(samples.targets).all(axis=1)  # what has no label has no vote, and takes no other's place
        self.model.remember(features[torch.from_numpy(labelled)], torch.from_numpy(samples.targets[labelled]))
        return self, []
