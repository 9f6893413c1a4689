"""A map of names: what another dataset calls otherwise than a model does, as it is given or in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from medzoo.data.errors import ConfigError, UnknownNameError

TRUTH = {True: ("true", "yes", "on"), False: ("false", "no", "off")}
"""Truth value → the words, in lower case, that are read as it where nobody quotes them."""


def read_name_map(
    given: Mapping[Any, Any] | str | None, theirs: Sequence[str], ours: Sequence[str]
) -> dict[str, str | None]:  # fmt: skip
    """Return what is called otherwise: their name → ours, or None where it is left out.

    Args:
        given: The map itself, the file that it is in, or the name of one that medzoo brings (conf/maps); None: there is none.
        theirs: Names that the other dataset has: a truth value is meant as the one of them that YAML reads as it.
        ours: Names that the model has, likewise.

    Raises:
        ConfigError: If it is no map of names.
        UnknownNameError: If there is no such file.
    """
    place = "map"
    if isinstance(given, str):
        place = f"map={given}"
        try:
            given = yaml.safe_load(_map_file(given).read_text(encoding="utf-8"))
        except (yaml.YAMLError, ValueError) as error:
            raise ConfigError(f"{place} is not YAML: {' '.join(str(error).split())}") from error
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise ConfigError(f"{place} is a {type(given).__name__}, not names and what they are called here: {{theirs: ours}}")
    given = {_text(name, theirs): _text(to, ours) for name, to in given.items()}
    for name, to in given.items():
        if not isinstance(name, str) or not (to is None or isinstance(to, str)):
            raise ConfigError(f"{place}: {name!r}: {to!r} are not two names, or a name and null; quote numbers and yes or no")
    return given


def _text(name: object, known: Sequence[str]) -> object:
    """Return a whole number as text, as tables read class names; a truth value as the one name that YAML reads as it."""
    if isinstance(name, bool):
        meant = [one for one in known if one.lower() in TRUTH[name]]
        return meant[0] if len(meant) == 1 else name
    return str(name) if isinstance(name, int) else name


def _map_file(name: str) -> Traversable:
    """Return the file that a map is in: the user's own, or one of those that medzoo brings (conf/maps)."""
    path = Path(name).expanduser()
    if path.is_file():
        return path
    brought = files("medzoo.conf") / "maps"
    if not (brought / f"{name}.yaml").is_file() or "/" in name:
        known = sorted(file.name.removesuffix(".yaml") for file in brought.iterdir())
        raise UnknownNameError("map", name, known, where=", which is no file either (docs/evaluation.md lists medzoo's own)")
    return brought / f"{name}.yaml"
