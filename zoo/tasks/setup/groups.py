"""Which groups a loss looks at: the levels of a subgroup column, or these within each class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from medzoo.data.dataset import Dataset, target_matrix, weight_vector
from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.losses.groups import HOWS, group_arguments
from medzoo.losses.objective import Objective
from medzoo.settings.schema import LossConfig
from medzoo.tasks.guide.groups import OF, group_names


def with_groups(objective: Objective, config: LossConfig, dataset: Dataset) -> Objective:
    """Return an objective that learns by the groups asked for (`loss.group`) of a dataset's training split; itself without.

    A missing value is a group of its own.

    Raises:
        UnknownNameError: If the column is none of the dataset's subgroups, or a setting is not known.
        ConfigError: If there is nothing to weigh: one group alone.
    """
    if config.group is None:
        return objective
    assert dataset.labels is not None
    given = {"column": config.group} if isinstance(config.group, str) else config.group
    if not isinstance(given, Mapping) or not isinstance(given.get("column"), str):
        raise ConfigError(f"loss.group={config.group!r} is no subgroup column, and no {{column: ..., how: ...}}")
    column, how, cells = given["column"], str(given.get("how", HOWS[0])), given.get("cells", False)
    arguments = group_arguments(how, {name: v for name, v in given.items() if name not in ("column", "how", "cells")})
    if column not in dataset.subgroups:
        where = f" of {dataset.info.name}, for loss.group"
        raise UnknownNameError("subgroup column", column, dataset.subgroups, where=where)
    if not isinstance(cells, bool):
        raise ConfigError(f"loss.group.cells={cells!r} is not true or false")
    if cells and not dataset.labels.exclusive:
        raise ConfigError(
            f"loss.group.cells=true parts groups by class, and {dataset.labels.kind} labels have none; leave it out"
        )
    if how == "irm" and objective.loss == "corn":
        raise ConfigError(
            "loss.group with how=irm scales logits, and loss=corn has none of classes; use cumulative or cross_entropy"
        )
    whole = group_names(dataset, column, cells)
    if len(set(whole)) < len(set(zip(whole, group_names(dataset, column, False), strict=True))):
        raise ConfigError(
            f"loss.group.cells=true: classes and levels of {column} hold {OF.strip()!r}, so that cells of other classes would "
            "bear one name; rename them, or leave it out"
        )
    names = whole[(dataset.table["split"] == "train").to_numpy()]
    train = dataset.rows("train")
    labelled = ~np.isnan(target_matrix(train, dataset.labels)).all(axis=1)
    levels = sorted(set(names[labelled]))
    if len(levels) < 2:
        raise ConfigError(
            f"loss.group={column}: all {int(labelled.sum())} labelled training samples are {levels[0] if levels else 'of none'}; "
            "groups are weighed against each other, so give a column of several, or leave it out"
        )
    weights = weight_vector(train)
    of_levels = [labelled & (names == level) for level in levels]
    # As often as each counts: without weights whole numbers, as they always stood in specs.
    counts = [int(own.sum()) if weights is None else float(weights[own].sum(dtype=np.float64)) for own in of_levels]
    return replace(objective, groups={
        "column": column, "how": how, "cells": cells, "levels": levels, "counts": counts, "arguments": arguments,
    })  # fmt: skip
