"""Several targets from a configuration and a dataset: the network of the first one alone, with a head for each of the others."""

from __future__ import annotations

from medzoo.data.columns import targets_matrix
from medzoo.data.dataset import Dataset
from medzoo.data.errors import ConfigError
from medzoo.losses.objective import Objective
from medzoo.losses.several import joined_objective, parts_of
from medzoo.settings.schema import LossConfig, ModelConfig
from medzoo.tasks.registry import task_class
from medzoo.tasks.setup.source import build_source, find_source
from medzoo.tasks.task import Task


def targets_from_config(config: ModelConfig, loss: LossConfig, dataset: Dataset, seed: int) -> Task:
    """Build the task that trains one network on several targets.

    Arguments and errors are those of `medzoo.tasks.setup.families.task_from_config`; the dataset has several targets.
    """
    if config.neighbours is not None or config.pool != "mean" or config.family == "features":
        what = "model.neighbours" if config.neighbours is not None else "a model of bags"
        raise ConfigError(f"data.targets=[{', '.join(dataset.targets)}]: {what} answers for one target; leave it out")
    source = find_source(config, dataset)
    objective, outputs = objective_of_targets(loss, dataset)
    spec, network = build_source(
        source, config, dataset, seed, task="targets", objective=objective.to_dict(), arguments={"outputs": outputs}
    )
    return task_class(spec)(spec, network)


def objective_of_targets(loss: LossConfig, dataset: Dataset) -> tuple[Objective, int]:
    """Return the objective of a dataset's targets, and how many numbers the last layer of the first must give."""
    if "sample_weight" in dataset.table.columns:
        raise ConfigError("data.weight: a model of several targets counts all samples alike and would ignore it; leave it out")
    objective = joined_objective(loss, dataset.targets, targets_matrix(dataset.rows("train"), dataset.targets))
    first = next(parts_of(objective, dataset.targets))
    return objective, first.objective.outputs(first.labels)
