"""Which visit is the next, the one before, the nearest to a span: against pandas and a search of all pairs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from medzoo.data.visits.places import beside, counted_before, nearest


def visits(seed: int, count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Return whose visits, and when: no two of one at once, in no order, some without a time."""
    rng = np.random.default_rng(seed)
    units = rng.integers(0, 12, count)
    times = rng.permutation(count * 3)[:count].astype(np.float64)
    return units, np.where(rng.random(count) < 0.1, np.nan, times)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("steps", [1, -1, 2, -3])
def test_visits_beside_are_those_of_a_shift_within_groups(seed: int, steps: int) -> None:
    units, times = visits(seed)
    frame = pd.DataFrame({"unit": units, "time": times, "place": np.arange(len(units))}).dropna().sort_values("time")
    wanted = frame.groupby("unit")["place"].shift(-steps).reindex(range(len(units)))
    assert beside(units, times, steps).tolist() == wanted.fillna(-1).astype(int).tolist()


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("ahead", "tolerance"), [(12, 4), (30, 29), (5, 0), (40, 1)])
def test_the_nearest_visit_is_that_of_a_search(seed: int, ahead: float, tolerance: float) -> None:
    units, times = visits(seed)
    wanted = []
    for unit, time in zip(units, times, strict=True):
        near = [
            (abs(other - time - ahead), other, place)
            for place, (one, other) in enumerate(zip(units, times, strict=True))
            if one == unit and other > time and abs(other - time - ahead) <= tolerance
        ]
        wanted.append(min(near)[2] if near else -1)
    assert nearest(units, times, ahead, tolerance).tolist() == wanted
    assert tolerance < 20 or sum(place >= 0 for place in wanted) > 5


def test_of_two_as_near_the_earlier_is_taken() -> None:
    assert nearest(np.zeros(3, np.int64), np.array([0.0, 14.0, 10.0]), 12, 4).tolist() == [2, -1, -1]


@pytest.mark.parametrize("seed", range(5))
def test_earlier_visits_are_counted(seed: int) -> None:
    units, times = visits(seed)
    frame = pd.DataFrame({"unit": units, "time": times}).dropna().sort_values("time")
    wanted = frame.groupby("unit").cumcount().reindex(range(len(units)))
    np.testing.assert_array_equal(counted_before(units, times), wanted.to_numpy(dtype=np.float64))
