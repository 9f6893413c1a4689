"""Decision curves as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medzoo.store.figures import figure_png
from medzoo.store.storage import write_file

COLUMNS, MOST = 3, 12
"""Panels side by side, and in all; more classes stand in metrics.json alone."""


def plot_curve(path: Path, curve: Mapping[str, Any] | None, title: str) -> None:
    """Draw net benefit over threshold probability as a PNG, a panel a class: the model with its interval, all, none."""
    from matplotlib.figure import Figure

    classes = [(name, one) for name, one in (curve or {"classes": {}})["classes"].items() if "model" in one][:MOST]
    if curve is None or not classes:
        return
    at, columns = curve["thresholds"], min(COLUMNS, len(classes))
    rows = -(-len(classes) // columns)
    figure = Figure(figsize=(4 * columns, 3 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (name, one) in zip(panels, classes, strict=False):
        known = [place for place, low in enumerate(one["low"]) if low is not None]
        axes.fill_between([at[p] for p in known], [one["low"][p] for p in known], [one["high"][p] for p in known], alpha=0.3)
        axes.plot(at, one["model"], label="model")
        axes.plot(at, one["all"], color="grey", linestyle="--", label="all")
        axes.plot(at, one["none"], color="grey", linestyle=":", label="none")
        top = max(one["prevalence"], *one["model"])
        axes.set(xlabel="threshold probability", ylabel="net benefit", title=f"{title}: {name}", ylim=(-0.25 * top, 1.1 * top))
    for axes in panels[len(classes) :]:
        axes.set_axis_off()
    panels[0].legend(frameon=False)
    write_file(path, figure_png(figure))
