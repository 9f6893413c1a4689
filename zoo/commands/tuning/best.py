"""The best settings as a file for `experiment=` and as a command line."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import yaml

from medzoo.settings.compose import GROUPS, parse_overrides

FILE = "conf/experiment/best.yaml"


def command(words: Sequence[str]) -> str:
    """Return a training as one line for a shell."""
    return "medzoo train " + " ".join(shlex.quote(word) for word in words)


def experiment(words: Sequence[str]) -> tuple[str, list[str]]:
    """Return settings as the content of a file of the group experiment, and those that such a file cannot give.

    What stands in no group (`seed`, `device`) is given on the command line: the verb's own file comes after an experiment.
    """
    defaults: list[Any] = []
    content: dict[str, Any] = {}
    beside: dict[str, str] = {}
    for text, word in zip(words, parse_overrides(words), strict=True):
        value = word.value()  # of a text without its quotes
        if word.key_or_group in GROUPS and isinstance(value, str):
            # Of one group a later word counts.
            entry = value if word.key_or_group == "experiment" else {f"override /{word.key_or_group}": value}
            defaults = [other for other in defaults if not _same_group(other, entry)] + [entry]
            continue
        place = content
        *above, last = word.key_or_group.split(".")
        if not above and last not in GROUPS:
            beside[last] = text
            continue
        for name in above:
            place = place.setdefault(name, {})
        place[last] = value
    told = yaml.safe_dump(content, sort_keys=False, allow_unicode=True) if content else ""
    listed = yaml.safe_dump({"defaults": [*defaults, "_self_"]}, sort_keys=False, allow_unicode=True)
    return listed + told, list(beside.values())


def _same_group(one: Any, other: Any) -> bool:
    return isinstance(one, str) == isinstance(other, str) and (isinstance(one, str) or set(one) == set(other))
