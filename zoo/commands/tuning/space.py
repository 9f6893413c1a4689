"""What is searched: of each setting a range or choices, as Optuna's distribution and as words of the command line."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from medzoo.commands.suites.written import Words, quoted, read_words
from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.settings.compose import parse_overrides

KINDS = ("float", "log", "int", "log_int", "choice")
FORMS = "{log: [1e-5, 1e-2]}, {float: [0, 0.5]}, {int: [1, 8]}, {log_int: [8, 256]} or {choice: [a, b]}"
SHORT = re.compile(rf"({'|'.join(KINDS)})\((.*)\)", re.DOTALL)
"""A range on the command line: `log(1e-5,1e-2)`, `choice(a,b)`."""
MOST_POINTS = 10_000
"""Of a grid along one setting."""


@dataclass(frozen=True)
class Setting:
    """One setting that is searched.

    Attributes:
        name: Its name; of bundles of settings any.
        distribution: Where its values are drawn from; a choice's are texts.
        bundles: Choice → the settings that it stands for; empty where a value is the setting's own.
    """

    name: str
    distribution: BaseDistribution
    bundles: Mapping[str, Words] = field(default_factory=dict)

    def words(self, value: Any) -> Words:
        """Return a value as settings on a command line."""
        if self.bundles:
            return self.bundles[value]
        return (f"{self.name}={value if isinstance(value, str) else repr(value)}",)

    def ends(self) -> list[Any]:
        """Return the values that stand for all: every choice, both ends of a range."""
        if isinstance(self.distribution, CategoricalDistribution):
            return list(self.distribution.choices)
        assert isinstance(self.distribution, FloatDistribution | IntDistribution)
        return [self.distribution.low, self.distribution.high]

    def points(self) -> list[Any]:
        """Return every value; ConfigError if there are more than a grid can have."""
        found, whole = self.distribution, isinstance(self.distribution, IntDistribution)
        if isinstance(found, CategoricalDistribution):
            return list(found.choices)
        assert isinstance(found, FloatDistribution | IntDistribution)
        if found.step is None or (found.log and whole):
            raise ConfigError(f"space.{self.name}: a grid needs {{choice: [...]}}, or a range with a step: [low, high, step]")
        count = round((found.high - found.low) / found.step) + 1
        if count > MOST_POINTS:
            raise ConfigError(f"space.{self.name} has {count} values, too many for a grid; give a larger step")
        return [found.low + number * found.step for number in range(count)]


def read_setting(name: str, given: Any, place: str, own: Collection[str]) -> Setting:
    """Read a setting's range or choices.

    Args:
        name: Of the setting.
        given: One of `KINDS` with what it is of.
        place: Where it stands, for messages.
        own: Settings that bundles may not give.

    Raises:
        ConfigError: If it is no range and no choices.
        UnknownNameError: If it is of a kind that there is not.
    """
    if not isinstance(given, Mapping) or len(given) != 1:
        raise ConfigError(f"{place} is no range: give {FORMS}")
    ((kind, values),) = given.items()
    if kind not in KINDS:
        raise UnknownNameError("kind of a range", str(kind), KINDS, where=f" in {place}")
    if kind != "choice":
        return Setting(name, _range(str(kind), values, f"{place}: {kind}"))
    if isinstance(values, Mapping):
        bundles = {str(name): read_words(words, f"{place}.{name}", own, "is not to be tuned") for name, words in values.items()}
        choices = list(bundles)
    else:
        bundles = {}
        choices = [_written(value, place) for value in values] if isinstance(values, Sequence) and type(values) is not str else []
    if len(choices) < 2 or len(set(choices)) < len(choices):
        raise ConfigError(f"{place}: choice needs a list of two different values at least, or names with settings")
    return Setting(name, CategoricalDistribution(choices), bundles)


def read_short(word: str) -> tuple[str, dict[str, Any]] | None:
    """Read a range on the command line, `trainer.learning_rate=log(1e-5,1e-2)`; None of another setting.

    Raises:
        ConfigError: If what stands in the brackets cannot be read.
    """
    name, _, value = word.partition("=")
    found = SHORT.fullmatch(value)
    if found is None:
        return None
    try:
        return name, {found.group(1): yaml.safe_load(f"[{found.group(2)}]")}
    except yaml.YAMLError as error:
        raise ConfigError(
            f"cannot read {word}; a range is written like {name}=log(1e-5,1e-2), choices like choice(a,b)"
        ) from error


def _range(kind: str, values: Any, place: str) -> BaseDistribution:
    whole, log = kind in ("int", "log_int"), kind in ("log", "log_int")
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) not in ((2,) if log else (2, 3)):
        raise ConfigError(f"{place} is [low, high]{'' if log else ' or [low, high, step]'}, not {values!r}")
    low, high, *step = (_number(value, place, whole=whole) for value in values)
    if not low < high or (step and step[0] <= 0):
        raise ConfigError(f"{place}: {list(values)} is not from a lower to a higher number, by a positive step")
    if log and low <= 0:
        raise ConfigError(f"{place}: {list(values)} has no logarithm; begin above 0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an end that a step does not reach, which is refused
        made: FloatDistribution | IntDistribution = (
            IntDistribution(int(low), int(high), log=log, step=int(step[0]) if step else 1)
            if whole
            else FloatDistribution(low, high, log=log, step=step[0] if step else None)
        )
    if made.high != high:
        raise ConfigError(f"{place}: steps of {step[0]:g} from {low:g} do not reach {high:g}; the last is {made.high:g}")
    return made


def _number(value: Any, place: str, *, whole: bool) -> float:
    """Return a number, also one that YAML takes for text, such as 1e-5."""
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or (whole and number != int(number)):
        raise ConfigError(f"{place}: {value!r} is no {'whole ' if whole else ''}number")
    return number


def _written(value: Any, place: str) -> str:
    """Return a choice as the value of a setting on a command line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return f"[{','.join(_written(part, place) for part in value)}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{_written(part, place)}' for key, part in value.items())}}}"
    if not isinstance(value, str):
        raise ConfigError(f"{place}: {value!r} is no value of a setting; put it in quotes if it is a text")
    try:
        (read,) = parse_overrides([f"key={value}"])
        plain = not read.is_sweep_override()
    except ConfigError:
        plain = False
    return value if plain else quoted(value)
