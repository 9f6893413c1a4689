"""A plot's file depends on the plot alone."""

from __future__ import annotations

import io

from matplotlib.figure import Figure
from PIL import Image

from medzoo.store.figures import figure_png


def drawn() -> bytes:
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1], [1, 0])
    return figure_png(figure)


def test_equal_figures_have_equal_bytes_and_110_dots_an_inch() -> None:
    content = drawn()
    assert content == drawn()
    image = Image.open(io.BytesIO(content))
    assert image.format == "PNG"
    assert image.size == (220, 110)
    assert "Software" not in image.info
