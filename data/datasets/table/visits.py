"""Rows of a table that are visits: whose, and when."""

from __future__ import annotations

from typing import Any

import pandas as pd

from medzoo.data.errors import ConfigError
from medzoo.data.options import one_text, text_list
from medzoo.data.tables import TextTable
from medzoo.data.tables.times import read_times
from medzoo.data.tables.words import identifier, unify
from medzoo.data.timing import OF, Visits

TIME = "visit.time"
"""The table's column with the time."""


def visits_option(time: Any, time_as: Any, visits_of: Any, group: str | None, group_pattern: str | None) -> list[str]:
    """Return the columns that say when and whose: `time`, then those of `visits_of`; empty where no time is given.

    Raises:
        ConfigError: If they do not go together, or nobody is known who could be seen again.
    """
    time, time_as = one_text(time, "time"), one_text(time_as, "time_as")
    of = [visits_of] if isinstance(visits_of, str) else text_list(visits_of, "visits_of") or []
    if time is None:
        for option, value in (("time_as", time_as), ("visits_of", of)):
            if value:
                raise ConfigError(f"data.{option} is of data.time=<column>, which is not given")
        return []
    if group is None and group_pattern is None:
        raise ConfigError(f"data.time={time} needs data.group: visits of one patient must not stand in two splits")
    return [time, *of]


def visit_columns(rows: TextTable, columns: list[str], time_as: str | None) -> tuple[Visits | None, dict[str, pd.Series]]:
    """Return what is known of the visits, and the columns it stands in; None and nothing without a time.

    Args:
        rows: The table.
        columns: As `visits_option` returns them.
        time_as: What numbers count, or how dates are written.

    Raises:
        DatasetError: If a cell is empty or no time; names its line.
    """
    if not columns:
        return None, {}
    time, *of = columns
    found: dict[str, pd.Series] = {}
    found[TIME], unit = read_times(rows, time, time_as)
    for column in of:
        rows.refuse(rows[column] == "", column, remedy="every visit is of someone (data.visits_of)")
        found[f"{OF}{column}"] = unify(rows[column], identifier)[0]
    return Visits(tuple(f"{OF}{column}" for column in of) or ("group",), TIME, unit), found
