"""A comparison as one HTML page that fetches nothing: the tables of the Markdown page, which a reader may sort, and plots."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from medzoo.commands.compared.page import DEFAULT_METRICS, by_test_set, side_by_side
from medzoo.commands.compared.result import Result
from medzoo.evaluation.comparison import page
from medzoo.evaluation.comparison.parts import Grid, Part
from medzoo.report.blocks import Block, Cell, Drawing, Note, Section, Table
from medzoo.report.document import render
from medzoo.report.drawings import forest
from medzoo.report.metric_sections import titled

LINES = 60
"""Intervals that a plot has; the tables have all."""
FOOTER = "Each figure stands in metrics.json of its run, or follows from the predictions.parquet of those compared."


def of_differences(report: Mapping[str, Any], title: str, notes: Sequence[str]) -> str:
    """Return the page of a report of `paired_report`: a plot of the differences of each metric, then its tables."""
    drawings: list[Block] = []
    for name in ("differences", "against_readers"):
        found = [one for one in report.get(name, []) if one["difference"] is not None]
        for metric in dict.fromkeys(one["metric"] for one in found):
            some = [one for one in found if one["metric"] == metric][:LINES]
            names = [" ".join(filter(None, (f"{one['second']} − {one['first']}", one.get("class")))) for one in some]
            values = [(one["difference"], one["low"], one["high"]) for one in some]
            caption = f"Differences in {titled(metric)}, second less first; dotted: none"
            alt = "; ".join(f"{text} {value[0]:+.3f}" for text, value in zip(names, values, strict=True))
            drawings.append(Drawing(forest(names, values, 0.0, titled(metric)), caption, alt, "predictions.parquet"))
    return html_page(title, notes, page.parts(report), drawings, report["notes"])


def of_runs(
    results: Sequence[Result], *, split: str, metrics: Sequence[str] | None, title: str, notes: Sequence[str]
) -> str:  # fmt: skip
    """Return the page of runs by their reports: a plot of the first metric of each, then the tables of `comparison`."""
    drawings: list[Block] = []
    for (dataset, _), members in by_test_set(results, split).items():
        metric = (metrics or DEFAULT_METRICS[members[0].report["labels"]["kind"]])[0]
        figures = [(result.name, result.metric(split, metric)) for result in members]
        drawn = [(name, (told["value"], told["low"], told["high"])) for name, told in figures if told["value"] is not None][
            :LINES
        ]
        if drawn:
            svg = forest([name for name, _ in drawn], [value for _, value in drawn], None, titled(metric))
            alt = "; ".join(f"{name} {value[0]:.3f}" for name, value in drawn)
            drawings.append(Drawing(svg, f"{titled(metric)} of each run, {dataset}, {split}", alt, "metrics.json"))
    return html_page(title, notes, side_by_side(results, split=split, metrics=metrics), drawings)


def html_page(
    title: str, notes: Sequence[str], parts: Sequence[Part], drawings: Sequence[Block] = (), closing: Sequence[str] = (),
    footer: str = FOOTER,
) -> str:  # fmt: skip
    """Return parts as a page: notes, drawings and closing remarks first, then a section a part."""
    sections = [
        Section("at-a-glance", "At a glance", [*(Note(note.replace("`", "")) for note in notes), *drawings, *map(Note, closing)])
    ]
    for number, part in enumerate(parts, 1):
        sections.append(Section(f"part-{number}", part.title, [_block(block) for block in part.blocks]))
    return render(title, "comparison", sections, footer)


def _block(block: str | Grid) -> Block:
    if isinstance(block, str):
        return Note(block)
    return Table(block.lead or f"By {block.header[0]}", block.header, [[_sorted(text) for text in row] for row in block.rows])


def _sorted(text: str) -> Cell:
    """Return a text as a cell that is sorted by the number it begins with, where it does."""
    number = re.match(r"< ?0\.\d+|[+-]?\d+(\.\d+)?(?![\w.-])", text)
    return Cell(text, number=None if number is None else float(number.group().lstrip("< ")))
