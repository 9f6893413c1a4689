"""Sections of who is served how: subgroups, and tests on other data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medzoo.data.errors import EvaluationError
from medzoo.evaluation.attention import COPIES
from medzoo.evaluation.several import refuse_whole
from medzoo.report.blocks import Block, Cell, Drawing, Note, Section, Table, count, measured, pointer
from medzoo.report.drawings import forest
from medzoo.report.metric_sections import HEADLINE, titled

GAPS = {
    "gap": "gap", "ratio": "ratio", "mean_psd": "mean PSD", "max_psd": "largest PSD", "equity_scaled": "equity-scaled",
}  # fmt: skip
"""Figures of a column's disparity; PSD: performance-scaled disparity. docs/subgroups.md."""
OF_TREES = ("precision", "recall", "f1", "mean_distance", "mean_distance_of_errors")
LINES = 40
"""Levels that a forest plot of one column has; the table has all."""


def subgroups(report: Mapping[str, Any], split: str) -> Section:
    """Return the leading metric of each level as a forest plot, and every metric of each as a table."""
    part = report["splits"][split]
    blocks: list[Block] = []
    limits = _limits(report, part["subgroups"])
    for column, levels in part["subgroups"].items():
        name = _leading(report, levels)
        place = ("splits", split, "subgroups", column)
        whole = part["metrics"].get(name, {}).get("value")
        shown = {level: content["metrics"][name] for level, content in levels.items() if name in content["metrics"]}
        drawn = {level: metric for level, metric in shown.items() if metric["value"] is not None}
        if drawn:
            some = sorted(drawn, key=lambda level: drawn[level]["value"])[:LINES] if len(drawn) > LINES else list(drawn)
            names = [f"{level}  (n={levels[level]['samples']:,})" for level in some]
            values = [(drawn[level]["value"], drawn[level]["low"], drawn[level]["high"]) for level in some]
            less = f"; the {LINES} lowest of {len(drawn)} levels" if len(some) < len(drawn) else ""
            caption = f"{titled(name)} by {column}, {split}: intervals where there are enough groups; dotted: all samples{less}"
            alt = "; ".join(f"{level} {drawn[level]['value']:.3f}" for level in some)
            blocks.append(Drawing(forest(names, values, whole, titled(name), limits), caption, alt))
        undefined = [level for level in shown if level not in drawn]
        if undefined:
            blocks.append(Note(f"{column}: {titled(name)} is undefined for {', '.join(undefined[:20])}"
                               f"{' and more' if len(undefined) > 20 else ''}."))  # fmt: skip
        metrics = list(next(iter(levels.values()))["metrics"])
        rows = [
            [Cell(level), count(content["samples"], pointer(*place, level, "samples")),
             count(content["groups"], pointer(*place, level, "groups")),
             *[measured(content["metrics"].get(metric, {}), pointer(*place, level, "metrics", metric)) for metric in metrics]]
            for level, content in levels.items()
        ]  # fmt: skip
        header = [column, "samples", f"{report['interval']['unit']} groups", *map(titled, metrics)]
        blocks.append(Table(f"By {column}, {split}", header, rows, folded=True))
    return Section("subgroups", "Subgroups", blocks)


def disparity(report: Mapping[str, Any], split: str) -> Section:
    """Return of each subgroup column the gaps between its levels, and of each class the differences of its rates."""
    blocks: list[Block] = []
    for column, found in report["splits"][split].get("disparity", {}).items():
        place = ("splits", split, "disparity", column)
        rows = []
        for name in found:
            if "gap" not in found[name]:
                continue
            metric = found[name]
            cells = [Cell(titled(name))]
            for end in ("worst", "best"):
                told = metric.get(end)
                cells.append(Cell("–") if told is None else Cell(f"{told['level']}: {told['value']:.3f}", number=told["value"]))
            for key in GAPS:
                cells.append(measured(metric[key], pointer(*place, name, key)) if key in metric else Cell("–"))
            rows.append(cells)
        if rows:
            header = ["metric", "worst", "best", *GAPS.values()]
            blocks.append(Table(f"Differences by {column}, {split}", header, rows, folded=bool(blocks)))
        odds = []
        for name, told in found.get("equalised_odds", {}).get("classes", {}).items():
            at = (*place, "equalised_odds", "classes", name)
            gaps = [measured(told[rate], pointer(*at, rate)) if rate in told else Cell("–") for rate in ("tpr", "fpr")]
            odds.append([Cell(name), *gaps])
        if odds:
            header = ["class", "TPR gap", "FPR gap"]
            blocks.append(Table(f"Equalised odds by {column}, {split}", header, odds, folded=True))
    return Section("disparity", "Who is served worse", blocks)


