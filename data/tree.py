"""A tree over label names: which finding is a kind of which. Names of parents need not be labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medzoo.data.errors import ConfigError, DatasetError, UnknownNameError

Parents = tuple[tuple[str, str], ...]
"""(child, parent) of every step, sorted by child."""
FORM = "data.parents is {child: parent}, or a YAML or JSON file of that, or of {parent: [children]}"


def read_parents(given: Any, names: Sequence[str]) -> Parents:
    """Return the steps of a tree from an option: what stands above the labels, and nothing else.

    Args:
        given: child → parent, or node → children (as Derm1M's `ontology.json`), or a file of either.
        names: The labels.

    Raises:
        ConfigError: If it is neither, or the file cannot be read.
        UnknownNameError: If a child of a child → parent mapping is neither a label nor above one.
        DatasetError: If a node has two parents, or lies above itself.
    """
    content = _file(given) if isinstance(given, str | Path) else given
    if not isinstance(content, Mapping) or not content:
        raise ConfigError(f"{FORM}, not {given}")
    by_node = all(_is_list(children) for children in content.values())
    if by_node:
        steps = [(_name(child), _name(node)) for node, children in content.items() for child in children]
    else:
        steps = [(_name(child), _name(parent)) for child, parent in content.items()]
    above = _above(steps, names)
    if not by_node:
        for child, _ in steps:
            if child not in above and child not in names:
                raise UnknownNameError("label", child, [*names, *above], where=" in data.parents, with nothing below it")
    used = {step for step in steps if step[0] in above or step[0] in names}
    if not used:
        raise ConfigError(f"data.parents has none of the labels ({', '.join(names[:4])}, ...); {FORM}")
    return check_parents(used, names)


def check_parents(steps: Iterable[Sequence[str]], names: Sequence[str]) -> Parents:
    """Return the steps of a tree over labels, sorted; a DatasetError if they are none.

    Args:
        steps: (child, parent).
        names: The labels.
    """
    parent_of: dict[str, str] = {}
    for child, parent in sorted({(str(child), str(parent)) for child, parent in steps}):
        if child in parent_of:
            raise DatasetError(f"data.parents: {child!r} has two parents, {parent_of[child]!r} and {parent!r}; keep one")
        parent_of[child] = parent
    for node in parent_of:
        path = [node]
        while path[-1] in parent_of:
            step = parent_of[path[-1]]
            if step in path:
                raise DatasetError(
                    f"data.parents: {' > '.join([*path[path.index(step) :], step])} is a circle; remove one step of it"
                )
            path.append(step)
    above = {parent for name in names for parent in ancestors(dict(parent_of), name)}
    for child in parent_of:
        if child not in above and child not in names:
            raise DatasetError(f"data.parents: {child!r} is neither a label nor above one; remove it")
    return tuple(sorted(parent_of.items()))


def ancestors(parent_of: Mapping[str, str], node: str) -> list[str]:
    """Return what stands above a node, the nearest first."""
    found: list[str] = []
    while node in parent_of:
        node = parent_of[node]
        found.append(node)
    return found


def _above(steps: Sequence[tuple[str, str]], names: Sequence[str]) -> set[str]:
    """Return every node above a label, by any path, circles included."""
    parents: dict[str, set[str]] = {}
    for child, parent in steps:
        parents.setdefault(child, set()).add(parent)
    found, waiting = set[str](), list(names)
    while waiting:
        for parent in parents.get(waiting.pop(), ()):
            if parent not in found:
                found.add(parent)
                waiting.append(parent)
    return found


def _file(path: str | Path) -> Any:
    import yaml

    file = Path(path).expanduser()
    try:
        text = file.read_text(encoding="utf-8")
        for mapping in _mappings(yaml.compose(text, Loader=yaml.SafeLoader)):
            names = [str(key.value) for key, _ in mapping.value]
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:  # YAML takes the last one, and says nothing
                raise DatasetError(f"data.parents={path} has two lines for {twice!r}; keep one")
        return yaml.safe_load(text)
    except (OSError, ValueError) as error:
        raise ConfigError(f"data.parents={path} cannot be read ({error.args[-1]}); {FORM}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"data.parents={path} is not YAML: {' '.join(str(error).split())}") from error


def _mappings(node: Any) -> list[Any]:
    """Return the mapping that a YAML file is, if it is one; what lies deeper is refused anyway."""
    return [node] if getattr(node, "tag", "") == "tag:yaml.org,2002:map" else []


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _name(word: Any) -> str:
    if isinstance(word, bool) or not isinstance(word, str | int | float) or not str(word).strip():
        raise ConfigError(f"data.parents holds {word!r}, which is no name; {FORM}; quote words such as yes, no or null")
    return str(word)
