"""Classes, grades, findings and quantities: a labelled task from a configuration and a dataset."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from medzoo.data.dataset import Dataset, target_matrix, weight_vector
from medzoo.data.errors import ConfigError
from medzoo.data.images.bags import VIEW
from medzoo.losses.objective import objective_from_config
from medzoo.models.backbones.attention import HIDDEN
from medzoo.settings.schema import LossConfig, ModelConfig
from medzoo.tasks.registry import task_class
from medzoo.tasks.setup.groups import with_groups
from medzoo.tasks.setup.source import build_source, find_source
from medzoo.tasks.task import Task


def classify_from_config(config: ModelConfig, loss: LossConfig, dataset: Dataset, seed: int) -> Task:
    """Build the task that trains a network on a dataset's labels, or answers by its neighbours.

    Arguments and errors are those of `medzoo.tasks.setup.families.task_from_config`; the dataset has labels.
    """
    assert dataset.labels is not None
    source = find_source(config, dataset)
    train = target_matrix(dataset.rows("train"), dataset.labels)
    objective = with_groups(
        objective_from_config(loss, dataset.labels, train, weight_vector(dataset.rows("train"))), loss, dataset
    )
    arguments: dict[str, object] = {"outputs": objective.outputs(dataset.labels)}
    if config.pool != "mean" or config.family == "features":
        arguments["bag"] = {"pool": config.pool, "hidden": HIDDEN, **_views(dataset)}
    if config.neighbours is not None:
        if loss != LossConfig():
            raise ConfigError("model.neighbours trains nothing: leave loss at its default")
        labelled = int((~np.isnan(train)).any(axis=1).sum())
        if not 1 <= config.neighbours <= labelled:
            raise ConfigError(
                f"model.neighbours={config.neighbours} is not between 1 and the {labelled} labelled training samples"
            )
        arguments["neighbours"] = {"count": config.neighbours, "samples": labelled}
        objective = replace(objective, mean=None, std=None)  # neighbours answer in the labels' own units
    spec, network = build_source(
        source, config, dataset, seed, task="classify", objective=objective.to_dict(), arguments=arguments
    )
    return task_class(spec)(spec, network)


def _views(dataset: Dataset) -> dict[str, list[str]]:
    """Return what members of the training split's bags show, in the order of their codes; nothing where nobody says it."""
    rows = dataset.rows("train")
    words = sorted({str(word) for cell in rows[VIEW] for word in cell if word is not None}) if VIEW in rows else []
    return {"views": words} if words else {}
