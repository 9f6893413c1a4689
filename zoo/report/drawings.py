"""The plots of a page, as SVG: equal figures give equal bytes (no date, fixed names), text stays text."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

STYLE: Any = {
    "svg.hashsalt": "medzoo", "svg.fonttype": "none", "font.size": 10, "font.family": "sans-serif", "axes.spines.top": False,
    "axes.spines.right": False, "axes.titlesize": 10,
}  # fmt: skip
INK = "#1f5fa8"
COLUMNS = 3
FEW = 30
"""Up to so many points of a line are marked."""
POINTS = 400
"""Of a curve of more points, as many are drawn: a pixel has no use for more."""


def as_svg(figure: Any) -> str:
    """Return a matplotlib figure as an SVG element that fills the width it is given and no more than its own."""
    import matplotlib as mpl

    content = io.StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = content.getvalue()
    text = text[text.index("<svg") :].rstrip()
    # Names that nothing refers to (figure_1, axes_1) would be there once a drawing: a page must have each once.
    used = set(re.findall(r"#([\w.-]+)", text))
    return re.sub(r' id="([\w.-]+)"', lambda found: found.group(0) if found.group(1) in used else "", text)


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **how: Any) -> tuple[Any, NDArray[Any]]:
    """Return a figure of so many inches and its (rows, columns) axes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots(rows, columns, squeeze=False, **how)


@dataclass(frozen=True)
class Line:
    """A curve: its name, x and y (N,), and the ends of its interval where there is one."""

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    low: NDArray[np.float64] | None = None
    high: NDArray[np.float64] | None = None


def thinned(x: Floats, y: Floats, most: int = POINTS) -> tuple[Floats, Floats]:
    """Return a curve by at most so many of its points, its ends among them."""
    if len(x) <= most:
        return x, y
    keep = np.unique(np.linspace(0, len(x) - 1, most).round().astype(np.int64))
    return x[keep], y[keep]


def panels(
    curves: Sequence[Sequence[Line]], titles: Sequence[str], x: str, y: str, *, diagonal: bool = False,
    limits: tuple[float, float] | None = (-0.02, 1.02), shared: bool = False, values: Sequence[str] | None = None
) -> str:  # fmt: skip
    """Draw a small panel for each title, side by side, with the lines of each.

    Args:
        curves: Of each panel its lines.
        titles: Of each panel.
        x: Name of the axis.
        y: Name of the axis.
        diagonal: Draw the line of no skill, or of perfect calibration.
        limits: Of both axes; None: of x alone 0 to 1, y by the data.
        shared: One range for all panels where the data say it, so that they can be compared.
        values: What stands behind each title, however long that is.
    """
    figure, axes = _panes(len(curves), shared=shared)
    places = list(axes.flat)
    if values is None:
        titles = _labelled(titles)
    else:
        titles = [f"{name}: {value}" for name, value in zip(_labelled(titles, 19), values, strict=True)]
    for place, lines, title in zip(places, curves, titles, strict=False):
        if diagonal:
            place.plot([0, 1], [0, 1], color="0.6", linestyle=":", linewidth=1)
        for number, line in enumerate(lines):
            colour = INK if number == 0 else f"{0.2 + 0.25 * number:.2f}"
            if line.low is not None and line.high is not None:
                place.fill_between(line.x, line.low, line.high, color=colour, alpha=0.18, linewidth=0)
            dash, mark = "-" if number == 0 else "--", "o" if len(line.x) <= FEW else ""
            place.plot(line.x, line.y, color=colour, linewidth=1.5, linestyle=dash, marker=mark, markersize=3, label=line.name)
        place.set_title(title)
        if limits is not None:
            place.set(xlim=limits, ylim=limits)
        if len(lines) > 1:
            place.legend(frameon=False, fontsize=8)
    for place in places[len(curves) :]:
        place.set_axis_off()
    figure.supxlabel(x, fontsize=10)
    figure.supylabel(y, fontsize=10)
    return as_svg(figure)


def net_benefit(curves: Sequence[Sequence[Line]], titles: Sequence[str]) -> str:
    """Draw decision curves, a panel a class; what is far below acting on no one is cut off."""
    figure, axes = _panes(len(curves))
    places = list(axes.flat)
    for place, lines, title in zip(places, curves, _labelled(titles), strict=False):
        top = max(float(np.nanmax(line.y)) for line in lines)
        for number, line in enumerate(lines):
            colour, dash = (INK, "-") if number == 0 else ("0.45", ":" if number > 1 else "--")
            if line.low is not None and line.high is not None:
                place.fill_between(line.x, line.low, line.high, color=colour, alpha=0.18, linewidth=0)
            place.plot(line.x, line.y, color=colour, linestyle=dash, linewidth=1.5, label=line.name)
        place.set(ylim=(-0.25 * top - 0.01, 1.15 * top + 0.01), xlim=(0, 1))
        place.set_title(title)
        place.legend(frameon=False, fontsize=8)
    for place in places[len(curves) :]:
        place.set_axis_off()
    figure.supxlabel("threshold probability", fontsize=10)
    figure.supylabel("net benefit", fontsize=10)
    return as_svg(figure)


