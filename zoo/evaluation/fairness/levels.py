"""Subgroup columns and their intersections as named levels; a missing value is a level like any other."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pandas as pd

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.splits.subgroups import joined_names, level_names
from medzoo.evaluation.bootstrap import FEWEST_GROUPS, Lack
from medzoo.settings.intersections import read_intersections

AND = " & "
"""Stands between the columns of an intersection, and between their levels."""
MOST_AUTO = 64
"""Levels up to which `auto` takes an intersection: hundreds of levels of few patients tell nothing apart."""


def named_levels(subgroups: pd.DataFrame, intersections: Any = ()) -> tuple[pd.DataFrame, list[str]]:
    """Return the columns with their levels named, those of intersections beside them, and notes on intersections left out.

    Numbers of many values are banded (`medzoo.data.splits.subgroups`), over all splits alike.

    Args:
        subgroups: One column a subgroup, as datasets have them.
        intersections: Lists of columns; `auto`: every pair with at most `MOST_AUTO` levels.

    Raises:
        UnknownNameError: If an intersection names what is no subgroup column.
        ConfigError: If it is written wrongly, or bears the name of a column.
    """
    wanted = read_intersections(intersections)
    named = pd.DataFrame({str(name): level_names(column) for name, column in subgroups.items()}, index=subgroups.index)
    columns, notes = list(named.columns), []
    asked = list(combinations(columns, 2)) if wanted == "auto" else wanted
    for parts in asked:
        for part in parts:
            if part not in columns:
                raise UnknownNameError("subgroup column", part, columns, where=" in evaluation.intersections")
        title = AND.join(parts)
        if title in columns:
            raise ConfigError(f"the subgroup column {title!r} bears the name of an intersection; rename the column")
        levels = pd.Series(joined_names(named[list(parts)], AND), index=named.index)
        if wanted == "auto" and (count := levels.nunique()) > MOST_AUTO:
            remedy = f"name it to have it, [[{', '.join(parts)}]]"
            notes.append(f"evaluation.intersections=auto leaves out {title}: {count} levels; {remedy}")
            continue
        named[title] = levels.astype(object)
    return named, notes


def few_groups(groups: int, unit: str) -> str:
    """Return why a level is flagged, empty where it is not: fewer groups than an interval is made of."""
    return str(Lack(groups, f"{unit} groups")) if groups < FEWEST_GROUPS else ""
