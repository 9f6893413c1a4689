"""Whose image it is, read from its name by a pattern."""

from __future__ import annotations

import re
from collections.abc import Sequence

from medzoo.data.errors import ConfigError, DatasetError

SUGGESTED = (r"^([^_]+)_", r"^([^-]+)-", r"^(\d+)[^\d]", r"^([A-Za-z]+\d+)", r"^([^.]+)\.", r"([^/]+)/[^/]+$")
"""What often holds the patient in a file's name, or in the folder it lies in."""


def groups_by_pattern(
    names: Sequence[str], pattern: str, *, column: str | None = None, option: str = "group_pattern", what: str = "patient"
) -> list[str]:
    r"""Return what the first group of a pattern finds in each name.

    Args:
        names: Relative paths, or cells. A pattern with a slash is held against the whole of a path, any other against the
            file's name in it.
        pattern: A regular expression such as `^(\d+)_`.
        column: Where cells stand; None: they are paths.
        option: What the pattern is called, for messages.
        what: What it finds.

    Raises:
        ConfigError: If it is no regular expression, or has no group.
        DatasetError: If it finds nothing in a name.
    """
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigError(f"data.{option}={pattern!r} is not a regular expression ({error})") from None
    if compiled.groups < 1:
        raise ConfigError(f"data.{option}={pattern!r} has no group in parentheses to take the {what} from")
    where = "the file's name" if column is None else f"the cell of {column!r}"
    found = []
    for name in names:
        match = compiled.search(name if column is not None or "/" in pattern else name.rpartition("/")[2])
        if match is None or not match.group(1):
            raise DatasetError(f"{name}: data.{option}={pattern!r} finds no {what} in {where}")
        found.append(match.group(1))
    return found


def suggest_pattern(names: Sequence[str]) -> tuple[str, int] | None:
    """Return a pattern by which names fall into groups of a few, and how many groups; None if none of `SUGGESTED` does."""
    for pattern in SUGGESTED:
        matches = [re.search(pattern, name if "/" in pattern else name.rpartition("/")[2]) for name in names]
        groups = {match.group(1) for match in matches if match is not None}
        if all(matches) and max(3, len(names) / 50) <= len(groups) <= 0.8 * len(names):
            return pattern, len(groups)
    return None
