"""Sections of what is decided with a model: operating points, decision curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from medzoo.report.blocks import Block, Cell, Drawing, Note, Section, Table, count, measured, pointer
from medzoo.report.drawings import Line, net_benefit
from medzoo.report.metric_sections import PANELS

FIGURES = {
    "sensitivity": "sensitivity", "specificity": "specificity", "ppv": "PPV", "npv": "NPV", "lr_positive": "LR+",
    "lr_negative": "LR−", "accuracy": "accuracy", "ppv_at_prevalence": "PPV at prevalence",
    "npv_at_prevalence": "NPV at prevalence",
}  # fmt: skip
CHOSEN = "Thresholds were chosen on the val split alone and stay as they are; intervals are of the figures at them."
COUNTS = {"true_positive": "TP", "false_positive": "FP", "false_negative": "FN", "true_negative": "TN"}


def operating_points(report: Mapping[str, Any], split: str) -> Section:
    """Return what each rule's thresholds, chosen on val, give on a split."""
    points = report["splits"][split].get("operating_points", {})
    blocks: list[Block] = []
    for rule, point in points.items():
        place = ("splits", split, "operating_points", rule, "classes")
        some = [figure for figure in FIGURES if any(figure in found for found in point["classes"].values())]
        rows = []
        for name, found in point["classes"].items():
            if found["threshold"] is None:
                rows.append([Cell(name), Cell("none", flag=str(found["reason"]))])
                continue
            cells = [Cell(name), Cell(f"{found['threshold']:.4g}", pointer(*place, name, "threshold"), found["threshold"])]
            cells += [count(found[key], pointer(*place, name, key)) for key in COUNTS]
            cells += [_figure(found.get(key), pointer(*place, name, key)) for key in some]
            rows.append(cells)
        header = ["class", "probability ≥", *COUNTS.values(), *(FIGURES[key] for key in some)]
        blocks.append(Table(f"{rule}, {split}", header, rows))
    if blocks:
        blocks.insert(0, Note(CHOSEN))
    return Section("operating-points", "Operating points", blocks)


def decision_curve(report: Mapping[str, Any], split: str) -> Section:
    """Return the net benefit over threshold probabilities of each class, the model's beside that of calling everyone."""
    curve = report["splits"][split].get("decision_curve")
    if not curve:
        return Section("decision-curve", "Decision curve")
    x = np.array(curve["thresholds"], np.float64)
    titles: list[str] = []
    panels: list[list[Line]] = []
    for name, found in curve["classes"].items():
        if "undefined" in found:
            continue
        if len(panels) == PANELS:
            break
        low, high = (None if found.get(end) is None else _numbers(found[end]) for end in ("low", "high"))
        everyone = _numbers(found["all"])
        titles.append(name)
        panels.append([Line("model", x, _numbers(found["model"]), low=low, high=high), Line("everyone", x, everyone),
                       Line("no one", x, np.zeros(len(x)))])  # fmt: skip
    if not panels:
        return Section("decision-curve", "Decision curve", [Note("Undefined for every class.")])
    alt = f"Net benefit of the model, of calling everyone and of calling no one, for {', '.join(titles)}"
    less = "" if len(titles) == len(curve["classes"]) else f"; {len(titles)} of {len(curve['classes'])} classes"
    caption = f"Net benefit by threshold probability, {split} (Vickers and Elkin 2006){less}"
    return Section("decision-curve", "Decision curve", [Drawing(net_benefit(panels, titles), caption, alt)])


def _numbers(values: Any) -> Any:
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _figure(figure: Mapping[str, Any] | None, source: str) -> Cell:
    return Cell("–") if figure is None else measured(figure, source)
