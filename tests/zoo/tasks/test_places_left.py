"""Regions of an image, and which of a network's places they leave."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from medzoo.data.samples.preprocess import FitMode, Preprocess
from medzoo.tasks.places_left import PlacesLeft


def places(size: tuple[int, ...], grid: tuple[int, ...], mode: FitMode = "stretch") -> PlacesLeft:
    return PlacesLeft(Preprocess(size, mode, channels=1, mean=(0.5,), std=(0.5,)), grid)


@pytest.mark.parametrize("mode", ["stretch", "pad", "crop"])
def test_a_region_covers_the_cells_it_lies_in(mode: FitMode) -> None:
    mask = torch.zeros(2, 40, 40)
    mask[0, :10, 20:30] = 1
    mask[1, :5, :5] = 255
    expected = np.zeros((2, 4, 4))
    expected[0, 0, 2], expected[1, 0, 0] = 1, 0.25
    np.testing.assert_allclose(places((40, 40), (4, 4), mode).shares(mask).numpy(), expected, atol=1e-6)


def test_the_borders_of_a_pad_are_no_region() -> None:
    shares = places((16, 16), (4, 4), "pad").shares(torch.ones(1, 10, 20))[0]
    assert shares[[0, 3]].max() < 0.02  # the last row of the border is a mixture, as in the image
    assert shares[1:3].min() > 0.98


@pytest.mark.parametrize(("size", "grid"), [((30, 44), (7, 6)), ((9, 20, 20), (3, 7, 4)), ((8, 8), (8, 8))])
def test_cells_are_those_of_adaptive_pooling_also_where_they_do_not_divide_the_pixels(
    size: tuple[int, ...], grid: tuple[int, ...]
) -> None:
    mask = torch.rand((2, *size), generator=torch.Generator().manual_seed(0)) > 0.5
    pool = F.adaptive_avg_pool2d if len(size) == 2 else F.adaptive_avg_pool3d
    wanted = pool(mask.float()[:, None], grid)[:, 0]
    torch.testing.assert_close(places(size, grid).shares(mask), wanted, atol=1e-6, rtol=0)


def test_what_is_left_of_each_concept() -> None:
    region = torch.zeros(1, 8, 8, 1, dtype=torch.uint8)
    region[0, 0, 0] = 1  # a sixteenth of a place takes it away
    cells = torch.zeros(1, 3, 2, 2)
    cells[0, 2, 1, 1] = 1
    left = places((8, 8), (2, 2))(region, torch.tensor([[1.0, 0.0, 1.0]]), cells)
    assert left[0].tolist() == [[[0, 1], [1, 1]], [[1, 1], [1, 1]], [[0, 1], [1, 0]]]
