"""What a grid and a search have in common: a YAML file of few keys, settings as words, a training composed as its verb does."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.models.registry import check_backbone
from medzoo.models.trained import is_run
from medzoo.settings.compose import compose_config, typed
from medzoo.settings.schema import TrainConfig
from medzoo.store.directory import RunDirectory
from medzoo.train.state import POINTER

Words = tuple[str, ...]


def read_keys(path: Path, what: str, keys: Sequence[str]) -> dict[str, Any]:
    """Read a YAML file of known keys.

    Args:
        path: The file.
        what: It holds, such as `grid`.
        keys: Those it may have.

    Raises:
        ConfigError: If it cannot be read.
        UnknownNameError: If it has another key.
    """
    try:
        content = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read the {what} {path} ({error.strerror})") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f", line {mark.line + 1}"
        raise ConfigError(f"{path}{line} is not YAML") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds no {what}: {', '.join(keys[:3])}, ... by name")
    for key in content:
        if key not in keys:
            raise UnknownNameError(f"key of a {what}", str(key), keys, where=f" in {path}")
    return content


def read_words(given: Any, place: str, own: Collection[str], given_by: str) -> Words:
    """Return settings as words: of a text as a shell parts it.

    Args:
        given: A text, or a list of texts.
        place: Where it stands, for messages.
        own: Settings that are not the user's to give here.
        given_by: What gives those itself, and by what.

    Raises:
        ConfigError: If it is neither, or gives one of `own`.
    """
    if isinstance(given, str):
        try:
            given = shlex.split(given)
        except ValueError as error:
            raise ConfigError(f"{place} cannot be read ({error}): {given}") from error
    if not isinstance(given, Sequence) or not all(isinstance(word, str) for word in given):
        raise ConfigError(f"{place} holds no settings, such as data=phantom data.size=32")
    for word in given:
        if word.partition("=")[0].lstrip("+~") in own:
            raise ConfigError(f"{place} gives {word}, which {given_by}")
    return tuple(given)


def compose_training(words: Sequence[str], path: Path) -> tuple[DictConfig, TrainConfig]:
    """Return the settings of a training into a run directory, composed and typed; MedzooError if it names no model there is."""
    config = compose_config("train", [*words, f"run={quoted(path)}"])
    settings = typed(TrainConfig, config)
    if not is_run(settings.model.backbone):
        check_backbone(settings.model.backbone, settings.model.family)
    return config, settings


def left_off(path: Path) -> bool:
    """Whether a run directory holds a state to go on from."""
    return (RunDirectory(path).state / POINTER).is_file()


def quoted(path: Path | str) -> str:
    """Return a path, or another text, as a setting's value."""
    return "'" + str(path).replace("\\", "\\\\").replace("'", "\\'") + "'"
