"""Age and gender in Derm1M: free text, of which what is plainly said is taken and the rest counted."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd

from medzoo.data.derm1m_tables import by_text

OLDEST = 120.0
"""Years; an age above it counts as missing."""
BANDS: Mapping[str, float] = {"0 to 17": 18, "18 to 39": 40, "40 to 59": 60, "60 to 79": 80, "80 and over": np.inf}
"""Band → the age in years that it ends below; the bands of medzoo's reports."""

_GENDERS = {"male": "male", "m": "male", "man": "male", "female": "female", "f": "female", "woman": "female"}
# 45, 45.0, 45 years, 45 years old, 45-year-old, 45 y/o, 45yo, aged 45, age: 45, 6 months, 3-week-old, 10 days. A lone m may
# mean months or male, so it is not taken.
_AGE = re.compile(
    r"(?:aged?\s*:?\s*)?(?P<number>\d{1,3}(?:\.\d+)?)(?:[\s-]*(?P<unit>years?|yrs?|yo|y/o|y\.o|y|months?|mos?|weeks?|wks?|days?|d))?"
    r"(?:[\s-]*(?:old|of age))?\.?",
    re.IGNORECASE,
)
_UNITS_A_YEAR = {"y": 1.0, "m": 12.0, "w": 365.25 / 7, "d": 365.25}  # by the unit's first letter


def ages(texts: pd.Series) -> tuple[pd.Series, tuple[str, ...]]:
    """Return ages in years, NaN where not said, not a number with or without a unit, or over 120; and notes.

    Args:
        texts: Free text or missing, such as `45`, `45 years old`, `6 months`; ranges and words such as `40s` or `adult` are
            not turned into a number.
    """
    years = by_text(texts, _years).astype(np.float64)
    notes = _counted(texts, years.isna(), "ages", "are not a number of years, months, weeks or days")
    old = years > OLDEST
    notes += _counted(texts, old, "ages", f"are over {OLDEST:g} years")
    return years.mask(old).astype(np.float32), notes


def age_bands(years: pd.Series) -> pd.Series:
    """Return the band of each age, missing where the age is."""
    band = np.searchsorted(list(BANDS.values()), years.to_numpy(), side="right")  # NaN sorts behind the last
    return pd.Series(np.array([*BANDS, None], dtype=object)[band], index=years.index, dtype=object)


def genders(texts: pd.Series) -> tuple[pd.Series, tuple[str, ...]]:
    """Return `female` or `male`, missing where the text is neither word nor its first letter; and a note."""
    words = by_text(texts, lambda text: _GENDERS.get(text.casefold()))
    return words, _counted(texts, words.isna(), "genders", "are neither female nor male in one word")


def _years(text: str) -> float | None:
    match = _AGE.fullmatch(text)
    if match is None:
        return None
    unit = (match["unit"] or "y")[0].casefold()
    return float(match["number"]) / _UNITS_A_YEAR[unit]


def _counted(texts: pd.Series, lost: pd.Series, what: str, why: str) -> tuple[str, ...]:
    some = texts[lost & texts.notna()]
    if not len(some):
        return ()
    return (f"{len(some)} of {int(texts.notna().sum())} {what} {why} (such as {some.min()!r}) and count as missing",)
