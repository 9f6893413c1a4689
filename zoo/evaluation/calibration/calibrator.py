"""A calibrator: a fixed map from a model's logits to better ones, JSON-serialisable; NumPy alone, so that the runtime has it too.

`temperature` divides all logits by one number (Guo et al. 2017, section 4.2). `platt` (Platt 1999) and `isotonic` (Zadrozny and
Elkan 2002) map each class by itself. Of findings that is the logit. Of classes that exclude each other it is the log-odds of the
class against the rest; each class's probability is mapped by itself, and they are divided by their sum: the logits are then the
logarithms of what was mapped, so that softmax does that.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import EvaluationError
from medzoo.data.labels import LabelSpace, log_sum_exp, probabilities

Floats = NDArray[np.float64]
METHODS = ("temperature", "platt", "isotonic")


@dataclass(frozen=True)
class Calibrator:
    """What turns logits into calibrated ones.

    Attributes:
        method: `temperature`, `platt` or `isotonic`.
        labels: What the columns are.
        temperature: What logits are divided by; 1 for the other methods.
        slopes: (K,) of `platt`.
        intercepts: (K,) of `platt`.
        knots: Of `isotonic`, for each class the places (ascending) and values of a piecewise-linear map of log-odds, level
            beyond both ends; none at all where the class stays as it is.

    Raises:
        EvaluationError: If a number is lacking, not finite or out of order.
    """

    method: str
    labels: LabelSpace
    temperature: float = 1.0
    slopes: tuple[float, ...] = ()
    intercepts: tuple[float, ...] = ()
    knots: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...] = ()

    def __post_init__(self) -> None:
        if self.method not in METHODS or self.labels.kind == "regression":
            raise EvaluationError(f"no calibrator is called {self.method!r} for {self.labels.kind} labels")
        width = self.labels.width
        ends = [(len(x), len(y)) for x, y in self.knots]
        numbers = [self.temperature, *self.slopes, *self.intercepts, *(v for pair in self.knots for side in pair for v in side)]
        sound = np.isfinite(numbers).all() and self.temperature > 0
        if self.method == "platt":
            sound = sound and len(self.slopes) == len(self.intercepts) == width
        if self.method == "isotonic":
            sound = sound and len(self.knots) == width and all(a == b for a, b in ends)
            sound = sound and all((np.diff(x) > 0).all() and (np.diff(y) >= 0).all() for x, y in self.knots)
        if not sound:
            raise EvaluationError(f"the {self.method} calibrator's numbers are incomplete or out of range; fit it again")

    def logits(self, logits: NDArray[Any]) -> Floats:
        """Return calibrated logits of (N, K) finite logits; float64, finite."""
        values = np.asarray(logits, np.float64)
        if self.method == "temperature":
            return values / self.temperature
        odds = one_against_rest(values) if self.labels.exclusive else values
        mapped = np.stack([self._mapped(odds[:, k], k) for k in range(self.labels.width)], axis=1)
        return -np.logaddexp(0.0, -mapped) if self.labels.exclusive else mapped

    def probabilities(self, logits: NDArray[Any]) -> Floats:
        """Return calibrated probabilities of (N, K) raw logits."""
        return np.asarray(probabilities(self.logits(logits), self.labels))

    def _mapped(self, odds: Floats, k: int) -> Floats:
        if self.method == "platt":
            return self.slopes[k] * odds + self.intercepts[k]
        places, values = self.knots[k]
        return np.asarray(np.interp(odds, places, values)) if places else odds

    @property
    def identity(self) -> str:
        """The method and a checksum of its numbers: what was chosen on calibrated probabilities says of which."""
        numbers = json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=False)
        return f"{self.method} {hashlib.sha256(numbers.encode('utf-8')).hexdigest()[:16]}"

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description; `from_dict` reads it back."""
        told: dict[str, Any] = {"method": self.method, "labels": self.labels.to_dict()}
        if self.method == "temperature":
            return {**told, "temperature": self.temperature}
        if self.method == "platt":
            return {**told, "slopes": list(self.slopes), "intercepts": list(self.intercepts)}
        return {**told, "knots": [{"from": list(x), "to": list(y)} for x, y in self.knots]}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Calibrator:
        """Rebuild a calibrator from `to_dict`; EvaluationError if it is damaged."""
        try:
            knots = tuple((tuple(map(float, k["from"])), tuple(map(float, k["to"]))) for k in told.get("knots", ()))
            return cls(
                str(told["method"]), LabelSpace.from_dict(told["labels"]), float(told.get("temperature", 1.0)),
                tuple(map(float, told.get("slopes", ()))), tuple(map(float, told.get("intercepts", ()))), knots,
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise EvaluationError(f"a calibrator's description is damaged ({type(error).__name__}); fit it again") from error


def one_against_rest(logits: Floats) -> Floats:
    """Return (N, K) log-odds of each class against the rest, of (N, K) logits of classes that exclude each other."""
    others = [log_sum_exp(np.delete(logits, k, axis=1)) for k in range(logits.shape[1])]
    return np.asarray(logits - np.stack(others, axis=1))
