"""Sections of what probabilities mean: calibration, and prediction sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medzoo.report.blocks import Block, Cell, Drawing, Note, Section, Table, measured, pointer
from medzoo.report.drawings import Line, panels
from medzoo.report.metric_sections import titled


def calibration(report: Mapping[str, Any], splits: Sequence[str]) -> Section:
    """Return the reliability diagram of each split, every measure of calibration, and what a calibrator changed."""
    lines, titles = [], []
    for split in splits:
        rows = [row for row in report["splits"][split].get("reliability") or [] if row["count"]]
        if rows:
            x, y, low, high = (_column(rows, name) for name in ("confidence", "frequency", "frequency_low", "frequency_high"))
            known = not (np.isnan(low).all() or np.isnan(high).all())
            lines.append([Line(split, x, y, low=low if known else None, high=high if known else None)])
            ece = report["splits"][split]["metrics"].get("ece", {}).get("value")
            titles.append(split if ece is None else f"{split}, ECE {ece:.3f}")
    if not lines:
        return Section("calibration", "Calibration")
    drawn = panels(lines, titles, "predicted probability", "observed frequency", diagonal=True)
    caption = f"Reliability, {report['bins']} bins of equal width; on the dotted line probabilities mean what they say"
    alt = "Observed frequency by predicted probability: " + "; ".join(titles)
    blocks: list[Block] = [Drawing(drawn, caption, alt)]
    told = {split: report["splits"][split].get("calibration", {}) for split in splits}
    names = [name for name, metric in told[splits[-1]].items() if isinstance(metric, dict) and "value" in metric]
    if names:
        measures = [
            [
                Cell(titled(name)),
                *[measured(told[split][name], pointer("splits", split, "calibration", name)) for split in splits],
            ]
            for name in names
        ]
        blocks.append(Table("Measures of calibration", ["measure", *splits], measures, folded=True))
    if (changed := report.get("recalibration")) is not None:
        blocks.append(_recalibration(changed))
        blocks += [Note(note, source=pointer("recalibration", "notes", k)) for k, note in enumerate(changed["notes"])]
    return Section("calibration", "Calibration", blocks)


def prediction_sets(report: Mapping[str, Any]) -> Section:
    """Return what prediction sets hold on each split that they were not fitted on."""
    sets = report.get("conformal")
    if not sets:
        return Section("prediction-sets", "Prediction sets")
    blocks: list[Block] = []
    for split, part in sets["splits"].items():
        place = ("conformal", "splits", split)
        rows = [
            [Cell(titled(name)), measured(metric, pointer(*place, name))] for name, metric in part.items() if "value" in metric
        ]
        by_class = part.get("classes", {})
        blocks.append(Table(f"Sets for a coverage of {sets['coverage']:.0%}, {split}", ["measure", "value"], rows))
        names = list(next(iter(by_class.values()))) if by_class else []
        table = [
            [Cell(one), *[measured(found[name], pointer(*place, "classes", one, name)) for name in names if name in found]]
            for one, found in by_class.items()
        ]
        if table:
            blocks.append(Table(f"Sets by class, {split}", ["class", *map(titled, names)], table, folded=True))
    blocks += [Note(note, source=pointer("conformal", "notes", k)) for k, note in enumerate(sets["notes"])]
    return Section("prediction-sets", "Prediction sets", blocks)


def _recalibration(changed: Mapping[str, Any]) -> Table:
    on, rows = changed["fitted_on"], []
    for split, pair in changed["splits"].items():
        for name in pair["before"]:
            place = ("recalibration", "splits", split)
            cells = [measured({"value": pair[when][name]}, pointer(*place, when, name)) for when in ("before", "after")]
            rows.append([Cell(split), Cell(titled(name)), *cells])
    caption = (
        f"Calibrated by {changed['method']}, fitted on {on['samples']:,} val samples of {on['groups']:,} {on['unit']} groups"
    )
    return Table(caption, ["split", "measure", "before", "after"], rows)


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> Any:
    return np.array([np.nan if row.get(name) is None else row[name] for row in rows], np.float64)
