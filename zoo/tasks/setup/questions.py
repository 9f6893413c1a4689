"""Whether two models answer the same question, and in what words they do not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from medzoo.data.labels import LabelSpace
from medzoo.store.spec import ModelSpec


def other_labels(theirs: ModelSpec, ours: ModelSpec) -> str:
    """Return what one model's labels are and not another's, as `kind names, not kind names`; empty where they are the same.

    Labels of 0 and 1 that are alike in name are others where they were read from another column. A tree over them does not count.
    """
    spaces = [replace(spec.label_space, parents=None) for spec in (theirs, ours)]
    columns = [spec.data.get("options", {}).get("target") for spec in (theirs, ours)]
    if spaces[0] == spaces[1]:
        return "" if columns[0] == columns[1] else f"{_named(spaces[0])} of column {columns[0]!r}, not of {columns[1]!r}"
    said = [_named(space) for space in spaces]
    if said[0] == said[1]:  # they part behind the first few, or by their units
        said = [_whole(space) for space in spaces]
    return f"{said[0]}, not {said[1]}"


def _named(labels: LabelSpace) -> str:
    return f"{labels.kind} {', '.join(labels.names[:4])}{', ...' if labels.width > 4 else ''}"


def _whole(labels: LabelSpace) -> str:
    units: Any = labels.units or ("no unit",) * labels.width
    named = labels.names if labels.kind != "regression" else [f"{n} ({u})" for n, u in zip(labels.names, units, strict=True)]
    return f"{labels.kind} {', '.join(named)}"
