"""Which columns a robustness index is made of, as settings name them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medzoo.data.errors import ConfigError, UnknownNameError

SETTING = "evaluation.robustness_index"


def robustness_columns(asked: Any, known: Sequence[str] | None = None) -> list[str]:
    """Return the columns that a robustness index is asked of, each once.

    Args:
        asked: As the setting has it: null, a name, or a list of names.
        known: The subgroup columns there are; None: they are not known yet.

    Raises:
        ConfigError: If it is neither.
        UnknownNameError: If there is no such column.
    """
    names = [] if asked is None else [asked] if isinstance(asked, str) else asked
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{SETTING} is a subgroup column, such as site, or a list of them, not {asked}")
    for name in names:
        if known is not None and name not in known:
            raise UnknownNameError("subgroup column", name, known, where=f" in {SETTING}")
    return list(dict.fromkeys(names))
