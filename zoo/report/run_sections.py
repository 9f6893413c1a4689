"""Sections of what was trained on what, and how the page is made again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from medzoo.report.blocks import Block, Cell, Note, Section, Table, Verbatim, count, pointer
from medzoo.store.directory import RunDirectory
from medzoo.store.spec import ModelSpec

CARD = (
    ("dataset", "title"), ("licence", "licence"), ("citation", "citation"), ("homepage", "homepage"),
    ("unit of splitting", "split_unit"),
)  # fmt: skip
"""What is said of a dataset, and the field of its card."""


def model(spec: ModelSpec, report: Mapping[str, Any]) -> Section:
    """Return what the model is and how it came about."""
    size = "×".join(map(str, spec.preprocess.size))
    details = report.get("details", {})
    what = "quantities" if spec.label_space.kind == "regression" else "classes"
    facts = [("family", spec.family), ("architecture", spec.architecture), ("input", f"{size} pixels")]
    facts.append((what, ", ".join(spec.label_space.names)))
    if spec.concepts is not None:
        facts.append(("concepts", ", ".join(spec.concepts.names)))
    facts += [
        (name.replace("_", " "), str(details[name]))
        for name in ("checkpoint", "epoch", "chosen_by", "tta", "training")
        if name in details
    ]
    if spec.initial_weights is not None:
        facts.append(("started from", str(spec.initial_weights.get("name", spec.initial_weights.get("file", "")))))
    if earlier := spec.data.get("learnt_from"):
        facts.append(("learnt before from", ", ".join(str(card["name"]) for card in earlier)))
    facts.append(("spec", str(report.get("spec", ""))))
    return Section("model", "Model", [Table("What it is", ["", ""], [[Cell(name), Cell(value)] for name, value in facts])])


def data(spec: ModelSpec, report: Mapping[str, Any], overlaps: Mapping[str, int] | None) -> Section:
    """Return where the data are from, how they were split, and whether a split cuts a group.

    Args:
        spec: Of the model.
        report: metrics.json.
        overlaps: `train and test` → groups in both, from the dataset's table; None where that is not at hand.
    """
    card = spec.data
    rows = [[Cell(name), Cell(str(card[key]))] for name, key in CARD if card.get(key)]
    blocks: list[Block] = [Table("The training data", ["", ""], rows)]
    if samples := card.get("samples"):
        cells = [[Cell(split), count(n, pointer("data", "samples", split, file="spec.json"))] for split, n in samples.items()]
        blocks.append(Table("Samples", ["split", "samples"], cells))
    if overlaps is None:
        blocks.append(Note("The dataset is not at hand, so its splits were not compared again; medzoo verify does."))
    elif leaks := {name: n for name, n in overlaps.items() if n}:
        unit = card.get("split_unit", "group")
        blocks += [Note(f"{n} {unit} groups are both in {name}: results are too good", warns=True) for name, n in leaks.items()]
    elif overlaps:
        blocks.append(Note(f"No {card.get('split_unit', 'group')} is in two of the splits ({', '.join(overlaps)}: 0 in both)."))
    evaluated = report.get("details", {}).get("data", {}).get("splits", {})
    if evaluated:
        rows = []
        for split, found in evaluated.items():
            place = ("details", "data", "splits", split)
            rows.append(
                [Cell(split), count(found["samples"], pointer(*place, "samples")), Cell(found["table"], pointer(*place, "table"))]
            )
        blocks.append(Table("The rows that were evaluated", ["split", "samples", "SHA-256 of the rows"], rows, folded=True))
    return Section("data", "Data and leakage", blocks)


def made(run: RunDirectory, spec: ModelSpec, command: Sequence[str]) -> Section:
    """Return the versions, the configuration and the commands that make all of it again."""
    versions = [[Cell(name), Cell(str(version))] for name, version in spec.versions.items()]
    again = f"medzoo evaluate run={run.whole.path.name} predict=false\n{shlex.join(command)}"
    return Section("made", "How it was made", [
        Verbatim("The figures from predictions.parquet, and this page from them", again),
        Table("Versions at training", ["library", "version"], versions),
        Verbatim("config.yaml", run.whole.config.read_text(encoding="utf-8"), folded=True),
    ])  # fmt: skip
