"""Every metric of every level of a subgroup column, plain and on the same bootstrap replicates for all levels and columns.

Patients of the whole split are redrawn once a replicate, and each level takes its rows of them: so differences between levels,
and a level's difference from the whole, are of one cohort each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medzoo.evaluation.bootstrap import CHUNK_VALUES, FEWEST_GROUPS, Interval, replicate_counts
from medzoo.evaluation.metrics import Floats, Scored, all_metrics
from medzoo.evaluation.weighting import Weighting, ratio

NEEDS = {"auroc": "+-", "ap": "+-", "f1": "+", "recall": "+", "precision": "+", "balanced_accuracy": "+-", "fpr": "-"}
"""What a class must have in a level for its metric to be compared: positives (+), negatives (-); else any label."""
RATES = ("recall", "fpr", "selection_rate")
"""Of each class, what is compared class by class."""


@dataclass(frozen=True)
class Counts:
    """Groups of a level: those with any label; of each class (K,) those with a label, with it, and without it."""

    labelled: int
    seen: NDArray[np.int64]
    positive: NDArray[np.int64]
    negative: NDArray[np.int64]

    @classmethod
    def of(cls, data: Scored, codes: NDArray[np.int64]) -> Counts:
        """Count; `codes` (N,) are the groups as numbers."""

        def count(masks: NDArray[np.bool_]) -> NDArray[np.int64]:
            return np.array([len(np.unique(codes[mask])) for mask in masks.T], dtype=np.int64)

        seen, present = data.observed, data.truth == 1
        labelled = len(np.unique(codes[np.asarray(seen.any(axis=1))]))
        return cls(labelled, count(seen), count(seen & present), count(seen & ~present))

    def fewest(self, needs: str) -> NDArray[np.int64]:
        """Return (K,) of each class the fewest groups of those that are needed."""
        found = self.seen
        found = np.minimum(found, self.positive) if "+" in needs else found
        return np.minimum(found, self.negative) if "-" in needs else found


@dataclass(frozen=True)
class Part:
    """One level's rows, or the whole split's.

    Attributes:
        rows: Their places in the split.
        codes: Of each, its group among those of the split.
        data: What was predicted of them.
        groups: What it is made of.
    """

    rows: NDArray[np.int64]
    codes: NDArray[np.int64]
    data: Scored
    groups: Counts

    @classmethod
    def of(cls, data: Scored, codes: NDArray[np.int64], rows: NDArray[np.int64]) -> Part:
        """Take rows of a split; `codes` are its groups as numbers."""
        taken = replace(
            data, truth=data.truth[rows], observed=data.observed[rows], scores=data.scores[rows],
            probabilities=data.probabilities[rows], soft=None if data.soft is None else data.soft[rows],
        )  # fmt: skip
        return cls(rows, codes[rows], taken, Counts.of(taken, codes[rows]))

    def values(self, weights: Floats, bins: int) -> dict[str, Floats]:
        """Return metrics of (B, G) weights of the split's groups: per class (B, K), of the whole (B, 1)."""
        classes, overall = all_metrics(self.data, weights, bins, self.codes)
        values = {**classes, **{name: value[:, None] for name, value in overall.items()}}
        if self.data.labels.exclusive:
            values["balanced_accuracy"] = classes["recall"]  # its mean, over the classes that are compared
        if self.data.labels.kind != "regression":
            values |= _rates(self.data, Weighting(weights, self.codes))
        return values

    def enough(self, metric: str, width: int) -> NDArray[np.int64]:
        """Return (width,) of the groups that a metric needs the fewest that there are, of each class; of the whole if it is 1."""
        if width != self.data.labels.width:
            return np.array([self.groups.labelled])
        needs = NEEDS.get(metric, "") if self.data.labels.kind != "regression" else ""
        if metric == "balanced_accuracy" and self.data.labels.exclusive:
            needs = NEEDS["recall"]
        return self.groups.fewest(needs)


