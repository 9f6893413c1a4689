"""The files of Derm1M, as its authors distribute them: two CSV files of twelve columns, and the ontology.

Columns and sentinels are those of the dataset card (Hugging Face redlessone/Derm1M) and of SiyuanYan1/Derm1M @92d8fa9.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medzoo.data.errors import DatasetError
from medzoo.data.tables import TextTable, leaves_root

NAME = "derm1m"
HOMEPAGE = "https://huggingface.co/datasets/redlessone/Derm1M"
COLUMNS = (
    "filename", "caption", "truncated_caption", "source", "source_type", "disease_label", "hierarchical_disease_label",
    "skin_concept", "body_location", "symptoms", "age", "gender",
)  # fmt: skip
SENTINELS: Mapping[str, str] = {
    "disease_label": "No definitive diagnosis",
    "hierarchical_disease_label": "No definitive diagnosis",
    "skin_concept": "No visual concepts",
    "body_location": "No body location information",
    "symptoms": "No symptom information",
    "age": "No age information",
    "gender": "No gender information",
}
"""Column → text that says there is nothing, in any case of letters."""

# NaN stands beside the sentinels in the authors' tables; these are the ways pandas writes or reads it.
_EMPTY = ["", "NaN", "nan", "NA", "N/A", "n/a", "<NA>", "NULL", "null", "None"]


@dataclass(frozen=True)
class Ontology:
    """Which disease names there are and which lie below which; names are compared in any case of letters.

    Attributes:
        nodes: Every name.
        steps: Every (parent, child).
    """

    nodes: frozenset[str]
    steps: frozenset[tuple[str, str]]


def read_rows(path: Path) -> pd.DataFrame:
    """Read one of the two CSV files as text.

    Returns:
        The twelve columns, missing where a cell is empty, NaN or its column's sentinel.

    Raises:
        DatasetError: If the file is missing or cannot be read, lacks a column, or has a row of another length, without a file
            name, or whose file name leaves the dataset's folder; names the line.
    """
    if not path.is_file():
        what = f"{path} is not there" if path.parent.is_dir() else f"no folder at {path.parent}"
        raise DatasetError(f"{NAME}: {what}; ask for access at {HOMEPAGE}, or set data.root to the folder that has the files")
    table = TextTable.read(path, COLUMNS, dataset=NAME, remedy="download it again")
    rows = table.rows.mask(table.rows.isin(_EMPTY))
    table.refuse(rows["filename"].isna(), ["filename", "caption"], "so no image is named")
    table.refuse(leaves_root(rows["filename"]), "filename", "which leaves the dataset's folder", "it must lie below it")
    return rows.assign(**{column: by_text(rows[column], partial(_said, nothing)) for column, nothing in SENTINELS.items()})


def read_filenames(path: Path) -> pd.Series:
    """Return column `filename` of a CSV file of unknown columns; raises DatasetError if it is not there or cannot be read."""
    return TextTable.read(path, ["filename"], dataset=NAME)["filename"]


def read_ontology(path: Path) -> Ontology | None:
    """Return the ontology, None where there is no such file; raises DatasetError if it is no JSON of node → list of children."""
    if not path.is_file():
        return None
    try:
        tree = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{NAME}: {path} cannot be read ({error}); download it again") from None
    if not isinstance(tree, dict):
        raise DatasetError(f"{NAME}: {path.name} is a JSON {type(tree).__name__}, not an object of node → list of children")
    for node, children in tree.items():
        if not isinstance(children, list) or not all(isinstance(child, str) for child in children):
            raise DatasetError(f"{NAME}: {path.name} has under {node!r} no list of names; download it again")
    steps = {(node.casefold(), child.casefold()) for node, children in tree.items() for child in children}
    return Ontology(frozenset(node.casefold() for node in tree) | {child for _, child in steps}, frozenset(steps))


def by_text(values: pd.Series, change: Callable[[str], Any]) -> pd.Series:
    """Apply a function once to each distinct text, for a column of 413,000 rows has few; what is missing stays so.

    Returns:
        The new values as objects, None where missing or where the function says so; index kept.
    """
    codes, texts = pd.factorize(values)
    changed = np.empty(len(texts) + 1, dtype=object)  # the last, which code -1 picks, stays None
    changed[:-1] = [change(str(text)) for text in texts]
    return pd.Series(changed[codes], index=values.index, dtype=object)


def _said(nothing: str, text: str) -> str | None:
    text = text.strip()
    return None if not text or text.casefold() == nothing.casefold() else text
