"""Thresholds that a run has chosen, as evaluation, the Python API and the runtime apply them: needs no torch.

A sample is called if its log-odds reach the threshold's (`score`), which do not tie where probabilities round to 1. Evaluation
and an exported file compute them by the same function from logits, so that both call the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.labels import LabelSpace, log_odds

FORMAT = 1
MOST_POINTS, LONGEST_NAME = 100, 300
"""More, or longer, is not what medzoo writes: a file is read with care."""
CELLS = ("true_positive", "false_positive", "false_negative", "true_negative")
"""What a sample may be at a threshold."""
MADE_WITH = ("spec", "weights", "checkpoint", "tta", "calibration", "split", "samples", "data")
"""What a file says of the predictions that its points were chosen on."""


@dataclass(frozen=True)
class OperatingPoint:
    """One rule's threshold of every class or finding.

    Attributes:
        rule: As text: `youden`, `sensitivity=0.9`.
        scores: Of each class the least log-odds that are called; None where no threshold does what the rule asks.
        reasons: Why there is none; empty where there is one.
        counts: How many samples of the split it was chosen on were each of `CELLS` at it.
    """

    rule: str
    scores: tuple[float | None, ...]
    reasons: tuple[str, ...]
    counts: tuple[Mapping[str, int], ...]


@dataclass(frozen=True)
class OperatingPoints:
    """All points of a run.

    Attributes:
        labels: Whose thresholds they are.
        points: One a rule.
        made_with: What they were chosen on; see `MADE_WITH`.
    """

    labels: LabelSpace
    points: tuple[OperatingPoint, ...]
    made_with: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rules(self) -> tuple[str, ...]:
        """The points by name, in the order of `calls`."""
        return tuple(point.rule for point in self.points)

    def calls(self, logits: NDArray[Any]) -> NDArray[np.float32]:
        """Return (N, points, K) of (N, K) logits: 1 where a class is called, else 0; NaN where it has no threshold."""
        if not len(logits):
            return np.zeros((0, len(self.points), self.labels.width), np.float32)
        thresholds = np.array([[np.nan if score is None else score for score in point.scores] for point in self.points])
        reached = log_odds(logits, self.labels)[:, None, :] >= thresholds[None]
        return np.where(np.isnan(thresholds)[None], np.nan, reached).astype(np.float32)

    def by_name(self, calls: NDArray[Any]) -> dict[str, dict[str, bool | None]]:
        """Return rule → class → whether it is called, of one sample's (points, K) calls; None where there is no threshold."""
        return {
            rule: {name: None if math.isnan(call) else bool(call) for name, call in zip(self.labels.names, row, strict=True)}
            for rule, row in zip(self.rules, calls, strict=True)
        }

    def not_of(self, spec: str, weights: str, tta: int = 0, calibration: str | None = None) -> str:
        """Return why these are not the points of a model as it answers; empty where they are.

        Args:
            spec: Hash of its spec.
            weights: SHA-256 of its weights.
            tta: Augmented copies that its answers are averaged over.
            calibration: What was put between its logits and its answers, as `details` of the predictions name it; None: nothing.
        """
        if self.made_with.get("weights") != weights or self.made_with.get("spec") != spec:
            return "they were chosen for other weights"
        if (chosen := self.made_with.get("tta") or 0) != tta:
            return f"they were chosen with evaluation.tta={chosen}, which gives other probabilities than {tta or 'without'}"
        if self.made_with.get("calibration") != calibration:
            return "they were chosen on probabilities that were calibrated otherwise"
        return ""

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description; `from_dict` reads it back."""
        return {
            "format": FORMAT,
            **self.made_with,
            "labels": self.labels.to_dict(),
            "points": [
                {
                    "rule": point.rule,
                    "classes": {
                        name: {
                            "threshold": None if score is None else probability_of(score),
                            "score": score,
                            **({"reason": reason} if reason else {}),
                            **({"counts": dict(counts)} if counts else {}),
                        }
                        for name, score, reason, counts in zip(
                            self.labels.names, point.scores, point.reasons, point.counts, strict=True
                        )
                    },
                }
                for point in self.points
            ],
        }

    @classmethod
    def from_dict(cls, described: Any, labels: LabelSpace) -> OperatingPoints:
        """Read what `to_dict` writes, trusting none of it.

        Args:
            described: JSON that was parsed.
            labels: Of the model, which the points must be of.

        Raises:
            ValueError: If it is anything else; one line says what.
        """
        if not isinstance(described, Mapping) or described.get("format") != FORMAT:
            raise ValueError(f"no operating points of format {FORMAT}")
        if described.get("labels") != labels.to_dict():
            raise ValueError("operating points of other labels than the model's")
        points = described.get("points")
        if not isinstance(points, list) or not 0 < len(points) <= MOST_POINTS:
            raise ValueError(f"operating points that are no list of 1 to {MOST_POINTS}")
        read = tuple(_read_point(point, labels) for point in points)
        if len({point.rule for point in read}) < len(read):
            raise ValueError("two operating points of one name")
        return cls(labels, read, {name: described[name] for name in MADE_WITH if name in described})


def with_calls(outputs: dict[str, NDArray[Any]], points: OperatingPoints | None) -> dict[str, NDArray[Any]]:
    """Return a model's outputs with `calls`, (N, points, K), where there are points to call by; see `OperatingPoints.calls`."""
    return outputs if points is None else {**outputs, "calls": points.calls(outputs["logits"])}


def probability_of(score: float) -> float:
    """Return the probability that log-odds are; 0 or 1 where float64 has no other."""
    odds = math.exp(-abs(score))
    return (1.0 if score >= 0 else odds) / (1 + odds)


def _read_point(described: Any, labels: LabelSpace) -> OperatingPoint:
    rule, classes = (described.get("rule"), described.get("classes")) if isinstance(described, Mapping) else (None, None)
    # What is printed on a terminal must be of characters that show.
    if not isinstance(rule, str) or not rule.isprintable() or not 0 < len(rule) <= LONGEST_NAME:
        raise ValueError("an operating point without a name that can be printed")
    if not isinstance(classes, Mapping) or list(classes) != list(labels.names):
        raise ValueError(f"operating point {rule}: its classes are not the model's")
    scores: list[float | None] = []
    for name, part in classes.items():
        score = part.get("score") if isinstance(part, Mapping) else "nothing"
        if score is not None and (isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score)):
            raise ValueError(f"operating point {rule}: the threshold of {name} is no number")
        reason, counts = part.get("reason", ""), part.get("counts", {})
        if not isinstance(reason, str) or not reason.isprintable():
            raise ValueError(f"operating point {rule}: the reason given for {name} cannot be printed")
        if not isinstance(counts, Mapping) or not {*counts} <= {*CELLS} or not all(type(n) is int for n in counts.values()):
            raise ValueError(f"operating point {rule}: the counts of {name} are not {', '.join(CELLS)}")
        scores.append(None if score is None else float(score))
    reasons = tuple(str(part.get("reason", "")) for part in classes.values())
    return OperatingPoint(rule, tuple(scores), reasons, tuple(dict(part.get("counts", {})) for part in classes.values()))
