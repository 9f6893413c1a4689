"""A section of what lies near what in feature space: label retrieval, prototypes, robustness."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medzoo.report.blocks import Block, Cell, Note, Section, Table, count, measured, pointer
from medzoo.report.metric_sections import titled

COUNTED = (
    ("queries", "queries"),
    ("gallery", "images in the smallest gallery"),
    ("nothing_right", "queries with nothing to find"),
)
"""Counts of label retrieval, and what they are called."""


def embeddings(report: Mapping[str, Any], split: str) -> Section:
    """Return the measures of a split's embeddings; nothing where they were not asked for."""
    part = report.get("embeddings", {}).get(split)
    if part is None:
        return Section("embeddings", "Feature space")
    if "undefined" in part:
        return Section("embeddings", "Feature space", [
            Note(f"No measures of the embeddings: {part['undefined']}.", source=pointer("embeddings", split, "undefined"))
        ])  # fmt: skip
    blocks: list[Block] = [_retrieval(part["retrieval"], split), _prototypes(part["prototypes"], split)]
    blocks += [_robustness(found, split, column) for column, found in part.get("robustness_index", {}).items()]
    gallery = Note(f"The gallery: {part['gallery']}.", source=pointer("embeddings", split, "gallery"))
    return Section("embeddings", "Feature space", [blocks[0], gallery, *blocks[1:]])


def _retrieval(found: Mapping[str, Any], split: str) -> Block:
    place = ("embeddings", split, "retrieval")
    rows = [[Cell(name), measured(value, pointer(*place, name))] for name, value in found.items() if isinstance(value, Mapping)]
    rows += [[Cell(title), count(found[name], pointer(*place, name))] for name, title in COUNTED]
    return Table(f"Label retrieval, {split}: right is {found['right']}", ["measure", "value"], rows)


def _prototypes(found: Mapping[str, Any], split: str) -> Block:
    place = ("embeddings", split, "prototypes")
    if "undefined" in found:
        return Note(f"No nearest prototype: {found['undefined']}.", source=pointer(*place, "undefined"))
    rows = [[Cell(titled(name)), measured(value, pointer(*place, name))]
            for name, value in found.items() if isinstance(value, Mapping)]  # fmt: skip
    rows.append([Cell("training images behind the prototypes"), count(found["train"], pointer(*place, "train"))])
    return Table(f"Nearest class prototype, {split}", ["metric", "value"], rows)


def _robustness(found: Mapping[str, Any], split: str, column: str) -> Block:
    place = ("embeddings", split, "robustness_index", column)
    if "undefined" in found:
        return Note(f"No robustness index by {column}: {found['undefined']}.", source=pointer(*place, "undefined"))
    rows = [[Cell(f"of {k} neighbours"), measured(value, pointer(*place, "k", k))] for k, value in found["k"].items()]
    rows.append([Cell("of neighbours drawn at random"), measured({"value": found["at_random"]}, pointer(*place, "at_random"))])
    rows.append([Cell("images"), count(found["images"], pointer(*place, "images"))])
    caption = f"Robustness index by {column}, {split}: 1 where the class decides who is near, 0 where {column} does"
    return Table(caption, ["", "value"], rows)
