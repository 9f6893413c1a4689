"""Whether the values beside the images tell whom they are of: a model may then know its patients or visits by heart.

Two values together are often as good as a name. In training a model can then learn the labels of those it has seen instead of
what the values mean; it will say nothing of use of others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from medzoo.data.dataset import Dataset, input_matrix

MUCH = 0.9
"""Share of samples whose inputs tell their unit from which `medzoo verify` warns."""
SHARED = 0.5
"""Share of samples that are not alone in their unit below which it does not: where each is, any number is a name."""


def identified(dataset: Dataset) -> dict[str, Any]:
    """Return how often a dataset's inputs, taken together, tell the unit that a sample is of; empty without inputs.

    Returns:
        `names` of the inputs, `samples` that have any of them, and `units`: the group, and what the columns that predictions
        carry (an eye and a visit) make within it, each with the number of `units`, the share of these samples that is `shared`,
        not alone in its unit, and the share that is `identified`, its values being those of one unit alone.
    """
    if dataset.inputs is None:
        return {}
    values = pd.DataFrame(input_matrix(dataset.table, dataset.inputs))
    known = values.notna().any(axis=1).to_numpy()
    if not known.any():
        return {}
    joint = values[known].groupby(list(values), dropna=False, sort=False).ngroup()  # what is missing is a value, too
    table = dataset.table[known].set_axis(joint.index)
    units = {}
    within: list[tuple[str, ...]] = [(), dataset.kept] if dataset.kept else [()]
    for columns in within:
        unit = table.groupby(["group", *columns], dropna=False, sort=False).ngroup()  # visit 1 of another patient is another
        units[" and ".join(columns) or "group"] = {
            "units": int(unit.nunique()),
            "shared": float((unit.groupby(unit).transform("size") > 1).mean()),
            "identified": float((unit.groupby(joint).transform("nunique") == 1).mean()),
        }
    return {"names": list(dataset.inputs.names), "samples": int(known.sum()), "units": units}


def identified_lines(found: Mapping[str, Any]) -> list[str]:
    """Return the line of a report on what `identified` found; none where there is nothing."""
    if not found:
        return []
    told = [f"{about['identified']:.1%} have values of one {unit} alone" for unit, about in found["units"].items()]
    return [f"inputs: of {found['samples']} samples that have any, {', '.join(told)}"]


def identifying_warnings(found: Mapping[str, Any]) -> list[str]:
    """Return what `medzoo verify` warns of: inputs that tell most samples' unit, where units have several samples."""
    told = [
        f"the {unit} of {about['identified']:.1%}"
        for unit, about in found.get("units", {}).items()
        if about["identified"] >= MUCH and about["shared"] >= SHARED
    ]
    if not told:
        return []
    names = ", ".join(found["names"][:6]) + (f" and {len(found['names']) - 6} more" if len(found["names"]) > 6 else "")
    return [
        f"inputs {names} together tell {', '.join(told)} of {found['samples']} samples: a model may know these by heart; look at "
        "what it says without them (docs/multimodal.md), or name fewer in data.inputs"
    ]
