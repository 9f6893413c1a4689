"""YAML files of the user's own: what is wrong in one is told with its name and line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig
from omegaconf.errors import GrammarParseError
from omegaconf.grammar_parser import parse

from medzoo.data.errors import ConfigError

NAMES_DATASET = ("train", "verify", "prepare", "zeroshot")
"""Configurations that choose a dataset; the others take a run's own."""
REFERENCE = "${ begins a reference to another setting, such as ${seed}, and this is none; the signs themselves are written \\${"
"""What is said of a text that OmegaConf cannot read (its manual, Interpolation nodes)."""


def check_own_files(folder: Path | None) -> None:
    """Name the first of the user's own files that is no YAML mapping, with its line, or refers to nothing; else nothing.

    Raises:
        ConfigError: Of that file.
    """
    for path in sorted(folder.rglob("*.yaml")) if folder is not None else []:
        try:
            content = yaml.safe_load(path.read_bytes())
        except yaml.MarkedYAMLError as error:
            place = "" if error.problem_mark is None else f", line {error.problem_mark.line + 1}"
            raise ConfigError(f"{path}{place}: {error.problem or error.context}; YAML is indented with blanks alone") from error
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise ConfigError(f"{path} is not YAML ({type(error).__name__}: {error})") from error
        if content is not None and not isinstance(content, dict):
            raise ConfigError(f"{path} holds a {type(content).__name__}, not settings (key: value)")
        for key, value in texts_in(content):
            if not is_reference_or_plain(value):
                raise ConfigError(f"{path}: {key}: {value!r}: {REFERENCE}")


def is_reference_or_plain(value: str) -> bool:
    """Whether OmegaConf can read a text: each `${` in it begins a whole reference, or is escaped."""
    try:
        parse(value)
    except GrammarParseError:
        return "${" not in value
    return True


def texts_in(content: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield each text of nested mappings and lists with the key that it stands at: `trainer.monitor`, `names[2]`."""
    if isinstance(content, str):
        yield place, content
    elif isinstance(content, dict):
        for key, value in content.items():
            yield from texts_in(value, f"{place}.{key}" if place else str(key))
    elif isinstance(content, list):
        for number, value in enumerate(content):
            yield from texts_in(value, f"{place}[{number}]")


def refuse_dataset(name: str, overrides: Sequence[str]) -> None:
    """Refuse a dataset by name where a run's own is taken, or images of one's own and no dataset.

    Raises:
        ConfigError: With what can be told of it.
    """
    given = next((o for o in overrides if o.partition("=")[0].lstrip("+") == "data"), "")
    if given and name not in NAMES_DATASET:
        raise ConfigError(
            f"{given}: {name} takes the run's own dataset; where its files lie now is told with +data.root=..., another dataset "
            "cannot be given"
        )
    if given and name == "zeroshot" and any(o.startswith("images=") and o != "images=null" for o in overrides):
        raise ConfigError(f"{given}: with images=[...] no dataset is used; leave one of the two out")


def check_dataset(name: str, config: DictConfig, overrides: Sequence[str], folder: Path | None) -> None:
    """Refuse a dataset that has no name, or options whose names are not text.

    Raises:
        ConfigError: With the file it is of.
    """
    if name not in NAMES_DATASET:
        return
    chosen = next((o.partition("=")[2] for o in overrides if o.partition("=")[0].lstrip("+") == "data"), "")
    file = f"{folder / 'data' / chosen}.yaml" if folder is not None and (folder / "data" / f"{chosen}.yaml").is_file() else "data"
    data = config.get("data")
    if not isinstance(data, DictConfig):
        raise ConfigError(f"{file} is no dataset: give data=<name>, such as data=phantom")
    odd = next((key for key in data if not isinstance(key, str)), None)
    if odd is not None:
        raise ConfigError(f"{file}: the option {odd!r} is not a name; quote it if it is meant as one")
    if not data and name == "zeroshot":  # images=[...] need none
        return
    if not isinstance(data.get("name"), str):
        raise ConfigError(f"{file} names no dataset; begin it with defaults: [table, _self_], or write name: table")