@dataclass(frozen=True)
class Compared:
    """What of a metric can be compared between the levels of a column.

    Attributes:
        levels: Places of the levels that count.
        classes: Places of the classes that are defined in all of them; (0,) for a metric of the whole.
        groups: (L,) of those levels the fewest groups that any of these values is made of.
        samples: (L,) their labelled samples.
        left_out: Place of a level that does not count → why.
    """

    levels: NDArray[np.int64]
    classes: NDArray[np.int64]
    groups: NDArray[np.int64]
    samples: NDArray[np.int64]
    left_out: Mapping[int, str]


def comparable(parts: Sequence[Part], metric: str, plain: Sequence[Floats], unit: str, only: int | None = None) -> Compared:
    """Find the levels and classes of a metric that can be compared.

    A class is compared where it is defined, of at least `FEWEST_GROUPS` groups, in every level that counts. Levels in which no
    class is do not count, nor, until a class is common to all, those in which the fewest are.

    Args:
        parts: Of each level.
        metric: Which.
        plain: Of each level, (K,) or (1,) values.
        unit: What a group is.
        only: One class alone.
    """
    width = len(plain[0])
    groups = np.stack([part.enough(metric, width) for part in parts])
    defined = ~np.isnan(np.stack(list(plain)))
    usable = defined & (groups >= FEWEST_GROUPS)
    if only is not None:
        usable[:, [k for k in range(width) if k != only]] = False
    left: dict[int, str] = {}
    for place, part in enumerate(parts):
        if not usable[place].any():
            left[place] = _why(part, defined[place] if only is None else defined[place, [only]], unit)
    levels = [place for place in range(len(parts)) if place not in left]
    while levels and not usable[levels].all(axis=0).any():
        poorest = min(levels, key=lambda place: (usable[place].sum(), len(parts[place].rows)))
        left[poorest] = f"too few {unit} groups with or without the classes that the other levels have"
        levels.remove(poorest)
    classes = np.flatnonzero(usable[levels].all(axis=0)) if levels else np.empty(0, np.int64)
    kept = np.array(levels, dtype=np.int64)
    fewest = groups[kept][:, classes].min(axis=1) if len(kept) else np.empty(0, np.int64)
    samples = np.array([parts[place].data.observed.any(axis=1).sum() for place in levels], dtype=np.int64)
    return Compared(kept, classes, fewest, samples, left)


def replicates(groups: int, interval: Interval) -> Iterator[Floats]:
    """Yield weights (b, G) of a split's groups, those of its own metrics; none where there are none to redraw."""
    if groups > 1 and interval.replicates > 1:
        yield from replicate_counts(groups, interval.replicates, interval.seed, max(1, CHUNK_VALUES // groups))


def _why(part: Part, defined: NDArray[np.bool_], unit: str) -> str:
    if part.groups.labelled < FEWEST_GROUPS:
        return f"{part.groups.labelled} labelled {unit} groups, at least {FEWEST_GROUPS} are needed"
    if not defined.any():
        return "undefined there"
    return f"fewer than {FEWEST_GROUPS} {unit} groups with or without each class"


def _rates(data: Scored, weighting: Weighting) -> dict[str, Floats]:
    """Return of each class (B, K) the share of negatives that are called positive, and of all: as top class, or above 0.5."""
    chosen = data.probabilities.argmax(axis=1)
    fpr, selected = [], []
    for k in range(data.labels.width):
        called = chosen == k if data.labels.exclusive else data.probabilities[:, k] > 0.5
        negative = data.truth[:, k] == 0
        cells = np.stack([called & negative, negative, called, np.ones(len(called), bool)], axis=1) & data.observed[:, [k]]
        false, negatives, said, known = weighting.sums(cells.astype(np.float64)).T
        fpr.append(ratio(false, negatives))
        selected.append(ratio(said, known))
    return {"fpr": np.stack(fpr, axis=1), "selection_rate": np.stack(selected, axis=1)}
