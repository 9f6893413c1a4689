"""SCIN's differential diagnoses, and the targets made of them.

Up to three dermatologists name up to three conditions each; the authors weigh them by 1 / rank, sum, and normalise
(dataset_schema.md, `weighted_skin_condition_label`), so that a case comes with text such as
`{'Eczema': 0.67, 'Psoriasis': 0.33}`. `{}` is a case without a differential.

Conditions are ranked by the weight they gather over all labelled cases, that is by the expected number of cases, whatever
their split: the classes must not depend on a split's seed. Names are the authors', letter for letter.
"""

from __future__ import annotations

import ast
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medzoo.data.datasets.scin.tables import LABELS
from medzoo.data.errors import ConfigError, DatasetError
from medzoo.data.labels import LabelSpace
from medzoo.data.tables import TextTable

ScinLabels = Literal["soft", "top1", "multilabel"]
Rest = Literal["other", "mask"]
WEIGHTS = "weighted_skin_condition_label"
GRADES = tuple(f"dermatologist_gradable_for_skin_condition_{i}" for i in (1, 2, 3))
OTHER = "other"
COMMONEST = (
    "Eczema", "Allergic Contact Dermatitis", "Urticaria", "Insect Bite", "Folliculitis", "Psoriasis",
    "Irritant Contact Dermatitis", "Tinea", "Herpes Simplex", "Herpes Zoster", "Acute dermatitis, NOS", "Acne",
    "Impetigo", "Drug Rash", "Pigmented purpuric eruption", "Leukocytoclastic Vasculitis",
)  # fmt: skip
"""The 16 commonest conditions of release 1.0.0, by summed weight: the classes of the defaults, before a file is opened."""

_INSUFFICIENT = "NO_IMAGE_QUALITY_INSUFFICIENT"
_NO_PATHOLOGY = "YES_IMAGE_QUALITY_SUFFICIENT_NO_DISCERNIBLE_PATHOLOGY"
_SUFFICIENT = "DEFAULT_YES_IMAGE_QUALITY_SUFFICIENT"


@dataclass(frozen=True)
class Differentials:
    """The differential diagnoses of all cases.

    Attributes:
        conditions: (C,) every condition named, commonest first.
        weights: (N, C) in 0..1, rows that sum to 1; a row of zeros for a case without a differential.
        leading: (N, C) whether a condition has its case's largest weight, compared as written.
        first: (N,) position of the condition written first among the leading ones, -1 for a case without a differential.
        rounded: How many rows did not sum to 1 as written, because weights have two decimals.
        uneven: How many of those were off by more than 0.01.
    """

    conditions: tuple[str, ...]
    weights: NDArray[np.float64]
    leading: NDArray[np.bool_]
    first: NDArray[np.int64]
    rounded: int
    uneven: int

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """(N,) whether a case has a differential."""
        return np.asarray(self.weights.any(axis=1), dtype=np.bool_)

    @property
    def tied(self) -> NDArray[np.bool_]:
        """(N,) whether several conditions share the largest weight."""
        return np.asarray(self.leading.sum(axis=1) > 1, dtype=np.bool_)

    def leading_names(self, row: int) -> list[str]:
        """Return the conditions of a case's largest weight, commonest first; empty without a differential."""
        return [self.conditions[k] for k in np.flatnonzero(self.leading[row])]

    def notes(self) -> tuple[str, ...]:
        """Return what a report says of the weights."""
        labelled, tied = int(self.labelled.sum()), int(self.tied.sum())
        notes = []
        if self.rounded:
            notes.append(
                f"{self.rounded} of {labelled} differentials do not sum to 1 as written (two decimals), {self.uneven} of them by "
                "more than 0.01: all are renormalised"
            )
        if tied:
            notes.append(f"{tied} of {labelled} differentials tie at their largest weight")
        return tuple(notes)


def read_differentials(graded: TextTable) -> Differentials:
    """Parse the weighted differentials.

    Args:
        graded: The rows of `scin_labels.csv`; an empty cell reads as `{}`.

    Raises:
        DatasetError: On text that is no Python literal of names and positive weights; names the line. If no case has one.
    """
    parsed = []
    for row, text in graded[WEIGHTS].items():
        try:
            parsed.append(_parse(text))
        except ValueError as error:
            graded.refuse(graded.rows.index == row, WEIGHTS, str(error))
    names = sorted({name for differential in parsed for name in differential})
    if not names:
        raise DatasetError(f"scin: no case of {LABELS} has a differential in column {WEIGHTS}")
    place = {name: k for k, name in enumerate(names)}
    written = np.zeros((len(parsed), len(names)))
    for row, differential in enumerate(parsed):
        written[row, [place[name] for name in differential]] = list(differential.values())
    sums = written.sum(axis=1)
    off = np.round(np.abs(sums - 1), 6)[sums > 0]
    weights = written / np.where(sums > 0, sums, 1)[:, None]
    total = np.round(weights.sum(axis=0), 6)  # rounded, so that the order of rows cannot part equals; the name then decides
    order = np.lexsort((np.arange(len(names)), -total))
    leading = (written == written.max(axis=1, keepdims=True)) & (written > 0)
    position = np.argsort(order)
    # max() returns the first of equals, and a dict keeps the order it was written in.
    first = [position[place[max(d, key=d.__getitem__)]] if d else -1 for d in parsed]
    return Differentials(
        conditions=tuple(names[k] for k in order),
        weights=weights[:, order],
        leading=leading[:, order],
        first=np.array(first, dtype=np.int64),
        rounded=int((off > 1e-6).sum()),
        uneven=int((off > 0.01).sum()),
    )


