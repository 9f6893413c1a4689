"""Which member of a tar file is of which sample: the form that WebDataset established.

The key is the path up to the first dot of the file's name, the ending what follows it: `a/0001.seg.png` is the member `seg.png`
of the sample `a/0001`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_MEMBER = re.compile(r"((?:.*/|)[^./]+)[.]([^/]+)", re.DOTALL)
_META = re.compile(r"__[^/]*__(?:$|/)")
_PLAIN = re.compile(r"[A-Za-z0-9 _@+=,()\[\]-]+(?:/[A-Za-z0-9 _@+=,()\[\]-]+)*")
_LONGEST = 90
"""Letters of a key that is written as it is: with its ending it fits the name of a plain tar header."""
TEXT = ("json", "jsn", "txt", "text", "transcript", "cls", "cls2", "class", "count", "index", "inx", "id")
"""Endings of members that hold words, or a number as words; of several parts the last one counts."""
JSON = ("json", "jsn")
CARD, CARD_FORMAT = "shards.json", 1
"""The file beside shards that says what their fields mean, and its form."""


def key_and_ending(name: str) -> tuple[str, str] | None:
    """Return a member's key and its ending in lower case; None of what is of no sample: no ending, hidden, `__so__`."""
    name = name.removeprefix("./")
    if _META.match(name):
        return None
    match = _MEMBER.fullmatch(name)
    return None if match is None else (match[1], match[2].lower())


def last_part(ending: str) -> str:
    """Return the last part of an ending: `png` of `seg.png`."""
    return ending.rpartition(".")[2]


def leaves_tar(name: str) -> bool:
    """Whether a member's name is absolute, or climbs above the folder it would be unpacked in."""
    return name.startswith(("/", "\\")) or re.match("[A-Za-z]:", name) is not None or ".." in re.split(r"[/\\]", name)


def are_keys(names: Iterable[str]) -> bool:
    """Whether names can all be keys as they stand: plain letters, no dot, none of them hidden or `__so__`."""
    return all(
        len(name) <= _LONGEST and _PLAIN.fullmatch(name) is not None and not _META.match(name) and name == name.strip()
        for name in names
    )
