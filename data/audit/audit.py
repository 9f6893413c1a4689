"""What is in a dataset, what is missing, and what leaks from one split into another: everything `medzoo verify` reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medzoo.data.audit.greys import ENOUGH, warning_lines
from medzoo.data.audit.identifying import identifying_warnings
from medzoo.data.audit.leakage import LISTED, ImageFacts, leakage, look_at_images
from medzoo.data.audit.named_labels import naming_warnings
from medzoo.data.audit.table_facts import fact_lines, table_facts
from medzoo.data.dataset import SPLITS, Dataset, target_matrix
from medzoo.data.download import file_checksum
from medzoo.data.regions.turned import turned_note
from medzoo.data.splits.subgroups import level_names


def audit(
    dataset: Dataset,
    *,
    images: int | None = None,
    deep: bool = False,
    partial: bool = False,
    workers: int = 1,
    advance: Callable[[int], None] = lambda count: None,
) -> dict[str, Any]:
    """Audit a dataset.

    Args:
        dataset: Loaded with shared groups allowed, so that they can be reported.
        images: How many images to decode and compare, chosen by a hash of their names; None: all.
        deep: Compare perceptual hashes too.
        partial: The user knows that files are missing: fewer samples than the authors state are then no problem.
        workers: Threads that decode.
        advance: Called with the number of images done since the last call.

    Returns:
        A JSON-ready report: `counts, files, images, labels, subgroups, leakage, notes`, of several targets `targets` (the labels
        of each), what `table_facts` tells, `warnings`,
        one line for each thing to look at, and `problems`, one for each that is wrong. Near-identical pairs are listed, not
        counted as wrong: films of one region look alike. So are names that look alike, and labels of one image that differ:
        annotators may.
    """
    facts, places = look_at_images(dataset, images, deep, workers, advance)
    report: dict[str, Any] = {
        "dataset": dataset.info.name,
        "title": dataset.info.title,
        "licence": dataset.info.licence,
        "split_unit": dataset.info.split_unit,
        "counts": _counts(dataset),
        "files": _files(dataset),
        "images": _readable(dataset, facts, places),
        "labels": _labels(dataset),
        **({"targets": {name: _labels(dataset.of_target(name)) for name in dataset.targets}} if dataset.targets else {}),
        "subgroups": {column: _levels(dataset, column) for column in dataset.subgroups},
        "leakage": leakage(dataset, facts, places, deep),
        **table_facts(
            dataset, {key: seen.digest for key, seen in facts.items()}, {key: seen.held for key, seen in facts.items()}
        ),
        "notes": [*dataset.info.notes, *filter(None, [turned_note(dataset.regions, dataset.table, dataset.reader)])],
    }
    report["warnings"] = [
        *warning_lines(report["images"]), *identifying_warnings(report["inputs"]), *naming_warnings(report["texts"])
    ]  # fmt: skip
    report["problems"] = _problems(report, partial)
    return report


def _counts(dataset: Dataset) -> dict[str, Any]:
    stated = dataset.info.counts
    parts = {split: dataset.rows(split) for split in SPLITS}
    return {
        split: {"samples": len(rows), "groups": int(rows["group"].nunique()), "stated": stated.get(split)}
        for split, rows in parts.items()
        if len(rows) or split in stated
    }


def _files(dataset: Dataset) -> list[dict[str, str]]:
    """Compare the files the card lists with what lies under the dataset's root."""
    root = dataset.options.get("root")
    rows = []
    for file in dataset.info.files:
        path = None if root is None else Path(str(root)).expanduser() / file.name
        if path is None or not path.is_file():
            status = "not there"
        elif not file.checksum:
            status = "there, no checksum published"
        else:
            kind, _, expected = file.checksum.partition(":")
            found = file_checksum(path, kind)
            status = "as published" if found == expected else f"differs ({kind} {found})"
        rows.append({"name": file.name, "status": status})
    return rows


def _readable(dataset: Dataset, facts: Mapping[Any, ImageFacts], places: Mapping[Any, list[int]]) -> dict[str, Any]:
    ids = dataset.table["sample_id"].to_numpy()
    broken = [{"sample_id": str(ids[places[key][0]]), "error": seen.error} for key, seen in facts.items() if seen.error]
    narrow = {key: seen.share for key, seen in facts.items() if not seen.error and seen.share < ENOUGH}
    first = min(narrow, key=lambda key: places[key][0], default=None)
    return {
        "distinct": len(places),
        "checked": len(facts),
        "unreadable": len(broken),
        "listed": broken[:LISTED],
        "ranges": dict(Counter(seen.assumed for seen in facts.values() if seen.assumed is not None)),
        "narrow": {
            "count": len(narrow),
            "sample_id": None if first is None else str(ids[places[first][0]]),
            "levels": None if first is None else round(narrow[first] * 255) + 1,
        },
    }


