"""Which subgroup columns are looked at together, as settings name them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from medzoo.data.errors import ConfigError

AUTO = "auto"
FORM = "evaluation.intersections is a list of lists of columns, [[sex, age]], or auto"


def read_intersections(asked: Any) -> list[tuple[str, ...]] | Literal["auto"]:
    """Return the columns of each intersection, or `auto`; ConfigError where it is neither."""
    if asked == AUTO:
        return "auto"
    if asked is None or isinstance(asked, str) or not isinstance(asked, Sequence):
        raise ConfigError(f"{FORM}, not {asked}")
    for columns in asked:
        if isinstance(columns, str) or not isinstance(columns, Sequence):
            raise ConfigError(f"{FORM}; {columns} is one column: [[{columns}, ...]]")
        if len(columns) < 2 or len(set(map(str, columns))) < len(columns):
            raise ConfigError(f"{FORM}; {list(columns)} does not name at least two columns, each once")
    read = [tuple(map(str, columns)) for columns in asked]
    if len({frozenset(columns) for columns in read}) < len(read):
        raise ConfigError("evaluation.intersections names the same columns twice; leave one out")
    return read
