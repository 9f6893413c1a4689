"""The curves of a robustness report as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medzoo.store.figures import figure_png

COLUMNS = 4


def plot_robustness(report: Mapping[str, Any]) -> bytes:
    """Return a PNG: a panel a corruption, the metric over severity with its interval, the clean value at 0."""
    from matplotlib.figure import Figure

    curves = report["corruptions"]
    columns = min(COLUMNS, len(curves))
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(2.6 * columns + 0.4, 2.2 * rows + 0.3), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for place, (name, curve) in zip(axes.flat, curves.items(), strict=False):
        points = {0: report["clean"], **{int(severity): point for severity, point in curve["severities"].items()}}
        at = sorted(points)
        place.plot(at, [_number(points[x]["value"]) for x in at], marker="o", markersize=3)
        place.fill_between(at, [_number(points[x]["low"]) for x in at], [_number(points[x]["high"]) for x in at], alpha=0.2)
        if report["clean"]["value"] is not None:
            place.axhline(report["clean"]["value"], color="0.6", linestyle=":", linewidth=1)
        place.set_title(name, fontsize=9)
    for place in axes.flat[len(curves) :]:
        place.set_axis_off()
    figure.supxlabel("severity")
    figure.supylabel(f"{report['metric']}, {report['split']}")
    return figure_png(figure)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
