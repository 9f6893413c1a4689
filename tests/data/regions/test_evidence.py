"""Where concepts may look, as a person says it: boxes, masks and files to what a graph takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medzoo.data.errors import ConfigError, DatasetError, MedzooError
from medzoo.data.regions.evidence import check_regions, regions_feed, require_something_left

CONCEPTS, SIZE, GRID = ("dark", "bright"), (6, 8), (2, 2)
BOX = np.zeros(SIZE, bool)
BOX[1:3, 4:7] = True


def feed(region: Any, size: tuple[int, ...] = SIZE, grid: tuple[int, ...] = GRID) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    looks = check_regions(1, CONCEPTS, region)
    assert looks is not None
    return regions_feed(looks, len(CONCEPTS), size, grid)


def test_a_box_a_mask_and_a_file_are_the_same_region(tmp_path: Path) -> None:
    Image.fromarray(BOX.astype(np.uint8) * 255).save(tmp_path / "box.png")
    for kind, wanted in (("remove", BOX), ("within", ~BOX)):
        for given in ([4, 1, 3, 2], BOX, BOX.tolist(), BOX.astype(np.float32), tmp_path / "box.png", str(tmp_path / "box.png")):
            found = feed({kind: given})
            np.testing.assert_array_equal(found["region"][0, ..., 0], wanted)
            assert found["region"].dtype == np.uint8
            assert found["region_mask"].tolist() == [[1, 1]]
            assert not found["region_places"].any()


def test_a_file_that_marks_nothing_is_said(tmp_path: Path) -> None:
    Image.fromarray(BOX.astype(np.uint8) * 0).save(tmp_path / "none.png")
    with pytest.raises(ConfigError, match=r"none\.png is all black: it marks no region"):
        feed({"remove": tmp_path / "none.png"})


def test_a_mask_of_the_maps_size_is_of_its_places_and_of_the_concepts_that_are_meant() -> None:
    places = np.array([[True, False], [False, False]])
    for kind, wanted in (("remove", places), ("within", ~places)):
        found = feed({kind: places, "only": ["bright"]})
        assert not found["region"].any()
        np.testing.assert_array_equal(found["region_places"][0], [np.zeros(GRID), wanted])
    alike = feed({"remove": places, "only": "bright"}, size=GRID)  # an image as small as its map: they are its pixels
    assert alike["region"].sum() == 1
    assert alike["region_mask"].tolist() == [[0, 1]]


def test_each_image_has_its_own_or_none() -> None:
    looks = check_regions(2, CONCEPTS, [None, {"remove": [0, 0, 1, 1], "only": ["dark"]}])
    assert looks is not None
    found = regions_feed(looks, 2, SIZE, GRID)
    assert found["region"].reshape(2, -1).sum(axis=1).tolist() == [0, 1]
    assert found["region_mask"].tolist() == [[0, 0], [1, 0]]
    volume = feed({"remove": [1, 2, 3, 4, 1, 2]}, size=(8, 8, 8), grid=(2, 2, 2))
    assert volume["region"].sum() == 8
    assert volume["region"].shape == (1, 8, 8, 8, 1)
    assert check_regions(3, (), None) is None


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ({}, "one of 'remove' and 'within'"),
        ({"remove": [0, 0, 1, 1], "within": [0, 0, 1, 1]}, "one of 'remove' and 'within'"),
        ({"take": [0, 0, 1, 1]}, "'take'.*remove"),
        ({"remove": [0, 0, 1, 1], "only": ["brigt"]}, "'bright'"),
        ({"remove": [0, 0, 1]}, r"\[x, y, width, height\], not 3 numbers"),
        ({"remove": [0, 0, 9, 1]}, "spans 0 to 9 in x, the image 0 to 8"),
        ({"remove": np.ones((3, 3), bool)}, "mask is of 3x3, the image of 6x8 and its map of 2x2"),
        ({"remove": np.full(SIZE, 0.5)}, "true where it lies"),
        ({"remove": 3}, "a box of numbers, a mask"),
        ({"remove": "gone.png"}, "gone.png cannot be read"),
        ([{"remove": [0, 0, 1, 1]}] * 2, "2 regions for 1 images"),
        ("remove", "regions is a str"),
        ([7], "not 7"),
    ],
)
def test_what_means_nothing_is_refused_in_one_line(region: Any, message: str) -> None:
    with pytest.raises(MedzooError, match=message) as refused:
        feed(region)
    assert "\n" not in str(refused.value)
    assert isinstance(refused.value, ConfigError | DatasetError)


def test_a_model_without_concepts_and_a_concept_without_places_are_refused() -> None:
    with pytest.raises(ConfigError, match="no concepts that could look elsewhere"):
        check_regions(1, (), {"remove": [0, 0, 1, 1]})
    with pytest.raises(ConfigError, match="nothing is left of the 2x2 places"):
        require_something_left(np.array([[0.5, np.nan]]), GRID)
    require_something_left(np.array([[0.5, 1.0]]), GRID)
