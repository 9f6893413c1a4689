"""Metrics as settings name them: a name, or a name with arguments, and the one text that both have in files and tables."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from medzoo.data.errors import ConfigError

WORD = re.compile(r"[A-Za-z_]\w*")
OF_TARGET = re.compile(r"[A-Za-z]\w*\.(?=[A-Za-z_])")
"""Begins the name of a metric that is of one of several targets."""
FORM = "a name, or {name: {argument: value}} such as {specificity_at_sensitivity: {min_sensitivity: 0.8}}"


def metric_text(asked: Any, setting: str) -> str:
    """Return a metric as text: `cohen_kappa`, or with arguments `cohen_kappa(weights=quadratic)`, in the order of their names.

    Args:
        asked: What stands in a setting: text, or a mapping of one name to its arguments.
        setting: Which setting, for the message.

    Raises:
        ConfigError: If it is neither.
    """
    name, given = asked, None
    if isinstance(asked, Mapping) and len(asked) == 1:
        ((name, given),) = asked.items()
    if given is None and isinstance(name, str) and "(" in name:
        name, given = read_metric(name)
    given = {} if given is None else given
    if not isinstance(name, str) or not WORD.fullmatch(name) or not isinstance(given, Mapping):
        raise ConfigError(f"{setting}: {asked!r} is no metric; it is {FORM}")
    if odd := [key for key in given if not isinstance(key, str) or not WORD.fullmatch(key)]:
        raise ConfigError(f"{setting}: {odd[0]!r} is no argument's name of {name}; quote it if YAML reads it as something else")
    if not given:
        return name
    return f"{name}({', '.join(f'{key}={_written(given[key], setting)}' for key in sorted(given))})"


def monitored_text(asked: Any, setting: str) -> str:
    """Return as `metric_text` a metric that may be of one of several targets, `tone.kappa`."""
    name, given = next(iter(asked.items())) if isinstance(asked, Mapping) and len(asked) == 1 else (asked, None)
    found = OF_TARGET.match(name) if isinstance(name, str) else None
    if found is None:
        return metric_text(asked, setting)
    own = name[found.end() :]
    return found.group() + metric_text(own if given is None else {own: given}, setting)


def metric_texts(asked: Sequence[Any], setting: str) -> list[str]:
    """Return each metric of a list as text; ConfigError if one is none, or named twice."""
    texts = [metric_text(one, setting) for one in asked]
    twice = next((text for text in texts if texts.count(text) > 1), None)
    if twice is not None:
        raise ConfigError(f"{setting} names {twice} twice")
    return texts


def read_metric(text: str) -> tuple[str, dict[str, Any]]:
    """Read what `metric_text` writes: name and arguments; ConfigError if it is no such text."""
    try:
        node = ast.parse(text.strip(), mode="eval").body
        if isinstance(node, ast.Name):
            return node.id, {}
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.args:
            names = [keyword.arg for keyword in node.keywords]
            if None not in names and len(set(names)) == len(names):
                return node.func.id, {str(keyword.arg): _value(keyword.value) for keyword in node.keywords}
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):  # what reading hostile text can raise
        pass
    raise ConfigError(f"{text!r} is no metric; it is {FORM}")


def _value(node: ast.expr) -> Any:
    return node.id if isinstance(node, ast.Name) else ast.literal_eval(node)


def _written(value: Any, setting: str) -> str:
    if isinstance(value, str):
        return value if WORD.fullmatch(value) and value not in ("None", "True", "False") else repr(value)
    if isinstance(value, Sequence):
        return f"[{', '.join(repr(part) if isinstance(part, str) else _written(part, setting) for part in value)}]"
    if value is None or (isinstance(value, bool | int | float) and math.isfinite(value)):
        return repr(value)
    raise ConfigError(f"{setting}: {value!r} is no value of a metric's argument; give a number, a word or a list of numbers")
