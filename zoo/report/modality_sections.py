"""The section of what each of several modalities brings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medzoo.report.blocks import Block, Cell, Note, Section, Table, measured, pointer
from medzoo.report.metric_sections import titled

SAID = {"without": "without {}", "only": "{} alone", "shuffled": "{} shuffled"}


def modalities(report: Mapping[str, Any]) -> Section:
    """Return the table of metrics.json's part on modalities; nothing of a model of one image."""
    part, blocks = report.get("modalities"), list[Block]()
    if part is not None:
        rows = [[Cell("all"), measured(part["all"], pointer("modalities", "all")), Cell("")]]
        for place, one in enumerate(part["variants"]):
            own, other = (measured(one[key], pointer("modalities", "variants", place, key)) for key in ("metric", "difference"))
            rows.append([Cell(SAID[one["kind"]].format(one["name"])), own, other])
        blocks.append(Table(f"{titled(part['metric'])} on {part['split']}", ["", part["metric"], "difference from all"], rows))
        there = ", ".join(f"{name} {count}" for name, count in part["there"].items())
        blocks.append(
            Note(f"Of {part['samples']} samples have it: {there}. The differences are on the same samples and patients.")
        )
    return Section("modalities", "What each modality brings", blocks)
