"""YAML files of the user's own: what is wrong in one is told with its name and line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml
from omegaconf import DictConfig

from medzoo.data.errors import ConfigError

NAMES_DATASET = ("train", "verify", "prepare", "zeroshot")
"""Configurations that choose a dataset; the others take a run's own."""


def check_own_files(folder: Path | None) -> None:
    """Name the first of the user's own files that is no YAML mapping, with its line; nothing where all are.

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


def refuse_dataset(name: str, overrides: Sequence[str]) -> None:
    """Refuse a dataset by name where a run's own is taken.

    Raises:
        ConfigError: With what can be told of it.
    """
    given = next((o for o in overrides if o.partition("=")[0].lstrip("+") == "data"), "")
    if given and name not in NAMES_DATASET:
        raise ConfigError(
            f"{given}: {name} takes the run's own dataset; where its files lie now is told with +data.root=..., another dataset "
            "cannot be given"
        )


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
