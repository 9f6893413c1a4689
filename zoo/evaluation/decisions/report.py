"""What a report says of decisions: operating points chosen on val and judged on every split, decision curves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from medzoo.data.errors import ConfigError
from medzoo.data.labels import LabelSpace
from medzoo.data.operating_points import OperatingPoints
from medzoo.evaluation.bootstrap import Interval, value_text
from medzoo.evaluation.decisions.choose import SPLIT, choose_points
from medzoo.evaluation.decisions.curve import decision_curve
from medzoo.evaluation.decisions.figures import at_points
from medzoo.evaluation.metrics import scored
from medzoo.evaluation.predictions import Predictions
from medzoo.settings.decision_rules import Rule, curve_thresholds, operating_rules, prevalences

SHOWN = ("sensitivity", "specificity", "ppv", "npv", "ppv_at_prevalence", "npv_at_prevalence")
"""Figures of a point that are printed; the others stand in metrics.json."""


class Asked(Protocol):
    """Settings of an evaluation that ask for decisions."""

    operating_points: list[Any]
    prevalence: Any
    decision_curve: Any


@dataclass(frozen=True)
class Decisions:
    """What was asked for.

    Attributes:
        rules: Points to choose on val.
        prevalence: As the setting has it; what it means is seen with the labels.
        thresholds: Of the decision curve; empty: none.
        points: Points that were chosen before, to be applied as they are; None: `rules` choose.
    """

    rules: tuple[Rule, ...] = ()
    prevalence: Any = None
    thresholds: tuple[float, ...] = ()
    points: OperatingPoints | None = None

    @classmethod
    def of(cls, settings: Asked, points: OperatingPoints | None = None) -> Decisions:
        """Return what settings ask for; ConfigError if they are not what they must be."""
        return cls(
            operating_rules(settings.operating_points), settings.prevalence, curve_thresholds(settings.decision_curve), points
        )

    def __bool__(self) -> bool:
        return bool(self.rules or self.thresholds or self.points is not None)

    def check(self, labels: LabelSpace | None) -> None:
        """Refuse what labels do not allow, before anything is trained or predicted.

        Raises:
            ConfigError: If decisions are asked of quantities, or a prevalence is none of these labels'.
            UnknownNameError: If a prevalence is of no class.
        """
        if labels is None:
            return
        asked = {"operating_points": self.rules, "decision_curve": self.thresholds, "prevalence": self.prevalence is not None}
        if labels.kind == "regression" and (names := [f"evaluation.{name}" for name, given in asked.items() if given]):
            raise ConfigError(f"{', '.join(names)}: of classes and findings, and these labels are quantities; leave it out")
        prevalences(self.prevalence, labels)

    def add_to(self, report: dict[str, Any], predictions: Predictions, interval: Interval) -> None:
        """Write `operating_points` and `decision_curve` into a report and its splits.

        Args:
            report: As `medzoo.evaluation.report.evaluate` makes it.
            predictions: It is of.
            interval: How intervals are made.
        """
        self.check(predictions.labels)
        if self.prevalence is not None and not self:
            report["notes"].append("evaluation.prevalence is of operating points and decision curves: none was asked for")
        if not self:
            return
        stated = prevalences(self.prevalence, predictions.labels)
        points = choose_points(predictions, self.rules) if self.rules and self.points is None else self.points
        if points is not None:
            report["operating_points"] = points.to_dict()
            if self.points is None and SPLIT in report["splits"]:
                report["notes"].append(f"operating points were chosen on {SPLIT}: their figures there are too good")
        for split, part in report["splits"].items():
            rows = predictions.of_split(split)
            data, groups = scored(rows.labels, rows.targets, rows.logits), list(rows.group)
            own = interval.among(len(set(groups)))
            if points is not None:
                part["operating_points"] = at_points(points, data, groups, own, stated, rows.split_unit)
            if self.thresholds:
                part["decision_curve"] = decision_curve(data, groups, self.thresholds, own, stated, rows.split_unit)


NO_DECISIONS = Decisions()


def format_points(part: Mapping[str, Any]) -> list[str]:
    """Return a split's operating points as lines for a terminal."""
    lines: list[str] = []
    for rule, point in part.get("operating_points", {}).items():
        lines.append(f"  operating point {rule}:")
        for name, found in point["classes"].items():
            if found["threshold"] is None:
                lines.append(f"    {name:<24} none: {found['reason']}")
                continue
            told = [f"{figure} {_shown(found[figure])}" for figure in SHOWN if figure in found]
            lines.append(f"    {name:<24} p >= {found['threshold']:.4g}: {', '.join(told)}")
    return lines


def _shown(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return f"undefined ({figure['undefined']})"
    return value_text(figure["value"], figure["low"], figure["high"])
