"""What a network saw, back on the image: a bright spot of any image is found again at its own place."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from matplotlib import colormaps

from medzoo.data.images.laid import blended, most_telling, onto_image
from medzoo.data.samples.preprocess import FitMode, Preprocess, fit


def preprocess(size: tuple[int, ...], mode: FitMode) -> Preprocess:
    return Preprocess(size, mode, channels=1, mean=(0.5,), std=(0.5,))


@pytest.mark.parametrize("mode", ["stretch", "pad", "crop"])
@pytest.mark.parametrize("size", [(60, 90), (91, 57), (64, 64)])
@pytest.mark.parametrize("target", [(32, 32), (24, 40)])
def test_a_bright_spot_is_found_where_it_was(mode: FitMode, size: tuple[int, int], target: tuple[int, int]) -> None:
    wanted = preprocess(target, mode)
    for row, column in ((size[0] // 2, size[1] // 2), (size[0] * 3 // 5, size[1] * 2 // 5), (size[0] * 3 // 8, size[1] * 5 // 8)):
        image = np.zeros(size, np.uint8)
        image[row - 2 : row + 3, column - 2 : column + 3] = 255
        seen = fit(torch.from_numpy(image)[None, None], wanted)[0, 0].float()
        found = onto_image(seen.numpy(), target, mode, size)
        assert found.shape == size
        place = np.unravel_index(np.nanargmax(found), size)
        assert np.abs(np.array(place) - (row, column)).max() <= 3


def test_what_a_crop_cut_off_is_nan_and_what_a_pad_added_is_gone() -> None:
    cropped = onto_image(np.ones((2, 2)), (8, 8), "crop", (10, 20))
    assert np.isnan(cropped).sum() == 10 * 10
    assert np.isnan(cropped[:, :5]).all()
    assert np.isnan(cropped[:, 15:]).all()
    padded = onto_image(np.array([[9.0, 9.0], [1.0, 1.0], [1.0, 1.0], [9.0, 9.0]]), (8, 8), "pad", (10, 20))
    assert padded.shape == (10, 20)
    assert np.nanmax(padded) < 6  # the outermost cells lie on the borders
    assert not np.isnan(padded).any()


def test_a_map_of_the_models_own_pixels_comes_back_as_it_was() -> None:
    cells = np.random.default_rng(0).random((16, 16), np.float32)
    np.testing.assert_array_equal(onto_image(cells, (16, 16), "stretch", (16, 16)), cells)


def test_volumes_are_laid_in_depth_too() -> None:
    cells = np.zeros((3, 4, 4))
    cells[2, 1, 3] = 1
    found = onto_image(cells, (12, 16, 16), "stretch", (9, 20, 20))
    assert found.shape == (9, 20, 20)
    depth, row, column = np.unravel_index(found.argmax(), found.shape)
    assert depth >= 6
    assert 5 <= row < 10
    assert column >= 15


@pytest.mark.parametrize(("cells", "size"), [((3, 5), (17, 40)), ((1, 2), (9, 9)), ((2, 3, 4), (5, 12, 8))])
def test_between_cells_it_is_as_torch_interpolates(cells: tuple[int, ...], size: tuple[int, ...]) -> None:
    values = np.random.default_rng(1).normal(size=cells).astype(np.float32)
    mode = "bilinear" if len(size) == 2 else "trilinear"
    wanted = F.interpolate(torch.from_numpy(values)[None, None], size=size, mode=mode, align_corners=False)[0, 0]
    np.testing.assert_allclose(onto_image(values, size, "stretch", size), wanted.numpy(), atol=1e-6)


def test_what_speaks_for_it_is_coloured_and_what_was_never_seen_is_dark() -> None:
    pixels = np.full((2, 4, 1), 100, np.uint8)
    strength = np.array([[0.0, 0.5, 1.0, np.nan], [-3.0, 0.25, 0.75, np.nan]], np.float32)
    found = blended(pixels, 7 * strength)
    assert found[0, 0].tolist() == found[1, 0].tolist() == [100] * 3
    assert found[0, 3].tolist() == [40] * 3
    colours = colormaps["inferno"](0.25 + 0.75 * strength[:, 1:3])[..., :3]
    alpha = 0.65 * strength[:, 1:3, None]
    wanted = (1 - alpha) * 100 / 255 + alpha * colours
    assert np.abs(found[:, 1:3] / 255 - wanted).max() < 6 / 255
    volume, cells = np.stack([pixels, pixels + 50]), np.stack([strength, 2 * strength])
    assert most_telling(volume, cells)[0].max() == 150
    np.testing.assert_array_equal(blended((pixels / 255).astype(np.float32), strength), found)
