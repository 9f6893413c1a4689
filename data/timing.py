"""When the samples of a dataset were taken, and spans of time as people write them: `12w`, `90d`, `1.5y`, `2v`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from medzoo.data.errors import ConfigError, UnknownNameError

TimeUnit = Literal["days", "weeks", "months", "years", "visits"]
DAYS = {"days": 1.0, "weeks": 7.0, "months": 30.4375, "years": 365.25}
"""Days of each unit; months and years of the mean length."""
OF = "visit.of."
"""How columns begin that name nothing but what was seen again."""

_UNITS: dict[str, TimeUnit] = {word: unit for unit in get_args(TimeUnit) for word in (unit[0], unit)}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")


@dataclass(frozen=True)
class Visits:
    """Which columns of a dataset's table say whose visit a row is, and when it was.

    Attributes:
        of: Columns that together name what was seen again: the patient, the eye, a slice of an eye's volume.
        time: Column of numbers, NaN where it is not known when.
        unit: What they count.
        order: Column of whole numbers with the order of the visits, where that is known without the time; None: the time.
    """

    of: tuple[str, ...]
    time: str
    unit: TimeUnit
    order: str | None = None

    @property
    def whose(self) -> str:
        """What was seen again, in words."""
        return " and ".join(name.removeprefix(OF) for name in self.of)

    @property
    def columns(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.of, self.time, *(() if self.order is None else (self.order,)))


def span(text: object, option: str, unit: TimeUnit) -> float:
    """Return a span of time, such as `12w`, in a unit.

    Args:
        text: A number and d, w, m, y or v, or the word for it (`12 weeks`).
        option: The option's name, for messages.
        unit: What a dataset's times count.

    Raises:
        ConfigError: If it is no such text, is not above 0, or visits are asked for where time is counted, or the reverse.
        UnknownNameError: If its unit is not known.
    """
    found = _SPAN.fullmatch(text.strip().lower()) if isinstance(text, str) else None
    if found is None or float(found[1]) <= 0:
        raise ConfigError(f"data.{option}={text} is no span of time: give a number and its unit, 12w (d, w, m, y; v: visits)")
    word = found[2] if len(found[2]) == 1 else found[2].removesuffix("s") + "s"
    if (given := _UNITS.get(word)) is None:
        raise UnknownNameError("unit of time", found[2], _UNITS, where=f" in data.{option}={text}")
    if (given == "visits") != (unit == "visits"):
        counted = "visits are counted here, not time: 2v" if unit == "visits" else f"time is counted in {unit} here: 12{unit[0]}"
        raise ConfigError(f"data.{option}={text} is a number of {given}, and {counted}, or data.horizon=next")
    return float(found[1]) if unit == "visits" else float(found[1]) * DAYS[given] / DAYS[unit]
