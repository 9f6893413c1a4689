"""The settings of a verb with their meaning, as `medzoo VERB --help` prints them: composed values, words of the docstrings."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any, get_args, get_type_hints

from omegaconf import DictConfig, OmegaConf

from medzoo.data.registry import load_dataset, loader_of

WIDTH = 118
SECTION = re.compile(r"^(Args|Attributes):\n((?:    .*\n|\n)+)", re.MULTILINE)
ENTRY = re.compile(r"^    (\*{0,2}\w+): ?(.*(?:\n        .*)*)", re.MULTILINE)


def meanings(documented: Any) -> dict[str, str]:
    """Return what the docstring of a class or a function says of each attribute or argument, on one line each (Google style)."""
    told: dict[str, str] = {}
    for part in reversed(inspect.getmro(documented)) if inspect.isclass(documented) else [documented]:
        text = f"{inspect.cleandoc(part.__doc__ or '')}\n"
        for section in SECTION.finditer(text):
            told |= {name: " ".join(words.split()) for name, words in ENTRY.findall(section.group(2))}
    return told


def settings_help(verb: str, schema: type[Any], config: DictConfig) -> str:
    """Return all settings of a verb, `key=value  meaning` a line, those of a dataset included.

    Args:
        verb: Name of the verb.
        schema: The dataclass of its settings.
        config: The composed configuration, whose values are shown.
    """
    values = OmegaConf.to_container(config, resolve=False)
    assert isinstance(values, dict)
    lines = [f"usage: medzoo {verb} [KEY=VALUE ...] [--config-dir FOLDER]", "", _first_line(schema), ""]
    lines += _of_class(schema, values, "")
    data = values.get("data")
    if isinstance(data, Mapping) and isinstance(data.get("name"), str):
        known = {**meanings(load_dataset), **meanings(loader_of(data["name"]))}
        lines += ["", f"data={data['name']}, one of medzoo list datasets:"]
        lines += [_line(f"data.{key}", value, known.get(str(key), "")) for key, value in data.items() if key != "name"]
    return "\n".join(lines) + "\n"


def _of_class(schema: type[Any], values: Mapping[Any, Any], prefix: str) -> list[str]:
    values = {**asdict(schema()), **values}  # a file need not name every setting
    known, hints, lines, below = meanings(schema), get_type_hints(schema), list[str](), list[str]()
    for setting in fields(schema):
        inner = next((part for part in (hints[setting.name], *get_args(hints[setting.name])) if is_dataclass(part)), None)
        value = values.get(setting.name)
        if inner is not None and isinstance(inner, type) and isinstance(value, Mapping):
            below += ["", f"{prefix}{setting.name}: {known.get(setting.name, _first_line(inner))}"]
            below += _of_class(inner, value, f"{prefix}{setting.name}.")
        elif not (setting.name == "data" and isinstance(value, Mapping) and value):
            lines.append(_line(f"{prefix}{setting.name}", value, known.get(setting.name, "")))
    return lines + below


def _line(key: str, value: Any, meaning: str) -> str:
    shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    start = f"  {key}={shown}"
    indent = " " * 36
    wrapped = textwrap.wrap(re.sub(r"\bNone\b", "null", meaning), WIDTH, initial_indent=indent, subsequent_indent=indent)
    if not wrapped:
        return start
    if len(start) < len(indent) - 1:
        return "\n".join([start.ljust(len(indent)) + wrapped[0].strip(), *wrapped[1:]])
    return "\n".join([start, *wrapped])


def _first_line(schema: type[Any]) -> str:
    return (inspect.getdoc(schema) or "").splitlines()[0]
