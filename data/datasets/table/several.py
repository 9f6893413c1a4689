"""What is said of a table's labels: of one target, or of several by name, each with options of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import pandas as pd

from medzoo.data.columns import as_further, target_names
from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.labels import LabelSpace
from medzoo.data.options import one_text, text_list
from medzoo.data.tables import TextTable
from medzoo.data.tables.targets import Kind, make_targets
from medzoo.data.tables.words import clean, plain_number, unify


@dataclass(frozen=True)
class Asked:
    """What is said of one target; the fields are options of `medzoo.data.datasets.table.load.load`."""

    target: str | list[str]
    kind: Kind = "auto"
    names: Sequence[str] | None = None
    units: Sequence[str] | None = None
    separator: str | None = None
    left_out: Sequence[str] = ()

    @property
    def columns(self) -> list[str]:
        """The columns that it is read from."""
        return [self.target] if isinstance(self.target, str) else self.target


KEYS = tuple(field.name for field in fields(Asked))


def targets_option(given: Any, alone: Mapping[str, Any], *, values: bool, rule: int) -> dict[str, Asked]:
    """Return target → what is said of it: those of the option `targets`, or the one of the options of one target, without a name.

    Args:
        given: The option `targets`, or None.
        alone: The options of one target, as given.
        values: Whether words are replaced (`data.values`), which means nothing without a target.
        rule: The split rule: 1 takes names of columns as they are written.

    Raises:
        ConfigError: If both are given, options describe no target, or something is no option.
    """
    if given is None:
        one = _asked(alone, "", rule)
        if one is None and (any(alone[key] for key in KEYS[2:]) or alone["kind"] != "auto" or values):
            raise ConfigError("data.kind, names, units, separator, left_out and values describe data.target, which is not given")
        return {} if one is None else {"": one}
    if not isinstance(given, Mapping):
        raise ConfigError("data.targets is no mapping; give targets={diagnosis: column, tone: {target: column, kind: ordinal}}")
    if said := [key for key in KEYS if alone[key] and alone[key] != "auto"]:
        raise ConfigError(f"data.{said[0]} is of one target and data.targets names several: say it of each there")
    target_names(list(given))
    found = {}
    for name, about in given.items():
        about = {"target": about} if isinstance(about, str) or not isinstance(about, Mapping) else about
        for key in about:
            if key not in KEYS:
                raise UnknownNameError("key", str(key), KEYS, where=f" of data.targets.{name}")
        one = _asked(about, f"targets.{name}.", rule)
        if one is None:
            raise ConfigError(f"data.targets.{name} names no column: {name}: {{target: <column>}}")
        found[name] = one
    return found


def _asked(about: Mapping[str, Any], begin: str, rule: int) -> Asked | None:
    target = about.get("target")
    if target is None:
        return None
    target = target if isinstance(target, str) else text_list(target, f"{begin}target") or []
    if rule != 1:  # as the table's header is read
        target = clean(target) if isinstance(target, str) else list(map(clean, target))
    lists = {key: text_list(about.get(key), f"{begin}{key}") for key in ("names", "units", "left_out")}
    separator = one_text(about.get("separator"), f"{begin}separator")
    return Asked(target, about.get("kind") or "auto", lists["names"], lists["units"], separator, lists["left_out"] or [])


def read_targets(
    rows: TextTable, asked: Mapping[str, Asked], empty: Sequence[str], rule: int, meanings: Mapping[str, str]
) -> tuple[dict[str, LabelSpace], pd.DataFrame, list[str]]:
    """Read the columns of every target.

    Args:
        rows: As `read_table` returns them, words replaced.
        asked: What is said of each.
        empty: Words that mean missing.
        rule: The split rule.
        meanings: Of findings in one cell; see `make_targets`.

    Returns:
        Target → its label space; the label columns of a dataset's table; notes.

    Raises:
        ConfigError: If options contradict each other; of several targets the message begins with its name.
        DatasetError: If a cell is not of the kind; names its line.
    """
    spaces: dict[str, LabelSpace] = {}
    frames = [pd.DataFrame(index=rows.rows.index)]
    notes: list[str] = []
    for name, one in asked.items():
        try:
            space, frame, told = make_targets(
                rows, one.target, kind=one.kind, names=one.names, units=one.units, separator=one.separator, empty_words=empty,
                ask=rule != 1, values=meanings, left_out=one.left_out,
            )  # fmt: skip
        except ConfigError as error:
            if not name:
                raise
            said = str(error).replace("data.names", f"data.targets.{name}.names")
            raise ConfigError(f"data.targets.{name}: {said}") from error
        frames.append(as_further(frame, name) if spaces else frame)
        notes += told
        spaces[name] = space
        by_name = rule != 1 and isinstance(one.target, str) and space.exclusive
        if by_name and (found := unify(rows[one.columns[0]], plain_number)[1]):
            notes.append(found.note(f"classes of {one.target!r}"))
    return spaces, pd.concat(frames, axis=1), notes
