"""Subgroup columns as named levels, alike in audits and in reports."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

AGE_BANDS = (0, 18, 40, 60, 80)
"""Lower edges, in years; what a column of ages is banded by."""
OLDEST = 130
"""Years; a column with a larger number holds no ages."""
MISSING = "missing"
MOST_LEVELS = 12
"""Distinct numbers up to which each is a level of its own."""
BANDS = 4
"""Bands of equally many rows that other numbers are put in."""


def level_names(column: pd.Series) -> NDArray[np.object_]:
    """Return each row's level as text; an empty value is the level `missing`.

    Numbers of many values are banded: ages by `AGE_BANDS`, others at their quartiles. A column holds ages if `age` or `years` is
    a word of its name and its numbers lie within 0..130.
    """
    missing = column.isna().to_numpy()
    if not pd.api.types.is_numeric_dtype(column) or column.nunique() <= MOST_LEVELS:
        named = column.astype(str)
    elif _is_age(column):
        named = pd.cut(column, [*AGE_BANDS, np.inf], right=False).astype(str)
    else:
        named = _quartiles(column)
    return np.where(missing, MISSING, named.to_numpy(dtype=object))


def joined_names(cells: pd.DataFrame, between: str) -> NDArray[np.object_]:
    """Return each row's cells as one name, which rows share only where all their cells, as text, are equal.

    Where cells hold what stands between them, so that names of other cells would be alike, all cells are quoted as in JSON.
    """
    texts = [tuple(map(str, row)) for row in cells.itertuples(index=False, name=None)]
    names = {row: between.join(row) for row in dict.fromkeys(texts)}
    if len(set(names.values())) < len(names):
        names = {row: between.join(json.dumps(cell, ensure_ascii=False) for cell in row) for row in names}
    return np.array([names[row] for row in texts], dtype=object)


def _is_age(column: pd.Series) -> bool:
    words = re.sub(r"([a-z])([A-Z])", r"\1 \2", str(column.name)).lower()  # patientAge
    known = column.dropna()
    return bool(re.search(r"(?<![a-z])(age|ages|years)(?![a-z])", words)) and bool(((known >= 0) & (known <= OLDEST)).all())


def _quartiles(column: pd.Series) -> pd.Series:
    edges = np.unique(np.quantile(column.dropna().to_numpy(dtype=np.float64), np.linspace(0, 1, BANDS + 1)))
    place = np.clip(np.searchsorted(edges, column.to_numpy(dtype=np.float64), side="right") - 1, 0, len(edges) - 2)
    # The last band holds its upper edge, as the others do not.
    names = [f"[{low:.6g}, {high:.6g})" for low, high in pairwise(edges)]
    names[-1] = f"{names[-1][:-1]}]"
    return pd.Series([names[index] for index in place], index=column.index)
