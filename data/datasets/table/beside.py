"""What a table's columns say beside the image and its target: concepts, inputs, subgroups, a weight, and what is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from medzoo.data.tables import TextTable
from medzoo.data.tables.cells import read_share, read_yes_no
from medzoo.data.tables.columns import category, quantities, subgroup


def columns_beside(
    rows: TextTable, concepts: Sequence[str], inputs: Sequence[str], subgroups: Sequence[str], keep: Sequence[str], *,
    words: Mapping[str, Sequence[str] | None], weight: str | None, graded: bool, empty: Sequence[str], rule: int
) -> tuple[dict[str, pd.Series], dict[str, list[str]], list[str]]:  # fmt: skip
    """Return columns of the contract by their names there, the words of categories, and notes.

    Args:
        rows: The table as text.
        concepts: Columns of concepts.
        inputs: Columns of values.
        subgroups: Columns that results are broken down by.
        keep: Columns that are carried along.
        words: Inputs that are categories → their words; None: all that the column holds.
        weight: Column with how much a sample counts.
        graded: Whether concepts are shares.
        empty: Words that mean missing.
        rule: The split rule.

    Raises:
        DatasetError: If a cell is none of what its column may hold; names its line.
    """
    read, notes = read_share if graded else read_yes_no, list[str]()
    extra = {f"concept.{name}": read(rows, name, empty) for name in concepts}
    if weight is not None:
        extra["sample_weight"] = quantities(rows, weight, empty)
    coded = {name: category(rows, name, some, empty) for name, some in words.items()}
    extra |= {f"input.{name}": coded[name][0] if name in coded else quantities(rows, name, empty) for name in inputs}
    for name in subgroups:
        extra[name], more = subgroup(rows, name, empty, rule)
        notes += more
    extra |= {name: rows[name].where(rows[name] != "", None) for name in keep if name not in extra}
    return extra, {name: known for name, (_, known) in coded.items()}, notes
