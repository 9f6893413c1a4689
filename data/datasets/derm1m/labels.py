"""Classes and concepts of Derm1M, from its free-text columns.

A hierarchical label is a path, root to leaf, in which comma and space part the names; a concept list has commas. Names that
differ in case alone are one name, in the spelling that comes most often.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medzoo.data.datasets.derm1m.tables import NAME, Ontology, by_text
from medzoo.data.errors import DatasetError
from medzoo.data.labels import ConceptSpace, LabelSpace
from medzoo.data.tables import count_note

LEVELS: Mapping[str, int] = {"level1": 1, "level2": 2, "level3": 3, "level4": 4}
"""Label option → place in the path, counted from the root."""


@dataclass(frozen=True)
class Targets:
    """Class codes of all rows.

    Attributes:
        labels: The classes, sorted by name.
        codes: (N,) float64, NaN where missing.
        notes: What is missing and why.
    """

    labels: LabelSpace
    codes: pd.Series
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Concepts:
    """Concepts of all rows.

    Attributes:
        space: The concepts, sorted by name; None if none is named often enough.
        values: (N, M) float32: 1 named, 0 another is named, NaN nothing is said.
        notes: What is left out and why.
    """

    space: ConceptSpace | None
    values: NDArray[np.float32]
    notes: tuple[str, ...]


def class_targets(rows: pd.DataFrame, labels: str, min_count: int, ontology: Ontology | None, counted: pd.Series) -> Targets:
    """Return the classes of a level of the hierarchy or of the diseases.

    Args:
        rows: With `disease_label` and `hierarchical_disease_label`.
        labels: `level1` to `level4`, or `disease`.
        min_count: Classes of fewer counted rows are left out: their rows have no target.
        ontology: What the paths are held against; None: they are not.
        counted: Which rows count (the pretrain rows).

    Raises:
        DatasetError: If fewer than two classes are left.
    """
    notes = tuple[str, ...]()
    if labels == "disease":
        names = rows["disease_label"]
        said = names.notna()
    else:
        paths, place = rows["hierarchical_disease_label"], LEVELS[labels] - 1
        said = paths.notna()
        names = by_text(paths, lambda path: next(iter(_nodes(path)[place:]), None) or None)
        notes += count_note(said & names.isna(), f"rows have a path that does not reach {labels}: no target")
        notes += _against_ontology(paths, ontology)
    notes = count_note(~said, "rows have no diagnosis: no target") + notes
    spelling = one_spelling(names.value_counts())
    notes += _merged(spelling, "class names")
    names = by_text(names, lambda text: spelling[text])
    counts = names[counted].value_counts()
    kept = sorted(str(name) for name in counts.index[counts >= min_count])
    if len(kept) < 2:
        raise DatasetError(
            f"{NAME}: labels={labels} has {len(kept)} classes of at least {min_count} pretrain rows and needs two; lower "
            "data.min_count, or choose other labels or sources"
        )
    rare = names.notna() & ~names.isin(kept)
    if rare.any():
        some = names[rare]
        notes += (
            f"{some.nunique()} classes of fewer than {min_count} pretrain rows (such as {min(some.unique())!r}) are left out: "
            f"{int(rare.sum())} of {len(rows)} rows have no target for it",
        )
    codes = {name: float(code) for code, name in enumerate(kept)}
    return Targets(LabelSpace("multiclass", tuple(kept)), by_text(names, codes.get).astype(np.float64), notes)


def concept_values(listed: pd.Series, min_count: int, counted: pd.Series) -> Concepts:
    """Return which concepts each row names.

    Args:
        listed: `skin_concept`: names parted by commas, or missing.
        min_count: Concepts of fewer counted rows are left out.
        counted: Which rows count (the pretrain rows).
    """
    codes, texts = pd.factorize(listed)
    named = [[part for raw in str(text).split(",") if (part := raw.strip())] for text in texts]
    lengths = np.array([len(names) for names in named], dtype=np.int64)
    pairs = pd.DataFrame({"text": np.repeat(np.arange(len(texts)), lengths), "name": [n for names in named for n in names]})
    said = codes >= 0
    of_all = np.bincount(codes[said], minlength=len(texts))
    of_counted = np.bincount(codes[said & counted.to_numpy()], minlength=len(texts))
    spelling = one_spelling(pd.Series(of_all[pairs["text"]], dtype=np.int64).groupby(pairs["name"]).sum())
    pairs["name"] = pairs["name"].map(spelling)
    pairs = pairs.drop_duplicates(ignore_index=True)
    counts = pd.Series(of_counted[pairs["text"]], dtype=np.int64).groupby(pairs["name"]).sum()
    kept = sorted(str(name) for name in counts.index[counts >= min_count])
    # The last row is that of rows that say nothing, whose code is -1.
    matrix = np.full((len(texts) + 1, len(kept)), np.nan, dtype=np.float32)
    matrix[np.flatnonzero(lengths)] = 0.0
    place = pairs["name"].map({name: k for k, name in enumerate(kept)})
    within = place.notna()
    matrix[pairs.loc[within, "text"], place[within].astype(np.int64)] = 1.0
    notes = _merged(spelling, "concept names")
    rare = sorted(set(counts.index) - set(kept))
    if rare:
        notes += (f"{len(rare)} concepts named in fewer than {min_count} pretrain rows (such as {rare[0]!r}) are left out",)
    says = int(of_all[lengths > 0].sum())
    notes += (
        f"{says} of {len(listed)} rows name concepts, and in these one not named counts as absent, though nobody looked for all; "
        "in the other rows concepts are missing",
    )
    return Concepts(ConceptSpace(tuple(kept)) if kept else None, matrix[codes], notes)


def one_spelling(counts: pd.Series) -> dict[str, str]:
    """Return each name (of name → rows) → the most frequent spelling but for case; of equally frequent ones the first sorted."""
    best: dict[str, str] = {}
    for _, name in sorted((-int(count), str(name)) for name, count in counts.items()):
        best.setdefault(name.casefold(), name)
    return {str(name): best[str(name).casefold()] for name in counts.index}


def _merged(spelling: Mapping[str, str], what: str) -> tuple[str, ...]:
    if not (other := sorted((name, chosen) for name, chosen in spelling.items() if name != chosen)):
        return ()
    example = f"such as {other[0][0]!r} as {other[0][1]!r}"
    return (f"{len(other)} {what} differ from another in case alone and count as it ({example})",)


def _nodes(path: str) -> list[str]:
    return [node.strip() for node in path.split(", ")]


def _against_ontology(paths: pd.Series, ontology: Ontology | None) -> tuple[str, ...]:
    """Return notes that count the rows whose paths the ontology does not know."""
    if ontology is None:
        return ("there is no ontology.json to hold the paths of hierarchical_disease_label against",)
    unknown: dict[str, str] = {}
    with_unknown, astray = 0, dict[str, int]()
    for path, count in paths.value_counts().sort_index().items():
        strange = {node.casefold(): node for node in _nodes(str(path)) if node.casefold() not in ontology.nodes}
        unknown |= strange
        if strange:
            with_unknown += int(count)
        elif any(step not in ontology.steps for step in pairwise(map(str.casefold, _nodes(str(path))))):
            astray[str(path)] = int(count)
    notes = tuple[str, ...]()
    if unknown:
        example = unknown[min(unknown)]
        notes += (f"{len(unknown)} names in the paths of {with_unknown} rows (such as {example!r}) are not in ontology.json",)
    if astray:
        first, rows = next(iter(astray)), sum(astray.values())
        notes += (f"the paths of {rows} rows (such as {first!r}) take a step that ontology.json does not have",)
    return notes