def hierarchy(report: Mapping[str, Any], split: str) -> Section:
    """Return the metrics on each level of the labels' tree, where they have one."""
    part = report["splits"][split].get("hierarchy")
    if not part:
        return Section("hierarchy", "The tree of labels")
    place = ("splits", split, "hierarchy")
    rows = [[Cell(titled(name)), measured(part[name], pointer(*place, name))] for name in OF_TREES if name in part]
    levels = []
    for depth, level in part["levels"].items():
        at = (*place, "levels", depth, "metrics")
        cells = [Cell(depth), count(len(level["nodes"]), "")]
        cells += [measured(level["metrics"][name], pointer(*at, name)) for name in ("accuracy", "auroc")]
        levels.append(cells)
    return Section("hierarchy", "The tree of labels", [
        Table(f"By level, {split}", ["level", "nodes", "accuracy", "AUROC"], levels),
        Table(f"Along the tree, {split}", ["measure", "value"], rows),
    ])  # fmt: skip


def external_tests(run: Path) -> Section:
    """Return the headline figures of each test on other data, from `external/<name>/metrics.json`; EvaluationError if damaged."""
    blocks: list[Block] = []
    for path in sorted(run.glob("external/*/metrics.json")):
        file = path.relative_to(run).as_posix()
        report = read_metrics(path)
        for place, entry in enumerate(report.get("attention", [])):
            if entry["kind"] in COPIES:
                source = pointer("attention", place, "says", file=file)
                blocks.append(Note(f"{path.parent.name}: {entry['says']}", warns=True, source=source))
        for split in report["splits"]:
            part, unit = report["splits"][split], report["interval"]["unit"]
            names = [name for name in HEADLINE[report["labels"]["kind"]] if name in part["metrics"]]
            row = [Cell(str(report.get("details", {}).get("data", {}).get("name", ""))),
                   count(part["samples"], pointer("splits", split, "samples", file=file)),
                   count(part["groups"], pointer("splits", split, "groups", file=file)),
                   *[measured(part["metrics"][n], pointer("splits", split, "metrics", n, file=file)) for n in names]]  # fmt: skip
            header = ["dataset", "samples", f"{unit} groups", *map(titled, names)]
            blocks.append(Table(f"{path.parent.name}, {split}", header, [row]))
        for place, note in enumerate(report["notes"]):
            blocks.append(Note(f"{path.parent.name}: {note}", source=pointer("notes", place, file=file)))
    return Section("external", "Tests on other data", blocks)


def read_metrics(path: Path) -> dict[str, Any]:
    """Read a metrics.json; EvaluationError if it is missing or damaged."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EvaluationError(f"no metrics at {path}; make them with medzoo evaluate run={path.parent}") from None
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{path} is damaged ({type(error).__name__}); evaluate the run again") from error
    refuse_whole(path.parent, report if isinstance(report, dict) else {})
    if not isinstance(report, dict) or not isinstance(report.get("splits"), dict):
        raise EvaluationError(f"{path} holds no results of splits; evaluate the run again")
    return report


def _leading(report: Mapping[str, Any], levels: Mapping[str, Any]) -> str:
    """Return the metric that stands for a level: AUROC, or the first there is."""
    there = next(iter(levels.values()))["metrics"]
    return next((name for name in HEADLINE[report["labels"]["kind"]] if name in there), next(iter(there)))


def _limits(report: Mapping[str, Any], columns: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return one axis for the plots of all columns, so that they can be compared; None without a value."""
    ends = []
    for levels in columns.values():
        name = _leading(report, levels)
        found = [content["metrics"].get(name, {}) for content in levels.values()]
        ends += [metric[end] for metric in found for end in ("value", "low", "high") if metric.get(end) is not None]
    if not ends:
        return None
    margin = 0.03 * (max(ends) - min(ends) or 1.0)
    return min(ends) - margin, max(ends) + margin