def forest(
    names: Sequence[str], values: Sequence[tuple[float, float | None, float | None]], over: float | None, label: str,
    limits: tuple[float, float] | None = None
) -> str:  # fmt: skip
    """Draw a value with its interval on a line each, and the value of all as an upright line.

    Args:
        names: Of the lines, top to bottom.
        values: Value, low, high of each; None where there is no interval.
        over: The value of all together.
        label: What is measured.
        limits: Of the axis, so that several plots can be compared; None: by the data.
    """
    figure, axes = new_figure(7, 0.3 * len(names) + 0.9)
    place = axes[0, 0]
    for row, (value, low, high) in enumerate(values):
        if low is not None and high is not None:
            place.plot([low, high], [row, row], color=INK, linewidth=1.6)
        place.plot([value], [row], marker="o", markersize=5, color=INK, fillstyle="full" if low is not None else "none")
    if over is not None:
        place.axvline(over, color="0.5", linewidth=1, linestyle=":")
    place.set_yticks(range(len(names)), _labelled(names, 34))
    place.invert_yaxis()
    place.set_ylim(len(names) - 0.5, -0.5)
    if limits is not None:
        place.set_xlim(limits)
    place.set_xlabel(label)
    return as_svg(figure)


def heat(table: NDArray[np.float64], counts: NDArray[np.int64], names: Sequence[str]) -> str:
    """Draw a confusion table: shares of each true class (0..1) as colour, counts as text."""
    side = max(3.2, 0.55 * len(names) + 1.6)
    figure, axes = new_figure(side, side - 0.4)
    place = axes[0, 0]
    place.imshow(table, cmap="Blues", vmin=0, vmax=1)
    for (row, column), value in np.ndenumerate(counts):
        if value:
            ink = "white" if table[row, column] > 0.6 else "black"
            place.text(column, row, str(value), ha="center", va="center", fontsize=8, color=ink)
    shown = _labelled(names, 18)
    place.set_xticks(range(len(names)), shown, rotation=40, ha="right")
    place.set_yticks(range(len(names)), shown)
    place.set(xlabel="predicted", ylabel="true")
    return as_svg(figure)


def scatter(panels_of: Sequence[tuple[str, NDArray[np.float64], NDArray[np.float64]]], x: str, y: str) -> str:
    """Draw a panel each of points (name, x, y) with the line of equality."""
    figure, axes = _panes(len(panels_of))
    places = list(axes.flat)
    titles = _labelled([name for name, _, _ in panels_of])
    for place, title, (_, at_x, at_y) in zip(places, titles, panels_of, strict=False):
        keep = np.unique(np.linspace(0, len(at_x) - 1, 2000).round().astype(np.int64)) if len(at_x) > 2000 else slice(None)
        place.plot(at_x[keep], at_y[keep], marker="o", markersize=3, alpha=0.4, linestyle="", color=INK)
        ends = [float(min(at_x.min(), at_y.min())), float(max(at_x.max(), at_y.max()))] if len(at_x) else [0.0, 1.0]
        place.plot(ends, ends, color="0.6", linestyle=":", linewidth=1)
        place.set_title(title)
    for place in places[len(panels_of) :]:
        place.set_axis_off()
    figure.supxlabel(x, fontsize=10)
    figure.supylabel(y, fontsize=10)
    return as_svg(figure)


def _panes(count: int, *, shared: bool = False) -> tuple[Any, NDArray[Any]]:
    """Return a figure with room for so many small panels: three beside each other, of four two."""
    columns = 2 if count == 4 else min(COLUMNS, count)
    rows = -(-count // columns)
    return new_figure(2.7 * columns + 0.4, 2.6 * rows + 0.2, rows, columns, sharex=shared, sharey=shared)


def shortened(names: Sequence[str], most: int = 26) -> list[str]:
    """Return names of at most so many characters that fit, each still another one than the others.

    Of names whose first words are the same those words are left out: `…invasive`, `…in situ`.
    """
    cut = [name if len(name) <= most else name[: most - 1] + "…" for name in names]
    for text in {text for text in cut if text.endswith("…")}:
        alike = sorted({name for name, short in zip(names, cut, strict=True) if short == text})
        if len(alike) == 1:
            continue
        first, last = alike[0], alike[-1]
        start = first[
            : next((k for k, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
        ]
        start = start[: start.rfind(" ") + 1] or start
        ends = dict(zip(alike, shortened([name[len(start) :] for name in alike], most - 1), strict=True))
        cut = [f"…{ends[name].lstrip('…')}" if short == text else short for name, short in zip(names, cut, strict=True)]
    return cut


def _labelled(names: Sequence[str], most: int = 26) -> list[str]:
    """Return short names without the signs that matplotlib would read as a formula."""
    return [name.replace("$", r"\$") for name in shortened(names, most)]
