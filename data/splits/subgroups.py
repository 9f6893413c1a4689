"""Subgroup columns as named levels, alike in audits and in reports."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

AGE_BANDS = (0, 18, 40, 60, 80)
"""Lower edges, in years; what a numeric column of many values is banded by."""
MISSING = "missing"
MOST_LEVELS = 12
"""Distinct numbers up to which each is a level of its own."""


def level_names(column: pd.Series) -> NDArray[np.object_]:
    """Return each row's level as text: numbers of many values are banded, an empty value is the level `missing`."""
    missing = column.isna().to_numpy()
    if pd.api.types.is_numeric_dtype(column) and column.nunique() > MOST_LEVELS:
        named = pd.cut(column, [*AGE_BANDS, np.inf], right=False).astype(str)
    else:
        named = column.astype(str)
    return np.where(missing, MISSING, named.to_numpy(dtype=object))
