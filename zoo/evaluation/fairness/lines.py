"""Subgroups on a terminal: the columns with the surest gaps first, their worst levels first, and never hundreds of lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from medzoo.evaluation.bootstrap import value_text

MOST_LEVELS, MOST_COLUMNS = 6, 12
"""Levels a column, and columns, that are shown; metrics.json holds all."""


def subgroup_lines(part: Mapping[str, Any], metric: str, shown_as: Callable[[dict[str, Any]], str]) -> list[str]:
    """Return a split's subgroups as lines: a column's gap in a metric, then its levels.

    Args:
        part: The report of a split.
        metric: Which.
        shown_as: How a metric is written, with what is undefined of it.
    """
    columns = sorted(part["subgroups"], key=lambda column: _order(part["disparity"].get(column, {}), metric))
    lines = []
    for column in columns[:MOST_COLUMNS]:
        levels = part["subgroups"][column]
        block = part["disparity"].get(column, {}).get(metric, {})
        gap, worst, best = block.get("gap"), block.get("worst"), block.get("best")
        if gap and worst and best:
            lines.append(
                f"  {column}: {metric} gap {value_text(gap['value'], gap['low'], gap['high'])}, worst {worst['level']} "
                f"{worst['value']:.3f}, best {best['level']} {best['value']:.3f}"
            )
        else:
            lines.append(f"  {column}: no gap in {metric}: fewer than two levels can be compared")
        shown = sorted(levels, key=lambda level: _badness(levels[level], block, level, metric))
        for level in shown[:MOST_LEVELS]:
            values = levels[level]["metrics"].get(metric, {"value": None, "low": None, "high": None})
            few = "" if values.get("no_interval") else levels[level].get("few", "")  # the same reason, said once
            few = f"  (few: {few})" if few else ""
            lines.append(f"    {column}={level:<14} n={levels[level]['samples']:<6} {metric} {shown_as(values)}{few}")
        if len(shown) > MOST_LEVELS:
            lines.append(f"    and {len(shown) - MOST_LEVELS} more levels in metrics.json")
    if len(columns) > MOST_COLUMNS:
        lines.append(f"  and {len(columns) - MOST_COLUMNS} more columns and intersections in metrics.json")
    return lines


def _order(blocks: Mapping[str, Any], metric: str) -> tuple[float, float]:
    """Return the order of a column: by the least that its gap may be, then by the gap."""
    gap = blocks.get(metric, {}).get("gap") or {}
    return -(gap.get("low") or 0.0), -(gap.get("value") or 0.0)


def _badness(level: Mapping[str, Any], block: Mapping[str, Any], name: str, metric: str) -> tuple[bool, float, float]:
    """Return the order of a level: those that count before those that do not, by how much worse than the others they are."""
    told = block.get("levels", {}).get(name, {})
    away = told.get("difference", {}).get("value")
    worst, best = block.get("worst"), block.get("best")
    sign = -1.0 if worst and best and worst["value"] > best["value"] else 1.0  # errors: the larger the worse
    return away is None, sign * (away or 0.0), -float(level["samples"])
