"""The section of what corruption does to a run's figures, where `medzoo robustness` was run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from medzoo.evaluation.robustness.report import read_robustness
from medzoo.report.blocks import Block, Cell, Drawing, Note, Section, Table, measured, pointer
from medzoo.report.drawings import Line, panels
from medzoo.report.metric_sections import titled

FILE = "robustness.json"
SUMMARY = (
    ("mean_corruption_error", "mean corruption error"), ("relative_mean_corruption_error", "relative to clean images"),
    ("mean_area", "mean area under the severities"),
)  # fmt: skip


def robustness(run: Path, metrics: Mapping[str, Any]) -> Section:
    """Return curves and a table of robustness.json; nothing where there is none.

    Args:
        run: The run directory.
        metrics: Its metrics.json: figures of other weights are not shown beside it.

    Raises:
        EvaluationError: If the file is damaged.
    """
    path, blocks = run / FILE, list[Block]()
    if path.is_file():
        report = read_robustness(path)
        theirs, ours = report["details"].get("weights"), metrics.get("details", {}).get("weights")
        if report.get("spec") != metrics.get("spec") or (ours is not None and theirs != ours):
            blocks.append(Note(f"{FILE} is of other weights than this page: run medzoo robustness again", warns=True))
        else:
            blocks = [_curves(report), _table(report), _summary(report)]
            for place, note in enumerate([*report["left_out"].values(), *report["notes"]]):
                left = list(report["left_out"])
                source = ("left_out", left[place]) if place < len(left) else ("notes", place - len(left))
                blocks.append(Note(note, source=pointer(*source, file=FILE)))
    return Section("robustness", "Corrupted images", blocks)


def _curves(report: Mapping[str, Any]) -> Drawing:
    lines, said = [], []
    for name, curve in report["corruptions"].items():
        points = {0: report["clean"], **{int(severity): point for severity, point in curve["severities"].items()}}
        at = np.array(sorted(points), dtype=np.float64)
        value, low, high = (
            np.array([np.nan if points[int(x)][end] is None else points[int(x)][end] for x in at], dtype=np.float64)
            for end in ("value", "low", "high")
        )
        lines.append([Line(name, at, value, low=low, high=high)])
        said.append(f"{name} {value[-1]:.3f}")
    metric, split = titled(report["metric"]), report["split"]
    svg = panels(lines, list(report["corruptions"]), "severity", metric, limits=None, shared=True)
    caption = f"{metric} by severity, {split}; 0: the images as they are. Bands: {report['interval']['level']:.0%} intervals"
    return Drawing(svg, caption, f"at the highest severity: {'; '.join(said)}", made_from=FILE)


def _table(report: Mapping[str, Any]) -> Table:
    severities = sorted({int(severity) for one in report["corruptions"].values() for severity in one["severities"]})
    rows = []
    for name, one in report["corruptions"].items():
        place = ("corruptions", name)
        cells = [
            measured(one["severities"][str(severity)]["difference"],
                     pointer(*place, "severities", severity, "difference", file=FILE))
            for severity in severities
        ]  # fmt: skip
        ends = [measured(one[key], pointer(*place, key, file=FILE)) for key in ("area", "error", "relative_error")]
        rows.append([Cell(name), *cells, *ends, Cell(one["source"], pointer(*place, "source", file=FILE))])
    header = ["corruption", *(f"severity {severity}" for severity in severities), "area", "error", "relative error", "numbers of"]
    caption = f"{titled(report['metric'])}, {report['split']}: corrupted less clean, on the same patients"
    return Table(caption, header, rows)


def _summary(report: Mapping[str, Any]) -> Table:
    clean = [
        Cell(f"{titled(report['metric'])} of the images as they are"),
        measured(report["clean"], pointer("clean", file=FILE)),
    ]
    rows = [[Cell(text), measured(report[key], pointer(key, file=FILE))] for key, text in SUMMARY]
    return Table("All corruptions together", ["", ""], [clean, *rows])
