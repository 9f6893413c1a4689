"""What makes prediction sets of probabilities and intervals of values: thresholds; NumPy alone, so that the runtime has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import EvaluationError
from medzoo.data.labels import LabelSpace

BY = ("split", "class")


@dataclass(frozen=True)
class Conformal:
    """Thresholds of prediction sets.

    Attributes:
        labels: What the columns are.
        coverage: Share of new patients whose truth the set shall hold; of findings 1 less the share that may be missed.
        by: `split`: over all classes together; `class`: of each true class by itself.
        thresholds: (K,) a class or finding is in the set from this probability on; 0: always. Empty for quantities.
        widths: (K,) half the interval of a quantity, None where val has too few samples for any. Empty for others.

    Raises:
        EvaluationError: If a number is lacking or out of range.
    """

    labels: LabelSpace
    coverage: float
    by: str
    thresholds: tuple[float, ...] = ()
    widths: tuple[float | None, ...] = ()

    def __post_init__(self) -> None:
        quantity = self.labels.kind == "regression"
        numbers = [w for w in self.widths if w is not None] if quantity else list(self.thresholds)
        given, most = (self.widths, np.inf) if quantity else (self.thresholds, 1.0)
        sound = len(given) == self.labels.width and all(0 <= v <= most and np.isfinite(v) for v in numbers)
        if not sound or not 0 < self.coverage < 1 or self.by not in BY:
            raise EvaluationError("the thresholds of prediction sets are incomplete or out of range; fit them again")

    def sets(self, probabilities: NDArray[Any]) -> NDArray[np.bool_]:
        """Return (N, K) whether a class or finding is in the set, of (N, K) probabilities."""
        return np.asarray(probabilities >= np.array(self.thresholds))

    def intervals(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return (N, K, 2) bounds of (N, K) predicted quantities; infinite where there are none."""
        wide = np.array([np.inf if width is None else width for width in self.widths])
        return np.stack([values - wide, values + wide], axis=2)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description; `from_dict` reads it back."""
        told: dict[str, Any] = {"labels": self.labels.to_dict(), "coverage": self.coverage, "by": self.by}
        if self.labels.kind == "regression":
            return {**told, "widths": list(self.widths)}
        return {**told, "thresholds": list(self.thresholds)}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Conformal:
        """Rebuild it from `to_dict`; EvaluationError if it is damaged."""
        try:
            widths = tuple(None if w is None else float(w) for w in told.get("widths", ()))
            labels, thresholds = LabelSpace.from_dict(told["labels"]), tuple(map(float, told.get("thresholds", ())))
            return cls(labels, float(told["coverage"]), str(told["by"]), thresholds, widths)
        except (KeyError, TypeError, ValueError) as error:
            raise EvaluationError(f"the thresholds of sets are damaged ({type(error).__name__}); fit them again") from error
