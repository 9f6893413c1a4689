"""Phantoms that are seen again: one lesion a patient, which changes from visit to visit by rules that an image shows beforehand.

- A lesion stays, and so do its bright spots. With bright spots it grows by 0.8% of the image's width a week, up to 50%; without
  them it does not.
- A dark halo at one visit is an irregular border at the next; what has such a border keeps it.

Visits are 4 to 12 weeks apart. So from one visit's image and the time to the next one, the next truth follows: but for a halo
that is new there, which no earlier image shows and which counts for the grade, the risk and the suspicion alone.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd

from medzoo.data.datasets.phantom.image import CONCEPTS
from medzoo.data.seeding import generator
from medzoo.data.timing import Visits

GROWTH, LARGEST = 0.8, 50.0
"""Percent of the image's width: a week, and at most."""
CHANGING = CONCEPTS[:4]
"""Lesion, irregular border, bright spots, dark halo."""
VISITS = Visits(("group",), "week", "weeks")


def with_course(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return images of patients as visits in order, with `visit` (0, 1, ...) and `week`.

    Args:
        table: One row an image, a patient's one after the other, with the concepts under their plain names and `diameter`.
        seed: Of the phantom.
    """
    table = table.copy()
    table["visit"] = table.groupby("group", sort=False).cumcount()
    lesions, borders, spots, halos = (table[name].to_numpy().copy() for name in CHANGING)
    weeks, diameters = np.zeros(len(table)), np.zeros(len(table))
    for group, rows in table.groupby("group", sort=False).indices.items():
        rng = generator(seed, "course", str(group))
        weeks[rows] = np.concatenate([[0], np.cumsum(rng.integers(4, 13, len(rows) - 1))])
        first = rows[0]
        lesions[rows] = lesions[first]
        spots[rows] = spots[first]
        halos[rows] &= lesions[first]
        at_first = round(float(rng.uniform(14, 24)), 2)
        growing = GROWTH * weeks[rows] * spots[first]
        diameters[rows] = lesions[first] * np.minimum(at_first + growing, LARGEST)
        for before, after in pairwise(rows):
            borders[after] = borders[before] | halos[before]
    return table.assign(
        **dict(zip(CHANGING, (lesions, borders, spots, halos), strict=True)),
        diameter=np.round(diameters, 2), week=weeks,
    )  # fmt: skip
