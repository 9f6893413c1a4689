"""Why no interval is made: too few groups to redraw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medzoo.evaluation.metrics import Scored

FEWEST_GROUPS = 5
"""Groups with a class, and groups without it, from which on an interval is made: redrawing fewer says next to nothing of the
patients nobody has seen (the bootstrap's intervals are too short in small samples: Efron and Tibshirani 1993, section 13.3)."""


@dataclass(frozen=True)
class Lack:
    """Groups that are too few to be redrawn.

    Attributes:
        found: How many there are.
        of: What they are groups of, and which they are: `patient groups with it`.
    """

    found: int
    of: str

    def __str__(self) -> str:
        return f"{self.found} {self.of}, at least {FEWEST_GROUPS} are needed"


@dataclass(frozen=True)
class Scarcity:
    """Why no interval is made of a metric: fewer than `FEWEST_GROUPS` groups to redraw.

    Attributes:
        whole: Of metrics over all samples.
        positive: Of each class, groups with it; of a quantity, groups where it was measured.
        negative: Of each class, groups without it.
        names: The classes.
    """

    whole: Lack | None
    positive: tuple[Lack | None, ...]
    negative: tuple[Lack | None, ...]
    names: tuple[str, ...]

    @classmethod
    def of(cls, data: Scored, groups: Sequence[str], unit: str = "") -> Scarcity:
        """Count the groups with each class and without it; of quantities those where it was measured."""
        codes = np.asarray(groups, dtype=str)

        def lack(rows: NDArray[np.bool_], what: str) -> Lack | None:
            found = len(np.unique(codes[rows]))
            return Lack(found, f"{unit} groups {what}".strip()) if found < FEWEST_GROUPS else None

        quantity = data.labels.kind == "regression"
        known = [data.observed[:, k] for k in range(data.labels.width)]
        measured, present = "measured" if quantity else "with it", data.truth == 1
        return cls(
            lack(np.asarray(data.observed.any(axis=1)), "labelled"),
            tuple(lack(seen if quantity else seen & present[:, k], measured) for k, seen in enumerate(known)),
            tuple(None if quantity else lack(seen & ~present[:, k], "without it") for k, seen in enumerate(known)),
            data.labels.names,
        )

    def of_class(self, k: int) -> str:
        """Return why there is none of a class's own metrics; empty where there is one."""
        return str(self.positive[k] or self.negative[k] or "")

    def of_mean(self, defined: NDArray[np.bool_]) -> str:
        """Return why there is none of a mean over the classes that are defined (K,): the rarest, and how many more are scarce."""
        for lacks in (self.positive, self.negative):  # of two classes the rare one, not the other that as few samples are without
            scarce = [(lack.found, k) for k in np.flatnonzero(defined) if (lack := lacks[k]) is not None]
            if scarce:
                more = f", and {len(scarce) - 1} more classes have too few" if len(scarce) > 1 else ""
                rarest = min(scarce)[1]
                return f"{self.names[rarest]}: {lacks[rarest]}{more}"
        return str(self.whole or "")
