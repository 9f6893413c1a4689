"""Sections of concept bottlenecks: how well concepts are said, what correcting them does, and what prototypes look like."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medzoo.data.errors import EvaluationError
from medzoo.evaluation.bootstrap import value_text
from medzoo.report.blocks import Block, Cell, Drawing, Note, Section, Table, count, measured, pointer
from medzoo.report.drawings import Line, forest, panels
from medzoo.report.metric_sections import titled
from medzoo.store.directory import PROTOTYPES

FILE = "interventions.json"
LINES = 40
"""Concepts that the plot has, those said worst; the table has all."""


def concepts(report: Mapping[str, Any], split: str) -> Section:
    """Return the AUROC of each concept as a forest plot, and every metric of each as a table; nothing of other families."""
    found = report["splits"][split].get("concepts")
    if not found:
        return Section("concepts", "Concepts")
    place = ("splits", split, "concepts")
    by_concept = {name: metric["classes"] for name, metric in found.items() if "classes" in metric}
    leading = "auroc" if "auroc" in by_concept else next(iter(by_concept))
    values = {name: part for name, part in by_concept[leading].items() if part["value"] is not None}
    blocks: list[Block] = []
    if values:
        some = sorted(values, key=lambda name: values[name]["value"])[:LINES] if len(values) > LINES else list(values)
        drawn = forest(
            some, [(values[name]["value"], values[name]["low"], values[name]["high"]) for name in some],
            found[leading]["value"], titled(leading)
        )  # fmt: skip
        less = f"; the {LINES} lowest of {len(values)}" if len(some) < len(values) else ""
        alt = "; ".join(f"{name} {values[name]['value']:.3f}" for name in some)
        blocks.append(Drawing(drawn, f"{titled(leading)} of each concept, {split}; dotted: their mean{less}", alt))
    means = [Cell("mean"), Cell("")] + [measured(found[name], pointer(*place, name)) for name in by_concept]
    rows = [means]
    for name, part in by_concept[leading].items():
        positives = part.get("positives")
        at = pointer(*place, leading, "classes", name, "positives")
        cells = [Cell(name), Cell("–") if positives is None else count(positives, at)]
        for metric, parts in by_concept.items():
            told = parts.get(name)
            cells.append(Cell("–") if told is None else measured(told, pointer(*place, metric, "classes", name)))
        rows.append(cells)
    blocks.append(Table(f"Concepts, {split}", ["concept", "positives", *map(titled, by_concept)], rows, folded=bool(values)))
    return Section("concepts", "Concepts", blocks)


def interventions(run: Path, metrics: Mapping[str, Any]) -> Section:
    """Return what `medzoo intervene` measured: the metric by how many concepts a person has corrected, a line a policy.

    Args:
        run: The run directory; without interventions.json the section is empty.
        metrics: Its metrics.json: curves of other weights are not shown beside it.

    Raises:
        EvaluationError: If the file is damaged.
    """
    path, section = run / FILE, "Correcting concepts"
    if not path.is_file():
        return Section("interventions", section)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        curves, name = found["curves"], titled(found["metric"])
        lines, rows = [], []
        for policy, points in curves.items():
            steps = np.array([point["corrected"] for point in points], np.float64)
            value, low, high = (
                np.array([np.nan if point[end] is None else point[end] for point in points], np.float64)
                for end in ("value", "low", "high")
            )
            banded = not np.isnan(low).all()
            lines.append(Line(policy, steps, value, low if banded else None, high if banded else None))
            rows += [
                [Cell(policy), count(point["corrected"], pointer("curves", policy, at, "corrected", file=FILE)),
                 measured(point, pointer("curves", policy, at, file=FILE))]
                for at, point in enumerate(points)
            ]  # fmt: skip
        said = [
            f"{line.name}: {value_text(float(line.y[0]))} as predicted, {value_text(float(line.y[-1]))} with all corrected"
            for line in lines
        ]
        same = found.get("spec") == metrics.get("spec") and found.get("weights") == metrics.get("details", {}).get("weights")
        split = found["split"]
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise EvaluationError(f"{path} is damaged ({type(error).__name__}); run medzoo intervene run={run} again") from error
    if not same:
        return Section("interventions", section, [
            Note(f"{FILE} is not known to be of this page's weights: run medzoo intervene again", warns=True)
        ])  # fmt: skip
    caption = f"{name} by how many concepts a person corrects, {split}, for each order of asking"
    drawing = panels(
        [[line] for line in lines], [line.name for line in lines], "concepts corrected", name, limits=None, shared=True
    )
    return Section("interventions", section, [
        Drawing(drawing, caption, "; ".join(said), FILE),
        Table(f"Correcting concepts, {split}", ["order", "corrected", name], rows, folded=True),
    ])  # fmt: skip


def prototypes(run: Path) -> Section:
    """Return which place of which training image lies nearest to each prototype, of a bottleneck of prototypes.

    Args:
        run: The run directory; without prototypes.csv the section is empty.

    Raises:
        EvaluationError: If the file is damaged.
    """
    path, section = run / PROTOTYPES, "Prototypes"
    if not path.is_file():
        return Section("prototypes", section)
    try:
        found = pd.read_csv(path, dtype={"concept": str, "sample": str}, keep_default_na=False, na_values=[""])
        axes = [name for name in ("view", "slice", "row", "column") if name in found.columns]
        rows = []
        for row in found.to_dict("records"):
            at = ", ".join(f"{name} {int(row[name])}" for name in axes)
            cosine = float(row["similarity"])
            rows.append([
                Cell(row["concept"]), Cell(str(row["prototype"]), number=float(row["prototype"])), Cell(row["sample"]),
                Cell(f"{at} of {row['rows']}x{row['columns']}"), Cell(f"{cosine:.3f}", number=cosine),
            ])  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvaluationError(f"{path} is damaged ({type(error).__name__}); medzoo train resume={run} writes it again") from error
    caption = f"The place of a training image nearest to each prototype of the best checkpoint, from {PROTOTYPES}; counted from 0"
    header = ["concept", "prototype", "training image", "place", "cosine"]
    return Section("prototypes", section, [Table(caption, header, rows, folded=len(rows) > LINES)])
