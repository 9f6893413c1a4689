"""JSON in which nothing is silently dropped or replaced: no name twice, no NaN or Infinity, no number beyond float64.

RFC 8259, section 4, leaves open what a reader makes of a repeated name (Python keeps the last); NaN and Infinity are no JSON
(section 6), and `1e400` would be read as infinity.
"""

from __future__ import annotations

import json
import math
from typing import Any


def strict_json(text: str | bytes, *, nan: bool = False) -> Any:
    """Return what a text of JSON holds.

    Args:
        text: The text; bytes are UTF-8, UTF-16 or UTF-32.
        nan: Whether NaN, Infinity and numbers beyond float64 are taken, as pandas and others write them.

    Raises:
        ValueError: One line: what is wrong with it.
    """
    try:
        if nan:
            return json.loads(text, object_pairs_hook=_object)
        return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError("lists or objects in one another without end") from None
    except ValueError as error:
        raise ValueError(" ".join(str(error).split())) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"{name[:100]!r} is given twice")
            seen.add(name)
    return found


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:100]} is too large a number")
    return number
