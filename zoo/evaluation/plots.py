"""Pictures of a report, drawn without a display."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from medzoo.train.storage import write_file


def plot_reliability(path: Path, report: dict[str, Any], split: str) -> None:
    """Draw predicted confidence against observed frequency as a PNG; the area of a point is its share of samples."""
    from matplotlib.figure import Figure

    rows = [row for row in report["splits"][split]["reliability"] if row["count"]]
    if not rows:
        return
    total = sum(row["count"] for row in rows)
    figure = Figure(figsize=(4, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="perfect")
    sizes = [20 + 400 * row["count"] / total for row in rows]
    axes.scatter([r["confidence"] for r in rows], [r["frequency"] for r in rows], s=sizes, alpha=0.7)
    axes.set(xlabel="predicted probability", ylabel="observed frequency", title=split, xlim=(0, 1), ylim=(0, 1))
    axes.legend(frameon=False)
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=110, metadata={"Software": None})
    write_file(path, image.getvalue())
