"""Rules that choose an operating point, prevalences and threshold probabilities as settings write them, checked and typed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.labels import LabelSpace

RULES = ("youden", "sensitivity", "specificity", "cost")
COSTS = ("false_negative", "false_positive", "prevalence")
FORM = (
    "youden, {sensitivity: 0.9}, {specificity: 0.95} or {cost: {false_negative: 10, false_positive: 1}}, the last also with its "
    "prevalence"
)
GRID = tuple(round(0.01 * step, 2) for step in range(1, 100))
"""Threshold probabilities of a decision curve unless others are given: 0.01, 0.02, ..., 0.99."""


@dataclass(frozen=True)
class Rule:
    """What an operating point is chosen for.

    Attributes:
        name: One of `RULES`.
        target: Least sensitivity or specificity, above 0 and at most 1; None for the other rules.
        false_negative: What a missed sample costs; of `cost`.
        false_positive: What a false alarm costs; of `cost`.
        prevalence: Share of samples with the class that costs are expected at; None: that of the samples it is chosen on.
    """

    name: str
    target: float | None = None
    false_negative: float = 1.0
    false_positive: float = 1.0
    prevalence: float | None = None

    @property
    def text(self) -> str:
        """The rule in files and tables: `sensitivity=0.9`, `cost(false_negative=10, false_positive=1)`."""
        if self.name == "cost":
            given = ((name, getattr(self, name)) for name in COSTS)
            return f"cost({', '.join(f'{name}={value:.12g}' for name, value in given if value is not None)})"
        return self.name if self.target is None else f"{self.name}={self.target:.12g}"


def operating_rules(asked: Sequence[Any], setting: str = "evaluation.operating_points") -> tuple[Rule, ...]:
    """Return the rules of a setting.

    Args:
        asked: Names, or mappings of one name to its number or costs.
        setting: Which setting, for the message.

    Raises:
        UnknownNameError: If there is no such rule or cost.
        ConfigError: If a number is missing or out of range, or a rule is given twice.
    """
    rules = tuple(_rule(one, setting) for one in asked)
    texts = [rule.text for rule in rules]
    if twice := [text for text in texts if texts.count(text) > 1]:
        raise ConfigError(f"{setting} names {twice[0]} twice")
    return rules


def _rule(asked: Any, setting: str) -> Rule:
    name, given = asked, None
    if isinstance(asked, Mapping) and len(asked) == 1:
        ((name, given),) = asked.items()
    if not isinstance(name, str):
        raise ConfigError(f"{setting}: {asked!r} is no rule; it is {FORM}")
    if name not in RULES:
        raise UnknownNameError("rule", name, RULES, where=f" in {setting}")
    if name == "youden":
        if given is not None:
            raise ConfigError(f"{setting}: youden takes nothing, not {given!r}")
        return Rule(name)
    if name != "cost":
        target = _number(given, f"{setting}: {name}", f"such as {{{name}: 0.9}}")
        if not 0 < target <= 1:
            raise ConfigError(f"{setting}: {name} {target:g} is not above 0 and at most 1")
        return Rule(name, target)
    if not isinstance(given, Mapping):
        raise ConfigError(f"{setting}: cost takes what errors cost: {{cost: {{false_negative: 10, false_positive: 1}}}}")
    for key in given:
        if key not in COSTS:
            raise UnknownNameError("cost", key, COSTS, where=f" in {setting}")
    if lacking := [key for key in COSTS[:2] if key not in given]:
        raise ConfigError(f"{setting}: cost does not say what a {lacking[0]} costs")
    numbers = {key: _number(value, f"{setting}: cost: {key}") for key, value in given.items()}
    for key in COSTS[:2]:
        if numbers[key] <= 0:
            raise ConfigError(f"{setting}: cost: {key} {numbers[key]:g} must be above 0")
    if "prevalence" in numbers:
        _share(numbers["prevalence"], f"{setting}: cost: prevalence")
    return Rule(name, **numbers)


def prevalences(asked: Any, labels: LabelSpace | None = None, setting: str = "evaluation.prevalence") -> dict[str, float]:
    """Return class → stated prevalence; empty where none is stated.

    Args:
        asked: One number for every finding, or a mapping of names to numbers.
        labels: What the names are; None: they are not known yet, and only the numbers are checked.
        setting: Which setting, for the message.

    Raises:
        UnknownNameError: If there is no such class.
        ConfigError: If a number is not between 0 and 1, one number is given for exclusive classes, or theirs exceed 1.
    """
    if asked is None:
        return {}
    if not isinstance(asked, Mapping):
        share = _share(_number(asked, setting, "or {class: number}"), setting)
        if labels is not None and labels.exclusive:
            raise ConfigError(
                f"{setting}={share:g} cannot hold for each of {labels.width} classes of which one alone is true; name the class: "
                f"{setting}={{{labels.names[-1]}: {share:g}}}"
            )
        return {} if labels is None else dict.fromkeys(labels.names, share)
    found = {str(name): _share(_number(value, f"{setting}: {name}"), f"{setting}: {name}") for name, value in asked.items()}
    if labels is None:
        return found
    for name in found:
        if name not in labels.names:
            raise UnknownNameError("class", name, labels.names, where=f" in {setting}")
    if labels.exclusive:
        total = sum(found.values())
        if total > 1 + 1e-9 or (len(found) == labels.width and total < 1 - 1e-9):
            raise ConfigError(
                f"{setting}: the shares of exclusive classes sum to {total:g}, and one of them is true of each sample"
            )
        if labels.width == 2 and len(found) == 1:  # what is left is the other's
            ((name, share),) = found.items()
            found[next(other for other in labels.names if other != name)] = 1 - share
    return found


def curve_thresholds(asked: Any, setting: str = "evaluation.decision_curve") -> tuple[float, ...]:
    """Return the threshold probabilities of a decision curve; empty where none is asked for.

    Args:
        asked: false, true (`GRID`), or a rising list of numbers between 0 and 1.
        setting: Which setting, for the message.

    Raises:
        ConfigError: If it is none of them.
    """
    if asked is None or asked is False:
        return ()
    if asked is True:
        return GRID
    if isinstance(asked, str) or not isinstance(asked, Sequence) or not len(asked):
        raise ConfigError(f"{setting}={asked!r} is neither true, false nor a list of threshold probabilities, [0.05, 0.1, 0.2]")
    found = tuple(_share(_number(value, setting), setting) for value in asked)
    if any(later <= earlier for earlier, later in pairwise(found)):
        raise ConfigError(f"{setting}: threshold probabilities must rise, each once: {list(found)}")
    return found


def _number(value: Any, what: str, form: str = "") -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{what} takes a number{f', {form}' if form else ''}; got {value!r}")
    return float(value)


def _share(value: float, what: str) -> float:
    if not 0 < value < 1:
        raise ConfigError(f"{what}: {value:g} is not between 0 and 1, both left out")
    return value
