"""A comparison as Markdown to read, as CSV for a spreadsheet, as JSON with everything."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from medzoo.evaluation.bootstrap import value_text
from medzoo.evaluation.comparison.parts import Grid, Part, markdown

COLUMNS = (
    "table", "first", "second", "metric", "class", "first_value", "second_value", "value", "difference", "low", "high", "sd", "p",
    "p_holm", "margin", "verdict", "replicates", "standard_error", "z", "no_interval",
)  # fmt: skip
"""Of the CSV file, one row a figure; empty where a table has none of it."""


def as_text(report: Mapping[str, Any], how: str, title: str = "Comparison", notes: Sequence[str] = ()) -> str:
    """Return a report of `paired_report` as `markdown`, `csv` or `json`.

    Args:
        report: What was compared.
        how: The format.
        title: Heading of the Markdown page.
        notes: Paragraphs below it, before the report's own notes.
    """
    if how == "json":
        return json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return _csv(report) if how == "csv" else markdown(title, notes, parts(report), report["notes"])


def parts(report: Mapping[str, Any]) -> list[Part]:
    """Return what a report says, part by part, for a page of whatever form."""
    interval, p = report["interval"], report["p"]
    counts = f"{report['samples']} samples, {report['groups']} {interval['unit']} groups"
    rows = [
        [one["name"], one["training"], _runs(one), *(_figure(one["metrics"].get(metric)) for metric in report["metrics"])]
        for one in report["settings"]
    ]
    first: list[str | Grid] = [Grid(["setting", "training", "runs", *report["metrics"]], rows)]
    if "readers" in report:
        metrics = list(report["readers"][0]["metrics"])
        rows = [[one["name"], *(_figure(one["metrics"][metric]) for metric in metrics)] for one in report["readers"]]
        first.append(Grid(["reader", *metrics], rows))
    found = [Part(f"{' '.join(filter(None, (report['dataset'], report['split'])))} ({counts})", first)]
    for name, heading in (("differences", "Differences"), ("against_readers", "Models against readers")):
        if report.get(name):
            lead = f"Second less first, {interval['level']:.0%} intervals ({interval['method']})."
            found.append(Part(heading, [replace(_differences(report[name]), lead=lead)], 3))
    if report.get("delong"):
        header = ["first", "second", "class", "first AUROC", "second AUROC", "difference", "standard error", "p"]
        found.append(
            Part("DeLong's test of AUROC, image by image", [Grid(header, [_delong(one) for one in report["delong"]])], 3)
        )
    if p["tests"]:
        smallest = f"the smallest that {interval['replicates']} replicates can show is {p['smallest']:.2g}"
        said = f"p: {p['method']}; {smallest}. Holm: corrected over all {p['tests']} tests above but DeLong's."
        found[-1] = replace(found[-1], blocks=[*found[-1].blocks, said])
    return found


def _differences(compared: Sequence[Mapping[str, Any]]) -> Grid:
    rows, no_margins = [], all(one["margin"] is None for one in compared)
    for part in compared:
        told = _signed(part["difference"], part["low"], part["high"])
        told += f" ({part['no_interval']})" if part.get("no_interval") else ""
        rows.append(
            [part["first"], part["second"], " ".join(filter(None, (part["metric"], part.get("class")))),
             value_text(part["first_value"]), value_text(part["second_value"]), told, _p(part["p"]), _p(part["p_holm"]),
             *([] if no_margins else ["" if part["margin"] is None else f"{part['margin']:g}"]),
             part["verdict"] or ""]
        )  # fmt: skip
    margin = [] if no_margins else ["margin"]
    header = ["first", "second", "metric", "first's", "second's", "difference", "p", "p (Holm)", *margin, "second is"]
    return Grid(header, rows)


def _delong(one: Mapping[str, Any]) -> list[str]:
    values = [value_text(one["first_value"]), value_text(one["second_value"]), _signed(one["difference"])]
    return [one["first"], one["second"], one["class"], *values, f"{one['standard_error']:.4f}", _p(one["p"])]


def _runs(setting: Mapping[str, Any]) -> str:
    folds = setting.get("folds")
    return f"{len(setting['runs'])}" if not folds else f"{len(setting['runs'])} × {folds[0]} folds"


def _figure(metric: Mapping[str, Any] | None) -> str:
    if metric is None:
        return ""
    text = value_text(metric["value"], metric["low"], metric["high"])
    return f"{text} ± {metric['sd']:.3f}" if metric.get("sd") is not None else text


def _signed(value: float | None, low: float | None = None, high: float | None = None) -> str:
    if value is None:
        return "undefined"
    value, low, high = (None if number is None else round(number, 3) + 0.0 for number in (value, low, high))  # no minus at 0
    return f"{value:+.3f}" if low is None else f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def _p(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}" if value >= 0.0001 else "< 0.0001"


def _csv(report: Mapping[str, Any]) -> str:
    rows: list[dict[str, Any]] = []
    for table, parts in (("setting", report["settings"]), ("reader", report.get("readers", []))):
        rows += [
            {"table": table, "first": one["name"], "metric": metric, **figure}
            for one in parts
            for metric, figure in one["metrics"].items()
        ]
    rows += [
        {"table": table, **part}
        for table, name in (("difference", "differences"), ("against_reader", "against_readers"), ("delong", "delong"))
        for part in report.get(name, [])
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
