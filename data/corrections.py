"""Corrected concepts as a bottleneck takes them, in torch and deployed: needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ConfigError, UnknownNameError

Corrections = Mapping[str, float] | Sequence[Any] | NDArray[Any]
"""Concept → its value, or rows of values, one column a concept."""


def check_corrections(
    count: int, concepts: Sequence[str], values: Corrections | None, mask: Corrections | None
) -> dict[str, NDArray[np.float32]]:
    """Return corrections as arrays, one row an image; empty if there are none.

    Args:
        count: Images.
        concepts: The model's concepts.
        values: Concept → its value in 0..1 for all images; or (count, M), or one row (M,) or (1, M) for all.
        mask: With rows of values: of the same shapes, 1 where a concept is corrected, else 0.

    Returns:
        `concept_values` and `concept_mask`, (count, M).

    Raises:
        ConfigError: If the model has no concepts, one of the two is missing, a shape is wrong, a mask is neither 0 nor 1, or a
            value lies outside 0..1.
        UnknownNameError: If a name is no concept of the model's.
    """
    if values is None and mask is None:
        return {}
    if not concepts:
        raise ConfigError("this model has no concepts to correct")
    if isinstance(values, Mapping):
        if mask is not None:
            raise ConfigError("named concept_values need no concept_mask: what is named is corrected")
        values, mask = _rows(values, concepts)
    if values is None or mask is None:
        raise ConfigError("give concept_values and concept_mask together, or concept_values by name: {'" + concepts[0] + "': 1}")
    found = {"concept_values": _array("concept_values", values), "concept_mask": _array("concept_mask", mask)}
    for name, given in found.items():
        row = given[None] if given.ndim == 1 else given
        if row.ndim != 2 or row.shape[0] not in (1, count) or row.shape[1] != len(concepts):
            wanted = f"[{count}, {len(concepts)}]: one row an image (or one for all), one column a concept"
            raise ConfigError(f"{name} has shape {list(given.shape)}, not {wanted}")
        found[name] = np.ascontiguousarray(np.broadcast_to(row, (count, len(concepts))))
    values, chosen = found["concept_values"], found["concept_mask"]
    if not np.isin(chosen, (0, 1)).all():
        raise ConfigError("concept_mask must be 1 where a concept is corrected and 0 elsewhere")
    corrected = values[chosen == 1]
    if not ((corrected >= 0) & (corrected <= 1)).all():
        raise ConfigError("concept_values must be numbers in 0..1 where concept_mask is 1")
    return found


def _rows(named: Mapping[str, float], concepts: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    values, mask = np.zeros(len(concepts), np.float32), np.zeros(len(concepts), np.float32)
    for name, value in named.items():
        if name not in concepts:
            raise UnknownNameError("concept", str(name), concepts)
        if not isinstance(value, int | float | np.number):
            raise ConfigError(f"concept_values[{name!r}] is {value!r}; give a number in 0..1")
        values[list(concepts).index(name)], mask[list(concepts).index(name)] = value, 1
    return values, mask


def _array(name: str, given: Any) -> NDArray[np.float32]:
    try:
        return np.asarray(given, np.float32)
    except (TypeError, ValueError):
        raise ConfigError(f"{name} is a {type(given).__name__}; give rows of numbers, one column a concept") from None
