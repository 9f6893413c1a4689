from __future__ import annotations

import numpy as np

from medzoo.report.drawings import thinned


def test_a_long_curve_keeps_its_ends() -> None:
    x = np.linspace(0, 1, 10_001)
    short, of_y = thinned(x, x**2, 100)
    assert (short[0], short[-1], of_y[-1]) == (0, 1, 1)
    assert len(short) <= 100
    few, _ = thinned(x[:50], x[:50], 100)
    assert len(few) == 50