def _labels(dataset: Dataset) -> dict[str, Any]:
    labels = dataset.labels
    if labels is None:
        return {}
    result: dict[str, Any] = {}
    for split in SPLITS:
        rows = dataset.rows(split)
        if not len(rows):
            continue
        targets = target_matrix(rows, labels).astype(np.float64)
        entry: dict[str, Any] = {"labelled": int((~np.isnan(targets)).any(axis=1).sum()), "samples": len(rows), "names": {}}
        for name, column in zip(labels.names, targets.T, strict=True):
            known = column[~np.isnan(column)]
            mean = float(known.mean()) if len(known) else None
            if labels.kind == "regression":
                lowest, highest = (float(known.min()), float(known.max())) if len(known) else (None, None)
                told: dict[str, Any] = {"lowest": lowest, "mean": mean, "highest": highest}
            else:
                told = {"positive": float(known.sum()), "prevalence": mean}
            entry["names"][name] = {"observed": len(known), **told}
        result[split] = entry
    return result


def _levels(dataset: Dataset, column: str) -> dict[str, dict[str, int]]:
    names = pd.Series(level_names(dataset.table[column]))
    counts = pd.crosstab(names, dataset.table["split"].to_numpy())
    return {str(level): {str(split): int(n) for split, n in row.items()} for level, row in counts.iterrows()}


def _problems(report: Mapping[str, Any], partial: bool) -> list[str]:
    found: list[str] = []
    for split, entry in report["counts"].items():
        here, stated = entry["samples"], entry["stated"]
        if stated not in (None, here) and not (partial and here < stated) and not _carved(report["counts"]):
            found.append(f"{split} has {here} samples, the authors state {stated}")
    found += [f"file {file['name']} {file['status']}" for file in report["files"] if file["status"].startswith("differs")]
    if report["images"]["unreadable"]:
        found.append(f"{report['images']['unreadable']} images cannot be read: {report['images']['listed'][0]['error']}")
    if not partial and (gone := report["left_out"]) and gone["share"] > 0.5:
        share = f"{gone['samples']} of {gone['of']} samples ({gone['share']:.1%})"
        found.append(f"{share} are left out: {gone['files']} image files are missing")
    leakage = report["leakage"]
    if leakage["groups"]:
        found.append(f"{leakage['groups']} {report['split_unit']} groups stand in several splits")
    if leakage["identical"]:
        found.append(f"{leakage['identical']} images stand, identical, in several splits")
    return found


def _carved(counts: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether val was carved out of train: only their sum can then be compared."""
    if "val" not in counts or counts["val"]["stated"] is not None:
        return False
    train = counts.get("train", {})
    return bool(train.get("samples", 0) + counts["val"]["samples"] == train.get("stated"))


def as_lines(report: Mapping[str, Any]) -> Sequence[str]:
    """Return a report as lines for a terminal."""
    lines = [f"{report['dataset']}: {report['title']} ({report['licence']}); split by {report['split_unit']}", ""]
    for split, entry in report["counts"].items():
        stated = "" if entry["stated"] is None else f", stated {entry['stated']}"
        lines.append(f"{split:<6} {entry['samples']:>8} samples {entry['groups']:>8} groups{stated}")
    told = {f"{name}, " * bool(name) + split: entry for name, own in report.get("targets", {"": report["labels"]}).items()
            for split, entry in own.items()}  # fmt: skip
    for split, entry in told.items():
        lines += ["", f"labels of {split}: {entry['labelled']} of {entry['samples']} samples have one"]
        for name, values in entry["names"].items():
            if "prevalence" in values:
                share = "-" if values["prevalence"] is None else f"{values['prevalence']:.2%}"
                lines.append(f"  {name:<40} {values['positive']:>10.6g} of {values['observed']:>8} {share:>8}")
            else:
                numbers = [values[key] for key in ("lowest", "mean", "highest")]
                shown = " / ".join("-" if v is None else f"{v:.4g}" for v in numbers)
                lines.append(f"  {name:<40} {values['observed']:>8} values, lowest/mean/highest {shown}")
    for column, levels in report["subgroups"].items():
        lines += ["", f"subgroup {column}"]
        lines += [f"  {level:<24} " + "  ".join(f"{s} {n}" for s, n in counts.items()) for level, counts in levels.items()]
    images, leakage = report["images"], report["leakage"]
    lines += ["", f"images: {images['checked']} of {images['distinct']} distinct ones decoded, {images['unreadable']} unreadable"]
    lines += [f"files: {file['name']} {file['status']}" for file in report["files"]]
    lines.append(
        f"leakage: {leakage['groups']} groups, {leakage['identical']} identical images"
        + (f", {leakage['near']} near-identical pairs" if "near" in leakage else "")
        + f" across splits; {leakage['identical_between_groups_of_a_split']} identical images in different groups of one split"
    )
    if leakage.get("near"):
        first = leakage["near_listed"][0]["sample_ids"]
        lines.append(
            f"look at the {leakage['near']} near-identical pairs, such as {first[0]} and {first[1]}: one patient, or alike?"
        )
    lines += fact_lines(report)
    lines += [f"note: {note}" for note in report["notes"]]
    lines += [f"WARNING: {warning}" for warning in report["warnings"]]
    beside = ", but look at the warnings" if report["warnings"] else ""
    lines += [f"PROBLEM: {problem}" for problem in report["problems"]] or [f"no problem found{beside}"]
    return lines