def make_targets(
    differentials: Differentials, labels: ScinLabels, top: int, rest: Rest
) -> tuple[LabelSpace, NDArray[np.float32], tuple[str, ...]]:
    """Turn differentials into targets over the commonest conditions.

    Args:
        differentials: Of N cases.
        labels: `soft`: the weights, which sum to 1. `top1`: the condition of the largest weight in the whole differential; of
            several that tie, the one written first, as in the published counts (Eczema 488, ...). `multilabel`: 1 for every
            condition named, else 0.
        top: How many conditions are classes of their own, the commonest first.
        rest: Conditions outside them. `other`: one further class, the last, with their summed weight (if there are any).
            `mask`: their weight is removed and the remainder renormalised; a case left with nothing is missing (for `top1` a
            case whose condition is outside; for `multilabel` it is 0 throughout, for none of the classes was named).

    Returns:
        The label space; (N, K) float32, or (N,) class codes for `top1`, NaN where missing; notes that count what is.

    Raises:
        ConfigError: If `top` is not a whole number from 1 to the number of conditions.
        DatasetError: If a single exclusive class is left.
    """
    count = len(differentials.conditions)
    if not isinstance(top, int) or isinstance(top, bool) or not 1 <= top <= count:
        raise ConfigError(f"scin: top={top!r} is not a whole number from 1 to {count}, the conditions that are named")
    collect = rest == "other" and top < count
    names = (*differentials.conditions[:top], *([OTHER] if collect else []))
    space = LabelSpace("multilabel" if labels == "multilabel" else "multiclass", names)
    inside, outside = np.hsplit(differentials.weights, [top])
    kept = np.column_stack([inside, outside.sum(axis=1)]) if collect else inside
    outsiders = int((outside.any(axis=1) & ~inside.any(axis=1)).sum())
    notes = [f"classes are the {top} commonest of {count} conditions by weight over all labelled cases"]
    if top < count:
        share = outside.sum() / differentials.weights.sum()
        fate = f"collected in {OTHER!r}" if collect else "removed"
        notes[0] += f"; the weight of the others ({share:.1%}; {outsiders} cases have no other) is {fate}"
    if labels == "top1":
        codes = np.where(differentials.first < 0, np.nan, differentials.first)
        beyond = codes >= top
        codes[beyond] = top if collect else np.nan
        if differentials.tied.any():
            notes.append(f"of the {int(differentials.tied.sum())} tied cases the condition written first is the target")
        if beyond.any() and not collect:
            notes.append(f"{int(beyond.sum())} cases whose first condition is outside the {top} have no target")
        return space, codes.astype(np.float32), tuple(notes)
    if labels == "multilabel":
        values = np.where(differentials.labelled[:, None], kept > 0, np.nan)
        fate = "are 0 for every class"
    else:
        mass = kept.sum(axis=1, keepdims=True)
        values = np.where(mass > 0, kept / np.where(mass > 0, mass, 1), np.nan)
        fate = "have no target"
    if outsiders and not collect:
        notes.append(f"{outsiders} cases are left with no condition and {fate}")
    return space, values.astype(np.float32), tuple(notes)


def ungradable_note(graded: TextTable, labelled: NDArray[np.bool_], kept: bool) -> str:
    """Say how many cases have no differential, and why.

    Args:
        graded: The rows of `scin_labels.csv`.
        labelled: (N,) whether a case has a differential.
        kept: Whether such cases stay, without a target.

    Raises:
        DatasetError: On a grade the authors do not list; names its line.
    """
    for column in GRADES:
        graded.refuse_others(column, ("", _SUFFICIENT, _INSUFFICIENT, _NO_PATHOLOGY))
    given = graded.rows.loc[~labelled, list(GRADES)]
    poor = given.isin([_INSUFFICIENT, ""]).all(axis=1) & given.isin([_INSUFFICIENT]).any(axis=1)
    normal = given.isin([_NO_PATHOLOGY]).any(axis=1)
    others = int((~poor & ~normal).sum())
    fate = "kept without a target" if kept else "left out"
    return (
        f"{len(given)} of {len(graded)} cases have no differential diagnosis and are {fate}: {int(poor.sum())} of insufficient "
        f"image quality by all who graded them, {int(normal.sum())} without discernible pathology by one or more, {others} others"
    )


def _parse(text: str) -> dict[str, float]:
    """Return condition → weight; what is wrong with the text is the message of a ValueError."""
    try:
        node = ast.parse(text.strip() or "{}", mode="eval")
        value = ast.literal_eval(node)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        raise ValueError("not a Python literal like {'Eczema': 0.67, 'Psoriasis': 0.33}") from None
    if not isinstance(value, dict) or not isinstance(node.body, ast.Dict):
        raise ValueError("not a dict of conditions and weights")
    if len(node.body.keys) != len(value):
        raise ValueError("which names a condition twice")
    for name, weight in value.items():
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"with a condition {name!r} that is not a name")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not (weight > 0 and math.isfinite(weight)):
            raise ValueError(f"which gives {name!r} the weight {weight!r}, not a positive number")
    return {name: float(weight) for name, weight in value.items()}
