from __future__ import annotations

import numpy as np

from medzoo.report.drawings import Line, panels, shortened, thinned


def test_a_long_curve_keeps_its_ends() -> None:
    x = np.linspace(0, 1, 10_001)
    short, of_y = thinned(x, x**2, 100)
    assert (short[0], short[-1], of_y[-1]) == (0, 1, 1)
    assert len(short) <= 100
    few, _ = thinned(x[:50], x[:50], 100)
    assert len(few) == 50


def test_long_names_are_cut_and_stay_apart() -> None:
    names = [
        "normal",
        "malignant melanoma in situ",
        "malignant melanoma, invasive and thick",
        "malignant melanoma, invasive and thin",
    ]
    short = shortened(names, 18)
    assert short == ["normal", "…melanoma in situ", "…thick", "…thin"]
    assert shortened(["lentigo maligna of the face"], 18) == ["lentigo maligna o…"]
    many = [f"class number {k:03d} of two hundred" for k in range(200)]
    for most in (18, 19, 26, 34):
        short = shortened(many, most)
        assert len(set(short)) == 200
        assert max(map(len, short)) <= most
    same = [f"{'x' * 40}{k}" for k in range(3)]
    assert shortened(same, 18) == ["…0", "…1", "…2"]
    assert shortened([same[0]] * 2, 18) == ["x" * 17 + "…"] * 2


def test_a_value_stands_behind_a_long_name() -> None:
    line = Line("a", np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    svg = panels([[line], [line]], ["class number 002 of two hundred", "b$"], "x", "y", values=["0.123", "0.456"])
    assert ": 0.123" in svg
    assert "b$: 0.456" in svg
