"""The section of what is carried forward: a model of a later visit beside whoever says that nothing changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medzoo.report.blocks import Block, Cell, Note, Section, Table, measured, pointer


def carried(report: Mapping[str, Any], split: str) -> Section:
    """Return the table of metrics.json's part on what is carried forward; nothing where the target is this visit's."""
    part, blocks = report.get("carried", {}).get(split), list[Block]()
    if part is not None:
        rows = [
            [Cell(one["metric"]), Cell(one["name"])]
            + [measured(one[key], pointer("carried", split, "metrics", place, key)) for key in ("model", "carried", "difference")]
            for place, one in enumerate(part["metrics"])
        ]
        blocks.append(Table(f"On {split}", ["metric", "", "model", "carried forward", "difference"], rows))
        blocks.append(
            Note(
                f"Carried forward is this visit's own truth as the answer, on the {part['samples']} samples where both are known."
            )
        )
    return Section("carried", "Against no change", blocks)
