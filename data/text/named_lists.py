"""YAML files of wording (prompts, concept lists): a user's own, and those that come with medzoo in a folder of `conf/`.

Also the checks of texts from such a file, which name what is wrong in one line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from medzoo.data.errors import ConfigError, UnknownNameError


def read_text(path: str | Path, what: str) -> str:
    """Return a file's text (UTF-8, with or without a byte order mark).

    Args:
        path: The file.
        what: What it holds, for the message.

    Raises:
        ConfigError: If it cannot be read; names the file.
    """
    path = Path(path).expanduser()
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot read the {what} ({getattr(error, 'strerror', None) or error})") from None


def packaged_names(folder: str) -> list[str]:
    """Return the names of the YAML files in a folder of `medzoo.conf`, sorted."""
    entries = resources.files("medzoo.conf").joinpath(folder).iterdir()
    return sorted(entry.name.removesuffix(".yaml") for entry in entries if entry.name.endswith(".yaml"))


def packaged_text(folder: str, name: str, what: str) -> str:
    """Return the text of one of them; raises UnknownNameError, which offers the nearest, if there is none such."""
    if name not in (names := packaged_names(folder)):
        raise UnknownNameError(what, name, names)
    return resources.files("medzoo.conf").joinpath(folder, f"{name}.yaml").read_text(encoding="utf-8")


def packaged_for(folder: str, dataset: str) -> str | None:
    """Return the packaged name that suits a dataset best, or None.

    Args:
        folder: Folder of `medzoo.conf`.
        dataset: `DatasetInfo.name`: `olives/bscan/disease` is looked for as `olives_bscan_disease`, then `olives_bscan`, then
            `olives`.
    """
    parts, packaged = dataset.split("/"), set(packaged_names(folder))
    tried = ("_".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((name for name in tried if name in packaged), None)


def parse_with_base(text: str, folder: str, what: str) -> dict[str, Any]:
    """Return a file's keys and values; those of its `base`, a packaged file, where it does not give them itself.

    Args:
        text: YAML.
        folder: Folder of `medzoo.conf` with the bases.
        what: What its files hold, for messages.

    Returns:
        All keys but `base`; name, version and source are never the base's.

    Raises:
        ConfigError: If it is no YAML mapping, a key is given twice, or the base is unknown or has one itself.
    """
    given = parse_mapping(text)
    if "base" not in given:
        return given
    base = parse_mapping(packaged_text(folder, str(given.pop("base")), what))
    if "base" in base:
        raise ConfigError("its base has a base itself; name that one")
    return {**{key: value for key, value in base.items() if key not in ("name", "version", "source")}, **given}


def parse_mapping(text: str) -> dict[str, Any]:
    """Return the keys and values of a YAML mapping.

    Raises:
        ConfigError: If it is none, or a key is given twice at any depth.
    """
    import yaml  # here, so that wording kept as JSON needs no PyYAML

    try:
        waiting, seen = [yaml.compose(text, Loader=yaml.SafeLoader)], set[int]()
        while waiting:  # safe_load would keep the last of two equal keys without a word
            node = waiting.pop()
            if id(node) in seen or not isinstance(node, yaml.CollectionNode):
                continue
            seen.add(id(node))
            keys = [key.value for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
            for key in keys:
                if keys.count(key) > 1:
                    raise ConfigError(f"key {key!r} is given twice; keep one")
            waiting += [value for _, value in node.value] if keys else node.value
        given = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML ({error})") from None
    return dict(named_texts(given, "the file"))


def text_list(value: object, what: str) -> tuple[Any, ...]:
    """Return a list's items; raises ConfigError if it is no list (a lone text would come apart into letters)."""
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{what} is {value!r}, not a list of texts")
    return tuple(value)


def refuse_texts(texts: Sequence[Any], what: str) -> None:
    """Raise ConfigError if there is no text, one is empty or none, or two are equal but for case and spaces."""
    if not texts:
        raise ConfigError(f"{what}: there is no text; give one")
    seen: set[str] = set()
    for text in texts:
        if not is_text(text):
            raise ConfigError(f"{what}: {text!r} is empty or not text; write it in quotes")
        if spaced(text) in seen:
            raise ConfigError(f"{what}: {text!r} is given twice (but for case and spaces); keep one")
        seen.add(spaced(text))


def refuse_templates(templates: Sequence[Any], where: str) -> None:
    """Raise ConfigError as `refuse_texts`, or if a template has not exactly one `{}`, and no other brace."""
    refuse_texts(templates, f"{where}: templates")
    for template in templates:
        if not template.count("{") == template.count("}") == template.count("{}") == 1:
            raise ConfigError(f"{where}: template {template!r} does not have {{}} exactly once and no other brace")


def is_text(value: object) -> bool:
    """Return whether a value is text with more than spaces."""
    return isinstance(value, str) and bool(value.strip())


def spaced(text: str) -> str:
    """Return a text to compare by: case folded, single spaces."""
    return " ".join(text.casefold().split())


def named_texts(value: object, what: str) -> Mapping[str, Any]:
    """Return a mapping of names; raises ConfigError if it is none, or a name is not text."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"{what} holds {type(value).__name__}, not names and their texts")
    for name in value:
        if not isinstance(name, str):
            raise ConfigError(f'{what}: name {name!r} is not text; quote it: "{name}"')
    return value
